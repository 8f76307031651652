#include "ops/eval.h"

#include <assert.h>

struct range {
  int64_t start, step, count;
};

/* ONNX's clamping: an end beyond the axis means all of it, whichever way the steps go. */
static struct range clamp_range(int64_t start, int64_t end, int64_t step, int64_t extent) {
  int64_t low = step > 0 ? 0 : -1, high = step > 0 ? extent : extent - 1;
  if (start < 0) start += extent;
  if (end < 0) end = end < -extent ? low : end + extent;
  if (start < 0) start = 0;
  if (start > high) start = high;
  if (end > high) end = high;
  if (end < low) end = low;
  struct range range = {start, step, 0};
  if (step > 0 && end > start) range.count = (end - start - 1) / step + 1;
  if (step < 0 && start > end) range.count = (start - end - 1) / -step + 1;
  return range;
}

static enum status slice_ranges(struct graph *graph, const struct node *node, struct range out_ranges[RANK_MAX]) {
  const struct value *x = node->inputs[0];
  int64_t starts[RANK_MAX], ends[RANK_MAX], axes[RANK_MAX], steps[RANK_MAX];
  int start_count, end_count, axis_count, step_count;
  TRY(op_constant_ints(graph, node, 1, RANK_MAX, starts, &start_count));
  TRY(op_constant_ints(graph, node, 2, RANK_MAX, ends, &end_count));
  axis_count = step_count = start_count;
  for (int i = 0; i < RANK_MAX; i++) {
    axes[i] = i;
    steps[i] = 1;
  }
  if (op_input(node, 3) != NULL) TRY(op_constant_ints(graph, node, 3, RANK_MAX, axes, &axis_count));
  if (op_input(node, 4) != NULL) TRY(op_constant_ints(graph, node, 4, RANK_MAX, steps, &step_count));
  if (end_count != start_count || axis_count != start_count || step_count != start_count)
    return op_fail(graph, node, "%d starts, %d ends, %d axes and %d steps do not match", start_count, end_count, axis_count,
                   step_count);
  bool listed[RANK_MAX] = {false};
  for (int i = 0; i < x->shape.rank; i++) out_ranges[i] = (struct range){0, 1, x->shape.dim[i]};
  for (int i = 0; i < start_count; i++) {
    int axis = 0;
    TRY(op_axis(graph, node, axes[i], x->shape.rank, &axis));
    if (listed[axis]) return op_fail(graph, node, "axis %d is listed twice", axis);
    listed[axis] = true;
    if (steps[i] == 0 || steps[i] < -ELEMENTS_MAX || steps[i] > ELEMENTS_MAX)
      return op_fail(graph, node, "step %lld on axis %d", (long long)steps[i], axis);
    /* Exporters write `x[:, 0]` with a full range on axis 0, which keeps the images apart. */
    bool full = starts[i] == 0 && ends[i] >= INT32_MAX && steps[i] == 1;
    if (!full) TRY(op_keep_images(graph, node, x, axis));
    out_ranges[axis] = clamp_range(starts[i], ends[i], steps[i], x->shape.dim[axis]);
  }
  return STATUS_OK;
}

enum status infer_slice(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0];
  struct range ranges[RANK_MAX];
  TRY(slice_ranges(graph, node, ranges));
  struct shape shape = {.rank = x->shape.rank};
  for (int i = 0; i < shape.rank; i++) shape.dim[i] = ranges[i].count;
  return op_set_output(graph, node, 0, x->dtype, &shape, x->batched);
}

void eval_slice(const struct node *node, const void *const *inputs, void *const *outputs) {
  const struct value *x = node->inputs[0];
  struct range ranges[RANK_MAX];
  enum status status = slice_ranges(NULL, node, ranges);
  assert(status == STATUS_OK);
  (void)status;
  int64_t strides[RANK_MAX] = {0}, offset = 0;
  shape_strides(&x->shape, strides);
  for (int i = 0; i < x->shape.rank; i++) {
    offset += ranges[i].start * strides[i];
    strides[i] *= ranges[i].step;
  }
  copy_strided(outputs[0], inputs[0], &node->outputs[0]->shape, strides, offset, dtype_size(x->dtype));
}
