#!/usr/bin/env bash
# Cut, corrupt and hostile files on the command line: exit 3 with one line, never a crash. Needs python3's standard library only,
# and runs again with a vitc built with sanitizers.
. "$(dirname "$0")/checks.sh"
cd "$scratch" || exit 1
image=$root/examples/digits/images/seven/3508.png

require "import" "$vitc" import "$root/examples/digits/model" -o digits.json
require "compile" "$vitc" compile digits.json -o digits.o

cat >break.py <<'EOT'
"""break.py FILE cut N OUT | byte N VALUE OUT | append TEXT OUT | text OLD NEW OUT"""
import sys

data = open(sys.argv[1], "rb").read()
how, arguments, out = sys.argv[2], sys.argv[3:-1], sys.argv[-1]
if how == "cut":
    at = int(arguments[0])
    data = data[: at if at >= 0 else len(data) + at]
elif how == "byte":
    at = int(arguments[0])
    data = data[:at] + bytes([int(arguments[1])]) + data[at + 1 :]
elif how == "append":
    data += arguments[0].encode()
elif how == "text":
    assert arguments[0].encode() in data, arguments[0]
    data = data.replace(arguments[0].encode(), arguments[1].encode(), 1)
open(out, "wb").write(data)
EOT

# Objects: cut anywhere, and a header that lies.
size=$(stat -c %s digits.o)
for at in 0 1 4 15 16 52 63 64 65 100 1000 $((size / 2)) $((size - 4096)) $((size - 64)) $((size - 1)); do
  python3 break.py digits.o cut $at bad.o
  rejects "object cut at $at" bad.o "$vitc" run bad.o --image "$image"
done
for at in 0 4 5 6 16 18 20 40 41 47 58 60 61; do
  python3 break.py digits.o byte $at 238 bad.o
  rejects "object, byte $at of the header" bad.o "$vitc" inspect bad.o
done
printf '\177ELF' >bad.o
rejects "an object of four bytes" bad.o "$vitc" bench bad.o
head -c 100000 /dev/zero >bad.o
rejects "an object of zeros" bad.o "$vitc" predict bad.o "$image"

# Graphs and weights.
mkdir bad
cp digits.safetensors bad/digits.safetensors
size=$(stat -c %s digits.json)
for at in 0 1 10 100 $((size / 2)) $((size - 3)); do
  python3 break.py digits.json cut $at bad/digits.json
  rejects "graph cut at $at" bad/digits.json "$vitc" compile bad/digits.json -o bad/out.o
done
python3 break.py digits.json append "x" bad/digits.json
rejects "graph with text after its end" bad/digits.json "$vitc" compile bad/digits.json -o bad/out.o
python3 break.py digits.json text '"Add"' '"Subtractify"' bad/digits.json
rejects "graph with an unknown op" bad/digits.json "$vitc" compile bad/digits.json -o bad/out.o
python3 -c 'print("[" * 200000)' >bad/digits.json
rejects "graph nested 200000 deep" bad/digits.json "$vitc" compile bad/digits.json -o bad/out.o
cp digits.json bad/digits.json
size=$(stat -c %s digits.safetensors)
for at in 0 7 8 9 100 $((size / 2)) $((size - 1)); do
  python3 break.py digits.safetensors cut $at bad/digits.safetensors
  rejects "weights cut at $at" bad/digits.safetensors "$vitc" compile bad/digits.json -o bad/out.o
done
for value in 127 255; do
  python3 break.py digits.safetensors byte 7 $value bad/digits.safetensors
  rejects "weights with a header of 2^63 bytes" bad/digits.safetensors "$vitc" compile bad/digits.json -o bad/out.o
done
python3 break.py digits.safetensors append "x" bad/digits.safetensors
rejects "weights with bytes after the last tensor" bad/digits.safetensors "$vitc" compile bad/digits.json -o bad/out.o
rm bad/digits.safetensors
rejects "weights missing" bad/digits.safetensors "$vitc" compile bad/digits.json -o bad/out.o
check "no object of any of them" absent bad/out.o bad/out.h

# Checkpoints of torch.save.
for form in checkpoint checkpoint_legacy; do
  size=$(stat -c %s "$root/tests/golden/$form.pth")
  for at in 0 3 15 40 $((size / 3)) $((size / 2)) $((size - 1)); do
    python3 break.py "$root/tests/golden/$form.pth" cut $at bad.pth
    rejects "$form cut at $at" bad.pth "$vitc" import bad.pth -o bad/out.json
  done
done
cat >bombs.py <<'EOT'
import os
import pickle
import zipfile


class Command:
    def __reduce__(self):
        return os.system, ("touch ran",)


def archive(name, pickled, **options):
    with zipfile.ZipFile(name, "w", **options) as target:
        target.writestr("archive/data.pkl", pickled)


archive("command.pth", pickle.dumps({"model": Command()}, 2))
archive("compressed.pth", bytes(300 << 20), compression=zipfile.ZIP_DEFLATED)
archive("deep.pth", b"\x80\2N" + b"\x85" * 20_000_000 + b".")
archive("wide.pth", b"\x80\2(" + b"]" * 20_000_000 + b"t.")
EOT
python3 bombs.py
for bomb in command compressed deep wide; do
  rejects "checkpoint that is $bomb" $bomb.pth "$vitc" import $bomb.pth -o bad/out.json
done
check "nothing was run" absent ran
check "no graph of any of them" absent bad/out.json bad/out.safetensors

# Images.
size=$(stat -c %s "$image")
for at in 0 1 8 20 40 $((size / 2)) $((size - 13)); do
  python3 break.py "$image" cut $at bad.png
  rejects "image cut at $at" bad.png "$vitc" run digits.o --image bad.png
  expect 1 "predict, image cut at $at" "$vitc" predict digits.o bad.png
done
python3 break.py "$image" byte 16 255 bad.png
rejects "image of 4 billion columns" bad.png "$vitc" preprocess digits.json bad.png -o bad.npy

# Tensors.
npy random good.npy 1 1 3 28 28
for at in 0 5 9 30 80 200; do
  python3 break.py good.npy cut $at bad.npy
  rejects "tensor cut at $at" bad.npy "$vitc" run digits.o --input bad.npy
done
npy random bad.npy 1 1 3 28 29
rejects "tensor of another shape" bad.npy "$vitc" run digits.o --input bad.npy
rejects "tensor of another shape, graph" bad.npy "$vitc" run digits.json --input bad.npy

# Checkpoints, indexes of shards and ONNX models that lie, and what refusing them may cost. Sanitizers make everything dear.
# (Read whole: a grep that ends early ends nm by a signal, and pipefail makes that a no.)
mkdir sources
loose=()
if grep -q __asan_ <<<"$(nm -D "$vitc")"; then loose=(loose); fi
python3 "$root/tests/e2e/hostile.py" "$vitc" "$scratch/sources" "${loose[@]}" >hostile.log
while IFS= read -r line; do
  case $line in
    "pass  "*) pass "${line#pass  }" ;;
    "FAIL  "*) fail "${line#FAIL  }" ;;
  esac
done <hostile.log
check "every source was tried" grep -q -E '^[0-9]+ passed, [0-9]+ failed$' hostile.log
check "nothing was run" absent ran "$root/ran"
finish
