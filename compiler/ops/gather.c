#include "ops/op.h"

#include <string.h>

static enum status check_indices(struct graph *graph, const struct node *node, int64_t extent) {
  const struct value *indices = node->inputs[1];
  if (indices->data == NULL) return STATUS_OK;
  int64_t count = shape_elements(&indices->shape);
  for (int64_t i = 0; i < count; i++) {
    int64_t index = constant_int(indices, i);
    if (index < -extent || index >= extent)
      return op_fail(graph, node, "index %lld is out of range for an extent of %lld", (long long)index, (long long)extent);
  }
  return STATUS_OK;
}

enum status infer_gather(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0], *indices = node->inputs[1];
  int axis = 0;
  TRY(op_check_dtype(graph, node, 1, DTYPES_INDEX));
  TRY(op_axis(graph, node, node_int(node, "axis"), x->shape.rank, &axis));
  TRY(op_keep_images(graph, node, x, axis));
  /* Rows of a table, looked up per image, keep the images on axis 0. */
  if (axis > 0 || x->batched) TRY(op_unbatched(graph, node, 1, "indices"));
  TRY(check_indices(graph, node, x->shape.dim[axis]));
  struct shape shape = {0};
  if (x->shape.rank - 1 + indices->shape.rank > RANK_MAX) return op_fail(graph, node, "rank is over %d", RANK_MAX);
  for (int i = 0; i < axis; i++) shape.dim[shape.rank++] = x->shape.dim[i];
  for (int i = 0; i < indices->shape.rank; i++) shape.dim[shape.rank++] = indices->shape.dim[i];
  for (int i = axis + 1; i < x->shape.rank; i++) shape.dim[shape.rank++] = x->shape.dim[i];
  return op_set_output(graph, node, 0, x->dtype, &shape, x->batched || indices->batched);
}

static int64_t index_at(const struct value *indices, const void *data, int64_t at) {
  return indices->dtype == DTYPE_I32 ? ((const int32_t *)data)[at] : ((const int64_t *)data)[at];
}

void eval_gather(const struct node *node, const void *const *inputs, void *const *outputs) {
  const struct value *x = node->inputs[0], *indices = node->inputs[1];
  int64_t axis = node_int(node, "axis");
  if (axis < 0) axis += x->shape.rank;
  size_t run = dtype_size(x->dtype);
  int64_t outer = 1, extent = x->shape.dim[axis], count = shape_elements(&indices->shape);
  for (int i = 0; i < axis; i++) outer *= x->shape.dim[i];
  for (int64_t i = axis + 1; i < x->shape.rank; i++) run *= (size_t)x->shape.dim[i];
  char *to = outputs[0];
  for (int64_t i = 0; i < outer; i++) {
    for (int64_t j = 0; j < count; j++, to += run) {
      /* Indices that come with the input cannot be refused here; they are kept within the table. */
      int64_t index = index_at(indices, inputs[1], j);
      if (index < 0) index += extent;
      index = index < 0 ? 0 : index >= extent ? extent - 1 : index;
      memcpy(to, (const char *)inputs[0] + (size_t)(i * extent + index) * run, run);
    }
  }
}
