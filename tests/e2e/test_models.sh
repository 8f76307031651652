#!/usr/bin/env bash
# Import, compile and compare, model by model: the object against the interpreter, at most 2e-5 of the output's deviation.
#
#   tests/e2e/test_models.sh [large]     `large` adds ViT-Small, Large and 384 pixels at full size: minutes, and 3 GB of memory
. "$(dirname "$0")/checks.sh"
cd "$scratch" || exit 1
image=$root/examples/digits/images/seven/3508.png

# agrees NAME ARGUMENT...: a random model of that import, one object of batch 8
agrees() {
  local name=$1
  shift
  expect 0 "$name: import" "$vitc" import --init random --seed 0 "$@" -o "$name.json" || return
  expect 0 "$name: compile" "$vitc" compile "$name.json" -o "$name.o" --batch 8 || return
  check "$name: no undefined symbol" test -z "$(nm -u "$name.o")"
  expect 0 "$name: compare on random pixels" "$vitc" compare "$name.json" "$name.o" --batch 2 || cat stdout
  # A specification in place of a known name says nothing of how images become pixels.
  [[ "$*" == *vit:* ]] || expect 0 "$name: compare on an image" "$vitc" compare "$name.json" "$name.o" --image "$image" || cat stdout
  rm -f "$name".*
}

# batches NAME HEIGHT WIDTH ARGUMENT...: batches of 1, 3 and 8 through one object
batches() {
  local name=$1 height=$2 width=$3 batch
  shift 3
  expect 0 "$name: import" "$vitc" import --init random --seed 1 "$@" -o "$name.json" || return
  expect 0 "$name: compile" "$vitc" compile "$name.json" -o "$name.o" --batch 8 || return
  for batch in 1 3 8; do
    npy random input.npy $batch $batch 3 "$height" "$width"
    expect 0 "$name: batch $batch" "$vitc" compare "$name.json" "$name.o" --input input.npy || cat stdout
  done
  rm -f "$name".*
}

agrees vit_b16 --arch vit_base_patch16_224
agrees tiny --arch vit_tiny_patch16_224
agrees tiny_384 --arch vit_tiny_patch16_384
agrees small_patch32 --arch vit_small_patch32_224
agrees deit_tiny_distilled --arch deit_tiny_distilled_patch16_224
agrees base_in21k --arch vit_base_patch16_224_in21k --image-size 64x64
agrees features --arch vit_tiny_patch16_224 --num-classes 0 --image-size 80x112
agrees classes_37 --arch vit_tiny_patch16_224 --num-classes 37 --image-size 80x112
odd=vit:dim=100,depth=3,heads=5,head_dim=20,mlp=333,patch=16,image=96x64,classes=13
agrees odd --arch "$odd"
batches odd_batches 96 64 --arch "$odd"
batches tiny_batches 80 112 --arch vit_tiny_patch16_224 --image-size 80x112
batches deit_batches 64 64 --arch deit_tiny_distilled_patch16_224 --image-size 64x64

if [ "${1:-}" = large ]; then
  agrees small --arch vit_small_patch16_224
  agrees base_384 --arch vit_base_patch16_384
  agrees large --arch vit_large_patch16_224
  agrees huge --arch vit_huge_patch14_224_in21k
fi
finish
