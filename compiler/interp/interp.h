/* The interpreter: what a graph's values are, by the ops' own eval functions, in double within an op and rounded once after it.
 * Every result of the compiler is measured against it.
 *
 * Images are independent, and so are most rows of a node: both are shared among threads. Which thread computes a row does not
 * change it, so results have the same bits for every number of threads and for an image alone or in any batch. */
#ifndef VITC_INTERP_INTERP_H
#define VITC_INTERP_INTERP_H

#include "ir/graph.h"

/* Called on the caller's thread for each value, in order of execution, graph inputs first; constants and the values between
 * fused nodes are left out. `data` is borrowed for the call: `batch` images one after the other if value->batched, else one. */
typedef void interp_tap(void *context, const struct value *value, const void *data, int64_t batch);

/* inputs[i], outputs[i]: row-major elements of the graph's inputs and outputs, `batch` images one after the other where the
 * value is batched, aligned to their element. The graph has been verified and is not changed. Memory holds the live values of
 * the whole batch when there is a tap, of a few images otherwise. */
MUST_USE enum status interp_run(const struct graph *graph, int64_t batch, const void *const *inputs, void *const *outputs,
                                int threads, interp_tap *tap, void *tap_context, struct diag *diag);

#endif
