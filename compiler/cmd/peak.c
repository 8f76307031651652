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

#if defined(__x86_64__)
#include <immintrin.h>

enum { LOOPS = 4096 };

#define FMA(accumulator) __asm__ volatile("vfmadd231ps %1, %2, %0" : "+v"(accumulator) : "v"(a), "v"(b));

/* Latency 4 at two instructions a cycle needs 8 independent chains; 12 leave room for slower ones and fit 16 registers. */
__attribute__((target("avx2,fma"))) static double work_avx2(void) {
  __m256 a = _mm256_set1_ps(1.0f), b = _mm256_set1_ps(1e-9f);
  __m256 c0 = b, c1 = b, c2 = b, c3 = b, c4 = b, c5 = b, c6 = b, c7 = b, c8 = b, c9 = b, c10 = b, c11 = b;
  for (int i = 0; i < LOOPS; i++) {
    FMA(c0) FMA(c1) FMA(c2) FMA(c3) FMA(c4) FMA(c5) FMA(c6) FMA(c7) FMA(c8) FMA(c9) FMA(c10) FMA(c11)
  }
  return 2.0 * 8 * 12 * (double)LOOPS;
}

__attribute__((target("avx512f"))) static double work_avx512(void) {
  __m512 a = _mm512_set1_ps(1.0f), b = _mm512_set1_ps(1e-9f);
  __m512 c0 = b, c1 = b, c2 = b, c3 = b, c4 = b, c5 = b, c6 = b, c7 = b, c8 = b, c9 = b, c10 = b, c11 = b;
  for (int i = 0; i < LOOPS; i++) {
    FMA(c0) FMA(c1) FMA(c2) FMA(c3) FMA(c4) FMA(c5) FMA(c6) FMA(c7) FMA(c8) FMA(c9) FMA(c10) FMA(c11)
  }
  return 2.0 * 16 * 12 * (double)LOOPS;
}

typedef double (*work)(void);

static work pick_work(int lanes) {
  return lanes == 16 ? work_avx512 : lanes == 8 ? work_avx2 : NULL;
}
#else
typedef double (*work)(void);

static work pick_work(int lanes) {
  (void)lanes;
  return NULL;
}
#endif

struct measurement {
  atomic_uint arrived;
  work work;
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
  measurement->threads = parallel != NULL ? parallel->threads : 1;
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

double measure_peak(const vitc_parallel *parallel, int lanes, double seconds) {
  struct measurement measurement = {.work = pick_work(lanes), .seconds = seconds};
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
