/* The thread pool, by the checks of tests/support/pool_checks.h. */
#include "support/pool_checks.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define POOL_TEST(name)                                                \
  Test(threads, name) {                                                \
    const char *fault = pool_check_##name();                           \
    cr_assert(eq(ptr, (void *)fault, NULL), "%s", fault ? fault : ""); \
  }

POOL_CHECKS(POOL_TEST)
