/* Transpose and Expand. */
#include "ops/eval.h"

/* Without the attribute, the axes are reversed. */
static int source_axis(const struct node *node, int axis) {
  const struct attr *perm = node_attr(node, "perm");
  return perm != NULL ? (int)perm->ints[axis] : node->inputs[0]->shape.rank - 1 - axis;
}

enum status infer_transpose(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0];
  const struct attr *perm = node_attr(node, "perm");
  struct shape shape = {.rank = x->shape.rank};
  if (perm != NULL && perm->count != (size_t)shape.rank)
    return op_fail(graph, node, "perm has %zu axes, %s has %d", perm->count, op_describe(graph, x), shape.rank);
  bool seen[RANK_MAX] = {false};
  for (int i = 0; i < shape.rank; i++) {
    if (perm != NULL && (perm->ints[i] < 0 || perm->ints[i] >= shape.rank || seen[perm->ints[i]]))
      return op_fail(graph, node, "perm is not a permutation of 0 to %d: entry %d is %lld", shape.rank - 1, i,
                     (long long)perm->ints[i]);
    int from = source_axis(node, i);
    seen[from] = true;
    shape.dim[i] = x->shape.dim[from];
    if (x->batched && (i == 0) != (from == 0)) TRY(op_keep_images(graph, node, x, 0));
  }
  return op_set_output(graph, node, 0, x->dtype, &shape, x->batched);
}

enum status infer_expand(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0], *target = node->inputs[1];
  int64_t entries[RANK_MAX];
  int count;
  TRY(op_constant_ints(graph, node, 1, RANK_MAX, entries, &count));
  struct value wanted = {.name = target->name, .dtype = x->dtype, .shape = {.rank = count}, .batched = target->batched};
  for (int i = 0; i < count; i++) {
    if (entries[i] < 1 || entries[i] > ELEMENTS_MAX)
      return op_fail(graph, node, "entry %d of the shape is %lld", i, (long long)entries[i]);
    wanted.shape.dim[i] = entries[i];
  }
  /* A literal extent of axis 0 is that of one image. */
  if (x->batched && count == x->shape.rank && entries[0] == x->shape.dim[0]) wanted.batched = true;
  struct broadcast broadcast = {0};
  TRY(op_broadcast(graph, node, x, &broadcast));
  TRY(op_broadcast(graph, node, &wanted, &broadcast));
  return op_set_output(graph, node, 0, x->dtype, &broadcast.shape, broadcast.batched);
}

void eval_transpose(const struct node *node, const void *const *inputs, void *const *outputs) {
  const struct value *x = node->inputs[0];
  int64_t from[RANK_MAX] = {0}, strides[RANK_MAX] = {0};
  shape_strides(&x->shape, from);
  for (int i = 0; i < x->shape.rank; i++) strides[i] = from[source_axis(node, i)];
  copy_strided(outputs[0], inputs[0], &node->outputs[0]->shape, strides, 0, dtype_size(x->dtype));
}

void eval_expand(const struct node *node, const void *const *inputs, void *const *outputs) {
  const struct value *x = node->inputs[0];
  int64_t strides[RANK_MAX] = {0};
  broadcast_strides(&x->shape, &node->outputs[0]->shape, strides);
  copy_strided(outputs[0], inputs[0], &node->outputs[0]->shape, strides, 0, dtype_size(x->dtype));
}
