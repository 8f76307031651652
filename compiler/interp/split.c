#include "interp/split.h"

#include <assert.h>

static int64_t rows_through(const struct shape *shape, int axis) {
  int64_t rows = 1;
  for (int i = 0; i <= axis; i++) rows *= shape->dim[i];
  return rows;
}

/* All axes up to and with `axis` are taken as one, the rows. */
static struct split_operand by_rows(const struct value *value, int axis) {
  int64_t bytes = (int64_t)dtype_size(value->dtype);
  for (int i = axis + 1; i < value->shape.rank; i++) bytes *= value->shape.dim[i];
  return (struct split_operand){axis, (size_t)bytes};
}

static struct split whole(void) {
  return (struct split){.rows = 1};
}

static struct split along(const struct node *node, int axis) {
  if (axis < 0) return whole();
  const struct value *output = node->outputs[0];
  return (struct split){
      .rows = rows_through(&output->shape, axis), .inputs = {by_rows(node->inputs[0], axis)}, .output = by_rows(output, axis)};
}

/* An operand of the result's shape is cut with it; one that is the same for every row is read whole. */
static bool split_like(const struct value *operand, const struct value *output, int axis, struct split_operand *out_operand) {
  *out_operand = (struct split_operand){0, 0};
  if (shape_equal(&operand->shape, &output->shape)) {
    *out_operand = by_rows(operand, axis);
    return true;
  }
  int offset = output->shape.rank - operand->shape.rank;
  for (int i = 0; i < operand->shape.rank && i + offset <= axis; i++)
    if (operand->shape.dim[i] != 1) return false;
  return true;
}

static struct split split_elementwise(const struct node *node) {
  const struct value *output = node->outputs[0];
  int axis = output->shape.rank - (node->input_count == 1 ? 1 : 2);
  if (axis < 0) return whole();
  struct split split = {.rows = rows_through(&output->shape, axis), .output = by_rows(output, axis)};
  for (int i = 0; i < node->input_count; i++)
    if (!split_like(node->inputs[i], output, axis, &split.inputs[i])) return whole();
  return split;
}

static struct split split_mat_mul(const struct node *node) {
  const struct value *a = node->inputs[0], *b = node->inputs[1];
  if (b->shape.rank <= 2) return along(node, a->shape.rank - 2);
  int axis = a->shape.rank - 3;
  if (a->shape.rank != b->shape.rank) return whole();
  for (int i = 0; i <= axis; i++)
    if (a->shape.dim[i] != b->shape.dim[i]) return whole();
  struct split split = along(node, axis);
  split.inputs[1] = by_rows(b, axis);
  return split;
}

static struct split split_gemm(const struct node *node) {
  if (node_int(node, "transA") != 0) return whole();
  struct split split = along(node, 0);
  const struct value *c = node->input_count > 2 ? node->inputs[2] : NULL;
  if (c != NULL && c->shape.rank == 2 && c->shape.dim[0] > 1) split.inputs[2] = by_rows(c, 0);
  return split;
}

/* Queries of one image: rank 3 has them on axis 1. */
static struct split split_attention(const struct node *node) {
  const struct value *q = node->inputs[0], *mask = node->input_count > 3 ? node->inputs[3] : NULL;
  if (q->shape.rank != 3 || q->shape.dim[0] != 1 || node_int(node, "is_causal") != 0) return whole();
  struct split split = along(node, 1);
  if (mask == NULL) return split;
  int queries = mask->shape.rank - 2;
  if (mask->shape.dim[queries] == 1) return split;
  if (rows_through(&mask->shape, queries) != split.rows) return whole();
  split.inputs[3] = by_rows(mask, queries);
  return split;
}

static int64_t axis_of(const struct node *node) {
  int64_t axis = node_int(node, "axis");
  return axis < 0 ? axis + node->inputs[0]->shape.rank : axis;
}

struct split split_of(const struct node *node) {
  if (node->output_count != 1 || node->outputs[0] == NULL) return whole();
  switch (node->op) {
  case OP_mat_mul:
    return split_mat_mul(node);
  case OP_gemm:
    return split_gemm(node);
  case OP_attention:
    return split_attention(node);
  case OP_softmax:
  case OP_layer_normalization:
    return node->op == OP_softmax && axis_of(node) != node->inputs[0]->shape.rank - 1 ? whole()
                                                                                      : along(node, (int)axis_of(node) - 1);
  default:
    return (op_info(node->op)->flags & OP_ELEMENTWISE) != 0 ? split_elementwise(node) : whole();
  }
}

static struct value cut(const struct value *value, const struct split_operand *operand, int64_t count) {
  struct value part = *value;
  for (int i = 0; i < operand->axis; i++) part.shape.dim[i] = 1;
  part.shape.dim[operand->axis] = count;
  return part;
}

void split_eval(const struct node *node, const struct split *split, int64_t first, int64_t count, const void *const *inputs,
                void *output) {
  struct value parts[SPLIT_INPUTS_MAX], result = cut(node->outputs[0], &split->output, count);
  struct value *operands[SPLIT_INPUTS_MAX] = {NULL}, *results[1] = {&result};
  const void *data[SPLIT_INPUTS_MAX] = {NULL};
  assert(node->input_count <= SPLIT_INPUTS_MAX);
  for (int i = 0; i < node->input_count; i++) {
    const struct split_operand *operand = &split->inputs[i];
    if (node->inputs[i] == NULL) continue;
    operands[i] = node->inputs[i];
    data[i] = (const char *)inputs[i] + (size_t)first * operand->row_bytes;
    if (operand->row_bytes == 0) continue;
    parts[i] = cut(node->inputs[i], operand, count);
    operands[i] = &parts[i];
  }
  struct node part = *node;
  part.inputs = operands;
  part.outputs = results;
  void *to = (char *)output + (size_t)first * split->output.row_bytes;
  op_info(node->op)->eval(&part, data, &to);
}
