/* Requires: nothing; better when query, key and value are one MatMul.
 * Ensures: a LayerNormalization over columns with constant scale and bias that one MatMul with a constant B alone reads, as its
 * A, is the MatMul's prologue; so is one that it reads through a Reshape that keeps the columns. Breaks: plain-op patterns:
 * passes after this one meet fused nodes. */
#include "passes/passes.h"
#include "passes/rewrite.h"

static bool normalizes_columns(const struct node *norm) {
  const struct value *x = norm->inputs[0];
  if (!value_is_constant(norm->inputs[1]) ||
      (norm->input_count > 2 && norm->inputs[2] != NULL && !value_is_constant(norm->inputs[2])))
    return false;
  return x->shape.rank >= 2 && node_axis(norm, x->shape.rank) == x->shape.rank - 1;
}

/* LayerNormalization, then Reshape: the other way around, so that the MatMul follows. */
static struct value *reshape_first(struct graph *graph, struct node *reshape) {
  struct value *norm_value = reshape->inputs[0], *y = reshape->outputs[0];
  const struct node *norm = producer_of(norm_value, OP_layer_normalization);
  if (norm == NULL || !normalizes_columns(norm) || last_dim(norm_value) != last_dim(y) || y->shape.rank < 2) return y;
  if (graph_single_user(graph, norm_value) != reshape) return y;
  const char *name = arena_printf(graph->arena, "%s.reshaped", norm->inputs[0]->name);
  struct value *inputs[3] = {build_reshape(graph, reshape, norm->inputs[0], &y->shape, name)};
  for (int i = 1; i < norm->input_count; i++) inputs[i] = norm->inputs[i];
  struct node *moved = build_node(graph, reshape, OP_layer_normalization, inputs, norm->input_count, y->name);
  moved->attrs = norm->attrs;
  moved->attr_count = norm->attr_count;
  node_set_int(graph, moved, "axis", -1);
  struct value *result = finish_node(graph, moved);
  return replace_value(graph, y, result) ? result : y;
}

static void fuse_norm(struct graph *graph, struct node *matmul) {
  struct weight_matrix weight;
  if (matmul->prologue_count > 0 || !matmul_weight(matmul, &weight)) return;
  struct value *a = matmul->inputs[0];
  struct node *reshape = producer_of(a, OP_reshape);
  if (reshape != NULL && graph_single_user(graph, a) == matmul) a = reshape_first(graph, reshape);
  struct node *norm = producer_of(a, OP_layer_normalization);
  if (norm == NULL || !normalizes_columns(norm) || graph_single_user(graph, a) != matmul) return;
  /* The MatMul's epilogue may add the normalised value too. */
  if (graph_count_uses(graph, a) == 1) graph_fuse_prologue(graph, matmul, norm, 0);
}

enum status pass_fuse_layer_norm(struct graph *graph) {
  for (struct node *node = graph->first; node != NULL; node = node->next)
    if (node->op == OP_mat_mul) fuse_norm(graph, node);
  sweep_dead(graph);
  return STATUS_OK;
}
