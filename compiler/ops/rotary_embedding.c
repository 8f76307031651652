/* RotaryEmbedding: pairs of elements of each head turn by the angles of their token. Beyond ONNX, a cache whose batch is 1
 * serves every sequence: positions in an image are the same for all images. */
#include "ops/rotary_embedding.h"

struct rotary rotary_extents(const struct node *node) {
  const struct shape *x = &node->inputs[0]->shape;
  bool rank4 = x->rank == 4;
  int64_t heads = rank4 ? x->dim[1] : node_int(node, "num_heads");
  struct rotary rotary = {.batch = x->dim[0],
                          .tokens = rank4 ? x->dim[2] : x->dim[1],
                          .heads = heads,
                          .width = rank4 ? x->dim[3] : x->dim[2] / heads,
                          .rotated = node_int(node, "rotary_embedding_dim"),
                          .interleaved = node_int(node, "interleaved") != 0};
  if (rotary.rotated == 0) rotary.rotated = rotary.width;
  return rotary;
}

/* Checks what rotary_extents divides by, and that the rotated part can be paired. */
static enum status check_heads(struct graph *graph, const struct node *node) {
  const struct value *x = node->inputs[0];
  TRY(op_check_dtype(graph, node, 0, 1u << DTYPE_F32));
  if (x->shape.rank != 3 && x->shape.rank != 4)
    return op_fail(graph, node, "input 0 %s: expected rank 3 or 4", op_describe(graph, x));
  int64_t heads = node_int(node, "num_heads"), interleaved = node_int(node, "interleaved");
  if (x->shape.rank == 3 && (heads < 1 || x->shape.dim[2] % heads != 0))
    return op_fail(graph, node, "num_heads %lld: expected a number that divides the last axis of %s", (long long)heads,
                   op_describe(graph, x));
  if (interleaved != 0 && interleaved != 1)
    return op_fail(graph, node, "interleaved %lld: expected 0 or 1", (long long)interleaved);
  struct rotary rotary = rotary_extents(node);
  if (rotary.rotated < 2 || rotary.rotated % 2 != 0 || rotary.rotated > rotary.width)
    return op_fail(graph, node, "%lld elements of a head of %lld cannot turn in pairs", (long long)rotary.rotated,
                   (long long)rotary.width);
  return STATUS_OK;
}

/* Axis 0 of a cache or of position ids: as many sequences as x has, or one for all. */
static enum status check_sequences(struct graph *graph, const struct node *node, int index) {
  const struct value *x = node->inputs[0], *value = node->inputs[index];
  int64_t sequences = value->shape.dim[0];
  bool one_for_all = !value->batched && sequences == 1;
  bool each = sequences == x->shape.dim[0] && value->batched == x->batched;
  if (one_for_all || each) return STATUS_OK;
  return op_fail(graph, node, "input %d %s: expected axis 0 to be 1 or that of %s", index, op_describe(graph, value),
                 op_describe(graph, x));
}

static enum status check_cache(struct graph *graph, const struct node *node, int index) {
  struct rotary rotary = rotary_extents(node);
  const struct value *cache = node->inputs[index], *ids = op_input(node, 3);
  int rank = ids != NULL ? 2 : 3;
  TRY(op_check_dtype(graph, node, index, 1u << DTYPE_F32));
  if (cache->shape.rank != rank)
    return op_fail(graph, node, "input %d %s: expected rank %d", index, op_describe(graph, cache), rank);
  if (cache->shape.dim[rank - 1] != rotary.rotated / 2)
    return op_fail(graph, node, "input %d %s: expected %lld angles a token", index, op_describe(graph, cache),
                   (long long)(rotary.rotated / 2));
  if (ids != NULL) return op_unbatched(graph, node, index, "a cache that position ids look up");
  if (cache->shape.dim[1] != rotary.tokens)
    return op_fail(graph, node, "input %d %s: expected %lld tokens", index, op_describe(graph, cache),
                   (long long)rotary.tokens);
  return check_sequences(graph, node, index);
}

