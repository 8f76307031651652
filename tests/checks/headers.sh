#!/usr/bin/env bash
# Each public header compiles alone, as C11 and as C++, without a warning.
set -euo pipefail
cd "$(dirname "$0")/../.."
warnings="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
passed=0
failed=0
for header in runtime/include/vitc/*.h; do
  for compiler in "${CC:-cc} -std=c11 -xc" "${CXX:-c++} -std=c++11 -xc++"; do
    # Included, not compiled itself: a main file with #pragma once or a guard is another case. Twice, for the guard.
    if printf '#include "%s"\n#include "%s"\n' "${header#runtime/include/}" "${header#runtime/include/}" |
      $compiler $warnings -Iruntime/include -fsyntax-only -; then
      passed=$((passed + 1))
    else
      echo "$header does not compile alone: $compiler"
      failed=$((failed + 1))
    fi
  done
done
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
