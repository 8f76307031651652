/* A graph through the whole compiler and back: compiled to an object in a temporary file, loaded, run, and compared with the
 * interpreter. */
#ifndef VITC_TESTS_COMPILED_H
#define VITC_TESTS_COMPILED_H

#include "ir/graph.h"
#include "load/load.h"
#include "passes/passes.h"
#include "target/target.h"

struct compiled {
  struct arena arena;
  struct graph graph;
  struct loaded loaded;
  char path[64];
};

/* The passes run on a copy; `group` images go together (0: the plan's choice). A refusal is returned, with its message in
 * graph->diag; then there is nothing to close. */
MUST_USE enum status compiled_open(const struct graph *graph, const struct pass_options *passes, int64_t batch_max,
                                   int64_t group, struct compiled *out);
/* The same with products of another precision than fp32. */
MUST_USE enum status compiled_open_precision(const struct graph *graph, const struct pass_options *passes, int64_t batch_max,
                                             int64_t group, enum precision precision, struct compiled *out);
void compiled_close(struct compiled *compiled);

/* The levels of the object that this CPU has, named; NULL past the last. */
const char *compiled_level(const struct compiled *compiled, int index);

/* Runs `batch` images at a level (NULL: the model's own choice) on `threads` threads; outputs are given with guard bytes around
 * them, and false is returned when those, or the inputs, were changed. */
bool compiled_run(const struct compiled *compiled, const char *level, uint32_t batch, uint32_t threads,
                  const void *const *inputs, void *const *outputs);

/* Largest |a - b| over the standard deviation of b (over 1 when b is constant). */
double largest_error(const float *a, const float *b, size_t count);

#endif
