/* vitc/threads.h: a thread pool that fits vitc_parallel. */
#ifndef VITC_THREADS_H
#define VITC_THREADS_H

#include "vitc/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A pool of `threads` (1 .. VITC_THREADS_MAX) threads, the caller of run among them. Each thread
 * begins with a share of the tasks of its own and then takes from the others'. Between loops the workers spin for
 * 200 microseconds, where there are CPUs for all, then block, so that an idle pool uses no CPU. One loop at a time: calls of
 * run from several threads wait for each other. Asks for AMX's tile registers (vitc_cpu_request_amx), so that models use them
 * where the machine has them. NULL: out of memory or threads. */
typedef struct vitc_pool vitc_pool;
vitc_pool *vitc_pool_create(uint32_t threads);
void vitc_pool_destroy(vitc_pool *pool);
vitc_parallel vitc_pool_parallel(vitc_pool *pool);

#ifdef __cplusplus
}
#endif
#endif
