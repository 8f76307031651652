#!/usr/bin/env bash
# The command line: help, exit statuses, messages, and output files that appear whole or not at all.
. "$(dirname "$0")/checks.sh"

expect 0 "--help" "$vitc" --help
for command in import compile run compare predict bench preprocess inspect report; do
  check "--help names $command" grep -q "\b$command\b" <("$vitc" --help)
  expect 0 "$command --help" "$vitc" "$command" --help
  check "$command --help goes to stdout" test -s "$scratch/stdout" -a ! -s "$scratch/stderr"
  expect 2 "$command without arguments" "$vitc" "$command"
  expect 2 "$command --no-such-option" "$vitc" "$command" --no-such-option
done
expect 0 "--version" "$vitc" --version
check "--version is one line" test "$("$vitc" --version | wc -l)" = 1
expect 2 "no command" "$vitc"
expect 2 "unknown command" "$vitc" no-such-command
check "it goes to stderr" test -s "$scratch/stderr" -a ! -s "$scratch/stdout"

cd "$scratch" || exit 1
digits=$root/examples/digits/model
image=$(find "$root/examples/digits/images/seven" -name '*.png' | sort | head -1)
require "import" "$vitc" import "$digits" -o digits.json
check "import writes both files" test -s digits.json -a -s digits.safetensors
require "compile" "$vitc" compile digits.json -o digits.o --header digits.h
check "compile writes both files" test -s digits.o -a -s digits.h
expect 0 "run an object" "$vitc" run digits.o --image "$image" --output object.npy
expect 0 "run a graph" "$vitc" run digits.json --image "$image" --output graph.npy
check "they agree" npy close object.npy graph.npy
expect 0 "compare" "$vitc" compare digits.json digits.o --image "$image"
expect 0 "compare --json" "$vitc" compare digits.json digits.o --image "$image" --json
check "it is JSON" python3 -m json.tool stdout
expect 0 "predict" "$vitc" predict digits.o "$image"
check "predict says seven" grep -q seven stdout
expect 0 "predict --format json" "$vitc" predict digits.o "$image" --format json
check "it is JSON" python3 -m json.tool stdout
expect 0 "preprocess" "$vitc" preprocess digits.json "$image" -o pixels.npy
expect 0 "run on its pixels" "$vitc" run digits.o --input pixels.npy --output pixels_out.npy
check "the same bits as from the image" cmp pixels_out.npy object.npy
expect 0 "inspect a graph" "$vitc" inspect digits.json
expect 0 "inspect an object" "$vitc" inspect digits.o
expect 0 "bench --json" "$vitc" bench digits.o --json --seconds 1
check "it is JSON" python3 -m json.tool stdout
check "it names the CPU" grep -q '"cpu":"[^"]' stdout
expect 2 "bench --per-op of an object without time stamps" "$vitc" bench digits.o --per-op
check "it says how to compile" grep -q -e '--profile' stderr
require "compile --profile" "$vitc" compile digits.json -o profiled.o --batch 2 --profile
expect 0 "bench --per-op" "$vitc" bench profiled.o --per-op --runs 5 --batch 2 --threads 2
check "it has the phases of a layer" grep -q '^gemm  *blocks\.0\.mlp\.fc1 ' stdout
check "it sums those of all layers" grep -q '^gemm  *blocks\.\*\.mlp\.fc1 x[0-9]' stdout
check "it has the rest" grep -q 'outside of phases' stdout
expect 0 "bench --per-op --json of a graph" "$vitc" bench digits.json --per-op --json --runs 5 --cpu avx2
cp stdout per_op.json
expect 0 "inspect --json" "$vitc" inspect profiled.o --json
cp stdout account.json
check "bench measures the phases of the account" python3 -c '
import json
phases, account = json.load(open("per_op.json"))["phases"], json.load(open("account.json"))
assert account["profile"] is True
assert [p["name"] for p in phases] == [p["name"] for p in account["info"]["phases"]] and phases
assert [p["flops"] for p in phases] == [p["flops"] for p in account["info"]["phases"]]'

