#!/usr/bin/env bash
# All tests, from nothing: installs what is missing, builds, runs every suite, and ends with the line "N passed, N failed".
#
#   tests/run.sh [--build FOLDER] [NAME...]     only the suites whose names contain a NAME
#
# A suite is a program that prints "N passed, N failed" as its last such line (Criterion programs print their own synthesis). One
# that crashes, or prints no count, counts as a failure. What each suite printed is in FOLDER/logs.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

build=build
if [ "${1:-}" = --build ]; then
  build=$2
  shift 2
fi
wanted=("$@")

. examples/packages.sh
need_build_packages
need pkg:criterion libcriterion-dev
need c++ g++
need python3 python3
need qemu-x86_64 qemu-user
need venv python3-venv
install_needed

# The Python for the references is made while the tests are built.
echo "Building in $build"
mkdir -p "$build"
tests/reference/venv.sh >"$build/python" &
venv=$!
generator=()
[ -f "$build/CMakeCache.txt" ] || generator=(-G Ninja -DCMAKE_BUILD_TYPE=Release)
if ! { cmake -S . -B "$build" "${generator[@]}" -DVITC_TESTS=ON && cmake --build "$build"; } >"$build/build.log" 2>&1; then
  tail -40 "$build/build.log"
  kill "$venv" 2>/dev/null || true
  echo "0 passed, 1 failed"
  exit 1
fi
if ! wait "$venv"; then
  echo "0 passed, 1 failed"
  exit 1
fi
python=$(cat "$build/python")

mkdir -p "$build/logs"
build=$(cd "$build" && pwd)
export VITC=$build/vitc VITC_BUILD=$build PYTHON=$python PYTHONDONTWRITEBYTECODE=1
# Suites share the cores: more threads of PyTorch's would only wait for each other, at full speed.
export OMP_NUM_THREADS=1
# shellcheck source=tests/suites.sh
. "$root/tests/suites.sh"

for program in "$build"/test_*; do
  if [ -f "$program" ] && [ -x "$program" ]; then
    suite "unit/$(basename "$program")" criterion "$program"
  fi
done
# Scripts without checks make the goldens and constants that the C tests read.
for script in $(grep -l -w __main__ tests/reference/*.py | xargs grep -l -E '^    (checks\.finish|run_parts)\('); do
  arguments=()
  if grep -q '^    run_parts(' "$script"; then arguments=(--compiled); fi
  suite "reference/$(basename "$script" .py)" "$python" "$script" "${arguments[@]}"
done
for script in tests/e2e/test_*.sh; do
  suite "e2e/$(basename "$script" .sh)" bash "$script"
done

suites_finish
