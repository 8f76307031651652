#!/usr/bin/env bash
# compile --precision: sizes, errors, the same bits, and the search for the cheapest precisions that hold an error.
. "$(dirname "$0")/checks.sh"
cd "$scratch" || exit 1

size() { stat -c %s "$1"; }
# smaller A B NUMERATOR DENOMINATOR: A has at most B * NUMERATOR / DENOMINATOR bytes and 1.5 MB
smaller() { [ "$(size "$1")" -le $(($(size "$2") * $3 / $4 + 1500000)) ]; }
precision_is() { "$vitc" inspect "$1" | grep "^precision *$2\$" >match; }

require "import" "$vitc" import --init random --seed 0 --arch vit_tiny_patch16_224 --image-size 80x112 -o m.json
for precision in fp32 bf16 int8; do
  require "compile in $precision" "$vitc" compile m.json -o $precision.o --precision $precision --batch 3
  expect 0 "compare in $precision" "$vitc" compare m.json $precision.o --batch 3 || cat stdout
  check "$precision is what the object says" precision_is $precision.o $precision
  check "$precision: no undefined symbol" test -z "$(nm -u $precision.o)"
done
check "bf16 is half of fp32" smaller bf16.o fp32.o 1 2
check "int8 is a quarter of fp32" smaller int8.o fp32.o 1 4
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
expect 2 "an unknown precision" "$vitc" compile s.json -o x.o --precision int4
check "is named with the known ones" grep -q "fp32|bf16|int8|auto" stderr
finish
