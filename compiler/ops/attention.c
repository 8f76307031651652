#include "ops/attention.h"

struct attention attention_extents(const struct node *node) {
  const struct shape *q = &node->inputs[0]->shape, *k = &node->inputs[1]->shape, *v = &node->inputs[2]->shape;
  if (q->rank == 4)
    return (struct attention){.batch = q->dim[0],
                              .q_heads = q->dim[1],
                              .kv_heads = k->dim[1],
                              .q_rows = q->dim[2],
                              .kv_rows = k->dim[2],
                              .d = q->dim[3],
                              .d_v = v->dim[3]};
  int64_t q_heads = node_int(node, "q_num_heads"), kv_heads = node_int(node, "kv_num_heads");
  if (kv_heads == 0) kv_heads = q_heads;
  return (struct attention){.batch = q->dim[0],
                            .q_heads = q_heads,
                            .kv_heads = kv_heads,
                            .q_rows = q->dim[1],
                            .kv_rows = k->dim[1],
                            .d = q->dim[2] / q_heads,
                            .d_v = v->dim[2] / kv_heads};
}

/* Checks what attention_extents divides by. */
static enum status check_heads(struct graph *graph, const struct node *node) {
  int64_t q_heads = node_int(node, "q_num_heads"), kv_heads = node_int(node, "kv_num_heads");
  if (q_heads < 1 || kv_heads < 0)
    return op_fail(graph, node, "inputs of rank 3 need q_num_heads >= 1 and kv_num_heads >= 0, got %lld and %lld",
                   (long long)q_heads, (long long)kv_heads);
  if (kv_heads == 0) kv_heads = q_heads;
  for (int i = 0; i < 3; i++) {
    int64_t heads = i == 0 ? q_heads : kv_heads, width = node->inputs[i]->shape.dim[2];
    if (width % heads != 0)
      return op_fail(graph, node, "%lld heads do not divide the last axis of %s", (long long)heads,
                     op_describe(graph, node->inputs[i]));
  }
  return STATUS_OK;
}

static enum status check_mask(struct graph *graph, const struct node *node, const struct attention *extents) {
  const struct value *mask = op_input(node, 3);
  if (mask == NULL) return STATUS_OK;
  TRY(op_check_dtype(graph, node, 3, 1u << DTYPE_F32 | 1u << DTYPE_BOOL));
  int64_t full[4] = {extents->batch, extents->q_heads, extents->q_rows, extents->kv_rows};
  int offset = 4 - mask->shape.rank;
  if (offset < 0) return op_fail(graph, node, "mask %s: expected at most rank 4", op_describe(graph, mask));
  for (int i = 0; i < mask->shape.rank; i++)
    if (mask->shape.dim[i] != 1 && mask->shape.dim[i] != full[offset + i])
      return op_fail(graph, node, "mask %s does not broadcast to (%lld, %lld, %lld, %lld)", op_describe(graph, mask),
                     (long long)full[0], (long long)full[1], (long long)full[2], (long long)full[3]);
  bool batched = node->inputs[0]->batched;
  if (mask->batched && (!batched || offset > 0 || mask->shape.dim[0] != extents->batch))
    return op_fail(graph, node, "mask %s does not have the images of the queries", op_describe(graph, mask));
  if (!mask->batched && batched && offset == 0 && mask->shape.dim[0] != 1)
    return op_fail(graph, node, "mask %s does not repeat for each image", op_describe(graph, mask));
  return STATUS_OK;
}

static enum status check_operands(struct graph *graph, const struct node *node) {
  const struct value *q = node->inputs[0];
  for (int i = 0; i < 3; i++) {
    const struct value *operand = node->inputs[i];
    TRY(op_check_dtype(graph, node, i, 1u << DTYPE_F32));
    if (operand->shape.rank != q->shape.rank || (q->shape.rank != 3 && q->shape.rank != 4))
      return op_fail(graph, node, "input %d %s: expected rank 3 or 4, the same for q, k and v", i, op_describe(graph, operand));
    if (operand->batched != q->batched || operand->shape.dim[0] != q->shape.dim[0])
      return op_fail(graph, node, "input %d %s: expected the batch of %s", i, op_describe(graph, operand),
                     op_describe(graph, q));
  }
  return q->shape.rank == 3 ? check_heads(graph, node) : STATUS_OK;
}

enum status infer_attention(struct graph *graph, struct node *node) {
  TRY(check_operands(graph, node));
  const struct value *q = node->inputs[0], *k = node->inputs[1], *v = node->inputs[2];
  struct attention extents = attention_extents(node);
  int rows = q->shape.rank - 2;
  int64_t k_width = q->shape.rank == 4 ? k->shape.dim[3] : k->shape.dim[2] / extents.kv_heads;
  if (k_width != extents.d)
    return op_fail(graph, node, "heads of q are %lld wide, those of k %lld", (long long)extents.d, (long long)k_width);
  if (v->shape.dim[rows] != extents.kv_rows || (q->shape.rank == 4 && v->shape.dim[1] != extents.kv_heads))
    return op_fail(graph, node, "k %s and v %s do not have the same heads and rows", op_describe(graph, k),
                   op_describe(graph, v));
  if (extents.q_heads % extents.kv_heads != 0)
    return op_fail(graph, node, "%lld heads of k and v do not divide %lld of q", (long long)extents.kv_heads,
                   (long long)extents.q_heads);
  if (extents.d_v > ELEMENTS_MAX / extents.q_heads) return op_fail(graph, node, "the result has more than 2^40 elements");
  double scale = node_float(node, "scale"), softcap = node_float(node, "softcap");
  if (!(scale >= 0 && scale < 1e30) || !(softcap >= 0 && softcap < 1e30))
    return op_fail(graph, node, "scale %g, softcap %g: expected numbers >= 0", scale, softcap);
  TRY(check_mask(graph, node, &extents));
  struct shape shape = q->shape;
  shape.dim[shape.rank - 1] = q->shape.rank == 4 ? extents.d_v : extents.q_heads * extents.d_v;
  return op_set_output(graph, node, 0, q->dtype, &shape, q->batched);
}
