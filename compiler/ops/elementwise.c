#include "ops/op.h"

#include <string.h>

static enum status infer_binary(struct graph *graph, struct node *node, unsigned allowed) {
  TRY(op_check_dtype(graph, node, 0, allowed));
  TRY(op_check_dtype(graph, node, 1, 1u << node->inputs[0]->dtype));
  struct broadcast broadcast = {0};
  TRY(op_broadcast(graph, node, node->inputs[0], &broadcast));
  TRY(op_broadcast(graph, node, node->inputs[1], &broadcast));
  return op_set_output(graph, node, 0, node->inputs[0]->dtype, &broadcast.shape, broadcast.batched);
}

enum status infer_add(struct graph *graph, struct node *node) {
  return infer_binary(graph, node, DTYPES_ARITHMETIC);
}
enum status infer_sub(struct graph *graph, struct node *node) {
  return infer_binary(graph, node, DTYPES_ARITHMETIC);
}
enum status infer_mul(struct graph *graph, struct node *node) {
  return infer_binary(graph, node, DTYPES_ARITHMETIC);
}
enum status infer_div(struct graph *graph, struct node *node) {
  return infer_binary(graph, node, DTYPES_ARITHMETIC);
}

enum status infer_max(struct graph *graph, struct node *node) {
  return infer_binary(graph, node, DTYPES_ARITHMETIC);
}
enum status infer_min(struct graph *graph, struct node *node) {
  return infer_binary(graph, node, DTYPES_ARITHMETIC);
}

enum status infer_pow(struct graph *graph, struct node *node) {
  TRY(op_check_dtype(graph, node, 0, DTYPES_FLOAT));
  TRY(op_check_dtype(graph, node, 1, DTYPES_ARITHMETIC));
  struct broadcast broadcast = {0};
  TRY(op_broadcast(graph, node, node->inputs[0], &broadcast));
  TRY(op_broadcast(graph, node, node->inputs[1], &broadcast));
  return op_set_output(graph, node, 0, node->inputs[0]->dtype, &broadcast.shape, broadcast.batched);
}

static enum status infer_unary(struct graph *graph, struct node *node, unsigned allowed) {
  TRY(op_check_dtype(graph, node, 0, allowed));
  const struct value *x = node->inputs[0];
  return op_set_output(graph, node, 0, x->dtype, &x->shape, x->batched);
}

enum status infer_neg(struct graph *graph, struct node *node) {
  return infer_unary(graph, node, DTYPES_ARITHMETIC);
}
enum status infer_sqrt(struct graph *graph, struct node *node) {
  return infer_unary(graph, node, DTYPES_FLOAT);
}
enum status infer_reciprocal(struct graph *graph, struct node *node) {
  return infer_unary(graph, node, DTYPES_FLOAT);
}
enum status infer_exp(struct graph *graph, struct node *node) {
  return infer_unary(graph, node, DTYPES_FLOAT);
}
enum status infer_erf(struct graph *graph, struct node *node) {
  return infer_unary(graph, node, DTYPES_FLOAT);
}
enum status infer_tanh(struct graph *graph, struct node *node) {
  return infer_unary(graph, node, DTYPES_FLOAT);
}
enum status infer_sigmoid(struct graph *graph, struct node *node) {
  return infer_unary(graph, node, DTYPES_FLOAT);
}
enum status infer_relu(struct graph *graph, struct node *node) {
  return infer_unary(graph, node, DTYPES_ARITHMETIC);
}

enum status infer_swish(struct graph *graph, struct node *node) {
  return infer_unary(graph, node, DTYPES_FLOAT);
}

enum status infer_gelu(struct graph *graph, struct node *node) {
  const char *approximate = node_string(node, "approximate");
  if (strcmp(approximate, "none") != 0 && strcmp(approximate, "tanh") != 0)
    return op_fail(graph, node, "attribute 'approximate' is '%s', expected 'none' or 'tanh'", approximate);
  return infer_unary(graph, node, DTYPES_FLOAT);
}

enum status infer_identity(struct graph *graph, struct node *node) {
  return infer_unary(graph, node, (1u << DTYPE_COUNT) - 1);
}

enum status infer_cast(struct graph *graph, struct node *node) {
  enum dtype to;
  if (!dtype_parse(node_string(node, "to"), &to))
    return op_fail(graph, node, "attribute 'to' is '%s', expected a dtype such as 'float32'", node_string(node, "to"));
  const struct value *x = node->inputs[0];
  return op_set_output(graph, node, 0, to, &x->shape, x->batched);
}
