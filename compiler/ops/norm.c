/* Softmax, LayerNormalization and ReduceMean: ops that reduce along axes of one tensor. */
#include "ops/op.h"

enum status infer_softmax(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0];
  int axis = 0;
  TRY(op_check_dtype(graph, node, 0, 1u << DTYPE_F32));
  TRY(op_axis(graph, node, node_int(node, "axis"), x->shape.rank, &axis));
  TRY(op_keep_images(graph, node, x, axis));
  return op_set_output(graph, node, 0, x->dtype, &x->shape, x->batched);
}

/* scale and bias broadcast to the normalised axes from the right. */
static enum status check_normalised(struct graph *graph, const struct node *node, int index, const char *role, int axis) {
  const struct value *value = op_input(node, index);
  if (value == NULL) return STATUS_OK;
  TRY(op_check_dtype(graph, node, index, 1u << DTYPE_F32));
  TRY(op_unbatched(graph, node, index, role));
  const struct shape *x = &node->inputs[0]->shape;
  if (value->shape.rank > x->rank - axis)
    return op_fail(graph, node, "%s %s: expected at most rank %d", role, op_describe(graph, value), x->rank - axis);
  for (int i = 0; i < value->shape.rank; i++) {
    int64_t dim = value->shape.dim[i], expected = x->dim[x->rank - value->shape.rank + i];
    if (dim != expected && dim != 1)
      return op_fail(graph, node, "%s %s: axis %d must have extent %lld", role, op_describe(graph, value), i,
                     (long long)expected);
  }
  return STATUS_OK;
}

enum status infer_layer_normalization(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0];
  int axis = 0;
  TRY(op_check_dtype(graph, node, 0, 1u << DTYPE_F32));
  TRY(op_axis(graph, node, node_int(node, "axis"), x->shape.rank, &axis));
  TRY(op_keep_images(graph, node, x, axis));
  TRY(check_normalised(graph, node, 1, "scale", axis));
  TRY(check_normalised(graph, node, 2, "bias", axis));
  double epsilon = node_float(node, "epsilon");
  if (!(epsilon >= 0 && epsilon < 1e30)) return op_fail(graph, node, "epsilon %g: expected a number >= 0", epsilon);
  return op_set_output(graph, node, 0, x->dtype, &x->shape, x->batched);
}

enum status infer_reduce_mean(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0];
  bool reduced[RANK_MAX], any, keepdims = node_int(node, "keepdims") != 0;
  TRY(op_check_dtype(graph, node, 0, 1u << DTYPE_F32));
  TRY(op_axes(graph, node, 1, x->shape.rank, reduced, &any));
  bool all = !any && node_int(node, "noop_with_empty_axes") == 0;
  struct shape shape = {0};
  for (int i = 0; i < x->shape.rank; i++) {
    if (all || reduced[i]) {
      TRY(op_keep_images(graph, node, x, i));
      if (keepdims) shape.dim[shape.rank++] = 1;
    } else {
      shape.dim[shape.rank++] = x->shape.dim[i];
    }
  }
  return op_set_output(graph, node, 0, x->dtype, &shape, x->batched);
}
