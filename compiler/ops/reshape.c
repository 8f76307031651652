/* Ops that keep the elements and their order: Reshape, Flatten, Squeeze, Unsqueeze, Identity. */
#include "ops/op.h"

#include <string.h>

static enum status count_mismatch(struct graph *graph, const struct node *node, const struct shape *shape) {
  return op_fail(graph, node, "%s has %lld elements, which do not fill the %lld of the new shape",
                 op_describe(graph, node->inputs[0]), (long long)shape_elements(&node->inputs[0]->shape),
                 (long long)shape_elements(shape));
}

/* Target entries of 0 copy the input's extent (unless allowzero), one -1 takes what is left. */
static enum status resolve_target(struct graph *graph, const struct node *node, const int64_t *target, int count,
                                  struct shape *out_shape) {
  const struct shape *x = &node->inputs[0]->shape;
  struct shape shape = {.rank = count};
  int inferred = -1;
  int64_t known = 1, elements = shape_elements(x);
  for (int i = 0; i < count; i++) {
    int64_t dim = target[i];
    if (dim == 0 && node_int(node, "allowzero") == 0) {
      if (i >= x->rank) return op_fail(graph, node, "entry %d of the shape is 0, but the input has rank %d", i, x->rank);
      dim = x->dim[i];
    }
    if (dim == -1) {
      if (inferred >= 0) return op_fail(graph, node, "entries %d and %d of the shape are both -1", inferred, i);
      inferred = i;
      dim = 1;
    }
    if (dim < 1) return op_fail(graph, node, "entry %d of the shape is %lld", i, (long long)dim);
    if (dim > ELEMENTS_MAX / known) return op_fail(graph, node, "the shape has more than 2^40 elements");
    known *= dim;
    shape.dim[i] = dim;
  }
  if (inferred >= 0) shape.dim[inferred] = elements / known;
  if (inferred >= 0 ? elements % known != 0 : elements != known) return count_mismatch(graph, node, &shape);
  *out_shape = shape;
  return STATUS_OK;
}

enum status infer_reshape(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0], *target = node->inputs[1];
  int64_t entries[RANK_MAX];
  int count;
  struct shape shape;
  TRY(op_constant_ints(graph, node, 1, RANK_MAX, entries, &count));
  TRY(resolve_target(graph, node, entries, count, &shape));
  if (target->batched && !x->batched)
    return op_fail(graph, node, "the shape begins with N, but %s is the same for all images", op_describe(graph, x));
  if (x->batched && count == 0) return op_fail(graph, node, "a scalar has no axis for the images of the batch");
  return op_set_output(graph, node, 0, x->dtype, &shape, x->batched);
}

enum status infer_flatten(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0];
  int64_t axis = node_int(node, "axis");
  if (axis < -x->shape.rank || axis > x->shape.rank)
    return op_fail(graph, node, "axis %lld is out of range for rank %d", (long long)axis, x->shape.rank);
  if (axis < 0) axis += x->shape.rank;
  if (axis == 0) TRY(op_keep_images(graph, node, x, 0));
  struct shape shape = {.rank = 2, .dim = {1, 1}};
  for (int i = 0; i < x->shape.rank; i++) shape.dim[i >= axis] *= x->shape.dim[i];
  return op_set_output(graph, node, 0, x->dtype, &shape, x->batched);
}

enum status infer_squeeze(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0];
  bool listed[RANK_MAX], any;
  TRY(op_axes(graph, node, 1, x->shape.rank, listed, &any));
  struct shape shape = {0};
  for (int i = 0; i < x->shape.rank; i++) {
    /* Axis 0 of a batched value is N long, whatever it is for one image. */
    bool images = i == 0 && x->batched, one = x->shape.dim[i] == 1 && !images;
    if (any && listed[i] && !one) {
      TRY(op_keep_images(graph, node, x, i));
      return op_fail(graph, node, "axis %d of %s is not 1", i, op_describe(graph, x));
    }
    if (any ? !listed[i] : !one) shape.dim[shape.rank++] = x->shape.dim[i];
  }
  return op_set_output(graph, node, 0, x->dtype, &shape, x->batched);
}

enum status infer_unsqueeze(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0];
  bool listed[RANK_MAX], any;
  /* The axes are those of the result, whose rank depends on how many there are. */
  const struct attr *attr = node_attr(node, "axes");
  int64_t added = 0;
  if (attr != NULL) added = (int64_t)attr->count;
  if (op_input(node, 1) != NULL) added = shape_elements(&node->inputs[1]->shape);
  if (added < 1 || added > RANK_MAX - x->shape.rank)
    return op_fail(graph, node, "expected 1 to %d axes, got %lld", RANK_MAX - x->shape.rank, (long long)added);
  struct shape shape = {.rank = x->shape.rank + (int)added};
  TRY(op_axes(graph, node, 1, shape.rank, listed, &any));
  if (listed[0]) TRY(op_keep_images(graph, node, x, 0));
  for (int i = 0, from = 0; i < shape.rank; i++) shape.dim[i] = listed[i] ? 1 : x->shape.dim[from++];
  return op_set_output(graph, node, 0, x->dtype, &shape, x->batched);
}

static void copy_all(const struct node *node, const void *const *inputs, void *const *outputs) {
  const struct value *out = node->outputs[0];
  memcpy(outputs[0], inputs[0], (size_t)shape_elements(&out->shape) * dtype_size(out->dtype));
}

#define KEEPS_ELEMENTS(id)                                                                   \
  void eval_##id(const struct node *node, const void *const *inputs, void *const *outputs) { \
    copy_all(node, inputs, outputs);                                                         \
  }

KEEPS_ELEMENTS(identity)
KEEPS_ELEMENTS(reshape)
KEEPS_ELEMENTS(flatten)
KEEPS_ELEMENTS(squeeze)
KEEPS_ELEMENTS(unsqueeze)
