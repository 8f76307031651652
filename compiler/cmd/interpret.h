/* The interpreter on a feed. */
#ifndef VITC_CMD_INTERPRET_H
#define VITC_CMD_INTERPRET_H

#include "cmd/feed.h"
#include "driver.h"

/* threads 0: all CPUs of this process. `model` describes the graph, the results are allocated for the feed's batch. */
MUST_USE enum status interpret(struct graph *graph, const vitc_model *model, const struct feed *feed, int64_t threads,
                               struct results *results, struct diag *diag);

#endif
