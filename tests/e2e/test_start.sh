#!/usr/bin/env bash
# A program with its model inside, in each precision: resident memory, and nothing asked for once it runs. (tests/bench/start.py alone
# measures how fast it starts, which takes a quiet machine.)
. "$(dirname "$0")/checks.sh"
cd "$scratch" || exit 1

for precision in fp32 bf16 int8; do
  expect 0 "$precision: at most weights, arena and 8 MB resident, and no memory asked for after the first logits" \
    "$python" "$root/tests/bench/start.py" --model vit_tiny_patch16_224 --precision $precision --threads 1,2,4 --starts 2 --memory-only \
    --vitc "$vitc" --runtime "$build/libvitc_runtime.a"
  cat stdout
done
finish
