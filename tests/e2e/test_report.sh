#!/usr/bin/env bash
# vitc report: the page is well-formed and whole, says what inspect, bench and compare say, and takes names as text.
. "$(dirname "$0")/checks.sh"
cd "$scratch" || exit 1
page=("$python" "$root/tests/e2e/report.py")

require "import" "$vitc" import --init random --seed 3 -o m.json \
  --arch vit:dim=64,heads=2,depth=4,image=32,patch=8,mlp=128,classes=20
require "compile with time stamps" "$vitc" compile m.json -o profiled.o --precision int8 --profile
require "compile without" "$vitc" compile m.json -o plain.o --batch 2
expect 0 "report of graph and object" "$vitc" report m.json profiled.o -o full.html --runs 20 --batch 2 --seed 5
check "nothing on stdout" test ! -s stdout
"$vitc" inspect profiled.o --json >account.out
expect 0 "compare --per-node" "$vitc" compare m.json profiled.o --per-node --json --batch 2 --seed 5
cp stdout compared.out
check "its figures are those of inspect and compare" "${page[@]}" check full.html account.out compared.out
check "layers that repeat are drawn once" test "$("${page[@]}" check full.html account.out compared.out | sed 's/.*folds \[\([0-9]*\)\].*/\1/')" = 3
expect 0 "report of a graph alone" "$vitc" report m.json -o graph.html --batch 1
"$vitc" inspect m.json --json >account.out
check "says how to get times" "${page[@]}" check graph.html account.out
expect 0 "report of an object without time stamps" "$vitc" report m.json plain.o -o plain.html
"$vitc" inspect plain.o --json >account.out
check "says so too" "${page[@]}" check plain.html account.out
check "for this object" grep -q 'compiled without time stamps' plain.html
expect 0 "on photographs" "$vitc" import "$root/examples/digits/model" -o digits.json
expect 0 "report on an image" "$vitc" report digits.json -o digits.html --image "$root/examples/digits/images/seven/3508.png" --precision bf16
check "names it" grep -q '3508.png' digits.html
check "and is well-formed" "${page[@]}" small digits.html 1000000

check "a graph with hostile names" "${page[@]}" hostile m.json hostile.json
sed -i 's/m.safetensors/hostile.safetensors/' hostile.json
cp m.safetensors hostile.safetensors
require "compile it" "$vitc" compile hostile.json -o hostile.o --profile
expect 0 "report of it" "$vitc" report hostile.json hostile.o -o hostile.html --runs 5
check "names are text" "${page[@]}" names hostile.html

require "a deep model" "$vitc" import --init random --seed 1 -o deep.json \
  --arch vit:dim=32,heads=2,depth=100,image=16,patch=8,mlp=32,classes=10
expect 0 "report of it" "$vitc" report deep.json -o deep.html
check "is bounded" "${page[@]}" small deep.html 1500000

expect 2 "no output" "$vitc" report m.json
expect 2 "over the graph" "$vitc" report m.json -o m.json
expect 2 "no graph" "$vitc" report -o x.html
expect 2 "a precision beside an object" "$vitc" report m.json plain.o -o x.html --precision int8
rejects "no such graph" none.json "$vitc" report none.json -o x.html
rejects "no such object" none.o "$vitc" report m.json none.o -o x.html
rejects "an object in the graph's place" plain.o "$vitc" report plain.o -o x.html
rejects "another model's object" plain.o "$vitc" report deep.json plain.o -o x.html
check "no page of what failed" absent x.html
expect 4 "disk full" "$vitc" report m.json -o /dev/full
cp graph.html before.html
rejects "over an old page" none.json "$vitc" report none.json -o graph.html
check "which is as it was" cmp graph.html before.html
check "no temporary files are left" test "$(find . -name '*.tmp' | wc -l)" = 0
finish
