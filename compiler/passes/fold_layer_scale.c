/* Requires: canonical; a Mul by a constant for each column of what only it reads: a MatMul by a constant, or such a MatMul with
 *           a constant bias added.
 * Ensures: the MatMul's columns and the bias are scaled, and the Mul is gone.
 * Breaks: nothing; results differ in rounding. */
#include "passes/passes.h"
#include "passes/rewrite.h"

/* A constant with an element for each of `columns`, or NULL. */
static const float *per_column(const struct value *constant, int64_t columns) {
  if (constant->shape.rank < 1 || last_dim(constant) != columns || shape_elements(&constant->shape) != columns) return NULL;
  return constant_floats(constant);
}

struct scaled_product {
  struct node *matmul;
  struct weight_matrix weight;
  struct value *bias; /* NULL: none */
};

static bool match_product(const struct graph *graph, struct value *value, const struct node *user,
                          struct scaled_product *out_product) {
  struct scaled_product product = {.matmul = producer_of(value, OP_mat_mul)};
  if (graph_single_user(graph, value) != user) return false;
  if (product.matmul == NULL) {
    const struct node *add = producer_of(value, OP_add);
    struct value *x = add != NULL ? operand_beside_constant(add, &product.bias, NULL) : NULL;
    if (x == NULL || per_column(product.bias, last_dim(value)) == NULL || graph_single_user(graph, x) != add) return false;
    product.matmul = producer_of(x, OP_mat_mul);
  }
  if (product.matmul == NULL || !matmul_weight(product.matmul, &product.weight)) return false;
  *out_product = product;
  return shape_equal(&product.matmul->outputs[0]->shape, &value->shape);
}

static struct value *scale_weight(struct graph *graph, const struct weight_matrix *weight, const float *scale) {
  const float *from = constant_floats(weight->constant);
  int64_t count = weight->rows * weight->columns;
  float *scaled = arena_array(graph->arena, (size_t)count, sizeof *scaled);
  for (int64_t i = 0; i < count; i++) scaled[i] = from[i] * scale[weight->transposed ? i / weight->rows : i % weight->columns];
  return graph_add_constant(graph, weight->constant->name, DTYPE_F32, &weight->constant->shape, scaled);
}

static struct value *scale_bias(struct graph *graph, const struct value *bias, const float *scale) {
  const float *from = constant_floats(bias);
  int64_t count = shape_elements(&bias->shape);
  float *scaled = arena_array(graph->arena, (size_t)count, sizeof *scaled);
  for (int64_t i = 0; i < count; i++) scaled[i] = from[i] * scale[i];
  return graph_add_constant(graph, bias->name, DTYPE_F32, &bias->shape, scaled);
}

static void fold_scale(struct graph *graph, struct node *mul) {
  struct scaled_product product;
  struct value *constant, *x = operand_beside_constant(mul, &constant, NULL), *result = mul->outputs[0];
  const float *scale = x != NULL && x->shape.rank > 0 ? per_column(constant, last_dim(x)) : NULL;
  if (scale == NULL || last_dim(x) == 1 || !shape_equal(&x->shape, &result->shape)) return;
  if (!match_product(graph, x, mul, &product)) return;
  struct value *b = scale_weight(graph, &product.weight, scale);
  if (product.weight.transposed)
    b = build_transpose(graph, mul, b, (const int64_t[]){1, 0}, arena_printf(graph->arena, "%s.T", b->name));
  const char *name = product.bias != NULL ? product.matmul->outputs[0]->name : result->name;
  struct value *y = build_binary(graph, mul, OP_mat_mul, product.matmul->inputs[0], b, name);
  if (product.bias != NULL) y = build_binary(graph, mul, OP_add, y, scale_bias(graph, product.bias, scale), result->name);
  replace_value(graph, result, y);
}

enum status pass_fold_layer_scale(struct graph *graph) {
  for (struct node *node = graph->first; node != NULL; node = node->next)
    if (node->op == OP_mul && node_plain(node)) fold_scale(graph, node);
  sweep_dead(graph);
  return STATUS_OK;
}
