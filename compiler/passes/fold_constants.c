/* Requires: nothing.
 * Ensures: no node has only constant inputs, but for a Transpose of a matrix that MatMuls alone read, as B: weights are packed
 *          from either order, so the copy is spared. Results that lie in an input's memory share it.
 * Breaks: nothing. */
#include "passes/passes.h"
#include "passes/rewrite.h"

#include <string.h>

static bool reads_as_b(const struct node *user, const struct value *value) {
  bool product = user->op == OP_mat_mul ||
                 (user->op == OP_gemm && node_int(user, "transB") == 0 && user->inputs[2 % user->input_count] != value);
  return product && user->inputs[0] != value && user->inputs[1] == value;
}

/* Only MatMuls read `value`, as their B. */
static bool feeds_weights(const struct graph *graph, const struct value *value) {
  if (value_is_output(graph, value)) return false;
  int uses = 0;
  for (const struct node *user = graph->first; user != NULL; user = user->next) uses += reads_as_b(user, value);
  return uses > 0 && uses == graph_count_uses(graph, value);
}

static bool foldable(const struct graph *graph, const struct node *node) {
  if (!node_plain(node)) return false;
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] != NULL && !value_is_constant(node->inputs[i])) return false;
  for (int i = 0; i < node->output_count; i++) {
    const struct value *output = node->outputs[i];
    /* A constant would say that all images share one copy, which an op that asked for N copies may need. */
    if (output != NULL && (output->batched || value_is_output(graph, output))) return false;
  }
  return !(node->op == OP_transpose && node->inputs[0]->shape.rank == 2 && feeds_weights(graph, node->outputs[0]));
}

static size_t bytes_of(const struct value *value) {
  return (size_t)shape_elements(&value->shape) * dtype_size(value->dtype);
}

/* All axes before `axis` are 1, so that a range of the axis is a range of memory. */
static bool leading(const struct shape *shape, int axis) {
  for (int i = 0; i < axis; i++)
    if (shape->dim[i] != 1) return false;
  return true;
}

static const void *slice_data(const struct node *node) {
  const struct value *x = node->inputs[0];
  int axis;
  int64_t start, end;
  if (!slice_range(node, &axis, &start, &end) || !leading(&x->shape, axis)) return NULL;
  return (const char *)x->data + bytes_of(x) / (size_t)x->shape.dim[axis] * (size_t)start;
}

static const void *concat_data(const struct node *node) {
  if (!leading(&node->outputs[0]->shape, node_axis(node, node->outputs[0]->shape.rank))) return NULL;
  for (int i = 1; i < node->input_count; i++) {
    const struct value *before = node->inputs[i - 1];
    if ((const char *)before->data + bytes_of(before) != (const char *)node->inputs[i]->data) return NULL;
  }
  return node->inputs[0]->data;
}

/* The first output's elements where they lie in an input already, or NULL. */
static const void *shared_data(const struct node *node) {
  switch (node->op) {
  case OP_identity:
  case OP_reshape:
  case OP_flatten:
  case OP_squeeze:
  case OP_unsqueeze:
    return node->inputs[0]->data;
  case OP_expand:
    return bytes_of(node->inputs[0]) == bytes_of(node->outputs[0]) ? node->inputs[0]->data : NULL;
  case OP_slice:
    return slice_data(node);
  case OP_concat:
    return concat_data(node);
  default:
    return NULL;
  }
}

static void share_split(struct node *node) {
  const char *at = node->inputs[0]->data;
  for (int i = 0; i < node->output_count; i++) {
    node->outputs[i]->data = at;
    at += bytes_of(node->outputs[i]);
  }
}

static void evaluate(struct graph *graph, struct node *node) {
  const void **inputs = arena_array(graph->arena, (size_t)node->input_count, sizeof(void *));
  void **outputs = arena_array(graph->arena, (size_t)node->output_count, sizeof(void *));
  for (int i = 0; i < node->input_count; i++) inputs[i] = node->inputs[i] != NULL ? node->inputs[i]->data : NULL;
  for (int i = 0; i < node->output_count; i++)
    if (node->outputs[i] != NULL) outputs[i] = arena_alloc(graph->arena, bytes_of(node->outputs[i]));
  op_info(node->op)->eval(node, inputs, outputs);
  for (int i = 0; i < node->output_count; i++)
    if (node->outputs[i] != NULL) node->outputs[i]->data = outputs[i];
}

enum status pass_fold_constants(struct graph *graph) {
  for (struct node *node = graph->first, *next; node != NULL; node = next) {
    next = node->next;
    if (!foldable(graph, node)) continue;
    const void *shared = shared_data(node);
    int64_t sizes[RANK_MAX];
    if (shared != NULL)
      node->outputs[0]->data = shared;
    else if (node->op == OP_split && split_sizes(node, sizes, RANK_MAX) &&
             leading(&node->inputs[0]->shape, node_axis(node, node->inputs[0]->shape.rank)))
      share_split(node);
    else
      evaluate(graph, node);
    graph_remove_node(graph, node);
  }
  graph_sweep_values(graph);
  return STATUS_OK;
}
