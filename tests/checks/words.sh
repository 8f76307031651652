#!/usr/bin/env bash
# What the tree must not hold: leftovers, and anything that is true of one machine only. One check a file.
set -euo pipefail
cd "$(dirname "$0")/../.."
# The brackets keep this file from finding itself.
leftovers='\b(TO[D]O|FIX[M]E|XX[X]|HAC[K])\b'
machine='(^|[^A-Za-z0-9_.$}/])/(hom[e]|wor[k]|roo[t])/[A-Za-z0-9_.]'
tickets='\b([Ii]ssu[e]|[Tt]icke[t]|PR) #?[0-9]'
hosts='(pypi[.]or[g]|debian[.]or[g]|huggingface[.]c[o]|github[.]co[m]|crates[.]i[o])'
long=500
passed=0
failed=0
while read -r file; do
  case "$file" in LICENSE | *.png | *.ppm | *.safetensors | *.npy | *.jpg | *.webp | *.bin) continue ;; esac
  [ -f "$file" ] || continue
  faults=0
  if grep -a -n -E -e "$leftovers" -e "$machine" -e "$tickets" -e "$hosts" "$file" | sed "s|^|$file:|"; then faults=1; fi
  case "$file" in
    *.c | *.h | *.py | *.sh)
      if [ "$(wc -l <"$file")" -gt $long ]; then
        echo "$file: longer than $long lines"
        faults=1
      fi
      ;;
  esac
  if [ $faults = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done < <(git ls-files)
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