static enum status check_ids(struct graph *graph, const struct node *node) {
  const struct value *ids = op_input(node, 3);
  if (ids == NULL) return STATUS_OK;
  int64_t rows = node->inputs[1]->shape.dim[0];
  TRY(op_check_dtype(graph, node, 3, DTYPES_INDEX));
  if (ids->shape.rank != 2 || ids->shape.dim[1] != rotary_extents(node).tokens)
    return op_fail(graph, node, "input 3 %s: expected a position for each token", op_describe(graph, ids));
  TRY(check_sequences(graph, node, 3));
  if (ids->data == NULL) return STATUS_OK;
  for (int64_t i = 0; i < shape_elements(&ids->shape); i++) {
    int64_t id = constant_int(ids, i);
    if (id < 0 || id >= rows)
      return op_fail(graph, node, "position %lld is out of range for %lld rows", (long long)id, (long long)rows);
  }
  return STATUS_OK;
}

enum status infer_rotary_embedding(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0], *cos = node->inputs[1], *sin = node->inputs[2];
  TRY(check_heads(graph, node));
  TRY(check_cache(graph, node, 1));
  TRY(check_cache(graph, node, 2));
  if (!shape_equal(&cos->shape, &sin->shape) || cos->batched != sin->batched)
    return op_fail(graph, node, "caches %s and %s differ in shape", op_describe(graph, cos), op_describe(graph, sin));
  TRY(check_ids(graph, node));
  return op_set_output(graph, node, 0, x->dtype, &x->shape, x->batched);
}

/* One head of one token. */
static void rotate(const struct rotary *rotary, const float *x, const float *cos, const float *sin, float *out) {
  int64_t pairs = rotary->rotated / 2, step = rotary->interleaved ? 2 : 1, apart = rotary->interleaved ? 1 : pairs;
  for (int64_t i = 0; i < pairs; i++) {
    double a = (double)x[i * step], b = (double)x[i * step + apart], c = (double)cos[i], s = (double)sin[i];
    out[i * step] = (float)(c * a - s * b);
    out[i * step + apart] = (float)(s * a + c * b);
  }
  for (int64_t i = rotary->rotated; i < rotary->width; i++) out[i] = x[i];
}

/* The cache's row for a token: its position, or the row that position ids name. Ids that come with the input cannot be refused
 * here; they are kept within the cache. */
static int64_t cache_row(const struct node *node, const void *ids, int64_t sequence, int64_t token, int64_t tokens) {
  const struct value *first = node->inputs[1], *value = op_input(node, 3);
  if (value == NULL) return (first->shape.dim[0] == 1 ? 0 : sequence * tokens) + token;
  struct value given = *value;
  given.data = ids;
  int64_t id = constant_int(&given, (value->shape.dim[0] == 1 ? 0 : sequence * tokens) + token), rows = first->shape.dim[0];
  return id < 0 ? 0 : id >= rows ? rows - 1 : id;
}

void eval_rotary_embedding(const struct node *node, const void *const *inputs, void *const *outputs) {
  struct rotary rotary = rotary_extents(node);
  bool rank4 = node->inputs[0]->shape.rank == 4;
  int64_t token_stride = rank4 ? rotary.width : rotary.heads * rotary.width;
  int64_t head_stride = rank4 ? rotary.tokens * rotary.width : rotary.width;
  const void *ids = node->input_count > 3 ? inputs[3] : NULL;
  for (int64_t sequence = 0; sequence < rotary.batch; sequence++)
    for (int64_t token = 0; token < rotary.tokens; token++) {
      int64_t row = cache_row(node, ids, sequence, token, rotary.tokens) * (rotary.rotated / 2);
      const float *cos = (const float *)inputs[1] + row, *sin = (const float *)inputs[2] + row;
      for (int64_t head = 0; head < rotary.heads; head++) {
        int64_t at = sequence * rotary.heads * rotary.tokens * rotary.width + token * token_stride + head * head_stride;
        rotate(&rotary, (const float *)inputs[0] + at, cos, sin, (float *)outputs[0] + at);
      }
    }
}
