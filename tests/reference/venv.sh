#!/usr/bin/env bash
# Makes the Python that the reference tests run under (.venv, from requirements*.txt) and prints its path. Nothing happens when it
# is up to date.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=${VITC_VENV:-.venv}
here=tests/reference
want=$(python3 --version; cat "$here/requirements.txt" "$here/requirements-no-deps.txt")
if [ "$(cat "$venv/.installed" 2>/dev/null)" != "$want" ]; then
  echo "Installing into $venv with pip:" $(cat "$here/requirements.txt" "$here/requirements-no-deps.txt") >&2
  python3 -m venv "$venv" >&2
  pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input)
  "${pip[@]}" -r "$here/requirements.txt" >&2
  # These declare far more than the tests use, or pin a build of PyTorch that need not be the one that pip chose.
  "${pip[@]}" --no-deps -r "$here/requirements-no-deps.txt" >&2
  echo "$want" >"$venv/.installed"
fi
echo "$PWD/$venv/bin/python"
