/* Elementwise ops and movement. */
#include "plan/step.h"
#include "plan/view.h"

#include <assert.h>

/* Several parts into one result: what was not written there by its own step is copied. */
static enum status concat_steps(struct planner *p, const struct node *node) {
  TRY(place_value(p, node->outputs[0], NULL));
  struct view out = place_of(p, node->outputs[0]);
  int axis = (int)node_int(node, "axis");
  if (axis < 0) axis += out.shape.rank;
  int64_t start = 0;
  for (int i = 0; i < node->input_count; i++) {
    int64_t count = node->inputs[i]->shape.dim[axis];
    struct view target = view_slice(&out, axis, start, 1, count), from = place_operand(p, node->inputs[i]);
    start += count;
    if (count > 0 && !view_same_layout(&from, &target)) TRY(steps_copy(p, &from, &target, node));
  }
  return step_epilogue(p, node, &out, 0);
}

static enum status strided_step(struct planner *p, const struct node *node, const struct view *from) {
  const struct value *result = node->outputs[0];
  bool elementwise = (op_info(node->op)->flags & OP_ELEMENTWISE) != 0;
  struct view storage;
  const struct view *in_place = NULL;
  if (elementwise && node->op != OP_cast)
    for (int i = 0; i < node->input_count && in_place == NULL; i++)
      if (step_fits(p, node->inputs[i], result, &storage)) in_place = &storage;
  for (int i = 0; elementwise && in_place != NULL && i < node->input_count; i++) {
    if (node->inputs[i]->data != NULL) continue;
    struct view other = place_of(p, node->inputs[i]);
    if (step_overlaps(&other, in_place) && !view_same_layout(&other, in_place)) in_place = NULL;
  }
  if (in_place != NULL && !step_epilogue_reads_alike(p, node, in_place)) in_place = NULL;
  TRY(place_value(p, result, in_place));
  struct view out = place_of(p, result);
  struct step *step = steps_new(p, STEP_STRIDED, node);
  step_set_out(step, &out);
  struct view view = view_broadcast(from, &out.shape);
  step_add_input(step, &view);
  if (elementwise) TRY(step_add_stage(p, step, node, 0));
  return step_add_epilogue(p, step, node, 0);
}

enum status elementwise_steps(struct planner *p, const struct node *node) {
  struct view from = step_operand(p, node, node->inputs[0]);
  return strided_step(p, node, &from);
}

/* A new shape over memory that has gaps or another order: written through a dense view of the old shape. */
static enum status reshape_copy(struct planner *p, const struct node *node) {
  struct view from = place_of(p, node->inputs[0]);
  TRY(place_value(p, node->outputs[0], NULL));
  struct view out = place_of(p, node->outputs[0]), target = out, as_source;
  if (!view_reshape(&target, &from.shape, &as_source)) {
    target = place_temporary(p, "reshaped", &out.shape, node->outputs[0]->batched);
    bool dense = view_reshape(&target, &from.shape, &as_source);
    assert(dense);
    (void)dense;
  }
  TRY(steps_copy(p, &from, &as_source, node));
  if (!view_same_layout(&target, &out)) TRY(steps_copy(p, &target, &out, node));
  return step_epilogue(p, node, &out, 0);
}

static enum status gather_steps(struct planner *p, const struct node *node) {
  const struct value *indices = node->inputs[1];
  if (indices->data == NULL) return plan_refuse(p, node, "compiled code gathers by constant indices only");
  struct view from = place_of(p, node->inputs[0]);
  TRY(place_value(p, node->outputs[0], NULL));
  struct view out = place_of(p, node->outputs[0]);
  int axis = (int)node_int(node, "axis");
  if (axis < 0) axis += from.shape.rank;
  int64_t count = shape_elements(&indices->shape), dim = from.shape.dim[axis];
  if (count > 4096) return plan_refuse(p, node, "compiled code gathers at most 4096 indices");
  for (int64_t i = 0; i < count; i++) {
    int64_t index = place_constant_int(indices, i), rest = i;
    struct view source = view_drop_axis(&from, axis, index < 0 ? index + dim : index), target = out;
    for (int a = indices->shape.rank - 1; a >= 0; a--) {
      target = view_drop_axis(&target, axis + a, rest % indices->shape.dim[a]);
      rest /= indices->shape.dim[a];
    }
    TRY(steps_copy(p, &source, &target, node));
  }
  return step_epilogue(p, node, &out, 0);
}

static struct view transpose_view(const struct node *node, const struct view *from) {
  const struct attr *attr = node_attr(node, "perm");
  int64_t perm[RANK_MAX];
  for (int i = 0; i < from->shape.rank; i++) perm[i] = attr != NULL ? attr->ints[i] : from->shape.rank - 1 - i;
  return view_permute(from, perm);
}

/* A Transpose of a constant that only products read: the packed panels take its place. */
static bool only_packed(struct planner *p, const struct node *node) {
  const struct value *value = node->outputs[0];
  bool transposed;
  for (const struct node *user = p->graph->first; user != NULL; user = user->next) {
    for (int i = 0; i < user->input_count; i++) {
      if (user->inputs[i] != value) continue;
      if ((user->op != OP_mat_mul && user->op != OP_gemm) || i != 1 || product_panels(user, &transposed) == NULL) return false;
    }
    for (int i = 0; i < user->epilogue_count; i++)
      for (int j = 0; j < user->epilogue[i]->input_count; j++)
        if (user->epilogue[i]->inputs[j] == value) return false;
  }
  return p->last_use[value->id] < p->graph->node_count;
}

enum status movement_steps(struct planner *p, const struct node *node) {
  if (node->op == OP_transpose && node->inputs[0]->data != NULL && only_packed(p, node)) return STATUS_OK;
  if (node->op == OP_concat) return concat_steps(p, node);
  if (node->op == OP_split || p->embeddings[node->outputs[0]->id].concat == NULL)
    if (place_movement(p, node)) return STATUS_OK;
  if (node->op == OP_split) return plan_refuse(p, node, "something was fused into a Split");
  struct view from = place_of(p, node->inputs[0]), view;
  switch (node->op) {
  case OP_transpose:
    view = transpose_view(node, &from);
    break;
  case OP_expand:
    view = from;
    break;
  case OP_slice:
    if (!place_slice(node, &from, &view)) return plan_refuse(p, node, "compiled slices have constant bounds");
    break;
  case OP_gather:
    return gather_steps(p, node);
  default:
    return reshape_copy(p, node);
  }
  return strided_step(p, node, &view);
}