# 16 patches of 192 pixels and a class token, whose row is all of the last block that the head needs but for keys and values.
require "a model by shapes" "$vitc" import --init random --seed 3 -o shapes.json \
  --arch vit:dim=64,heads=2,depth=4,image=32,patch=8,mlp=128,classes=20
require "compile it in int8" "$vitc" compile shapes.json -o shapes.o --precision int8 --profile
expect 0 "bench --per-op --json in int8" "$vitc" bench shapes.o --per-op --json --runs 5 --cpu avx2 --threads 1
cp stdout shapes.out
check "operations are in the precision that they are executed in" python3 -c '
import json
bench = json.load(open("shapes.out"))
patches, tokens, dim, mlp = 16, 17, 64, 128
block = tokens * (4 * dim * dim + 2 * dim * mlp)
last = tokens * 2 * dim * dim + 2 * dim * dim + 2 * dim * mlp
peaks = bench["peaks"]
assert set(peaks) == {"fp32", "int16"} and bench["peak_precision"] == "int16", peaks
wide = peaks["int16"]["gflop_per_image"] * 1e9
assert round(wide) == 2 * (patches * 3 * 8 * 8 * dim + 3 * block + last), wide
total = sum(p["gflop_per_image"] for p in peaks.values())
assert abs(total - bench["gflop_per_image"]) < 1e-9 * total
executed = {(p["phase"], p["peak_precision"]) for p in bench["phases"] if p["flops"] > 0 and p["name"] != "head"}
assert executed == {("gemm", "int16"), ("attention", "fp32"), ("layer norm", "fp32")}, executed
assert [p["peak_precision"] for p in bench["phases"] if p["name"] == "head"] == ["fp32"]
assert bench["total"]["peak_precision"] == "mixed"'
check "a share of the peak is each operation at its own" python3 -c '
import json
bench = json.load(open("shapes.out"))
peaks = bench["peaks"]
def close(got, want):
    assert abs(got - want) <= 1e-6 * want, (got, want)
close(bench["ms_at_peaks"], sum(p["gflop_per_image"] / p["peak_gflops"] for p in peaks.values()) * 1e3)
close(bench["share_of_peak"], bench["ms_at_peaks"] / bench["min_ms"])
close(bench["share_of_peak_at_median"], sum(p["gflop_per_image"] / p["peak_median_gflops"] for p in peaks.values()) * 1e3 / bench["median_ms"])
close(bench["peak_gflops"], peaks["int16"]["peak_gflops"])
for phase in bench["phases"]:
    close(phase["share_of_peak"], phase["gflops"] / peaks[phase["peak_precision"]]["peak_median_gflops"])
at_peaks = sum(p["share_of_peak"] * p["ms"] for p in bench["phases"])
close(bench["total"]["share_of_peak"], at_peaks / bench["total"]["ms"])'
expect 0 "bench --per-op in int8" "$vitc" bench shapes.o --per-op --runs 5 --cpu avx2 --threads 1
check "names them" grep -q '^attention .* fp32 ' stdout
check "and the peaks" test "$(grep -c -E 'of (int16|fp32) multiply-adds .*% of the operations' stdout)" = 2

for model in digits.json digits.o; do "$vitc" inspect $model | sed -n '/^parameters /,$p' >"$model.txt"; done
check "graph and object are described alike" cmp digits.json.txt digits.o.txt
check "and at length" grep -q 'layer norm  *blocks\.0\.norm1' digits.o.txt
printf 'run 2\nrun 1\nquit\n' >requests
check "bench --worker answers" test "$("$vitc" bench digits.o --worker --input pixels.npy --output worker.npy <requests |
  grep -c -x -E 'ready|[0-9]+\.[0-9]+')" = 4
