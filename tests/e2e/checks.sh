# Sourced by the end-to-end tests: a scratch folder, counted checks, and what a vitc command may and may not do.
#
#   check NAME COMMAND...           passes when COMMAND succeeds; may look at the output of the last expect
#   require NAME COMMAND...         expect 0, and the script ends when it fails
#   expect STATUS NAME COMMAND...   passes when COMMAND exits with STATUS; its output is in $scratch/stdout and $scratch/stderr
#   rejects NAME FILE COMMAND...    COMMAND exits with 3 and prints one line, "vitc: FILE: ...", to stderr and nothing to stdout
#   finish                          prints "N passed, N failed"

set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
root=$PWD
vitc=${VITC:-$PWD/build/vitc}
python=${PYTHON:-python3}
build=${VITC_BUILD:-$PWD/build}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0

pass() {
  passed=$((passed + 1))
  echo "pass  $1"
}

fail() {
  failed=$((failed + 1))
  echo "FAIL  $1"
  shift
  [ $# -eq 0 ] || printf '      %s\n' "$@"
}

check() {
  local name=$1
  shift
  if "$@" >"$scratch/checked" 2>&1; then
    pass "$name"
  else
    fail "$name" "$*" "$(tail -5 "$scratch/checked")"
    return 1
  fi
}

# A check that the rest of the script stands on.
require() {
  expect 0 "$@" || {
    finish
    exit 1
  }
}

expect() {
  local want=$1 name=$2 status=0
  shift 2
  timeout 300 "$@" >"$scratch/stdout" 2>"$scratch/stderr" </dev/null || status=$?
  if [ $status = "$want" ]; then
    pass "$name"
  else
    fail "$name" "$*" "exit status $status, expected $want" "$(tail -5 "$scratch/stderr")"
    return 1
  fi
}

one_line_about() {
  [ "$(wc -l <"$scratch/stderr")" = 1 ] && [ ! -s "$scratch/stdout" ] && case "$(cat "$scratch/stderr")" in "vitc: $1: "*) ;; *) false ;; esac
}

rejects() {
  local name=$1 file=$2 status=0
  shift 2
  timeout 300 "$@" >"$scratch/stdout" 2>"$scratch/stderr" </dev/null || status=$?
  if [ $status = 3 ] && one_line_about "$file"; then
    pass "$name"
  else
    fail "$name" "$*" "exit status $status; expected 3 and one line 'vitc: $file: ...', got:" "$(head -5 "$scratch/stderr")"
    return 1
  fi
}

absent() {
  local file
  for file in "$@"; do
    if [ -e "$file" ]; then
      echo "is there: $file"
      return 1
    fi
  done
}

npy() {
  "$python" "$root/tests/e2e/npy.py" "$@"
}

finish() {
  echo "$passed passed, $failed failed"
  [ $failed = 0 ] && [ $passed -gt 0 ]
}
