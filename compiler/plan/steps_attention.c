/* Attention: operands with the heads of a token side by side. */
#include "plan/step.h"
#include "plan/view.h"

#include <assert.h>

/* Rank 4 (N, heads, T, d) goes through (N, T, heads, d): the kernel wants the heads of a token side by side. */
static enum status attention_input(struct planner *p, const struct node *node, int index, struct view *out_view) {
  struct view view = place_of(p, node->inputs[index]);
  if (view.shape.rank == 4) {
    static const int64_t tokens_first[] = {0, 2, 1, 3};
    view = view_permute(&view, tokens_first);
    struct shape joined = {3, {view.shape.dim[0], view.shape.dim[1], view.shape.dim[2] * view.shape.dim[3]}};
    struct view as_rows;
    if (!view_reshape(&view, &joined, &as_rows)) {
      struct view copy = place_temporary(p, "heads side by side", &view.shape, node->inputs[index]->batched);
      TRY(steps_copy(p, &view, &copy, node));
      bool dense = view_reshape(&copy, &joined, &as_rows);
      assert(dense);
      (void)dense;
    }
    view = as_rows;
  }
  TRY(step_as_matrix(p, node, "attention operand", node->inputs[index]->batched, &view));
  *out_view = view;
  return STATUS_OK;
}

static enum status attention_check(struct planner *p, const struct node *node) {
  if (node->input_count > 3 && node->inputs[3] != NULL) return plan_refuse(p, node, "compiled attention has no mask");
  if (node_int(node, "is_causal") != 0) return plan_refuse(p, node, "compiled attention is not causal");
  if (node_float(node, "softcap") != 0) return plan_refuse(p, node, "compiled attention has no softcap");
  bool rank4 = node->inputs[0]->shape.rank == 4;
  int64_t heads = rank4 ? node->inputs[0]->shape.dim[1] : node_int(node, "q_num_heads");
  int64_t kv_heads = rank4 ? node->inputs[1]->shape.dim[1] : node_int(node, "kv_num_heads");
  if (kv_heads != 0 && heads != kv_heads) return plan_refuse(p, node, "compiled attention has as many key as query heads");
  for (int i = 0; i < 3; i++)
    if (!node->inputs[i]->batched || node->inputs[i]->shape.dim[0] != 1)
      return plan_refuse(p, node, "compiled attention needs operands of shape (N, ..)");
  return STATUS_OK;
}

enum status attention_steps(struct planner *p, const struct node *node) {
  TRY(attention_check(p, node));
  struct view operands[3];
  for (int i = 0; i < 3; i++) TRY(attention_input(p, node, i, &operands[i]));
  bool rank4 = node->inputs[0]->shape.rank == 4;
  struct view storage;
  bool in_place = !rank4 && step_fits(p, node->inputs[0], node->outputs[0], &storage);
  TRY(place_value(p, node->outputs[0], in_place ? &storage : NULL));
  struct view out = place_of(p, node->outputs[0]), target = out;
  int64_t rows, columns, row_stride;
  if (rank4) {
    struct shape tokens = {4, {1, out.shape.dim[2], out.shape.dim[1], out.shape.dim[3]}};
    target = place_temporary(p, "attention by token", &tokens, true);
  } else if (!view_matrix(&out, &rows, &columns, &row_stride)) {
    target = place_temporary(p, "attention by token", &out.shape, true);
  }
  struct step *step = steps_new(p, STEP_ATTENTION, node);
  step_set_out(step, &target);
  for (int i = 0; i < 3; i++) step_add_input(step, &operands[i]);
  int64_t heads = rank4 ? out.shape.dim[1] : node_int(node, "q_num_heads");
  int64_t keys = operands[1].shape.dim[1], head_dim = operands[1].shape.dim[2] / heads;
  struct shape packed = {2, {heads, pack_keys_floats(keys, head_dim)}};
  step->scratch = place_temporary(p, "packed keys", &packed, true);
  if (rank4) {
    static const int64_t heads_first[] = {0, 2, 1, 3};
    struct view permuted = view_permute(&target, heads_first);
    TRY(steps_copy(p, &permuted, &out, node));
  } else if (!view_same_layout(&target, &out)) {
    TRY(steps_copy(p, &target, &out, node));
  }
  return step_epilogue(p, node, &out, 0);
}
