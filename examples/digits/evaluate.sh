#!/usr/bin/env bash
# Accuracy of a compiled model on images that lie in folders named after their class, from `vitc predict` alone.
#
#   examples/digits/evaluate.sh MODEL.o FOLDER
set -euo pipefail
vitc=${VITC:-$(dirname "$0")/../../build/vitc}
"$vitc" predict "$1" "$2" --topk 1 --format csv | awk -F, '
  NR == 1 {
    for (i = 1; i <= NF; i++) {
      if ($i == "image") image = i
      if ($i == "label") label = i
    }
    if (!image || !label) { print "evaluate: no columns image and label in: " $0 > "/dev/stderr"; exit 1 }
    next
  }
  { parts = split($image, path, "/"); total++; right += path[parts - 1] == $label }
  END { if (!total) exit 1; printf "accuracy %d/%d = %.2f %%\n", right, total, 100 * right / total }'
