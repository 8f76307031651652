#!/usr/bin/env bash
# What README.md names is there: every path of the tree in code spans and (indented) code blocks, every vitc command, and every option that a
# command line in a code block gives to it (by the command's own --help).
set -euo pipefail
cd "$(dirname "$0")/../.."
vitc=${VITC:-build/vitc}
passed=0
failed=0
verdict() {
  if [ "$1" = 0 ]; then
    passed=$((passed + 1))
  else
    echo "README.md: $2"
    failed=$((failed + 1))
  fi
}

code=$(awk '/^    / { sub(/^    /, ""); print; next } { while (match($0, /`[^`]+`/)) { print substr($0, RSTART + 1, RLENGTH - 2); $0 = substr($0, RSTART + RLENGTH) } }' README.md)

while read -r path; do
  status=0
  compgen -G "$path" >/dev/null || status=1
  verdict $status "no such path: $path"
done < <(grep -o -E '(^|[ (=])(\./)?(compiler|runtime|frontends|tests|examples|\.ci)/[][A-Za-z0-9_./*{},-]*' <<<"$code" |
  sed 's/^[ (=]*//; s/[.,]$//' | grep -v '[{<]' | sort -u)

while read -r command options; do
  status=0
  help=$("$vitc" "$command" --help 2>&1) || status=1
  verdict $status "no such command: vitc $command"
  for option in $options; do
    status=0
    grep -q -e "${option}\b" <<<"$help" || status=1
    verdict $status "vitc $command has no option $option"
  done
done < <(sed ':a; /\\$/ { N; s/\\\n//; ba }' <<<"$code" | sed 's/&&/\n/g; s/ | .*//' |
  awk '{ for (i = 1; i < NF; i++) if ($i ~ /(^|\/)vitc$/ && $(i + 1) ~ /^[a-z]+$/) {
    line = $(i + 1)
    for (j = i + 2; j <= NF && $j != "#"; j++) if ($j ~ /^\[?--[a-z]/) { gsub(/[^a-z0-9-]/, "", $j); line = line " " $j }
    print line; next } }' | sort -u)

for needed in ./examples/quickstart.sh ./tests/run.sh; do
  status=0
  grep -q -x -F -e "$needed" <<<"$code" || status=1
  verdict $status "does not give the command $needed"
done
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
