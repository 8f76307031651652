/* Requires: constants folded, or the nodes that depend on unfolded ones stay as they are.
 * Ensures: no Gemm, Flatten, Squeeze, Unsqueeze or Identity; no Reshape of a Reshape, Transpose of a Transpose; no op that
 *          changes nothing (unless it names a graph output); Add and Mul where Sub and Div by a constant have the same bits.
 * Breaks: nothing. */
#include "passes/passes.h"
#include "passes/rewrite.h"

#include <math.h>
#include <string.h>

static struct value *build_transposed(struct graph *graph, struct node *before, struct value *matrix) {
  return build_transpose(graph, before, matrix, (const int64_t[]){1, 0}, arena_printf(graph->arena, "%s.T", matrix->name));
}

static struct value *build_scaled(struct graph *graph, struct node *before, struct value *x, double factor) {
  if (factor == 1) return x;
  const char *name = arena_printf(graph->arena, "%s.scaled", x->name);
  struct value *scalar = build_scalar(graph, arena_printf(graph->arena, "%s.factor", x->name), (float)factor);
  return build_binary(graph, before, OP_mul, x, scalar, name);
}

static bool lower_gemm(struct graph *graph, struct node *node) {
  const char *name = node->outputs[0]->name;
  struct value *a = node->inputs[0], *b = node->inputs[1];
  if (node_int(node, "transA") != 0) a = build_transposed(graph, node, a);
  if (node_int(node, "transB") != 0) b = build_transposed(graph, node, b);
  double beta = node_float(node, "beta");
  struct value *c = node->input_count > 2 && beta != 0 ? node->inputs[2] : NULL;
  struct value *y = build_binary(graph, node, OP_mat_mul, a, b, arena_printf(graph->arena, "%s.product", name));
  y = build_scaled(graph, node, y, node_float(node, "alpha"));
  if (c != NULL) y = build_binary(graph, node, OP_add, y, build_scaled(graph, node, c, beta), name);
  return replace_value(graph, node->outputs[0], y);
}

static bool same_layout(const struct value *a, const struct value *b) {
  return a->dtype == b->dtype && a->batched == b->batched && shape_equal(&a->shape, &b->shape);
}

/* Some other operand of the node is batched, so that its result is, whatever `value` is. */
static bool batched_beside(const struct node *node, const struct value *value) {
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] != NULL && node->inputs[i] != value && node->inputs[i]->batched) return true;
  return false;
}

static bool node_reads(const struct node *node, const struct value *value) {
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] == value) return true;
  return false;
}

/* Expand gives every image its copy of the same elements; those who read it along with other batched values do without. */
static bool copies_unneeded(const struct graph *graph, const struct node *expand) {
  const struct value *x = expand->inputs[0], *y = expand->outputs[0];
  if (!shape_equal(&x->shape, &y->shape) || value_is_output(graph, y)) return false;
  for (const struct node *user = graph->first; user != NULL; user = user->next) {
    if (!node_reads(user, y)) continue;
    bool joins = user->op == OP_concat || (op_info(user->op)->flags & OP_ELEMENTWISE) != 0;
    if (!joins || !batched_beside(user, y)) return false;
  }
  return true;
}

static bool is_noop(const struct graph *graph, const struct node *node) {
  if (node->output_count != 1 || node->input_count < 1) return false;
  const struct value *x = node->inputs[0], *y = node->outputs[0];
  int64_t perm[RANK_MAX];
  switch (node->op) {
  case OP_identity:
    return true;
  case OP_concat:
    return node->input_count == 1;
  case OP_cast:
  case OP_reshape:
  case OP_flatten:
  case OP_squeeze:
  case OP_unsqueeze:
  case OP_split:
    return same_layout(x, y);
  case OP_expand:
    return same_layout(x, y) || copies_unneeded(graph, node);
  case OP_slice: {
    int axis;
    int64_t start, end;
    return same_layout(x, y) && slice_range(node, &axis, &start, &end);
  }
  case OP_transpose:
    transpose_perm(node, perm);
    for (int i = 0; i < x->shape.rank; i++)
      if (perm[i] != i) return false;
    return true;
  default:
    return false;
  }
}

