/* What the interpreter makes of every float value of a fused graph that depends on the image, side by side in one array, so
 * that the array can also be an input of a compiled model. */
#ifndef VITC_CMD_NODE_VALUES_H
#define VITC_CMD_NODE_VALUES_H

#include "cmd/feed.h"

struct node_value {
  const struct value *value;
  size_t offset, elements; /* of one image */
};

struct node_values {
  uint32_t batch;
  int count;
  struct node_value *list; /* in order of execution */
  size_t stride;           /* elements of one image */
  float *data;             /* (batch, stride) */
};

/* Lives in the arena, and borrows the graph. threads 0: all CPUs of this process. */
MUST_USE enum status node_values_interpret(const struct graph *fused, const struct feed *feed, int64_t threads,
                                           struct arena *arena, struct node_values *out_values, struct diag *diag);

const struct node_value *node_values_find(const struct node_values *values, const char *name); /* NULL: not among them */

#endif
