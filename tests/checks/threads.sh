#!/usr/bin/env bash
# The thread pool's tests, examples/two_models and examples/own_threads, and the compiler, under ThreadSanitizer.
#
#   tests/checks/threads.sh FOLDER     builds there
#
# The compiled models and LLVM are not instrumented; the pool, the callbacks, the compiler and the programs around them are.
set -euo pipefail
cd "$(dirname "$0")/../.."
vitc=${VITC:-build/vitc}
folder=$1
mkdir -p "$folder"
export TSAN_OPTIONS=halt_on_error=0:exitcode=66
passed=0
failed=0
check() {
  local name=$1
  shift
  if "$@" >"$folder/log" 2>&1 && ! grep -q 'WARNING: ThreadSanitizer' "$folder/log"; then
    passed=$((passed + 1))
    echo "pass  $name"
  else
    failed=$((failed + 1))
    echo "FAIL  $name"
    tail -40 "$folder/log"
  fi
}

# clang's: on a kernel with many random address bits it restarts itself without them, which gcc 12's does not.
export CC=clang-19
cmake -S . -B "$folder" -G Ninja -DCMAKE_C_COMPILER=clang-19 -DCMAKE_BUILD_TYPE=Debug -DVITC_SANITIZE=thread >/dev/null
cmake --build "$folder" --target vitc_runtime vitc >"$folder/build.log" || { tail -20 "$folder/build.log"; exit 1; }
# A program of its own: Criterion ends itself under ThreadSanitizer.
clang-19 -std=gnu11 -D_GNU_SOURCE -O1 -g -fsanitize=thread -Itests -Iruntime/include tests/checks/pool.c \
  tests/support/pool_checks.c "$folder/libvitc_runtime.a" -lpthread -o "$folder/pool"
check "pool" "$folder/pool"

"$vitc" import examples/digits/model -o "$folder/digits.json"
"$vitc" import --init random --seed 1 --arch vit_tiny_patch16_224 --image-size 64x64 -o "$folder/tiny.json"
for model in digits tiny; do
  "$vitc" compile "$folder/$model.json" -o "$folder/$model.o" --header "$folder/$model.h"
done
for precision in fp32 bf16 int8; do
  check "compile in $precision" "$folder/vitc" compile "$folder/tiny.json" -o "$folder/threads.o" --precision $precision
done
flags=(-std=c11 -O1 -g -fsanitize=thread -Wall -Wextra -Werror -Iruntime/include -include "$folder/digits.h" -include "$folder/tiny.h")
clang-19 "${flags[@]}" examples/two_models/two_models.c "$folder/digits.o" "$folder/tiny.o" "$folder/libvitc_runtime.a" \
  -ljpeg -lpng -lwebp -lpthread -lm -o "$folder/two_models"
clang-19 "${flags[@]}" examples/own_threads/own_threads.c "$folder/digits.o" -lpthread -o "$folder/own_threads"
check "two models, four threads each" "$folder/two_models"
check "own thread pool" "$folder/own_threads"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
