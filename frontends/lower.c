#include "lower.h"

#include <string.h>

struct node *lower_node(const struct lowering *lowering, const char *name, enum op op, struct value *const *inputs, int count) {
  struct shape unknown = {0};
  struct value *out = graph_add_value(lowering->graph, name, DTYPE_F32, &unknown, false);
  return graph_add_node(lowering->graph, NULL, op, inputs, count, &out, 1);
}

enum status lower_ready(const struct lowering *lowering, struct node *node, struct value **out) {
  *out = node->outputs[0];
  return lowering->ready != NULL ? lowering->ready(lowering->context, node) : STATUS_OK;
}

enum status lower_transpose(const struct lowering *lowering, const char *name, struct value *x, const int64_t *perm,
                            size_t rank, struct value **out) {
  struct node *node = lower_node(lowering, name, OP_transpose, &x, 1);
  node_set_ints(lowering->graph, node, "perm", perm, rank);
  return lower_ready(lowering, node, out);
}

enum status lower_reshape(const struct lowering *lowering, const char *name, struct value *x, const int64_t *dims, int rank,
                          struct value **out) {
  const char *shape = arena_printf(lowering->graph->arena, "%s.shape", name);
  struct value *inputs[] = {x, lower_ints(lowering, shape, dims, rank, lowering->batched)};
  return lower_ready(lowering, lower_node(lowering, name, OP_reshape, inputs, 2), out);
}

struct value *lower_ints(const struct lowering *lowering, const char *name, const int64_t *ints, int count, bool batched) {
  struct shape shape = {.rank = 1, .dim = {count}};
  int64_t *data = arena_array(lowering->graph->arena, (size_t)count, sizeof *data);
  memcpy(data, ints, (size_t)count * sizeof *data);
  struct value *value = graph_add_constant(lowering->graph, name, DTYPE_I64, &shape, data);
  value->batched = batched;
  return value;
}

struct value *lower_floats(const struct lowering *lowering, const char *name, const struct shape *shape, const float *data) {
  return graph_add_constant(lowering->graph, name, DTYPE_F32, shape, data);
}
