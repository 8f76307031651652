/* bench --worker: a process that runs when it is told to, for benchmarks that interleave several programs.
 *
 * It runs the input once, writes the output, prints `ready`; then reads lines: `run N` is answered by N lines of the wall
 * milliseconds of one inference each, `quit` or the end of the input ends it. */
#ifndef VITC_CMD_WORKER_H
#define VITC_CMD_WORKER_H

#include "cmd/machine.h"

MUST_USE enum status work(const struct machine *machine, const struct feed *feed, struct results *results, const char *output,
                          struct diag *diag);

#endif
