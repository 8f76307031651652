#include "ops/op.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void op_report(struct graph *graph, const struct node *node, const char *format, ...) {
  char message[768];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  const char *name = node->output_count > 0 && node->outputs[0] != NULL ? node->outputs[0]->name : "";
  diag_fail(graph->diag, STATUS_INPUT, "%s: node '%s' (%s): %s", graph->file, name, op_info(node->op)->name, message);
}

const char *op_describe(struct graph *graph, const struct value *value) {
  char dims[RANK_MAX * 24 + 8] = "";
  size_t at = 0;
  for (int i = 0; i < value->shape.rank && i < RANK_MAX; i++) {
    const char *comma = i > 0 ? "," : "";
    int written;
    if (i > 0 || !value->batched)
      written = snprintf(dims + at, sizeof dims - at, "%s%lld", comma, (long long)value->shape.dim[i]);
    else if (value->shape.dim[0] == 1)
      written = snprintf(dims + at, sizeof dims - at, "N");
    else
      written = snprintf(dims + at, sizeof dims - at, "N*%lld", (long long)value->shape.dim[0]);
    at += (size_t)written;
  }
  return arena_printf(graph->arena, "'%s' %s[%s]", value->name, dtype_name(value->dtype), dims);
}

bool shape_valid(const struct shape *shape, int64_t dim_min) {
  if (shape->rank < 0 || shape->rank > RANK_MAX) return false;
  int64_t elements = 1;
  for (int i = 0; i < shape->rank; i++) {
    int64_t dim = shape->dim[i];
    if (dim < dim_min || dim > ELEMENTS_MAX) return false;
    /* An extent of zero must not hide the product of the others. */
    if (dim > 0 && elements > ELEMENTS_MAX / dim) return false;
    if (dim > 0) elements *= dim;
  }
  return true;
}

enum status op_set_output(struct graph *graph, struct node *node, int index, enum dtype dtype, const struct shape *shape,
                          bool batched) {
  if (shape->rank > RANK_MAX)
    return op_fail(graph, node, "output %d has rank %d, at most %d is supported", index, shape->rank, RANK_MAX);
  struct value *output = node->outputs[index];
  /* A result that has data already is a constant in the making: lists of extents may be empty. */
  int least = output != NULL && output->data != NULL ? 0 : 1;
  for (int i = 0; i < shape->rank; i++)
    if (shape->dim[i] < least)
      return op_fail(graph, node, "output %d is empty: axis %d has extent %lld", index, i, (long long)shape->dim[i]);
  if (!shape_valid(shape, least)) return op_fail(graph, node, "output %d has more than 2^40 elements", index);
  if (output == NULL) return STATUS_OK;
  output->dtype = dtype;
  output->shape = *shape;
  output->batched = batched;
  return STATUS_OK;
}

enum status op_check_dtype(struct graph *graph, const struct node *node, int index, unsigned allowed) {
  const struct value *value = node->inputs[index];
  if ((allowed >> value->dtype & 1u) != 0) return STATUS_OK;
  char names[128] = "";
  size_t at = 0;
  for (int i = 0; i < DTYPE_COUNT; i++) {
    if ((allowed >> i & 1u) == 0) continue;
    at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", at > 0 ? ", " : "", dtype_name((enum dtype)i));
  }
  return op_fail(graph, node, "input %d %s: expected %s", index, op_describe(graph, value), names);
}

enum status op_axis(struct graph *graph, const struct node *node, int64_t axis, int rank, int *out_axis) {
  if (axis < -rank || axis >= rank) return op_fail(graph, node, "axis %lld is out of range for rank %d", (long long)axis, rank);
  *out_axis = (int)(axis < 0 ? axis + rank : axis);
  return STATUS_OK;
}

int64_t constant_int(const struct value *value, int64_t at) {
  int32_t narrow;
  int64_t wide;
  /* Weights that lie in a mapped file need not be aligned. */
  if (value->dtype == DTYPE_I32) {
    memcpy(&narrow, (const char *)value->data + at * 4, sizeof narrow);
    return narrow;
  }
  memcpy(&wide, (const char *)value->data + at * 8, sizeof wide);
  return wide;
}

