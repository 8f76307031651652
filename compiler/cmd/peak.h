/* What this CPU can do, measured: fused multiply-adds on registers alone, and reading memory that no cache holds. */
#ifndef VITC_CMD_PEAK_H
#define VITC_CMD_PEAK_H

#include "vitc/threads.h"

#include <stddef.h>

/* fp32 operations a second in vectors of `lanes` floats (16: AVX-512, 8: AVX2; the caller has checked that the CPU has them),
 * on all threads of the pool at once (NULL: the calling thread), over some `seconds`. 0 for other lanes. */
double measure_peak(const vitc_parallel *parallel, int lanes, double seconds);

/* Memory larger than the caches, read in turns. Owned; zeroed is none. */
struct read_buffer {
  unsigned char *bytes;
  size_t size;
  size_t position[VITC_THREADS_MAX]; /* where each thread goes on in its part */
};

/* NULL bytes when out of memory. */
void read_buffer_init(struct read_buffer *buffer);
void read_buffer_deinit(struct read_buffer *buffer);

/* Bytes a second read on all threads of the pool at once. */
double measure_bandwidth(const vitc_parallel *parallel, struct read_buffer *buffer, double seconds);

double seconds_now(void); /* monotonic */

#endif
