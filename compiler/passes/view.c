#include "passes/view.h"

#include "passes/rewrite.h"

#include <string.h>

static void view_all(struct value *value, struct view *view) {
  *view = (struct view){.base = value, .shape = value->shape};
  int64_t stride = 1;
  for (int i = value->shape.rank - 1; i >= 0; i--) {
    view->stride[i] = stride;
    stride *= value->shape.dim[i];
  }
}

static void drop_axis(struct view *view, int axis) {
  for (int i = axis; i + 1 < view->shape.rank; i++) {
    view->shape.dim[i] = view->shape.dim[i + 1];
    view->stride[i] = view->stride[i + 1];
  }
  view->shape.rank--;
}

/* Old axes and new ones are taken in groups of equal extent; within a group the old axes must lie together in memory. */
static bool view_reshape(struct view *view, const struct shape *shape) {
  struct view old = *view;
  for (int i = old.shape.rank - 1; i >= 0; i--)
    if (old.shape.dim[i] == 1) drop_axis(&old, i);
  view->shape = *shape;
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
      view->stride[i] = stride;
      stride *= shape->dim[i];
    }
    from = from_end;
    to = to_end;
  }
  return from == old.shape.rank;
}

static void view_transpose(struct view *view, const struct node *node) {
  const struct view old = *view;
  int64_t perm[RANK_MAX];
  transpose_perm(node, perm);
  for (int i = 0; i < old.shape.rank; i++) {
    view->shape.dim[i] = old.shape.dim[perm[i]];
    view->stride[i] = old.stride[perm[i]];
  }
}

static bool view_gather(struct view *view, const struct node *node) {
  int64_t index;
  int count, axis = node_axis(node, view->shape.rank);
  if (!constant_integers(node->inputs[1], 1, &index, &count) || count != 1) return false;
  view->offset += (index < 0 ? index + view->shape.dim[axis] : index) * view->stride[axis];
  view->shape.dim[axis] = 1;
  if (node->inputs[1]->shape.rank == 0) drop_axis(view, axis);
  return true;
}

static bool view_slice(struct view *view, const struct node *node) {
  int axis;
  int64_t start, end;
  if (!slice_range(node, &axis, &start, &end)) return false;
  view->offset += start * view->stride[axis];
  view->shape.dim[axis] = end - start;
  return true;
}

static void view_split(struct view *view, const struct node *node, const struct value *output) {
  int axis = node_axis(node, view->shape.rank);
  for (int i = 0; i < node->output_count && node->outputs[i] != output; i++)
    if (node->outputs[i] != NULL) view->offset += node->outputs[i]->shape.dim[axis] * view->stride[axis];
  view->shape.dim[axis] = output->shape.dim[axis];
}

static bool follow_node(struct view *view, const struct node *node, const struct value *output) {
  int64_t sizes[RANK_MAX];
  switch (node->op) {
  case OP_identity:
    return true;
  case OP_reshape:
  case OP_flatten:
  case OP_squeeze:
  case OP_unsqueeze:
    return view_reshape(view, &output->shape);
  case OP_transpose:
    view_transpose(view, node);
    return true;
  case OP_gather:
    return view_gather(view, node);
  case OP_slice:
    return view_slice(view, node);
  case OP_split:
    if (!split_sizes(node, sizes, RANK_MAX)) return false;
    view_split(view, node, output);
    return true;
  default:
    return false;
  }
}

void view_of(struct value *value, int depth, struct view *out_view) {
  const struct node *node = value->producer;
  if (depth > 0 && node != NULL && node_plain(node) && (op_info(node->op)->flags & OP_MOVES) != 0 && node->input_count > 0 &&
      node->inputs[0]->batched == value->batched) {
    view_of(node->inputs[0], depth - 1, out_view);
    if (follow_node(out_view, node, value)) return;
  }
  view_all(value, out_view);
}
