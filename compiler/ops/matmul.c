/* MatMul and Gemm. */
#include "ops/eval.h"

static enum status check_inner(struct graph *graph, const struct node *node, int64_t a, int64_t b) {
  if (a == b) return STATUS_OK;
  return op_fail(graph, node, "inner extents differ: %lld of %s, %lld of %s", (long long)a, op_describe(graph, node->inputs[0]),
                 (long long)b, op_describe(graph, node->inputs[1]));
}

/* The operand without its last two axes, for broadcasting. */
static struct shape leading(const struct shape *shape) {
  struct shape axes = *shape;
  axes.rank = shape->rank > 2 ? shape->rank - 2 : 0;
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
  struct shape leading_a = leading(&a->shape), leading_b = leading(&b->shape);
  struct broadcast broadcast = {0};
  TRY(op_broadcast_axes(graph, node, a, &leading_a, a->batched && leading_a.rank > 0, &broadcast));
  TRY(op_broadcast_axes(graph, node, b, &leading_b, b->batched && leading_b.rank > 0, &broadcast));
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

void eval_mat_mul(const struct node *node, const void *const *inputs, void *const *outputs) {
  const struct shape *a = &node->inputs[0]->shape, *b = &node->inputs[1]->shape, *out = &node->outputs[0]->shape;
  int64_t rows = a->rank > 1 ? a->dim[a->rank - 2] : 1, columns = b->rank > 1 ? b->dim[b->rank - 1] : 1;
  int64_t inner = a->dim[a->rank - 1];
  struct product product = {
      .rows = rows,
      .columns = columns,
      .inner = inner,
      .a = {NULL, false, inner, 1},
      .b = {NULL, false, columns, 1},
      .alpha = 1,
      .out_row_stride = columns,
      .out_column_stride = 1,
  };
  if (b->rank <= 2) {
    /* Stacked matrices by a single one are one tall matrix. */
    product.rows = shape_elements(a) / inner;
    product.a.data = inputs[0];
    product.b.data = inputs[1];
    product.out = outputs[0];
    matrix_product(&product);
    return;
  }
  /* The walk ends a row of matrices with an axis that stands for the matrix as a whole. */
  struct shape leading_a = leading(a), leading_b = leading(b);
  struct shape stacks = {.rank = out->rank - (a->rank > 1) - 1};
  for (int i = 0; i < stacks.rank; i++) stacks.dim[i] = out->dim[i];
  stacks.dim[stacks.rank++] = leading_a.dim[leading_a.rank++] = leading_b.dim[leading_b.rank++] = 1;
  int64_t strides_a[RANK_MAX] = {0}, strides_b[RANK_MAX] = {0};
  broadcast_strides(&leading_a, &stacks, strides_a);
  broadcast_strides(&leading_b, &stacks, strides_b);
  struct walk walk;
  walk_init(&walk, &stacks, (const int64_t *[]){strides_a, strides_b}, 2);
  float *to = outputs[0];
  do {
    product.a.data = (const float *)inputs[0] + walk.offset[0] * rows * inner;
    product.b.data = (const float *)inputs[1] + walk.offset[1] * inner * columns;
    product.out = to;
    matrix_product(&product);
    to += rows * columns;
  } while (walk_next(&walk));
}

void eval_gemm(const struct node *node, const void *const *inputs, void *const *outputs) {
  const struct shape *a = &node->inputs[0]->shape, *b = &node->inputs[1]->shape, *out = &node->outputs[0]->shape;
  bool trans_a = node_int(node, "transA") != 0, trans_b = node_int(node, "transB") != 0;
  const struct value *c = op_input(node, 2);
  struct product product = {
      .rows = out->dim[0],
      .columns = out->dim[1],
      .inner = a->dim[trans_a ? 0 : 1],
      .a = {inputs[0], false, trans_a ? 1 : a->dim[1], trans_a ? a->dim[1] : 1},
      .b = {inputs[1], false, trans_b ? 1 : b->dim[1], trans_b ? b->dim[1] : 1},
      .alpha = node_float(node, "alpha"),
      .beta = node_float(node, "beta"),
      .out = outputs[0],
      .out_row_stride = out->dim[1],
      .out_column_stride = 1,
  };
  if (c != NULL) {
    int64_t strides[RANK_MAX];
    broadcast_strides(&c->shape, out, strides);
    product.addend = (struct matrix){inputs[2], false, strides[0], strides[1]};
  }
  matrix_product(&product);
}