/* Flatten, Squeeze, Unsqueeze, and a Reshape of a Reshape, become one Reshape. */
static bool merge_reshape(struct graph *graph, struct node *node) {
  struct value *x = node->inputs[0], *y = node->outputs[0];
  const struct node *inner = producer_of(x, OP_reshape);
  if (inner != NULL && inner->inputs[0]->batched == y->batched)
    x = inner->inputs[0];
  else if (node->op == OP_reshape)
    return false;
  if (x->batched != y->batched || x->dtype != y->dtype) return false;
  return replace_value(graph, y, build_reshape(graph, node, x, &y->shape, y->name));
}

static bool merge_transpose(struct graph *graph, struct node *node) {
  const struct node *inner = producer_of(node->inputs[0], OP_transpose);
  if (inner == NULL) return false;
  int64_t first[RANK_MAX], second[RANK_MAX], both[RANK_MAX];
  transpose_perm(inner, first);
  transpose_perm(node, second);
  bool returns = true;
  for (int i = 0; i < node->inputs[0]->shape.rank; i++) {
    both[i] = first[second[i]];
    returns = returns && both[i] == i;
  }
  if (returns && replace_value(graph, node->outputs[0], inner->inputs[0])) return true;
  const char *name = node->outputs[0]->name;
  return replace_value(graph, node->outputs[0], build_transpose(graph, node, inner->inputs[0], both, name));
}

/* x - c and x + (-c), x / c and x * (1 / c) for powers of two round alike. */
static bool exact_inverse(float c) {
  int exponent;
  return fabsf(frexpf(c, &exponent)) == 0.5f && exponent > -120 && exponent < 120;
}

static bool invert_constant(struct graph *graph, struct node *node) {
  const float *floats = constant_floats(node->inputs[1]);
  if (floats == NULL || value_is_constant(node->inputs[0])) return false;
  size_t count = (size_t)shape_elements(&node->inputs[1]->shape);
  bool divides = node->op == OP_div;
  for (size_t i = 0; i < count; i++)
    if (divides && !exact_inverse(floats[i])) return false;
  float *inverse = arena_array(graph->arena, count, sizeof *inverse);
  for (size_t i = 0; i < count; i++) inverse[i] = divides ? 1 / floats[i] : -floats[i];
  const char *constant_name = arena_printf(graph->arena, divides ? "%s.reciprocal" : "%s.negated", node->inputs[1]->name);
  struct value *constant = graph_add_constant(graph, constant_name, DTYPE_F32, &node->inputs[1]->shape, inverse);
  enum op op = divides ? OP_mul : OP_add;
  struct value *y = build_binary(graph, node, op, node->inputs[0], constant, node->outputs[0]->name);
  return replace_value(graph, node->outputs[0], y);
}

static bool canonicalize_node(struct graph *graph, struct node *node) {
  switch (node->op) {
  case OP_gemm:
    return lower_gemm(graph, node);
  case OP_flatten:
  case OP_squeeze:
  case OP_unsqueeze:
  case OP_reshape:
    return merge_reshape(graph, node);
  case OP_transpose:
    return merge_transpose(graph, node);
  case OP_sub:
  case OP_div:
    return invert_constant(graph, node);
  default:
    return false;
  }
}

enum status pass_canonicalize(struct graph *graph) {
  for (struct node *node = graph->first, *next; node != NULL; node = next) {
    next = node->next;
    if (!node_plain(node)) continue;
    bool replaced = is_noop(graph, node) && replace_value(graph, node->outputs[0], node->inputs[0]);
    if (!replaced) replaced = canonicalize_node(graph, node);
    if (replaced) graph_remove_node(graph, node);
  }
  sweep_dead(graph);
  return STATUS_OK;
}
