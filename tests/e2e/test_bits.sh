#!/usr/bin/env bash
# One object, the same bits: for any number of threads, alone or within a batch, on 8-bit or float input (there within rounding).
. "$(dirname "$0")/checks.sh"
cd "$scratch" || exit 1

# same_bits NAME CHANNELS HEIGHT WIDTH: one object of batch 8
same_bits() {
  local name=$1 threads index
  expect 0 "$name: compile" "$vitc" compile "$name.json" -o "$name.o" --batch 8
  npy random input.npy 7 8 "$2" "$3" "$4"
  expect 0 "$name: 1 thread" "$vitc" run "$name.o" --input input.npy --output one.npy --threads 1
  for threads in 2 3 8; do
    expect 0 "$name: $threads threads" "$vitc" run "$name.o" --input input.npy --output many.npy --threads $threads
    check "$name: the same bits on $threads threads" npy same many.npy one.npy
  done
  for index in 0 3 7; do
    npy slice input.npy $index single.npy
    npy slice one.npy $index want.npy
    for threads in 1 3; do
      expect 0 "$name: image $index alone, $threads threads" "$vitc" run "$name.o" --input single.npy --output alone.npy --threads $threads
      check "$name: the same bits as in the batch" npy same alone.npy want.npy
    done
  done
  expect 0 "$name: the interpreter" "$vitc" run "$name.json" --input input.npy --output graph.npy
  check "$name: within 2e-5 of it" npy close one.npy graph.npy
}

require "import digits" "$vitc" import "$root/examples/digits/model" -o digits.json
same_bits digits 3 28 28
require "import tiny" "$vitc" import --init random --seed 3 --arch vit_tiny_patch16_224 --image-size 96x64 -o tiny.json
same_bits tiny 3 96 64

require "compile for 8-bit input" "$vitc" compile digits.json --input u8 -o u8.o
require "compile for external weights" "$vitc" compile digits.json --weights external -o external.o
for image in "$root"/examples/digits/images/{zero,four,nine}/*.png; do
  name=$(basename "$image")
  expect 0 "$name: float input" "$vitc" run digits.o --image "$image" --output float.npy
  expect 0 "$name: 8-bit input" "$vitc" run u8.o --image "$image" --output u8.npy
  check "$name: within 2e-5" npy close u8.npy float.npy
  expect 0 "$name: external weights" "$vitc" run external.o --image "$image" --output external.npy
  check "$name: the same bits" npy same external.npy float.npy
done
finish
