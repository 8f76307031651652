#include "ops/attention.h"

#include "ops/eval.h"

#include <math.h>

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
  if (offset < 0 || offset > 2) return op_fail(graph, node, "mask %s: expected rank 2 to 4", op_describe(graph, mask));
  /* ONNX pads a shorter last axis with -inf, so there 1 is not a repeat. */
  for (int axis = offset; axis < 4; axis++) {
    int64_t dim = mask->shape.dim[axis - offset];
    if ((dim != 1 || axis == 3) && dim != full[axis])
      return op_fail(graph, node, "mask %s does not broadcast to (%lld, %lld, %lld, %lld)", op_describe(graph, mask),
                     (long long)full[0], (long long)full[1], (long long)full[2], (long long)full[3]);
  }
  bool batched = node->inputs[1]->batched;
  if (mask->batched && (!batched || offset > 0 || mask->shape.dim[0] != extents->batch))
    return op_fail(graph, node, "mask %s does not have the images of the queries", op_describe(graph, mask));
  if (!mask->batched && batched && offset == 0 && mask->shape.dim[0] != 1)
    return op_fail(graph, node, "mask %s does not repeat for each image", op_describe(graph, mask));
  return STATUS_OK;
}

/* Queries that are the same for all images: they stand for a copy for each. */
static bool queries_shared(const struct node *node) {
  return !node->inputs[0]->batched && node->inputs[0]->shape.dim[0] == 1 && node->inputs[1]->batched &&
         node->inputs[2]->batched;
}

