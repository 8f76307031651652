#!/usr/bin/env bash
# Who may include whom. One check a source file; prints each crossing.
#
#   base <- ir + ops <- { interp, passes, plan, frontends } <- driver <- cmd;  { interp, plan } <- calibrate <- driver
#   { ir, plan, target } <- llvm <- driver;  load stands on base alone;  the runtime knows nothing of the compiler
set -euo pipefail
cd "$(dirname "$0")/../.."

declare -A may=(
  [base]="base"
  [ir]="ir ops base public"
  [ops]="ir ops base public"
  [interp]="interp ir ops base public"
  [passes]="passes ir ops base public"
  [target]="target base public"
  [plan]="plan target ir ops base public"
  [calibrate]="calibrate interp plan target ir ops base public"
  [llvm]="llvm plan target ir ops base public"
  [load]="load base public"
  [frontends]="frontends ir ops base public"
  [driver]="driver frontends interp passes calibrate plan target llvm ir ops base public"
  [cmd]="cmd driver load frontends interp passes calibrate plan target llvm ir ops base public"
  [main]="cmd driver base public"
  [public]="public"
  [runtime]="runtime public"
)

# The room of a file of the tree.
room() {
  case "$1" in
    compiler/driver*) echo driver ;;
    compiler/main.c) echo main ;;
    compiler/*/*) echo "$1" | cut -d/ -f2 ;;
    frontends/*) echo frontends ;;
    runtime/include/vitc/*) echo public ;;
    runtime/src/*) echo runtime ;;
    *) echo unknown ;;
  esac
}

# The file that `#include "$2"` in file $1 means.
resolve() {
  local base
  for base in "$(dirname "$1")" compiler frontends runtime/include; do
    if [ -f "$base/$2" ]; then
      realpath --relative-to=. "$base/$2"
      return
    fi
  done
}

passed=0
failed=0
check() {
  local file=$1 from include target to crossings=0
  from=$(room "$file")
  while read -r include; do
    target=$(resolve "$file" "$include")
    to=$(room "${target:-none}")
    if [[ $include == *.inc ]] && grep -q -F "/$include" CMakeLists.txt; then
      continue # made by the build
    elif [[ $include == *.pb-c.h ]] && [ -f "$(dirname "$file")/${include%.pb-c.h}.proto" ]; then
      continue # made by protoc-c
    elif [ -z "$target" ]; then
      echo "$file: no such file in the tree: \"$include\""
      crossings=1
    elif [[ " ${may[$from]-} " != *" $to "* ]]; then
      echo "$file: $from may not include $to: \"$include\""
      crossings=1
    elif [ "$from" = passes ] && [ -f "${target%.h}.c" ] && [ "${target%.*}" != "${file%.*}" ] &&
      grep -q "(\"*$(basename "${target%.h}")\b" compiler/passes/passes.def; then
      echo "$file: a pass may not include another pass: \"$include\""
      crossings=1
    fi
  done < <(sed -n 's/^ *# *include *"\([^"]*\)".*/\1/p' "$file")
  if [ "$from" != llvm ] && grep -n '^ *# *include *<llvm' "$file"; then
    echo "$file: only compiler/llvm may include LLVM's headers"
    crossings=1
  fi
  if [ "$from" != frontends ] && grep -n -i '^ *# *include *<cjson' "$file"; then
    echo "$file: only frontends may include cJSON"
    crossings=1
  fi
  if [ $crossings = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

while read -r file; do
  check "$file"
done < <(find compiler frontends runtime -name '*.[ch]' | sort)
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