check "with the same bits" cmp worker.npy object.npy
expect 0 "rivals.sh --help" "$root/tests/bench/rivals.sh" --help

# Labels are of classes; names of values may be anything, in the header's comments and in the names of files, too.
require "import values of the graph" "$vitc" import "$digits" --output blocks.0.norm1,logits -o values.json
sed -i 's|"blocks.0.norm1"|"a*/b/*c"|g' values.json
require "compile them" "$vitc" compile values.json -o values.o --header values.h
check "the header is C" cc -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c values.h
expect 0 "run it" "$vitc" run values.o --image "$image" --output values.npy
check "a file for each output" test -s 'values.a*_b_*c.npy' -a -s values.logits.npy
check "with the same logits" npy close values.logits.npy object.npy
expect 2 "import --output of a graph" "$vitc" import digits.json -o a.json --output tokens

rejects "import: no such source" missing "$vitc" import missing -o a.json
rejects "compile: no such graph" missing.json "$vitc" compile missing.json -o a.o
rejects "run: no such object" missing.o "$vitc" run missing.o --image "$image"
rejects "inspect: not a model" "$image" "$vitc" inspect "$image"
rejects "compile: not a model" "$image" "$vitc" compile "$image" -o a.o
rejects "run: no such image" missing.png "$vitc" run digits.o --image missing.png
expect 2 "compile: unknown precision" "$vitc" compile digits.json -o a.o --precision fp17
expect 2 "compile: over the model's weights" "$vitc" compile digits.json -o a.o --header ./digits.safetensors
expect 2 "compile: batch 0" "$vitc" compile digits.json -o a.o --batch 0
check "no output of what failed" absent a.json a.safetensors a.o a.h

echo "not an image" >broken.png
expect 1 "predict: a broken image among good ones" "$vitc" predict digits.o broken.png "$image" --format csv
check "the good one is classified" grep -q seven stdout
check "the broken one is reported" grep -q '^vitc: broken.png: ' stderr

expect 4 "compile: folder of the output missing" "$vitc" compile digits.json -o no/such/folder/a.o
expect 4 "compile: disk full" "$vitc" compile digits.json -o /dev/full
ln -s /dev/full full.json
expect 4 "import: disk full" "$vitc" import "$digits" -o full.json
expect 4 "preprocess: disk full" "$vitc" preprocess digits.json "$image" -o /dev/full
for command in "inspect digits.json" "predict digits.o $image" "compare digits.json digits.o --image $image"; do
  status=0
  # shellcheck disable=SC2086
  "$vitc" $command >/dev/full 2>stderr || status=$?
  check "${command%% *}: stdout is full" test $status = 4
done
# No room for the header, in the middle of the weights, and for the code after them.
for precision in fp32 int8; do
  for weights in embed external; do
    "$vitc" compile digits.json -o whole.o --precision $precision --weights $weights
    last=$(($(stat -c %s whole.o) / 1024 - 8))
    for limit in 3 100 $last; do
      status=0
      (
        ulimit -f "$limit"
        "$vitc" compile digits.json -o limited.o --precision $precision --weights $weights >stdout 2>stderr
      ) || status=$?
      check "compile $precision $weights: a file size limit of $limit KB" test $status = 4
      check "one line says so" test "$(wc -l <stderr) $(grep -c '^vitc: limited\.[a-z]*: cannot write: ' stderr)" = "1 1"
      check "nothing is left of it" test -z "$(find . -name 'limited*')"
    done
  done
done
mkdir kept && cp digits.json digits.safetensors kept
cp digits.o kept/old.o
rejects "compile over an old object, from a bad graph" kept/bad.json "$vitc" compile kept/bad.json -o kept/old.o
check "the old object is as it was" cmp kept/old.o digits.o
check "no temporary files are left" test "$(find . -name '*tmp*' -o -name '.*.??????' | wc -l)" = 0
finish