static enum status check_operands(struct graph *graph, const struct node *node) {
  const struct value *q = node->inputs[0];
  for (int i = 0; i < 3; i++) {
    const struct value *operand = node->inputs[i];
    TRY(op_check_dtype(graph, node, i, 1u << DTYPE_F32));
    if (operand->shape.rank != q->shape.rank || (q->shape.rank != 3 && q->shape.rank != 4))
      return op_fail(graph, node, "input %d %s: expected rank 3 or 4, the same for q, k and v", i, op_describe(graph, operand));
    if ((operand->batched != q->batched && !queries_shared(node)) || operand->shape.dim[0] != q->shape.dim[0])
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
  return op_set_output(graph, node, 0, q->dtype, &shape, k->batched);
}

/* Queries are taken a block at a time, so that the scores stay small. */
enum { QUERIES_MAX = 204 };

struct scores {
  struct attention extents;
  double scale, softcap;
  bool causal, heads_inner;
  const struct value *mask; /* NULL: none */
  const void *mask_data;
  int64_t mask_strides[RANK_MAX]; /* over (batch, heads, queries, keys) */
};

static void finish_row(const struct scores *scores, double *row, int64_t batch, int64_t head, int64_t query) {
  int64_t keys = scores->extents.kv_rows;
  const int64_t *strides = scores->mask_strides;
  int64_t mask_at = batch * strides[0] + head * strides[1] + query * strides[2];
  double max = -INFINITY, sum = 0;
  for (int64_t j = 0; j < keys; j++) {
    if (scores->softcap > 0) row[j] = tanh(row[j] / scores->softcap) * scores->softcap;
    if (scores->mask != NULL && scores->mask->dtype == DTYPE_BOOL) {
      if (!((const uint8_t *)scores->mask_data)[mask_at + j * strides[3]]) row[j] = -INFINITY;
    } else if (scores->mask != NULL) {
      row[j] += (double)((const float *)scores->mask_data)[mask_at + j * strides[3]];
    }
    if (scores->causal && j > query) row[j] = -INFINITY;
    max = fmax(max, row[j]);
  }
  /* A query that may see no key has a result of zero. */
  if (max == -INFINITY) max = 0;
  for (int64_t j = 0; j < keys; j++) {
    row[j] = exp(row[j] - max);
    sum += row[j];
  }
  for (int64_t j = 0; j < keys; j++) row[j] = sum == 0 ? 0 : row[j] / sum;
}

/* A head's matrix within a tensor of (B, T, heads * width) or (B, heads, T, width), in elements. */
struct place {
  int64_t offset, row_stride;
};

static struct place head_place(bool heads_inner, int64_t batch, int64_t head, int64_t heads, int64_t rows, int64_t width) {
  if (heads_inner) return (struct place){(batch * rows * heads + head) * width, heads * width};
  return (struct place){(batch * heads + head) * rows * width, width};
}

/* `room` holds the scores of a block of queries. */
static void attend(const struct scores *scores, const void *const *inputs, float *out, int64_t batch, int64_t head,
                   double *room) {
  const struct attention *extents = &scores->extents;
  int64_t keys = extents->kv_rows, kv_head = head / (extents->q_heads / extents->kv_heads);
  struct place q = head_place(scores->heads_inner, batch, head, extents->q_heads, extents->q_rows, extents->d);
  struct place k = head_place(scores->heads_inner, batch, kv_head, extents->kv_heads, keys, extents->d);
  struct place v = head_place(scores->heads_inner, batch, kv_head, extents->kv_heads, keys, extents->d_v);
  struct place to = head_place(scores->heads_inner, batch, head, extents->q_heads, extents->q_rows, extents->d_v);
  for (int64_t first = 0; first < extents->q_rows; first += QUERIES_MAX) {
    int64_t rows = extents->q_rows - first < QUERIES_MAX ? extents->q_rows - first : QUERIES_MAX;
    struct product similarity = {
        .rows = rows,
        .columns = keys,
        .inner = extents->d,
        .a = {(const float *)inputs[0] + q.offset + first * q.row_stride, false, q.row_stride, 1},
        .b = {(const float *)inputs[1] + k.offset, false, 1, k.row_stride},
        .alpha = scores->scale,
        .out = room,
        .out_wide = true,
        .out_row_stride = keys,
        .out_column_stride = 1,
    };
    matrix_product(&similarity);
    for (int64_t i = 0; i < rows; i++) finish_row(scores, room + i * keys, batch, head, first + i);
    struct product mix = {
        .rows = rows,
        .columns = extents->d_v,
        .inner = keys,
        .a = {room, true, keys, 1},
        .b = {(const float *)inputs[2] + v.offset, false, v.row_stride, 1},
        .alpha = 1,
        .out = out + to.offset + first * to.row_stride,
        .out_row_stride = to.row_stride,
        .out_column_stride = 1,
    };
    matrix_product(&mix);
  }
}

static struct scores scores_of(const struct node *node, const void *const *inputs) {
  struct scores scores = {.extents = attention_extents(node),
                          .scale = node_float(node, "scale"),
                          .softcap = node_float(node, "softcap"),
                          .causal = node_int(node, "is_causal") != 0,
                          .mask = op_input(node, 3),
                          .heads_inner = node->inputs[0]->shape.rank == 3};
  const struct attention *extents = &scores.extents;
  if (scores.scale == 0) scores.scale = 1 / sqrt((double)extents->d);
  if (scores.mask == NULL) return scores;
  scores.mask_data = inputs[3];
  struct shape full = {.rank = 4, .dim = {extents->batch, extents->q_heads, extents->q_rows, extents->kv_rows}};
  broadcast_strides(&scores.mask->shape, &full, scores.mask_strides);
  return scores;
}

void eval_attention(const struct node *node, const void *const *inputs, void *const *outputs) {
  struct scores scores = scores_of(node, inputs);
  const struct attention *extents = &scores.extents;
  int64_t block = extents->q_rows < QUERIES_MAX ? extents->q_rows : QUERIES_MAX;
  struct arena scratch;
  arena_init(&scratch);
  double *room = arena_array(&scratch, (size_t)block * (size_t)extents->kv_rows, sizeof *room);
  for (int64_t batch = 0; batch < extents->batch; batch++)
    for (int64_t head = 0; head < extents->q_heads; head++) attend(&scores, inputs, outputs[0], batch, head, room);
  arena_deinit(&scratch);
}
