#!/usr/bin/env bash
# vitc beside PyTorch (eager, AOTInductor), ONNX Runtime, OpenVINO and LiteRT, each in one precision: the same weights, the same
# input, one process each, turn by turn on the same CPUs. Prints a table in Markdown, with the errors and with what became of those
# that failed, and writes JSON; status 1 when vitc failed or was wrong.
#
#   tests/bench/rivals.sh [--model vit_base_patch16_224] [--precision fp32|bf16|int8] [--batch 1] [--threads 1,2] [--rounds R]
#                         [--peers P,P]
#
# The first run installs the rivals (versions: requirements.txt) into build/bench-venv, some gigabytes, and each model is
# converted for each rival once, which takes minutes. Do nothing else on the machine meanwhile.
set -euo pipefail
cd "$(dirname "$0")/../.."
case " $* " in *" --help "* | *" -h "*) exec python3 tests/bench/rivals.py --help ;; esac
. examples/packages.sh
environment=${BENCH_VENV:-build/bench-venv}

need_build_packages
need c++ g++
need python3 python3
need venv python3-venv
install_needed

# A prepared environment is the one whose list of packages is today's.
wanted=$(cat tests/bench/requirements.txt tests/bench/requirements-alone.txt)
if [ ! -x "$environment/bin/python" ] || [ "$(cat "$environment/installed.txt" 2>/dev/null)" != "$wanted" ]; then
  echo "Installing the rivals into $environment" >&2
  python3 -m venv "$environment"
  "$environment/bin/python" -m pip install --quiet -r tests/bench/requirements.txt >&2
  "$environment/bin/python" -m pip install --quiet --no-deps -r tests/bench/requirements-alone.txt >&2
  printf '%s\n' "$wanted" >"$environment/installed.txt"
fi

case " $* " in
  *" --vitc"*) ;;
  *)
    [ -f build/CMakeCache.txt ] || cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release >&2
    cmake --build build --target vitc >&2
    ;;
esac
exec "$environment/bin/python" tests/bench/rivals.py "$@"