enum status op_constant_ints(struct graph *graph, const struct node *node, int index, int max, int64_t *out_ints,
                             int *out_count) {
  const struct value *value = node->inputs[index];
  TRY(op_check_dtype(graph, node, index, DTYPES_INDEX));
  if (value->data == NULL) return op_fail(graph, node, "input %d %s must be a constant", index, op_describe(graph, value));
  if (value->shape.rank > 1) return op_fail(graph, node, "input %d %s: expected rank 1", index, op_describe(graph, value));
  int64_t count = shape_elements(&value->shape);
  if (count > max)
    return op_fail(graph, node, "input %d %s: expected at most %d elements", index, op_describe(graph, value), max);
  for (int64_t i = 0; i < count; i++) out_ints[i] = constant_int(value, i);
  *out_count = (int)count;
  return STATUS_OK;
}

enum status op_axes(struct graph *graph, const struct node *node, int index, int rank, bool out_listed[RANK_MAX],
                    bool *out_any) {
  int64_t axes[RANK_MAX];
  int count = 0;
  const struct attr *attr = node_attr(node, "axes");
  bool by_input = op_input(node, index) != NULL;
  if (attr != NULL && by_input) return op_fail(graph, node, "axes are given by an attribute and by input %d", index);
  if (by_input) TRY(op_constant_ints(graph, node, index, RANK_MAX, axes, &count));
  if (attr != NULL) {
    if (attr->count > RANK_MAX) return op_fail(graph, node, "axes: expected at most %d", RANK_MAX);
    count = (int)attr->count;
    for (int i = 0; i < count; i++) axes[i] = attr->ints[i];
  }
  for (int i = 0; i < RANK_MAX; i++) out_listed[i] = false;
  for (int i = 0; i < count; i++) {
    int axis = 0;
    TRY(op_axis(graph, node, axes[i], rank, &axis));
    if (out_listed[axis]) return op_fail(graph, node, "axis %d is listed twice", axis);
    out_listed[axis] = true;
  }
  *out_any = count > 0;
  return STATUS_OK;
}

enum status op_keep_images(struct graph *graph, const struct node *node, const struct value *value, int axis) {
  if (!value->batched || axis != 0) return STATUS_OK;
  return op_fail(graph, node, "works along axis 0 of %s, where the images of the batch lie", op_describe(graph, value));
}

enum status op_unbatched(struct graph *graph, const struct node *node, int index, const char *role) {
  const struct value *value = node->inputs[index];
  if (!value->batched) return STATUS_OK;
  return op_fail(graph, node, "%s %s must not depend on the batch", role, op_describe(graph, value));
}

static enum status images_misaligned(struct graph *graph, const struct node *node, const struct value *value) {
  return op_fail(graph, node, "broadcasting %s would move or repeat the axis along which the images of the batch lie",
                 op_describe(graph, value));
}

enum status op_broadcast(struct graph *graph, const struct node *node, const struct value *value, struct broadcast *broadcast) {
  return op_broadcast_axes(graph, node, value, &value->shape, value->batched, broadcast);
}

enum status op_broadcast_axes(struct graph *graph, const struct node *node, const struct value *value, const struct shape *b,
                              bool batched, struct broadcast *broadcast) {
  const struct shape *a = &broadcast->shape;
  struct shape out = {.rank = a->rank > b->rank ? a->rank : b->rank};
  for (int i = 0; i < out.rank; i++) {
    int at_a = i - (out.rank - a->rank), at_b = i - (out.rank - b->rank);
    int64_t dim_a = at_a >= 0 ? a->dim[at_a] : 1, dim_b = at_b >= 0 ? b->dim[at_b] : 1;
    if (dim_a != dim_b && dim_a != 1 && dim_b != 1)
      return op_fail(graph, node, "%s does not broadcast: axis %d has extent %lld, expected %lld or 1",
                     op_describe(graph, value), i, (long long)dim_b, (long long)dim_a);
    out.dim[i] = dim_a == 1 ? dim_b : dim_a;
  }
  /* Axis 0 of a batched operand is N times what its shape says: only 1 or another N times the same fits beside it. */
  if ((broadcast->batched && a->rank < out.rank) || (batched && b->rank < out.rank))
    return images_misaligned(graph, node, value);
  if (broadcast->batched && batched && a->dim[0] != b->dim[0]) return images_misaligned(graph, node, value);
  if (broadcast->batched && !batched && b->rank == out.rank && b->dim[0] != 1) return images_misaligned(graph, node, value);
  if (!broadcast->batched && batched && a->rank == out.rank && a->dim[0] != 1) return images_misaligned(graph, node, value);
  broadcast->shape = out;
  broadcast->batched = broadcast->batched || batched;
  return STATUS_OK;
}
