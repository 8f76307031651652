#!/usr/bin/env bash
# From nothing to classified images: installs what is missing, builds vitc, compiles two models, links a C program with each, and
# runs it on images. What is up to date is not made again, so a second run takes seconds. Everything lands in build/.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

# Shows a command, then runs it.
run() {
  printf '   $'
  printf ' %s' "$@"
  printf '\n'
  "$@"
}

# Whether the first file exists and is newer than all the others.
fresh() {
  local made=$1 from
  shift
  [ -e "$made" ] || return 1
  for from in "$@"; do
    if [ "$from" -nt "$made" ]; then return 1; fi
  done
}

say "1. Packages"
. examples/packages.sh
need_build_packages
if [ ${#NEEDED[@]} -eq 0 ]; then
  echo "   all there"
fi
install_needed

say "2. The compiler: build/vitc, and the runtime: build/libvitc_runtime.a"
mkdir -p build
if [ ! -f build/CMakeCache.txt ]; then
  cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DVITC_TESTS=OFF >build/quickstart.log
fi
if ! cmake --build build --target vitc vitc_runtime >build/quickstart.log 2>&1; then
  tail -30 build/quickstart.log >&2
  exit 1
fi
vitc=build/vitc
out=build/quickstart
mkdir -p "$out"
"$vitc" --version

# compile_app NAME: NAME.json to an object with its header, and the example program linked with it.
compile_app() {
  local name=$1
  if ! fresh "$out/$name.o" "$vitc" "$out/$name.json"; then
    run "$vitc" compile "$out/$name.json" -o "$out/$name.o" --header "$out/$name.h"
  fi
  if ! fresh "$out/classify_$name" "$out/$name.o" examples/classify/classify.c build/libvitc_runtime.a; then
    run cc -O2 -Iruntime/include -DMODEL="$name" -include "$out/$name.h" examples/classify/classify.c "$out/$name.o" \
      build/libvitc_runtime.a -ljpeg -lpng -lwebp -lpthread -lm -o "$out/classify_$name"
  fi
  echo "   $out/classify_$name: $(stat -c %s "$out/$name.o") bytes of object, undefined symbols: $(nm -u "$out/$name.o" | wc -l)"
}

say "3. A small ViT, trained on handwritten digits (examples/digits)"
if ! fresh "$out/digits.json" "$vitc" examples/digits/model/config.json examples/digits/model/model.safetensors; then
  run "$vitc" import examples/digits/model -o "$out/digits.json"
fi
compile_app digits

say "4. ViT-B/16 at 224 x 224, random weights (about 1 GB of files in $out)"
if ! fresh "$out/vit_b16.json" "$vitc"; then
  run "$vitc" import --init random --seed 0 --arch vit_base_patch16_224 -o "$out/vit_b16.json"
fi
compile_app vit_b16

say "5. Images of the digits' test split, that the training has not seen: the folder's name is the right answer"
run "$out/classify_digits" examples/digits/images/*/*.png

say "6. The same program around ViT-B/16. Its weights are random, so its answers mean nothing; its speed does"
start=$(date +%s%N)
run "$out/classify_vit_b16" examples/digits/images/{one,two,three}/*.png
echo "   $((($(date +%s%N) - start) / 1000000)) ms for 6 images, start and preparation included"

say "Next"
cat <<'EOT'
   Your own weights:   build/vitc import FOLDER -o my.json     (a timm or transformers folder, or a state dict with --arch)
   Is it right?        build/vitc compare my.json my.o --image photo.jpg
   How fast is it?     build/vitc bench build/quickstart/vit_b16.o
   In your program:    README.md, "In C"; more programs in examples/
   All tests:          tests/run.sh
EOT
