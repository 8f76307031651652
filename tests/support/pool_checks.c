#include "support/pool_checks.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "vitc/host.h"
#include "vitc/threads.h"

#define CHECK(condition)                 \
  do {                                   \
    if (!(condition)) return #condition; \
  } while (0)

enum { TASKS_MAX = 1000, CALLERS = 4 };

struct visits {
  uint32_t times[TASKS_MAX]; /* not atomic: run has to order them before what its caller reads */
  pthread_t thread[TASKS_MAX];
};

static void visit(void *context, uint32_t index) {
  struct visits *visits = context;
  visits->times[index]++;
  visits->thread[index] = pthread_self();
}

static int visited(const struct visits *visits, uint32_t count, uint32_t times) {
  for (uint32_t i = 0; i < TASKS_MAX; i++)
    if (visits->times[i] != (i < count ? times : 0)) return 0;
  return 1;
}

const char *pool_check_every_task_runs_once(void) {
  static const uint32_t threads[] = {1, 2, 3, 8}, counts[] = {0, 1, 2, 3, 7, 8, 9, 64, TASKS_MAX};
  for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
    vitc_pool *pool = vitc_pool_create(threads[t]);
    CHECK(pool != NULL);
    vitc_parallel parallel = vitc_pool_parallel(pool);
    CHECK((parallel.threads & ~VITC_AMX) == threads[t]);
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
      static struct visits visits;
      visits = (struct visits){{0}, {0}};
      parallel.run(parallel.pool, counts[c], visit, &visits);
      CHECK(visited(&visits, counts[c], 1));
    }
    vitc_pool_destroy(pool);
  }
  return NULL;
}

enum { SLOW_TASKS = 16 };

static void wait_for_others(void *context, uint32_t index) {
  atomic_uint *done = context;
  if (index == 0)
    while (atomic_load(done) < SLOW_TASKS - 1) sched_yield();
  atomic_fetch_add(done, 1);
}

/* Task 0 ends only when all others have: those of its thread must be taken by other threads. */
const char *pool_check_a_slow_thread_leaves_its_tasks(void) {
  vitc_pool *pool = vitc_pool_create(4);
  vitc_parallel parallel = vitc_pool_parallel(pool);
  for (int loop = 0; loop < 100; loop++) {
    atomic_uint done = 0;
    parallel.run(parallel.pool, SLOW_TASKS, wait_for_others, &done);
    CHECK(atomic_load(&done) == SLOW_TASKS);
  }
  vitc_pool_destroy(pool);
  return NULL;
}

static void add_neighbours(void *context, uint32_t index) {
  uint64_t *values = context;
  values[index + 16] = values[index] + values[(index + 1) % 16];
}

/* Each loop reads what other threads wrote in the loop before. */
const char *pool_check_a_loop_sees_the_loop_before(void) {
  uint64_t values[32], expected[16];
  vitc_pool *pool = vitc_pool_create(4);
  vitc_parallel parallel = vitc_pool_parallel(pool);
  for (uint64_t i = 0; i < 16; i++) values[i] = expected[i] = i;
  for (int loop = 0; loop < 2000; loop++) {
    uint64_t next[16];
    for (int i = 0; i < 16; i++) next[i] = expected[i] + expected[(i + 1) % 16];
    parallel.run(parallel.pool, 16, add_neighbours, values);
    for (int i = 0; i < 16; i++) {
      CHECK(values[i + 16] == next[i]);
      values[i] = expected[i] = next[i];
    }
  }
  vitc_pool_destroy(pool);
  return NULL;
}

static void wait_for(long nanoseconds) {
  nanosleep(&(struct timespec){0, nanoseconds}, NULL);
}

/* Pauses around the time after which workers block, so that posts meet them in every state. */
const char *pool_check_workers_wake_from_every_state(void) {
  static struct visits visits;
  vitc_pool *pool = vitc_pool_create(2);
  vitc_parallel parallel = vitc_pool_parallel(pool);
  for (uint32_t loop = 0; loop < 300; loop++) {
    parallel.run(parallel.pool, 5, visit, &visits);
    CHECK(visited(&visits, 5, loop + 1));
    wait_for(loop * 200);
  }
  vitc_pool_destroy(pool);
  return NULL;
}

static void slow(void *context, uint32_t index) {
  if (index != 0) wait_for(2000000);
  visit(context, index);
}

const char *pool_check_the_caller_waits_for_slow_tasks(void) {
  static struct visits visits;
  vitc_pool *pool = vitc_pool_create(3);
  vitc_parallel parallel = vitc_pool_parallel(pool);
  for (uint32_t loop = 0; loop < 20; loop++) {
    parallel.run(parallel.pool, 3, slow, &visits);
    CHECK(visited(&visits, 3, loop + 1));
  }
  vitc_pool_destroy(pool);
  return NULL;
}

struct caller {
  const vitc_parallel *parallel;
  struct visits visits;
};

static void *call(void *argument) {
  struct caller *caller = argument;
  for (uint32_t loop = 0; loop < 300; loop++) {
    uint32_t before = caller->visits.times[0];
    caller->parallel->run(caller->parallel->pool, 7, visit, &caller->visits);
    if (caller->visits.times[6] != before + 1) return caller;
  }
  return NULL;
}

const char *pool_check_callers_take_turns(void) {
  static struct caller callers[CALLERS];
  pthread_t threads[CALLERS];
  vitc_pool *pool = vitc_pool_create(3);
  vitc_parallel parallel = vitc_pool_parallel(pool);
  for (int i = 0; i < CALLERS; i++) {
    callers[i].parallel = &parallel;
    CHECK(pthread_create(&threads[i], NULL, call, &callers[i]) == 0);
  }
  for (int i = 0; i < CALLERS; i++) {
    void *failed = NULL;
    pthread_join(threads[i], &failed);
    CHECK(failed == NULL);
    CHECK(visited(&callers[i].visits, 7, 300));
  }
  vitc_pool_destroy(pool);
  return NULL;
}

const char *pool_check_an_idle_pool_uses_no_cpu(void) {
  struct timespec before, after;
  vitc_pool *pool = vitc_pool_create(8);
  wait_for(20000000);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  wait_for(200000000);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  long used = (after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec;
  CHECK(used < 40000000);
  vitc_pool_destroy(pool);
  return NULL;
}

const char *pool_check_sizes_are_checked(void) {
  static struct visits visits;
  CHECK(vitc_pool_create(0) == NULL);
  CHECK(vitc_pool_create(VITC_THREADS_MAX + 1) == NULL);
  vitc_pool_destroy(NULL);
  vitc_pool *pool = vitc_pool_create(VITC_THREADS_MAX);
  CHECK(pool != NULL);
  vitc_parallel parallel = vitc_pool_parallel(pool);
  parallel.run(parallel.pool, VITC_THREADS_MAX, visit, &visits);
  CHECK(visited(&visits, VITC_THREADS_MAX, 1));
  vitc_pool_destroy(pool);
  return NULL;
}
