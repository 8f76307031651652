/* compare --per-node: every value that survives fusion, compiled against the interpreter. */
#ifndef VITC_CMD_COMPARE_NODES_H
#define VITC_CMD_COMPARE_NODES_H

#include "cmd/machine.h"
#include "cmd/metrics.h"
#include "driver.h"

struct node_error {
  const char *name, *op;
  struct metrics metrics;
};

struct node_comparison {
  int count;
  struct node_error *errors; /* in order of execution; in the compilation's arena */
};

/* Fuses `path`'s graph again and compiles it with the fused nodes' results as outputs, a few at a time; `compilation` holds the
 * graph that the interpreter ran. */
MUST_USE enum status compare_nodes(const char *path, struct compilation *compilation, enum precision precision,
                                   const struct feed *feed, const struct machine_options *how,
                                   struct node_comparison *out_nodes, struct diag *diag);

void print_nodes(const struct node_comparison *nodes);
void print_nodes_json(const struct node_comparison *nodes);

#endif
