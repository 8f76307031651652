/* What one loop of the thread pool costs: with workers that still spin, and with workers that have gone to sleep.
 *
 *   cmake --build build --target vitc_runtime
 *   cc -O2 -Iruntime/include tests/bench/pool.c build/libvitc_runtime.a -lpthread -o pool && ./pool [THREADS...] */
#define _POSIX_C_SOURCE 200809L
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "vitc/host.h"
#include "vitc/threads.h"

enum { LOOPS = 20000, ASLEEP_LOOPS = 200 };

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec * 1e-3;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void empty(void *context, uint32_t index) {
  (void)context;
  (void)index;
}

static void measure(uint32_t threads) {
  static double times[LOOPS];
  vitc_pool *pool = vitc_pool_create(threads);
  if (!pool) exit(1);
  vitc_parallel parallel = vitc_pool_parallel(pool);
  for (int i = 0; i < LOOPS; i++) {
    double start = now();
    parallel.run(parallel.pool, threads, empty, NULL);
    times[i] = now() - start;
  }
  qsort(times, LOOPS, sizeof *times, by_value);
  printf("%3u threads: spinning %7.2f us (p99 %7.2f)", threads, times[LOOPS / 2], times[LOOPS * 99 / 100]);
  for (int i = 0; i < ASLEEP_LOOPS; i++) {
    nanosleep(&(struct timespec){0, 300000}, NULL);
    double start = now();
    parallel.run(parallel.pool, threads, empty, NULL);
    times[i] = now() - start;
  }
  qsort(times, ASLEEP_LOOPS, sizeof *times, by_value);
  printf(", asleep %7.2f us (p99 %7.2f)\n", times[ASLEEP_LOOPS / 2], times[ASLEEP_LOOPS * 99 / 100]);
  vitc_pool_destroy(pool);
}

int main(int count, char **arguments) {
  if (count < 2)
    for (uint32_t threads = 1; threads <= vitc_cpu_count() * 2; threads *= 2) measure(threads);
  for (int i = 1; i < count; i++) measure((uint32_t)strtoul(arguments[i], NULL, 10));
  return 0;
}
