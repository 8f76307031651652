/* What bench measures, and what it makes of it.
 *
 * Rounds of inferences alternate with short looks at what the machine can do, so that both see the same clock and the same
 * neighbours. Latencies, peaks and bandwidths are sorted, the ticks of the phases are in the order of the runs.
 *
 * A share of the peak is the time that the operations would take, each at the peak of what it is executed in, over the time
 * that they took.
 *
 * Ownership: struct timings owns its arrays; timings_free accepts a zeroed struct. */
#ifndef VITC_CMD_BENCH_H
#define VITC_CMD_BENCH_H

#include "cmd/machine.h"
#include "cmd/operations.h"

struct bench_request {
  double seconds; /* to measure for, when `runs` is 0 */
  size_t runs;
  const struct operations *operations; /* borrowed, by the timings too */
  int phase_count;                     /* of a machine with `profiled`, or 0 */
};

struct timings {
  size_t count;         /* of inferences */
  double *milliseconds; /* each one's */
  size_t round_count;
  const struct operations *operations;
  enum arithmetic own_arithmetic; /* of the model's precision */
  double
      *peaks[ARITHMETIC_COUNT]; /* operations a second, one a round; NULL but for what there are operations in, and its own */
  double *bandwidths;           /* bytes a second, one a round; zeros without phases */
  int phase_count;              /* 0: not a profiled run */
  uint64_t *ticks;              /* [count][phase_count + 1]: of each phase, then of the whole inference */
  double ns_per_tick;
  double memory; /* peak resident bytes of the process, before there was a buffer to measure the bandwidth with */
};

enum { BENCH_RUNS_MAX = 1 << 20 };

MUST_USE enum status measure_timings(struct machine *machine, const struct feed *feed, struct results *results,
                                     const struct bench_request *request, struct timings *out_timings, struct diag *diag);
void timings_free(struct timings *timings);

/* The smallest value that `share` of all are not above. */
double quantile(const double *sorted, size_t count, double share);
void sort_doubles(double *values, size_t count);

/* That quantile of each peak, 1 the best; 0 where it was not measured. */
void peaks_quantile(const struct timings *timings, double share, double out_peaks[ARITHMETIC_COUNT]);

/* What the timings say of one phase, or of all alike ones. */
struct phase_figures {
  const char *kind, *name;
  const char *executed_in; /* as arithmetic_name, or "mixed" */
  int count;               /* phases summed */
  double ms, share;        /* median over the runs; of the whole inference's median */
  double flops, bytes;     /* of one inference */
  double ms_at_peak;       /* that the operations would take, at the median peaks */
  double gflops, gbps;     /* 0: no such work */
  double of_peak, of_read; /* of the medians of peaks and bandwidth */
};

struct profile {
  int phase_count, kind_count;
  struct phase_figures *phases; /* in run order */
  struct phase_figures *kinds;  /* alike phases of all layers, the longest first */
  struct phase_figures total;
  double outside_ms, outside_share; /* between the phases: checks, starting threads, the benchmark's own call */
};

/* Lives in the arena. */
void profile_make(const struct timings *timings, const struct account *account, uint32_t batch, struct arena *arena,
                  struct profile *out_profile);
void profile_print(const struct profile *profile, const struct timings *timings);
void profile_print_json(const struct profile *profile, const struct timings *timings); /* members, each with a comma before */

#endif
