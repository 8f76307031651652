# Sourced: runs suites, two at a time, and adds up their counts. Uses $build (for logs) and, when not empty, ${wanted[@]}.
#
#   suite NAME COMMAND...   runs COMMAND, whose last line of the form "N passed, N failed" counts; returns once it has started
#   suites_wait             waits for all that have started, so that a later one may stand on what they made
#   suites_finish           waits, and prints the sum as the last line; status 1 if anything failed or nothing ran

TIMEFORMAT='(%0U s user + %0S s system)'
suites_passed=0
suites_failed=0
suites_failures=()
declare -A suites_running=() # by process: the name
declare -A suites_began=()
[ "$(nproc)" -gt 1 ] && suites_at_once=2 || suites_at_once=1

# Runs a Criterion program and prints its synthesis in the form of the other suites. A crash of a test is a failure.
criterion() {
  local status=0 output
  output=$("$@" --color=never 2>&1 </dev/null) || status=$?
  printf '%s\n' "$output"
  local line
  line=$(printf '%s\n' "$output" | grep -a 'Synthesis: Tested:' | tail -1) || return 1
  local tested passing
  tested=$(printf '%s\n' "$line" | sed 's/.*Tested: \([0-9]*\).*/\1/')
  passing=$(printf '%s\n' "$line" | sed 's/.*Passing: \([0-9]*\).*/\1/')
  echo "$passing passed, $((tested - passing)) failed"
  return $status
}

wants() {
  [ ${#wanted[@]} -eq 0 ] && return 0
  local part
  for part in "${wanted[@]}"; do
    case "$1" in *"$part"*) return 0 ;; esac
  done
  return 1
}

suite_log() {
  printf '%s' "$build/logs/$(printf '%s' "$1" | tr '/ ' '__').log"
}

suite() {
  local name=$1
  shift
  wants "$name" || return 0
  while [ ${#suites_running[@]} -ge $suites_at_once ]; do suite_ends; done
  { time "$@"; } >"$(suite_log "$name")" 2>&1 </dev/null &
  suites_running[$!]=$name
  suites_began[$!]=$SECONDS
}

# Waits for any one that runs, and reports it.
suite_ends() {
  local process status=0 name log count passed failed seconds cpu
  wait -n -p process "${!suites_running[@]}" || status=$?
  name=${suites_running[$process]}
  seconds=$((SECONDS - suites_began[$process]))
  unset "suites_running[$process]"
  log=$(suite_log "$name")
  cpu=$(sed -n 's/^(\([0-9]*\) s user + \([0-9]*\) s system)$/\1 + \2/p' "$log" | tail -1)
  count=$(grep -a -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -1) || count=""
  if [ -z "$count" ]; then
    passed=0 failed=1
    echo "(no count of passed and failed tests; exit status $status)" >>"$log"
  else
    passed=${count%% *}
    failed=${count#*, }
    failed=${failed%% *}
    # A status without a failed test is a crash after the last count; a suite that tested nothing is broken.
    if { [ "$status" -ne 0 ] || [ "$passed" -eq 0 ]; } && [ "$failed" -eq 0 ]; then
      echo "(exit status $status)" >>"$log"
      failed=1
    fi
  fi
  suites_passed=$((suites_passed + passed))
  suites_failed=$((suites_failed + failed))
  printf '%-36s %5d passed %5d failed %5d s, %5d s of CPU\n' "$name" "$passed" "$failed" "$seconds" \
    "$((cpu))"
  if [ "$failed" -gt 0 ]; then
    suites_failures+=("$name")
    # head may end the greps by a signal, and a log without any such line is one, too: neither may end the run.
    grep -a -i -E 'fail|error|assert|crash' "$log" | grep -a -v '^pass' | head -30 | sed 's/^/    /' || true
    tail -5 "$log" | sed 's/^/    /'
    echo "    all of it: $log"
  fi
}

suites_wait() {
  while [ ${#suites_running[@]} -gt 0 ]; do suite_ends; done
}

suites_finish() {
  suites_wait
  if [ ${#suites_failures[@]} -gt 0 ]; then
    echo "Failed: ${suites_failures[*]}"
  fi
  echo "$suites_passed passed, $suites_failed failed"
  [ "$suites_failed" -eq 0 ] && [ "$suites_passed" -gt 0 ]
}
