#include "cmd/bench.h"
#include "cmd/peak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <x86intrin.h>
static uint64_t ticks_now(void) {
  return __rdtsc();
}
#else
static uint64_t ticks_now(void) {
  return 0;
}
#endif

enum { RUNS_MIN = 3 };

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

void sort_doubles(double *values, size_t count) {
  qsort(values, count, sizeof *values, compare_doubles);
}

double quantile(const double *sorted, size_t count, double share) {
  size_t at = (size_t)(share * (double)count);
  return sorted[at < count ? at : count - 1];
}

void peaks_quantile(const struct timings *timings, double share, double out_peaks[ARITHMETIC_COUNT]) {
  for (int i = 0; i < ARITHMETIC_COUNT; i++)
    out_peaks[i] = timings->peaks[i] != NULL ? quantile(timings->peaks[i], timings->round_count, share) : 0;
}

/* Peak resident memory of this process in bytes, or 0. */
static double peak_memory(void) {
  FILE *file = fopen("/proc/self/status", "r");
  char line[256];
  double kilobytes = 0;
  while (file != NULL && fgets(line, sizeof line, file) != NULL)
    if (sscanf(line, "VmHWM: %lf", &kilobytes) == 1) break;
  if (file != NULL) fclose(file);
  return kilobytes * 1024;
}

/* Room for one more run's ticks, doubling. */
static enum status reserve_ticks(struct timings *timings, size_t *capacity, struct diag *diag) {
  if (timings->phase_count == 0 || timings->count < *capacity) return STATUS_OK;
  size_t wanted = *capacity > 0 ? 2 * *capacity : 64;
  size_t row = (size_t)timings->phase_count + 1;
  uint64_t *grown = reallocarray(timings->ticks, wanted * row, sizeof *grown);
  if (grown == NULL) return diag_fail(diag, STATUS_SYSTEM, "out of memory for the ticks of %zu runs", wanted);
  timings->ticks = grown;
  *capacity = wanted;
  return STATUS_OK;
}

struct session {
  struct machine *machine;
  const struct feed *feed;
  struct results *results;
  struct timings *timings;
  struct read_buffer buffer;
  size_t capacity; /* of the ticks, in runs */
};

static enum status measure_run(struct session *session, struct diag *diag) {
  struct timings *timings = session->timings;
  uint64_t *row = NULL;
  TRY(reserve_ticks(timings, &session->capacity, diag));
  if (timings->phase_count > 0) {
    row = timings->ticks + timings->count * ((size_t)timings->phase_count + 1);
    memset(row, 0, ((size_t)timings->phase_count + 1) * sizeof *row);
    session->machine->counters = row;
  }
  double start = seconds_now();
  uint64_t first = ticks_now();
  enum status status = machine_run(session->machine, session->feed, session->results, diag);
  uint64_t last = ticks_now();
  timings->milliseconds[timings->count] = (seconds_now() - start) * 1e3;
  session->machine->counters = NULL;
  if (row != NULL) row[timings->phase_count] = last - first;
  timings->count += status == STATUS_OK;
  return status;
}

/* A short look at each peak, one after the other, so that what one arithmetic does to the clock is its own. */
static void measure_peaks(const struct session *session, const vitc_parallel *parallel, double seconds) {
  const struct timings *timings = session->timings;
  for (int i = 0; i < ARITHMETIC_COUNT; i++)
    if (timings->peaks[i] != NULL)
      timings->peaks[i][timings->round_count] =
          measure_peak(parallel, peak_work_of(session->machine->level, (enum arithmetic)i), seconds);
}

/* Rounds of some inferences and a short look at the peaks. */
static enum status measure_rounds(struct session *session, const struct bench_request *request, struct diag *diag) {
  const double round_seconds = 0.25, peak_seconds = 0.02;
  const struct machine *machine = session->machine;
  const vitc_parallel *parallel = machine->pool != NULL ? &machine->parallel : NULL;
  struct timings *timings = session->timings;
  size_t limit = request->runs > 0 ? request->runs : BENCH_RUNS_MAX;
  double begin = seconds_now();
  while (timings->count < limit && timings->round_count < BENCH_RUNS_MAX) {
    measure_peaks(session, parallel, peak_seconds);
    timings->bandwidths[timings->round_count] =
        session->buffer.bytes != NULL ? measure_bandwidth(parallel, &session->buffer, peak_seconds) : 0;
    timings->round_count++;
    TRY(machine_run(machine, session->feed, session->results, diag)); /* back to the model's caches and branches */
    double start = seconds_now(), now = start;
    while (timings->count < limit && now - start < round_seconds) {
      TRY(measure_run(session, diag));
      now = seconds_now();
    }
    if (request->runs == 0 && timings->count >= RUNS_MIN && now - begin >= request->seconds) break;
  }
  return STATUS_OK;
}

static enum status allocate(struct timings *timings, struct diag *diag) {
  timings->milliseconds = malloc(BENCH_RUNS_MAX * sizeof(double));
  timings->bandwidths = malloc(BENCH_RUNS_MAX * sizeof(double));
  bool allocated = timings->milliseconds != NULL && timings->bandwidths != NULL;
  for (int i = 0; i < ARITHMETIC_COUNT; i++) {
    if (i != (int)timings->own_arithmetic && timings->operations->image[i] <= 0) continue;
    timings->peaks[i] = malloc(BENCH_RUNS_MAX * sizeof(double));
    allocated &= timings->peaks[i] != NULL;
  }
  return allocated ? STATUS_OK : diag_fail(diag, STATUS_SYSTEM, "out of memory");
}

static enum status measure(struct session *session, const struct bench_request *request, struct diag *diag) {
  struct timings *timings = session->timings;
  TRY(allocate(timings, diag));
  TRY(machine_run(session->machine, session->feed, session->results, diag)); /* touches every page */
  timings->memory = peak_memory();
  if (timings->phase_count > 0) {
    read_buffer_init(&session->buffer);
    if (session->buffer.bytes == NULL)
      return diag_fail(diag, STATUS_SYSTEM, "out of memory for %zu bytes to measure the memory's bandwidth with",
                       session->buffer.size);
  }
  double start = seconds_now();
  uint64_t first = ticks_now();
  TRY(measure_rounds(session, request, diag));
  uint64_t ticks = ticks_now() - first;
  timings->ns_per_tick = ticks > 0 ? (seconds_now() - start) * 1e9 / (double)ticks : 0;
  sort_doubles(timings->milliseconds, timings->count);
  for (int i = 0; i < ARITHMETIC_COUNT; i++)
    if (timings->peaks[i] != NULL) sort_doubles(timings->peaks[i], timings->round_count);
  sort_doubles(timings->bandwidths, timings->round_count);
  return STATUS_OK;
}

enum status measure_timings(struct machine *machine, const struct feed *feed, struct results *results,
                            const struct bench_request *request, struct timings *out_timings, struct diag *diag) {
  *out_timings = (struct timings){.phase_count = request->phase_count, .operations = request->operations};
  if (machine->level != NULL) out_timings->own_arithmetic = target_arithmetic(machine->level, machine_precision(machine));
  struct session session = {.machine = machine, .feed = feed, .results = results, .timings = out_timings};
  enum status status = measure(&session, request, diag);
  read_buffer_deinit(&session.buffer);
  return status;
}

void timings_free(struct timings *timings) {
  free(timings->milliseconds);
  for (int i = 0; i < ARITHMETIC_COUNT; i++) free(timings->peaks[i]);
  free(timings->bandwidths);
  free(timings->ticks);
  *timings = (struct timings){.count = 0};
}
