/* Requires: canonical, so that constants lie in constants.
 * Ensures: Gelu and LayerNormalization stand for their decomposed forms: x * (1 + erf(x / sqrt 2)) / 2, and with
 *          tanh(sqrt(2 / pi) * (x + 0.044715 x^3)) for the erf, in any order of the factors; (x - mean) / sqrt(var + epsilon)
 *          over the last axis, with scale and bias where they follow. Swish stands for x * sigmoid(alpha * x).
 * Breaks: nothing; results differ in rounding. */
#include "passes/passes.h"
#include "passes/rewrite.h"

#include <math.h>
#include <string.h>

static bool scalar_is(const struct value *value, double expected) {
  double scalar;
  return constant_scalar(value, &scalar) && fabs(scalar - expected) <= 1e-6 * fabs(expected);
}

/* The other operand of `node` when one is the scalar `expected`. */
static struct value *beside_scalar(const struct node *node, double expected) {
  struct value *constant, *x = operand_beside_constant(node, &constant, NULL);
  return x != NULL && scalar_is(constant, expected) ? x : NULL;
}

/* x of erf's argument x / sqrt 2. */
static struct value *gelu_input(const struct value *argument) {
  const struct node *node = producer_of(argument, OP_mul);
  if (node != NULL) return beside_scalar(node, sqrt(0.5));
  node = producer_of(argument, OP_div);
  return node != NULL && scalar_is(node->inputs[1], sqrt(2)) ? node->inputs[0] : NULL;
}

/* Factors of a product tree: how often x and the erf term occur, times a scalar, and whatever else. */
struct factors {
  const struct value *x, *term;
  int x_count, term_count, other_count;
  double scalar;
};

static void collect_factors(const struct value *value, int depth, struct factors *factors) {
  const struct node *node = producer_of(value, OP_mul);
  double scalar;
  if (value == factors->x) {
    factors->x_count++;
  } else if (value == factors->term) {
    factors->term_count++;
  } else if (constant_scalar(value, &scalar)) {
    factors->scalar *= scalar;
  } else if (node != NULL && depth < 3) {
    collect_factors(node->inputs[0], depth + 1, factors);
    collect_factors(node->inputs[1], depth + 1, factors);
  } else {
    factors->other_count++;
  }
}

/* Whether `value` is 0.044715 x^3, the cube as a power or as a product. */
static bool is_cubic_term(const struct value *value, const struct value *x) {
  const struct node *node = producer_of(value, OP_mul);
  const struct node *power = node != NULL ? producer_of(beside_scalar(node, 0.044715), OP_pow) : NULL;
  if (power != NULL) return power->inputs[0] == x && scalar_is(power->inputs[1], 3);
  struct factors factors = {.x = x, .scalar = 1};
  collect_factors(value, 0, &factors);
  return factors.x_count == 3 && factors.other_count == 0 && fabs(factors.scalar - 0.044715) <= 1e-6 * 0.044715;
}

/* x of tanh's argument sqrt(2 / pi) * (x + 0.044715 x^3). */
static struct value *tanh_gelu_input(const struct value *argument) {
  const struct node *node = producer_of(argument, OP_mul);
  const struct node *sum = node != NULL ? producer_of(beside_scalar(node, sqrt(2 / 3.14159265358979324)), OP_add) : NULL;
  for (int i = 0; sum != NULL && i < 2; i++)
    if (is_cubic_term(sum->inputs[1 - i], sum->inputs[i])) return sum->inputs[i];
  return NULL;
}

static struct value *build_gelu(struct graph *graph, struct node *before, struct value *x, enum op inner) {
  struct node *gelu = build_node(graph, before, OP_gelu, &x, 1, before->outputs[0]->name);
  if (inner == OP_tanh) node_set_string(graph, gelu, "approximate", "tanh");
  return finish_node(graph, gelu);
}

/* `inner` is the Erf or the Tanh. */
static void compose_gelu(struct graph *graph, struct node *inner) {
  struct value *x = inner->op == OP_erf ? gelu_input(inner->inputs[0]) : tanh_gelu_input(inner->inputs[0]);
  const struct node *sum = only_user(graph, inner->outputs[0], OP_add);
  if (x == NULL || sum == NULL || beside_scalar(sum, 1) == NULL) return;
  struct node *product = only_user(graph, sum->outputs[0], OP_mul);
  for (int climbs = 0; product != NULL && climbs < 3; climbs++) {
    struct factors factors = {.x = x, .term = sum->outputs[0], .scalar = 1};
    collect_factors(product->outputs[0], 0, &factors);
    if (factors.x_count == 1 && factors.term_count == 1 && factors.other_count == 0 && factors.scalar == 0.5) {
      replace_value(graph, product->outputs[0], build_gelu(graph, product, x, inner->op));
      return;
    }
    product = only_user(graph, product->outputs[0], OP_mul);
  }
}

