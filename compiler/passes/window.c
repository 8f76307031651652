#include "passes/window.h"

#include "passes/rewrite.h"

#include <string.h>

static void window_all(struct value *value, struct window *window) {
  *window = (struct window){.base = value, .shape = value->shape, .scale = 1};
  int64_t stride = 1;
  for (int i = value->shape.rank - 1; i >= 0; i--) {
    window->stride[i] = stride;
    stride *= value->shape.dim[i];
  }
}

static void drop_axis(struct window *window, int axis) {
  for (int i = axis; i + 1 < window->shape.rank; i++) {
    window->shape.dim[i] = window->shape.dim[i + 1];
    window->stride[i] = window->stride[i + 1];
  }
  window->shape.rank--;
}

/* Old axes and new ones are taken in groups of equal extent; within a group the old axes must lie together in memory. */
static bool window_reshape(struct window *window, const struct shape *shape) {
  struct window old = *window;
  for (int i = old.shape.rank - 1; i >= 0; i--)
    if (old.shape.dim[i] == 1) drop_axis(&old, i);
  window->shape = *shape;
  int from = 0, to = 0;
  while (to < shape->rank) {
    int from_end = from, to_end = to + 1;
    int64_t old_extent = 1, new_extent = shape->dim[to];
    while (old_extent != new_extent) {
      if (old_extent < new_extent) {
        if (from_end == old.shape.rank) return false;
        old_extent *= old.shape.dim[from_end++];
      } else {
        if (to_end == shape->rank) return false;
        new_extent *= shape->dim[to_end++];
      }
    }
    for (int i = from; i + 1 < from_end; i++)
      if (old.stride[i] != old.stride[i + 1] * old.shape.dim[i + 1]) return false;
    int64_t stride = from_end > from ? old.stride[from_end - 1] : 1;
    for (int i = to_end - 1; i >= to; i--) {
      window->stride[i] = stride;
      stride *= shape->dim[i];
    }
    from = from_end;
    to = to_end;
  }
  return from == old.shape.rank;
}

static void window_transpose(struct window *window, const struct node *node) {
  const struct window old = *window;
  int64_t perm[RANK_MAX];
  transpose_perm(node, perm);
  for (int i = 0; i < old.shape.rank; i++) {
    window->shape.dim[i] = old.shape.dim[perm[i]];
    window->stride[i] = old.stride[perm[i]];
  }
}

static bool window_gather(struct window *window, const struct node *node) {
  int64_t index;
  int count, axis = node_axis(node, window->shape.rank);
  if (!constant_integers(node->inputs[1], 1, &index, &count) || count != 1) return false;
  window->offset += (index < 0 ? index + window->shape.dim[axis] : index) * window->stride[axis];
  window->shape.dim[axis] = 1;
  if (node->inputs[1]->shape.rank == 0) drop_axis(window, axis);
  return true;
}

static bool window_slice(struct window *window, const struct node *node) {
  int axis;
  int64_t start, end;
  if (!slice_range(node, &axis, &start, &end)) return false;
  window->offset += start * window->stride[axis];
  window->shape.dim[axis] = end - start;
  return true;
}

static void window_split(struct window *window, const struct node *node, const struct value *output) {
  int axis = node_axis(node, window->shape.rank);
  for (int i = 0; i < node->output_count && node->outputs[i] != output; i++)
    if (node->outputs[i] != NULL) window->offset += node->outputs[i]->shape.dim[axis] * window->stride[axis];
  window->shape.dim[axis] = output->shape.dim[axis];
}

static bool follow_node(struct window *window, const struct node *node, const struct value *output) {
  int64_t sizes[RANK_MAX];
  switch (node->op) {
  case OP_identity:
    return true;
  case OP_reshape:
  case OP_flatten:
  case OP_squeeze:
  case OP_unsqueeze:
    return window_reshape(window, &output->shape);
  case OP_transpose:
    window_transpose(window, node);
    return true;
  case OP_gather:
    return window_gather(window, node);
  case OP_slice:
    return window_slice(window, node);
  case OP_split:
    if (!split_sizes(node, sizes, RANK_MAX)) return false;
    window_split(window, node, output);
    return true;
  default:
    return false;
  }
}

struct value *scaled_value(const struct node *node, double *out_scale) {
  struct value *constant;
  int index;
  if ((node->op != OP_mul && node->op != OP_div) || !node_plain(node)) return NULL;
  struct value *x = operand_beside_constant(node, &constant, &index);
  if (x == NULL || !constant_scalar(constant, out_scale) || constant->shape.rank > x->shape.rank) return NULL;
  if (node->op == OP_mul) return x;
  *out_scale = 1 / *out_scale;
  return index == 0 ? x : NULL;
}

void window_of(struct value *value, int depth, bool scaled, struct window *out_window) {
  const struct node *node = depth > 0 ? value->producer : NULL;
  double scale = 1;
  if (node != NULL && node_plain(node) && node->input_count > 0) {
    bool moves = (op_info(node->op)->flags & OP_MOVES) != 0;
    struct value *x = moves ? node->inputs[0] : scaled ? scaled_value(node, &scale) : NULL;
    if (x != NULL && x->batched == value->batched) {
      window_of(x, depth - 1, scaled, out_window);
      out_window->scale *= scale;
      if (!moves || follow_node(out_window, node, value)) return;
    }
  }
  window_all(value, out_window);
}
