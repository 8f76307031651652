#!/usr/bin/env bash
# The example programs compile without a warning, with the commands that they give, and run.
. "$(dirname "$0")/checks.sh"
examples=$root/examples
cd "$scratch" || exit 1
flags=(-O2 -std=c11 -Wall -Wextra -Wshadow -Werror)
runtime=("$build/libvitc_runtime.a" -ljpeg -lpng -lwebp -lpthread -lm)

require "import digits" "$vitc" import "$examples/digits/model" -o digits.json
require "import tiny" "$vitc" import --init random --seed 1 --arch vit_tiny_patch16_224 --image-size 64x64 -o tiny.json
require "compile digits" "$vitc" compile digits.json -o digits.o --header digits.h
require "compile tiny" "$vitc" compile tiny.json -o tiny.o --header tiny.h

check "build classify" cc "${flags[@]}" -I"$root/runtime/include" -DMODEL=digits -include digits.h "$examples/classify/classify.c" digits.o "${runtime[@]}" -o classify
right=0
for image in "$examples"/digits/images/*/*.png; do
  label=$(basename "$(dirname "$image")")
  predicted=$("$vitc" predict digits.o "$image" --topk 1 --format csv | awk -F, 'NR == 2 { print $4 }')
  [ "$predicted" != "$label" ] || right=$((right + 1))
  expect 0 "classify $label/$(basename "$image")" ./classify "$image"
  check "it says what vitc predict says" grep -q -E ": +$predicted " stdout
done
check "$right of 20 are right" test $right -ge 19
expect 1 "classify: an image that is none" ./classify classify

# The program that README.md shows, as it stands there.
awk '/^    #include "digits.h"/ { on = 1 } /^[^ ]/ { on = 0 } on { sub(/^    /, ""); print }' "$root/README.md" | sed '/^cc /,$d' >program.c
check "build the README's program" cc "${flags[@]}" -I. program.c digits.o -o program
expect 0 "README's program" ./program

check "build two_models" cc "${flags[@]}" -I"$root/runtime/include" -include digits.h -include tiny.h "$examples/two_models/two_models.c" digits.o tiny.o "${runtime[@]}" -o two_models
expect 0 "two_models" ./two_models
check "build own_threads" cc "${flags[@]}" -include digits.h "$examples/own_threads/own_threads.c" digits.o -lpthread -o own_threads
expect 0 "own_threads" ./own_threads

mkdir u8
expect 0 "compile digits for 8-bit input" "$vitc" compile digits.json --input u8 -o u8/digits.o --header u8/digits.h
check "build camera" cc "${flags[@]}" -include u8/digits.h "$examples/camera/camera.c" u8/digits.o -lm -o camera
expect 0 "camera" sh -c './camera <"$1"' sh "$examples/camera/frame.ppm"
check "it says seven" grep -q '^seven ' stdout
expect 1 "camera: no frame" ./camera

# With the model that it is for, it runs in test_focus.sh.
check "build saliency" cc "${flags[@]}" -I"$root/runtime/include" -DMODEL=digits -include digits.h "$examples/saliency/saliency.c" digits.o "${runtime[@]}" -o saliency
expect 1 "saliency: a model without a map" ./saliency "$examples/digits/images/seven/3508.png" map.png
check "it says what it wants" grep -q "to a map of the same size" stderr
check "and draws nothing" absent map.png
finish