/* x * sigmoid(x), or with alpha * x for the sigmoid's. */
static void compose_swish(struct graph *graph, struct node *sigmoid) {
  struct node *product = only_user(graph, sigmoid->outputs[0], OP_mul);
  struct value *argument = sigmoid->inputs[0], *constant;
  if (product == NULL) return;
  struct value *x = product->inputs[product->inputs[0] == sigmoid->outputs[0] ? 1 : 0];
  double alpha = 1;
  const struct node *scaled = producer_of(argument, OP_mul);
  if (x != argument && (scaled == NULL || operand_beside_constant(scaled, &constant, NULL) != x ||
                        constant->shape.rank > x->shape.rank || !constant_scalar(constant, &alpha)))
    return;
  struct node *swish = build_node(graph, product, OP_swish, &x, 1, product->outputs[0]->name);
  if (alpha != 1) node_set_float(graph, swish, "alpha", alpha);
  replace_value(graph, product->outputs[0], finish_node(graph, swish));
}

/* x of ReduceMean(x) over the last axis, kept. */
static struct value *mean_input(const struct value *mean) {
  const struct node *node = producer_of(mean, OP_reduce_mean);
  if (node == NULL || node_int(node, "keepdims") == 0) return NULL;
  const struct attr *attr = node_attr(node, "axes");
  int64_t axes[RANK_MAX];
  int count = 0, rank = node->inputs[0]->shape.rank;
  if (attr != NULL && attr->count == 1) {
    axes[0] = attr->ints[0];
    count = 1;
  } else if (attr != NULL || node->input_count < 2 || !constant_integers(node->inputs[1], RANK_MAX, axes, &count)) {
    return NULL;
  }
  return count == 1 && (axes[0] == -1 || axes[0] == rank - 1) ? node->inputs[0] : NULL;
}

/* d of d^2, as a power or as a product. */
static struct value *square_input(const struct value *square) {
  const struct node *node = producer_of(square, OP_mul);
  if (node != NULL) return node->inputs[0] == node->inputs[1] ? node->inputs[0] : NULL;
  node = producer_of(square, OP_pow);
  return node != NULL && scalar_is(node->inputs[1], 2) ? node->inputs[0] : NULL;
}

/* The constant (C) by which the only `op` that reads `value` combines it, and that node's result. */
static struct value *per_column_user(const struct graph *graph, struct value *value, enum op op, struct value **out_result) {
  const struct node *node = only_user(graph, value, op);
  struct value *constant;
  if (node == NULL || operand_beside_constant(node, &constant, NULL) != value || constant_floats(constant) == NULL) return NULL;
  if (constant->shape.rank != 1 || constant->shape.dim[0] != last_dim(value)) return NULL;
  *out_result = node->outputs[0];
  return constant;
}

static struct value *build_ones(struct graph *graph, const char *name, int64_t count) {
  float *ones = arena_array(graph->arena, (size_t)count, sizeof *ones);
  for (int64_t i = 0; i < count; i++) ones[i] = 1;
  return graph_add_constant(graph, name, DTYPE_F32, &(struct shape){.rank = 1, .dim = {count}}, ones);
}

static void compose_layer_norm(struct graph *graph, struct node *quotient) {
  struct value *centred = quotient->inputs[0], *epsilon_value = NULL;
  const struct node *difference = producer_of(centred, OP_sub), *root = producer_of(quotient->inputs[1], OP_sqrt);
  const struct node *sum = root != NULL ? producer_of(root->inputs[0], OP_add) : NULL;
  if (difference == NULL || sum == NULL) return;
  struct value *x = difference->inputs[0], *variance = operand_beside_constant(sum, &epsilon_value, NULL);
  double epsilon;
  if (variance == NULL || !constant_scalar(epsilon_value, &epsilon) || epsilon < 0) return;
  const struct value *squares = mean_input(variance);
  if (mean_input(difference->inputs[1]) != x || squares == NULL || square_input(squares) != centred) return;

  struct value *result = quotient->outputs[0], *bias = NULL;
  struct value *scale = per_column_user(graph, result, OP_mul, &result);
  if (scale == NULL)
    scale = build_ones(graph, arena_printf(graph->arena, "%s.scale", result->name), last_dim(x));
  else
    bias = per_column_user(graph, result, OP_add, &result);
  struct node *norm = build_node(graph, result->producer, OP_layer_normalization, (struct value *[]){x, scale, bias},
                                 bias != NULL ? 3 : 2, result->name);
  node_set_float(graph, norm, "epsilon", epsilon);
  replace_value(graph, result, finish_node(graph, norm));
}

enum status pass_compose_ops(struct graph *graph) {
  for (struct node *node = graph->first; node != NULL; node = node->next) {
    if ((node->op == OP_erf || node->op == OP_tanh) && node_plain(node)) compose_gelu(graph, node);
    if (node->op == OP_sigmoid && node_plain(node)) compose_swish(graph, node);
    if (node->op == OP_div && node_plain(node)) compose_layer_norm(graph, node);
  }
  sweep_dead(graph);
  return STATUS_OK;
}
