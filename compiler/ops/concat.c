/* Concat and Split. */
#include "ops/op.h"

#include <assert.h>
#include <string.h>

#include <assert.h>
#include <string.h>

enum status infer_concat(struct graph *graph, struct node *node) {
  struct value *first = node->inputs[0];
  struct shape shape = first->shape;
  int axis = 0;
  bool batched = false;
  if (node->input_count < 1) return op_fail(graph, node, "has no inputs");
  TRY(op_axis(graph, node, node_int(node, "axis"), shape.rank, &axis));
  for (int i = 0; i < node->input_count; i++) batched = batched || node->inputs[i]->batched;
  for (int i = 0; i < node->input_count; i++) {
    const struct value *x = node->inputs[i];
    TRY(op_check_dtype(graph, node, i, 1u << first->dtype));
    TRY(op_keep_images(graph, node, x, axis));
    if (x->shape.rank != shape.rank)
      return op_fail(graph, node, "input %d %s: expected rank %d", i, op_describe(graph, x), shape.rank);
    for (int j = 0; j < shape.rank; j++)
      if (j != axis && x->shape.dim[j] != shape.dim[j])
        return op_fail(graph, node, "input %d %s: expected extent %lld on axis %d", i, op_describe(graph, x),
                       (long long)shape.dim[j], j);
    if (batched && !x->batched && (axis == 0 || x->shape.dim[0] != 1))
      return op_fail(graph, node, "input %d %s does not repeat for each image", i, op_describe(graph, x));
    if (i > 0 && x->shape.dim[axis] > ELEMENTS_MAX - shape.dim[axis])
      return op_fail(graph, node, "the result has more than 2^40 elements");
    if (i > 0) shape.dim[axis] += x->shape.dim[axis];
  }
  return op_set_output(graph, node, 0, first->dtype, &shape, batched);
}

static enum status split_sizes(struct graph *graph, const struct node *node, int64_t extent, int64_t *out_sizes) {
  int count = node->output_count, given;
  int64_t outputs = node_int(node, "num_outputs");
  if (op_input(node, 1) != NULL) {
    if (outputs != 0) return op_fail(graph, node, "sizes are given by num_outputs and by input 1");
    TRY(op_constant_ints(graph, node, 1, count, out_sizes, &given));
    if (given != count) return op_fail(graph, node, "%d sizes for %d outputs", given, count);
    int64_t left = extent;
    for (int i = 0; i < count; i++) {
      if (out_sizes[i] < 1 || out_sizes[i] > left)
        return op_fail(graph, node, "size %lld of output %d does not fit the extent %lld", (long long)out_sizes[i], i,
                       (long long)extent);
      left -= out_sizes[i];
    }
    return left == 0 ? STATUS_OK
                     : op_fail(graph, node, "sizes leave %lld of the extent %lld", (long long)left, (long long)extent);
  }
  if (outputs != 0 && outputs != count)
    return op_fail(graph, node, "num_outputs is %lld, but there are %d outputs", (long long)outputs, count);
  if (outputs == 0 && extent % count != 0)
    return op_fail(graph, node, "%d outputs do not divide the extent %lld", count, (long long)extent);
  int64_t chunk = (extent + count - 1) / count, last = extent - chunk * (count - 1);
  if (last < 1)
    return op_fail(graph, node, "%d outputs of %lld do not fit the extent %lld", count, (long long)chunk, (long long)extent);
  for (int i = 0; i < count; i++) out_sizes[i] = i < count - 1 ? chunk : last;
  return STATUS_OK;
}

enum status infer_split(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0];
  int axis = 0;
  TRY(op_axis(graph, node, node_int(node, "axis"), x->shape.rank, &axis));
  TRY(op_keep_images(graph, node, x, axis));
  int64_t *sizes = arena_array(graph->arena, (size_t)node->output_count, sizeof *sizes);
  TRY(split_sizes(graph, node, x->shape.dim[axis], sizes));
  for (int i = 0; i < node->output_count; i++) {
    struct shape shape = x->shape;
    shape.dim[axis] = sizes[i];
    TRY(op_set_output(graph, node, i, x->dtype, &shape, x->batched));
  }
  return STATUS_OK;
}

/* Bytes of one run along `axis` and the axes behind it. */
static size_t run_bytes(const struct value *value, int64_t axis) {
  size_t bytes = dtype_size(value->dtype);
  for (int64_t i = axis; i < value->shape.rank; i++) bytes *= (size_t)value->shape.dim[i];
  return bytes;
}

static int64_t joined_axis(const struct node *node) {
  int64_t axis = node_int(node, "axis");
  return axis < 0 ? axis + node->inputs[0]->shape.rank : axis;
}

void eval_concat(const struct node *node, const void *const *inputs, void *const *outputs) {
  const struct value *out = node->outputs[0];
  int64_t axis = joined_axis(node);
  size_t whole = run_bytes(out, axis), total = run_bytes(out, 0), at = 0;
  for (int i = 0; i < node->input_count; i++) {
    size_t part = run_bytes(node->inputs[i], axis);
    for (size_t run = 0; run < total / whole; run++)
      memcpy((char *)outputs[0] + run * whole + at, (const char *)inputs[i] + run * part, part);
    at += part;
  }
}

void eval_split(const struct node *node, const void *const *inputs, void *const *outputs) {
  const struct value *x = node->inputs[0];
  int64_t axis = joined_axis(node);
  size_t whole = run_bytes(x, axis), total = run_bytes(x, 0), at = 0;
  struct arena scratch;
  arena_init(&scratch);
  /* An omitted output has no shape to ask. */
  int64_t *sizes = arena_array(&scratch, (size_t)node->output_count, sizeof *sizes);
  enum status status = split_sizes(NULL, node, x->shape.dim[axis], sizes);
  assert(status == STATUS_OK);
  (void)status;
  for (int i = 0; i < node->output_count; i++) {
    size_t part = whole / (size_t)x->shape.dim[axis] * (size_t)sizes[i];
    for (size_t run = 0; run < total / whole && outputs[i] != NULL; run++)
      memcpy((char *)outputs[i] + run * part, (const char *)inputs[0] + run * whole + at, part);
    at += part;
  }
  arena_deinit(&scratch);
}
