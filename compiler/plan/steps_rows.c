/* Ops along axes: Softmax, LayerNormalization, ReduceMean. */
#include "plan/step.h"
#include "plan/view.h"

static struct view columns_from(const struct view *view, int axis) {
  struct view joined = *view;
  joined.shape.rank = axis + 1;
  for (int i = axis + 1; i < view->shape.rank; i++) joined.shape.dim[axis] *= view->shape.dim[i];
  joined.stride[axis] = 1;
  return joined;
}

/* Softmax and LayerNormalization over trailing axes; another axis is moved to the end and back by copies. */
enum status rows_steps(struct planner *p, const struct node *node) {
  int rank = node->inputs[0]->shape.rank, axis = (int)node_int(node, "axis");
  if (axis < 0) axis += rank;
  struct view x = place_of(p, node->inputs[0]), storage;
  bool batched = node->outputs[0]->batched;
  bool in_place = step_fits(p, node->inputs[0], node->outputs[0], &storage);
  TRY(place_value(p, node->outputs[0], in_place ? &storage : NULL));
  struct view out = place_of(p, node->outputs[0]), from = x, to = out;
  int64_t perm[RANK_MAX], rows, columns, row_stride;
  bool moved = node->op == OP_softmax && axis != rank - 1;
  for (int i = 0; i < rank; i++) perm[i] = i;
  if (moved) {
    perm[axis] = rank - 1;
    perm[rank - 1] = axis;
    from = view_permute(&x, perm);
  }
  bool joins = node->op == OP_layer_normalization && axis < rank - 1;
  bool plain = !moved && !joins && view_matrix(&from, &rows, &columns, &row_stride) &&
               view_matrix(&to, &rows, &columns, &row_stride) && from.dtype == DTYPE_F32;
  if (!plain) {
    struct view copy = place_temporary(p, "rows", &from.shape, batched);
    TRY(steps_copy(p, &from, &copy, node));
    from = to = copy;
  }
  struct step *step = steps_new(p, STEP_ROWS, node);
  struct view from_rows = joins ? columns_from(&from, axis) : from, to_rows = joins ? columns_from(&to, axis) : to;
  step_set_out(step, &to_rows);
  step_add_input(step, &from_rows);
  for (int i = 1; i < node->input_count; i++) {
    if (node->inputs[i] == NULL) continue;
    if (shape_elements(&node->inputs[i]->shape) != to_rows.shape.dim[to_rows.shape.rank - 1])
      return plan_refuse(p, node, "scale and bias must have one element for each normalised one");
    struct view parameter = place_of(p, node->inputs[i]);
    step_add_input(step, &parameter);
  }
  if (!plain) {
    struct view back = moved ? view_permute(&to, perm) : to;
    TRY(steps_copy(p, &back, &out, node));
  }
  return step_epilogue(p, node, &out, 0);
}

enum status reduce_steps(struct planner *p, const struct node *node) {
  const struct value *x = node->inputs[0];
  unsigned axes = 0;
  const struct attr *attr = node_attr(node, "axes");
  const struct value *input = node->input_count > 1 ? node->inputs[1] : NULL;
  int64_t count = attr != NULL ? (int64_t)attr->count : input != NULL ? shape_elements(&input->shape) : 0;
  for (int64_t i = 0; i < count; i++) {
    int64_t axis = attr != NULL ? attr->ints[i] : ((const int64_t *)input->data)[i];
    axes |= 1u << (axis < 0 ? axis + x->shape.rank : axis);
  }
  if (count == 0 && node_int(node, "noop_with_empty_axes") == 0) axes = (1u << x->shape.rank) - 1;
  TRY(place_value(p, node->outputs[0], NULL));
  struct view out = place_of(p, node->outputs[0]), from = place_of(p, x), kept = out;
  if (node_int(node, "keepdims") == 0) {
    kept.shape = from.shape;
    for (int i = 0, o = 0; i < from.shape.rank; i++) kept.stride[i] = (axes >> i & 1) != 0 ? 0 : out.stride[o++];
  }
  for (int i = 0; i < from.shape.rank; i++)
    if ((axes >> i & 1) != 0) kept.shape.dim[i] = 1;
  struct step *step = steps_new(p, STEP_REDUCE, node);
  step_set_out(step, &kept);
  step_add_input(step, &from);
  step->axes = axes;
  return step_epilogue(p, node, &out, 0);
}
