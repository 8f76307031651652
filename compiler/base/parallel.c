#include "base/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>

enum { THREADS_MAX = 256 };

struct shared {
  parallel_item *work;
  void *context;
  int64_t count;
  atomic_llong next;
};

static void *take_items(void *context) {
  struct shared *shared = context;
  for (int64_t item; (item = atomic_fetch_add(&shared->next, 1)) < shared->count;) shared->work(shared->context, item);
  return NULL;
}

void parallel_run(int threads, int64_t count, parallel_item *work, void *context) {
  struct shared shared = {.work = work, .context = context, .count = count};
  pthread_t workers[THREADS_MAX];
  int started = 0;
  if (threads > THREADS_MAX) threads = THREADS_MAX;
  /* A thread that does not start leaves its share to the others. */
  while (started < threads - 1 && started < count - 1 && pthread_create(&workers[started], NULL, take_items, &shared) == 0)
    started++;
  take_items(&shared);
  for (int i = 0; i < started; i++) pthread_join(workers[i], NULL);
}

int parallel_cpus(void) {
  cpu_set_t set;
  int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return count > 0 ? count : 1;
}
