/* Independent items shared among threads. */
#ifndef VITC_BASE_PARALLEL_H
#define VITC_BASE_PARALLEL_H

#include <stdint.h>

typedef void parallel_item(void *context, int64_t item);

/* Calls `work` once for each item of [0, count), taken in order, on this thread and up to threads - 1 others; returns when all
 * are done and no other thread is left. */
void parallel_run(int threads, int64_t count, parallel_item *work, void *context);

/* CPUs that this process may run on. */
int parallel_cpus(void);

#endif
