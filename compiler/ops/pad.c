#include "ops/pad.h"

#include "ops/eval.h"

#include <assert.h>
#include <string.h>

static enum status read_axes(struct graph *graph, const struct node *node, int rank, int64_t *out_axes, int *out_count) {
  bool listed[RANK_MAX] = {false};
  *out_count = rank;
  for (int i = 0; i < rank; i++) out_axes[i] = i;
  if (op_input(node, 3) == NULL) return STATUS_OK;
  TRY(op_constant_ints(graph, node, 3, RANK_MAX, out_axes, out_count));
  for (int i = 0; i < *out_count; i++) {
    int axis = 0;
    TRY(op_axis(graph, node, out_axes[i], rank, &axis));
    if (listed[axis]) return op_fail(graph, node, "axis %d is listed twice", axis);
    listed[axis] = true;
    out_axes[i] = axis;
  }
  return STATUS_OK;
}

static enum status read_padding(struct graph *graph, const struct node *node, struct padding *out) {
  const struct value *x = node->inputs[0];
  int64_t axes[RANK_MAX], pads[2 * RANK_MAX];
  int axis_count, pad_count;
  *out = (struct padding){0};
  TRY(read_axes(graph, node, x->shape.rank, axes, &axis_count));
  TRY(op_constant_ints(graph, node, 1, 2 * RANK_MAX, pads, &pad_count));
  if (pad_count != 2 * axis_count) return op_fail(graph, node, "%d pads for %d axes", pad_count, axis_count);
  for (int i = 0; i < axis_count; i++) {
    int64_t begin = pads[i], end = pads[axis_count + i];
    if (begin < 0 || end < 0 || begin > ELEMENTS_MAX || end > ELEMENTS_MAX)
      return op_fail(graph, node, "pads of %lld and %lld on axis %lld: expected numbers >= 0", (long long)begin, (long long)end,
                     (long long)axes[i]);
    if (begin != 0 || end != 0) TRY(op_keep_images(graph, node, x, (int)axes[i]));
    out->begin[axes[i]] = begin;
    out->end[axes[i]] = end;
  }
  return STATUS_OK;
}

struct padding pad_extents(const struct node *node) {
  struct padding padding;
  enum status status = read_padding(NULL, node, &padding);
  assert(status == STATUS_OK);
  (void)status;
  return padding;
}

enum status infer_pad(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0], *filler = op_input(node, 2);
  const char *mode = node_string(node, "mode");
  struct padding padding;
  if (strcmp(mode, "constant") != 0) return op_fail(graph, node, "mode '%.64s' is not supported, expected constant", mode);
  if (filler != NULL) {
    TRY(op_check_dtype(graph, node, 2, 1u << x->dtype));
    TRY(op_unbatched(graph, node, 2, "constant"));
    if (shape_elements(&filler->shape) != 1)
      return op_fail(graph, node, "constant %s: expected one element", op_describe(graph, filler));
  }
  TRY(read_padding(graph, node, &padding));
  struct shape shape = x->shape;
  for (int i = 0; i < shape.rank; i++) shape.dim[i] += padding.begin[i] + padding.end[i];
  return op_set_output(graph, node, 0, x->dtype, &shape, x->batched);
}

static void fill(void *out, int64_t count, const void *element, size_t size) {
  if (element == NULL) {
    memset(out, 0, (size_t)count * size);
    return;
  }
  for (int64_t i = 0; i < count; i++) memcpy((char *)out + (size_t)i * size, element, size);
}

void eval_pad(const struct node *node, const void *const *inputs, void *const *outputs) {
  const struct value *x = node->inputs[0], *out = node->outputs[0];
  struct padding padding = pad_extents(node);
  size_t size = dtype_size(x->dtype);
  int rank = x->shape.rank;
  fill(outputs[0], shape_elements(&out->shape), op_input(node, 2) != NULL ? inputs[2] : NULL, size);
  int64_t strides[RANK_MAX] = {0}, inner[RANK_MAX] = {0}, to = 0;
  shape_strides(&x->shape, inner);
  shape_strides(&out->shape, strides);
  for (int i = 0; i < rank; i++) to += padding.begin[i] * strides[i];
  struct walk walk;
  size_t run = rank > 0 ? (size_t)x->shape.dim[rank - 1] * size : size;
  walk_init(&walk, &x->shape, (const int64_t *const[]){strides, inner}, 2);
  do {
    char *row = (char *)outputs[0] + (size_t)(to + walk.offset[0]) * size;
    memcpy(row, (const char *)inputs[0] + (size_t)walk.offset[1] * size, run);
  } while (walk_next(&walk));
}
