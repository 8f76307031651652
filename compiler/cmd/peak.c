#include "cmd/peak.h"

#include "vitc/host.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

enum { WINDOW = 128, READ_WINDOW = 1 << 24 };

struct measurement {
  atomic_uint arrived;
  peak_work work;
  struct read_buffer *buffer;
  uint32_t threads;
  double seconds;
  double rates[VITC_THREADS_MAX]; /* each thread's own; they run at the same time and are added */
};

/* A pool may give the task of a thread that wakes up late to another one: those that are there wait, so that what is measured
 * is all threads at once. Nobody waits forever for a thread that the system does not run. */
static void await_all(struct measurement *measurement) {
  const double patience = 1;
  atomic_fetch_add(&measurement->arrived, 1);
  double start = seconds_now();
  while (atomic_load(&measurement->arrived) < measurement->threads && seconds_now() - start < patience) continue;
}

/* The best of windows of about a millisecond, shorter than what the system gives a thread at a time: what disturbs a thread
 * only ever makes it slower. */
static void measure_thread(void *context, uint32_t index) {
  struct measurement *measurement = context;
  await_all(measurement);
  double start = seconds_now(), now = start, best = 0;
  while (now - start < measurement->seconds) {
    double window = now, done = 0;
    for (int i = 0; i < WINDOW; i++) done += measurement->work();
    now = seconds_now();
    if (done / (now - window) > best) best = done / (now - window);
  }
  measurement->rates[index] = best;
}

static double on_all_threads(const vitc_parallel *parallel, vitc_task task, struct measurement *measurement) {
  measurement->threads = parallel != NULL ? parallel->threads & ~VITC_AMX : 1;
  if (parallel != NULL)
    parallel->run(parallel->pool, measurement->threads, task, measurement);
  else
    task(measurement, 0);
  double rate = 0;
  for (uint32_t i = 0; i < measurement->threads; i++) rate += measurement->rates[i];
  /* Of more threads than CPUs, each has a CPU of its own in its best window, but not all of them in the same. */
  uint32_t cpus = vitc_cpu_count();
  return measurement->threads > cpus ? rate * cpus / measurement->threads : rate;
}

double measure_peak(const vitc_parallel *parallel, peak_work work, double seconds) {
  struct measurement measurement = {.work = work, .seconds = seconds};
  return measurement.work != NULL ? on_all_threads(parallel, measure_thread, &measurement) : 0;
}

void read_buffer_init(struct read_buffer *buffer) {
  const size_t least = (size_t)1 << 28, most = (size_t)1 << 30;
  long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  size_t size = cache > 0 ? 2 * (size_t)cache : least;
  *buffer = (struct read_buffer){.size = size < least ? least : size > most ? most : size};
  buffer->bytes = malloc(buffer->size);
  if (buffer->bytes != NULL) memset(buffer->bytes, 1, buffer->size); /* untouched pages would all be one */
}

void read_buffer_deinit(struct read_buffer *buffer) {
  free(buffer->bytes);
  buffer->bytes = NULL;
}

typedef uint64_t words __attribute__((vector_size(16), aligned(1), may_alias));

/* Independent sums, so that no load waits for an addition. */
static uint64_t sum_words(const unsigned char *bytes, size_t size) {
  words a = {0}, b = {0}, c = {0}, d = {0};
  for (size_t i = 0; i + 4 * sizeof a <= size; i += 4 * sizeof a) {
    const words *line = (const words *)(bytes + i);
    a += line[0];
    b += line[1];
    c += line[2];
    d += line[3];
  }
  a += b + c + d;
  return a[0] + a[1];
}

/* Windows as above, each over the bytes after those of the last one. */
static void read_thread(void *context, uint32_t index) {
  struct measurement *measurement = context;
  struct read_buffer *buffer = measurement->buffer;
  size_t part = buffer->size / measurement->threads, piece = part < READ_WINDOW ? part : READ_WINDOW;
  const unsigned char *bytes = buffer->bytes + part * index;
  await_all(measurement);
  double start = seconds_now(), now = start, best = 0;
  volatile uint64_t sink = 0;
  while (now - start < measurement->seconds) {
    double window = now;
    if (buffer->position[index] + piece > part) buffer->position[index] = 0;
    sink = sink + sum_words(bytes + buffer->position[index], piece);
    buffer->position[index] += piece;
    now = seconds_now();
    if ((double)piece / (now - window) > best) best = (double)piece / (now - window);
  }
  measurement->rates[index] = best;
}

double measure_bandwidth(const vitc_parallel *parallel, struct read_buffer *buffer, double seconds) {
  struct measurement measurement = {.buffer = buffer, .seconds = seconds};
  return on_all_threads(parallel, read_thread, &measurement);
}
