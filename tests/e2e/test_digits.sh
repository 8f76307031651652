#!/usr/bin/env bash
# The trained example: the compiled model's accuracy on the held-out test split is PyTorch's, and in low precision nearly so.
. "$(dirname "$0")/checks.sh"
digits=$root/examples/digits
cd "$scratch" || exit 1

require "PyTorch's accuracy" "$python" "$digits/train.py" --evaluate
reference=$(sed -n 's/^test accuracy //p' stdout)
echo "PyTorch: $reference"
check "README.md gives it" grep -q -F "${reference#*= }" "$root/README.md"
require "export the test split" "$python" "$digits/export_test.py" split
check "1000 images" test "$(find split -name '*.png' | wc -l)" = 1000
for image in "$digits"/images/*/*.png; do
  cmp -s "$image" "split/${image#"$digits/images/"}" || fail "committed image is not of the split: $image"
done
require "import" "$vitc" import "$digits/model" -o digits.json
require "compile" "$vitc" compile digits.json -o digits.o
expect 0 "accuracy of the object" env VITC="$vitc" "$digits/evaluate.sh" digits.o split
got=$(sed -n 's/^accuracy //p' stdout)
echo "vitc: $got"
check "the same accuracy" test "$got" = "$reference"
check "at least 97 %" test "${got%%/*}" -ge 970

for precision in bf16 int8; do
  require "compile in $precision" "$vitc" compile digits.json -o $precision.o --precision $precision
  expect 0 "accuracy in $precision" env VITC="$vitc" "$digits/evaluate.sh" $precision.o split
  low=$(sed -n 's/^accuracy //p' stdout)
  echo "vitc $precision: $low"
  check "$precision: at most 0.2 points less" test "${low%%/*}" -ge $((${got%%/*} - 2))
done
finish
