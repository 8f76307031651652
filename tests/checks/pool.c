/* The checks of the thread pool as a program of their own, for ThreadSanitizer. */
#include "support/pool_checks.h"

#include <stdio.h>

int main(void) {
  static const struct {
    const char *name;
    const char *(*check)(void);
  } checks[] = {
#define ROW(name) {#name, pool_check_##name},
      POOL_CHECKS(ROW)
#undef ROW
  };
  int failed = 0, count = (int)(sizeof checks / sizeof *checks);
  for (int i = 0; i < count; i++) {
    const char *fault = checks[i].check();
    printf("%s  %s%s%s\n", fault ? "FAIL" : "pass", checks[i].name, fault ? ": " : "", fault ? fault : "");
    failed += fault != NULL;
  }
  printf("%d passed, %d failed\n", count - failed, failed);
  return failed != 0;
}
