/* What this CPU can do, measured: multiply-adds on registers alone, and reading memory that no cache holds. */
#ifndef VITC_CMD_PEAK_H
#define VITC_CMD_PEAK_H

#include "cmd/peak_work.h"
#include "vitc/threads.h"

#include <stddef.h>

/* Operations a second, on all threads of the pool at once (NULL: the calling thread), over some `seconds`. 0 without work. */
double measure_peak(const vitc_parallel *parallel, peak_work work, double seconds);

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
