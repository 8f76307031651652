#!/usr/bin/env bash
# compile --precision: sizes, errors, the same bits, and the search for the cheapest precisions that hold an error.
. "$(dirname "$0")/checks.sh"
cd "$scratch" || exit 1

size() { stat -c %s "$1"; }
# smaller A B PART MORE: A has at most B / PART bytes and MORE
smaller() { [ "$(size "$1")" -le $(($(size "$2") / $3 + $4)) ]; }
precision_is() { "$vitc" inspect "$1" | grep "^precision *$2\$" >match; }

require "import" "$vitc" import --init random --seed 0 --arch vit_tiny_patch16_224 --image-size 80x112 -o m.json
for precision in fp32 bf16 int8; do
  require "compile in $precision" "$vitc" compile m.json -o $precision.o --precision $precision --batch 3
  expect 0 "compare in $precision" "$vitc" compare m.json $precision.o --batch 3 || cat stdout
  check "$precision is what the object says" precision_is $precision.o $precision
  check "$precision: no undefined symbol" test -z "$(nm -u $precision.o)"
done
check "bf16 is half of fp32" smaller bf16.o fp32.o 2 500000
check "int8 is a quarter of fp32" smaller int8.o fp32.o 4 800000
expect 0 "inspect int8" "$vitc" inspect int8.o
check "rows of pixels are not transformed" grep -q -E ' MatMul +patch_embed.* [0-9]+ scales$' stdout
check "rows of tokens are" grep -q -E ' MatMul +blocks.0.attn.qkv .* scales, Hadamard ' stdout
# A position table of 577 rows is as large as a block's weights: it is held in bf16.
require "a model of 384 pixels" "$vitc" import --init random --seed 3 -o p.json \
  --arch vit:dim=768,heads=12,depth=1,image=384,patch=16,mlp=768,classes=10
for precision in fp32 bf16 int8; do
  require "compile it in $precision" "$vitc" compile p.json -o p_$precision.o --precision $precision
done
check "bf16 is half of fp32 with its table" smaller p_bf16.o p_fp32.o 2 300000
check "int8 is a quarter of fp32 with twice a quarter of its table" smaller p_int8.o p_fp32.o 4 900000
# Read for the patches, each once: the product's panels, the bias, and 576 rows of 768 in two bytes.
expect 0 "inspect it" "$vitc" inspect p_bf16.o
check "the table's bytes are counted" grep -q -E " gemm +patch_embed.proj .* $((768 * 768 * 2 + 768 * 4 + 576 * 768 * 2))\$" stdout
expect 1 "bf16 is not fp32" "$vitc" compare m.json bf16.o --tolerance 2e-5
expect 0 "a graph alone, in int8" "$vitc" compare m.json --precision int8 --per-node
check "nodes are listed" grep -q blocks.1.residual2 stdout

require "a small model" "$vitc" import --init random --seed 3 -o s.json \
  --arch vit:dim=128,heads=2,depth=2,image=64,patch=16,mlp=256,classes=40
require "auto with a wide bound" "$vitc" compile s.json -o wide.o --precision auto --max-error 0.5
check "takes int8 for all" grep -q "every product in int8" stderr
require "auto with a narrow bound" "$vitc" compile s.json -o narrow.o --precision auto --max-error 1e-5
check "takes fp32 for all" grep -q "every product in fp32" stderr
expect 0 "which holds it" "$vitc" compare s.json narrow.o --tolerance 1e-5 --batch 4

# A bound between the errors of int8 and of bf16 takes some of each.
"$vitc" compare s.json wide.o --batch 4 --json --tolerance 1 >wide.out || true
"$vitc" compare s.json --precision bf16 --batch 4 --json >bf16.out || true
bound=$("$python" -c '
import json
wide, bf16 = (json.load(open(n))["outputs"][0]["max_error_over_std"] for n in ("wide.out", "bf16.out"))
print((wide * 2 + bf16) / 3)')
require "auto with a bound between" "$vitc" compile s.json -o mixed.o --precision auto --max-error "$bound"
check "chooses by product" grep -q "^blocks.* int8  *adds" stderr
check "and keeps some in bf16" grep -q "^blocks.* bf16  *adds" stderr
check "the object says that it is mixed" precision_is mixed.o mixed
expect 0 "and holds the bound" "$vitc" compare s.json mixed.o --batch 4 --tolerance "$bound"
expect 2 "a bound without auto" "$vitc" compile s.json -o x.o --precision int8 --max-error 0.1
# Calibration: the same bytes again, other weights, and no worse an object; what is wrong is named.
mkdir -p photos broken empty
find "$root/examples/digits/images" -name '*.png' | sort | head -5 | nl -n rz -w 1 | while read -r number path; do
  cp "$path" "photos/$number.png"
done
"$python" -c '
import json
model = json.load(open("s.json"))
model["preprocess"] = {"resize": "exact", "size": [64, 64], "filter": "bicubic", "crop": [64, 64], "crop_rounding": "half_even",
                       "arithmetic": "transformers", "rescale": 1 / 255, "mean": [0.5] * 3, "std": [0.5] * 3}
json.dump(model, open("s.json", "w"))'
require "calibrated int8" "$vitc" compile s.json -o cal.o --precision int8 --calibrate photos
require "int8 without" "$vitc" compile s.json -o uncal.o --precision int8
check "calibration changes weights" bash -c '! cmp -s cal.o uncal.o'
check "and no size" test "$(size cal.o)" = "$(size uncal.o)"
require "calibrated again" "$vitc" compile s.json -o cal2.o --precision int8 --calibrate photos
check "gives the same bytes" cmp -s cal.o cal2.o
expect 0 "compare what was calibrated" "$vitc" compare s.json cal.o --image photos/1.png
require "calibrated pixels of 8 bits" "$vitc" compile s.json -o cal8.o --precision int8 --input u8 --calibrate photos
expect 0 "compare them" "$vitc" compare s.json cal8.o --image photos/2.png
cp photos/2.png broken/ && head -c 200 photos/1.png >broken/1.png
expect 3 "a broken image" "$vitc" compile s.json -o x.o --precision int8 --calibrate broken
check "is named" grep -q "broken/1.png: " stderr
check "and nothing is written" test ! -e x.o
expect 3 "a folder without images" "$vitc" compile s.json -o x.o --precision int8 --calibrate empty
check "is named, too" grep -q "empty: has no .jpg, .jpeg, .png or .webp files" stderr
expect 2 "calibration in fp32" "$vitc" compile s.json -o x.o --calibrate photos
expect 2 "an unknown precision" "$vitc" compile s.json -o x.o --precision int4
check "is named with the known ones" grep -q "fp32|bf16|int8|auto" stderr
finish
