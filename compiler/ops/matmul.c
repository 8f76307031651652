/* MatMul and Gemm. */
#include "ops/op.h"

static enum status check_inner(struct graph *graph, const struct node *node, int64_t a, int64_t b) {
  if (a == b) return STATUS_OK;
  return op_fail(graph, node, "inner extents differ: %lld of %s, %lld of %s", (long long)a, op_describe(graph, node->inputs[0]),
                 (long long)b, op_describe(graph, node->inputs[1]));
}

/* The operand without its last two axes, for broadcasting. */
static struct value leading(const struct value *value) {
  struct value axes = *value;
  axes.shape.rank = value->shape.rank > 2 ? value->shape.rank - 2 : 0;
  axes.batched = value->batched && axes.shape.rank > 0;
  return axes;
}

enum status infer_mat_mul(struct graph *graph, struct node *node) {
  const struct value *a = node->inputs[0], *b = node->inputs[1];
  TRY(op_check_dtype(graph, node, 0, 1u << DTYPE_F32));
  TRY(op_check_dtype(graph, node, 1, 1u << DTYPE_F32));
  int rank_a = a->shape.rank, rank_b = b->shape.rank;
  if (rank_a < 1 || rank_b < 1) return op_fail(graph, node, "a scalar cannot be multiplied as a matrix");
  /* Axis 0 of b is the inner one when its rank is 1 or 2, axis 0 of a when its rank is 1. */
  if (rank_a == 1) TRY(op_keep_images(graph, node, a, 0));
  if (rank_b <= 2) TRY(op_keep_images(graph, node, b, 0));
  TRY(check_inner(graph, node, a->shape.dim[rank_a - 1], b->shape.dim[rank_b > 1 ? rank_b - 2 : 0]));
  struct value leading_a = leading(a), leading_b = leading(b);
  struct broadcast broadcast = {0};
  TRY(op_broadcast(graph, node, &leading_a, &broadcast));
  TRY(op_broadcast(graph, node, &leading_b, &broadcast));
  bool rows_batched = a->batched && rank_a == 2;
  if (rows_batched && broadcast.shape.rank > 0)
    return op_fail(graph, node, "%s beside %s would move the axis along which the images of the batch lie",
                   op_describe(graph, a), op_describe(graph, b));
  struct shape shape = broadcast.shape;
  if (shape.rank > RANK_MAX - 2) return op_fail(graph, node, "rank is over %d", RANK_MAX);
  if (rank_a > 1) shape.dim[shape.rank++] = a->shape.dim[rank_a - 2];
  if (rank_b > 1) shape.dim[shape.rank++] = b->shape.dim[rank_b - 1];
  return op_set_output(graph, node, 0, a->dtype, &shape, broadcast.batched || rows_batched);
}

static enum status check_addend(struct graph *graph, const struct node *node, const struct shape *out, bool batched) {
  const struct value *c = op_input(node, 2);
  if (c == NULL) return STATUS_OK;
  TRY(op_check_dtype(graph, node, 2, 1u << DTYPE_F32));
  int offset = 2 - c->shape.rank;
  if (offset < 0) return op_fail(graph, node, "c %s: expected at most rank 2", op_describe(graph, c));
  for (int i = 0; i < c->shape.rank; i++)
    if (c->shape.dim[i] != 1 && c->shape.dim[i] != out->dim[i + offset])
      return op_fail(graph, node, "c %s does not broadcast to (%lld, %lld)", op_describe(graph, c), (long long)out->dim[0],
                     (long long)out->dim[1]);
  if (c->batched && (!batched || offset > 0 || c->shape.dim[0] != out->dim[0]))
    return op_fail(graph, node, "c %s does not have the rows of the result's images", op_describe(graph, c));
  if (!c->batched && batched && offset == 0 && c->shape.dim[0] != 1)
    return op_fail(graph, node, "c %s does not repeat for each image", op_describe(graph, c));
  return STATUS_OK;
}

enum status infer_gemm(struct graph *graph, struct node *node) {
  const struct value *a = node->inputs[0], *b = node->inputs[1];
  for (int i = 0; i < 2; i++) {
    TRY(op_check_dtype(graph, node, i, 1u << DTYPE_F32));
    if (node->inputs[i]->shape.rank != 2)
      return op_fail(graph, node, "input %d %s: expected rank 2", i, op_describe(graph, node->inputs[i]));
  }
  bool trans_a = node_int(node, "transA") != 0, trans_b = node_int(node, "transB") != 0;
  if (trans_a) TRY(op_keep_images(graph, node, a, 0));
  TRY(op_unbatched(graph, node, 1, "b"));
  TRY(check_inner(graph, node, a->shape.dim[trans_a ? 0 : 1], b->shape.dim[trans_b ? 1 : 0]));
  struct shape shape = {.rank = 2, .dim = {a->shape.dim[trans_a ? 1 : 0], b->shape.dim[trans_b ? 0 : 1]}};
  TRY(check_addend(graph, node, &shape, a->batched));
  return op_set_output(graph, node, 0, a->dtype, &shape, a->batched);
}
