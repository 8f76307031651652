/* Independent items shared among threads. */
#ifndef VITC_CALIBRATE_PARALLEL_H
#define VITC_CALIBRATE_PARALLEL_H

#include <stdint.h>

typedef void parallel_item(void *context, int64_t item);

/* Calls `work` once for each item of [0, count), on this thread and up to threads - 1 others. */
void parallel_run(int threads, int64_t count, parallel_item *work, void *context);

#endif
