/* Checks of the thread pool: every task once, done when run returns, from one caller or several.
 *
 * Each is a function that returns NULL, or the condition that did not hold. They stand apart from Criterion, which cannot run
 * under ThreadSanitizer. */
#ifndef VITC_TESTS_SUPPORT_POOL_CHECKS_H
#define VITC_TESTS_SUPPORT_POOL_CHECKS_H

#define POOL_CHECKS(X)               \
  X(every_task_runs_once)            \
  X(a_slow_thread_leaves_its_tasks)  \
  X(a_loop_sees_the_loop_before)     \
  X(workers_wake_from_every_state)   \
  X(the_caller_waits_for_slow_tasks) \
  X(callers_take_turns)              \
  X(an_idle_pool_uses_no_cpu)        \
  X(sizes_are_checked)

#define DECLARE(name) const char *pool_check_##name(void);
POOL_CHECKS(DECLARE)
#undef DECLARE

#endif
