#include "cmd/peak.h"

#include <stddef.h>
#include <time.h>

double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

enum { WINDOW = 128 };

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

static work pick_work(void) {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return work_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return work_avx2;
  return NULL;
}
#else
typedef double (*work)(void);

static work pick_work(void) {
  return NULL;
}
#endif

struct measurement {
  work work;
  double seconds;
  double rates[VITC_THREADS_MAX]; /* each thread's own; they run at the same time and are added */
};

/* The best of windows of about a millisecond, shorter than what the system gives a thread at a time: what disturbs a thread
 * only ever makes it slower. */
static void measure_thread(void *context, uint32_t index) {
  struct measurement *measurement = context;
  double start = seconds_now(), now = start, best = 0;
  while (now - start < measurement->seconds) {
    double window = now, done = 0;
    for (int i = 0; i < WINDOW; i++) done += measurement->work();
    now = seconds_now();
    if (done / (now - window) > best) best = done / (now - window);
  }
  measurement->rates[index] = best;
}

double measure_peak(const vitc_parallel *parallel, double seconds) {
  struct measurement measurement = {.work = pick_work(), .seconds = seconds};
  if (measurement.work == NULL) return 0;
  uint32_t threads = parallel != NULL ? parallel->threads : 1;
  if (parallel != NULL)
    parallel->run(parallel->pool, threads, measure_thread, &measurement);
  else
    measure_thread(&measurement, 0);
  double rate = 0;
  for (uint32_t i = 0; i < threads; i++) rate += measurement.rates[i];
  return rate;
}
