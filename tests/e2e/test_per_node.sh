#!/usr/bin/env bash
# Where errors enter: compare --per-node and inspect, on a graph with a planted outlier channel, against NumPy.
. "$(dirname "$0")/checks.sh"
cd "$scratch" || exit 1
planted=("$python" "$root/tests/e2e/per_node.py")
json() { "$python" -c "import json; d = json.load(open('$1')); assert $2, d"; }

require "a graph with an outlier channel" "${planted[@]}" make .
for precision in fp32 bf16 int8; do
  expect 0 "compare --per-node in $precision" "$vitc" compare graph.json --precision $precision --input x.npy --per-node --json
  cp stdout $precision.out
  check "its figures are NumPy's" "${planted[@]}" check . $precision $precision.out
done
require "compile in int8" "$vitc" compile graph.json -o int8.o --precision int8 --batch 2
expect 0 "compare --per-node with the object" "$vitc" compare graph.json int8.o --input x.npy --per-node --json
cp stdout object.out
check "says the same" cmp object.out int8.out
expect 0 "as text" "$vitc" compare graph.json int8.o --input x.npy --per-node
check "the planted channel is named, with its ratio" grep -q -E '^  norm .* 37 \([2-9][0-9]\.[0-9]x\)' stdout
check "alike layers are summed" grep -q '^alike layers' stdout
check "a small product stays bf16" grep -q -E '^classes +MatMul +bf16 ' stdout
expect 0 "the largest own error" "$vitc" compare graph.json int8.o --input x.npy --per-node --sort own --top 1
worst=$(python3 -c '
import json
print(max(json.load(open("int8.out"))["nodes"], key=lambda n: n.get("own_rms_error_over_std", 0))["name"])')
check "is the one of the JSON" test "$(sed -n '/^value/{n;s/ .*//;p}' stdout)" = "$worst"
check "and no other value is printed" test "$(sed -n '/^value/,/^Own/p' stdout | wc -l)" = 3
expect 0 "one CPU level" "$vitc" compare graph.json int8.o --input x.npy --per-node --cpu avx2
expect 2 "--top without --per-node" "$vitc" compare graph.json --top 3
expect 2 "an unknown order" "$vitc" compare graph.json --per-node --sort size

# Each product of a mixed object is compared in its own precision.
bound=$(python3 -c '
import json
print(sum(json.load(open(name))["outputs"][0]["max_error_over_std"] for name in ("bf16.out", "int8.out")) / 2)')
require "compile in several precisions" "$vitc" compile graph.json -o mixed.o --precision auto --max-error "$bound"
expect 0 "compare --per-node of it" "$vitc" compare graph.json mixed.o --input x.npy --per-node --json
cp stdout mixed.out
expect 0 "inspect it" "$vitc" inspect mixed.o --json
cp stdout account.out
check "the precisions are the object's" python3 -c '
import json
has = {n["name"]: n["product"]["precision"] for n in json.load(open("mixed.out"))["nodes"] if "product" in n}
account = json.load(open("account.out"))
assert account["precision"] == "mixed"
assert has == {p["name"]: p["precision"] for p in account["info"]["products"]} and len(has) == 4, has
assert len({has["bent"], has["sum"]}) == 2, has'
check "an int8 product errs as in int8, one in bf16 as in bf16" python3 -c '
import json
def own(name):
    return {n["name"]: (n["own_rms_error_over_std"], n["product"]["precision"]) for n in json.load(open(name))["nodes"] if "product" in n}
alone = {p: own(p + ".out") for p in ("bf16", "int8")}
for name, (error, precision) in own("mixed.out").items():
    assert error == alone[precision][name][0], (name, precision, error, alone)'

# Weights that were rounded for images are compared as the object holds them, on a level where values between nodes are fp32 as
# those that are compared.
mkdir images && cp "$root"/examples/digits/images/*/*.png images
require "the digits" "$vitc" import "$root/examples/digits/model" -o digits.json
for how in plain calibrated; do
  options=()
  [ $how = plain ] || options=(--calibrate images)
  require "compile, $how" "$vitc" compile digits.json -o $how.o --precision int8 "${options[@]}"
  expect 0 "compare --per-node" "$vitc" compare digits.json $how.o --image images/3508.png --cpu avx2 --per-node --json \
    --tolerance 1
  cp stdout $how.out
done
check "calibrated weights err in their own way" python3 -c '
import json
plain, calibrated = (json.load(open(name + ".out")) for name in ("plain", "calibrated"))
logits = [d["outputs"][0]["rms_error_over_std"] for d in (plain, calibrated)]
last = [next(n for n in d["nodes"] if n["name"] == d["outputs"][0]["name"])["rms_error_over_std"] for d in (plain, calibrated)]
assert logits[0] != logits[1], logits
for a, b in zip(logits, last):
    assert abs(a - b) <= 0.02 * b, (logits, last)'

# An object of another graph.
require "another model" "$vitc" import --init random --seed 3 -o other.json --arch vit:dim=128,heads=2,depth=1,image=64,patch=16,mlp=256,classes=40
require "compile it" "$vitc" compile other.json -o other.o
sed 's/"bent"/"curved"/g' graph.json >renamed.json && cp graph.safetensors renamed.safetensors
rejects "an object with other inputs" other.o "$vitc" compare graph.json other.o --per-node
rejects "an object whose products have other names" int8.o "$vitc" compare renamed.json int8.o --per-node
check "they are named" grep -q -E "has no product '(curved|bent)'" stderr

expect 0 "inspect an object" "$vitc" inspect int8.o
check "products with their scheme" grep -q -E '^ +[0-9]+ MatMul +up +int8 +128 +256 +[0-9]+  256 scales, Hadamard 128, balanced$' stdout
check "products that stay bf16" grep -q -E '^ +[0-9]+ MatMul +last +bf16 +128 +48 +[0-9]+$' stdout
expect 0 "inspect --ranges" "$vitc" inspect graph.json --ranges
check "names the channel in the gain" grep -q -E '^norm\.weight +gain .* 37 \([34][0-9]\.[0-9]x\)' stdout
expect 0 "inspect --ranges --json" "$vitc" inspect graph.json --ranges --json --precision int8
cp stdout ranges.out
check "has gain and weights" json ranges.out '[r["layer"] for r in d["ranges"]] == ["first", "norm.weight", "up", "down", "last"]'
check "and the same ranges as compare" python3 -c '
import json
ranges = {r["layer"]: r["range"] for r in json.load(open("ranges.out"))["ranges"]}
compared = {n["product"]["layer"]: n["weights"] for n in json.load(open("int8.out"))["nodes"] if "product" in n}
assert len(compared) == 4 and all(ranges[name] == compared[name] for name in compared)'
expect 2 "inspect --ranges of an object" "$vitc" inspect int8.o --ranges
finish
