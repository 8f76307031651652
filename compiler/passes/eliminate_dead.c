/* Requires: nothing.
 * Ensures: every node has an output that some node or the graph's outputs use; every constant is used.
 * Breaks: nothing. */
#include "passes/passes.h"
#include "passes/rewrite.h"

enum status pass_eliminate_dead(struct graph *graph) {
  sweep_dead(graph);
  return STATUS_OK;
}
