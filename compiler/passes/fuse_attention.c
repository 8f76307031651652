/* Requires: canonical, so that scales are constants and Softmax reads them directly.
 * Ensures: softmax(scale * q @ k^T) @ v without mask is one Attention of rank 3, whichever way the heads were cut out of the
 *          projections (reshaped and transposed, split, gathered from a joint one) and wherever the scale stood; a
 *          RotaryEmbedding of rank 4 that it reads is one of rank 3.
 * Breaks: nothing; results differ in rounding where a scale moved. */
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "passes/window.h"

/* Heads (N, heads, tokens, width) that are columns [offset, offset + heads * width) of `base`, as (N, tokens, columns). */
struct heads {
  struct value *base;
  int64_t heads, tokens, width, columns, offset;
  double scale; /* of the base */
};

struct pattern {
  struct node *at; /* the node whose output is the result, (N, heads, tokens, width) */
  struct value *query, *key, *value;
  const struct node *rotary[2]; /* between heads and query, key; NULL: none */
  bool key_transposed;          /* (N, heads, width, tokens) */
  bool causal;
  double scale; /* 0: 1 / sqrt(width) */
};

static bool heads_at_depth(struct value *value, bool transposed, bool scaled, int depth, struct heads *out_heads) {
  int tokens_axis = transposed ? 3 : 2, width_axis = transposed ? 2 : 3;
  struct window window;
  window_of(value, depth, scaled, &window);
  const int64_t *dim = window.shape.dim;
  struct heads heads = {window.base, dim[1], dim[tokens_axis], dim[width_axis], 0, window.offset, window.scale};
  int64_t elements = shape_elements(&window.base->shape);
  if (dim[0] != 1 || elements % heads.tokens != 0) return false;
  heads.columns = elements / heads.tokens;
  if (heads.heads > 1 && window.stride[1] != heads.width) return false;
  if (heads.tokens > 1 && window.stride[tokens_axis] != heads.columns) return false;
  if (heads.width > 1 && window.stride[width_axis] != 1) return false;
  if (heads.offset + heads.heads * heads.width > heads.columns) return false;
  *out_heads = heads;
  return true;
}

/* The nearest base that is (N, tokens, columns) is what the graph has a projection for; else the furthest of any shape. */
static bool find_heads(struct value *value, bool transposed, bool scaled, struct heads *out_heads) {
  enum { DEPTH_MAX = 8 };
  bool found = false;
  if (value->shape.rank != 4) return false;
  for (int depth = 0; depth <= DEPTH_MAX; depth++) {
    if (!heads_at_depth(value, transposed, scaled, depth, out_heads)) continue;
    if (out_heads->base->shape.rank == 3) return true;
    found = true;
  }
  return found;
}

/* Follows products and quotients by scalars up, and takes them into *scale. */
static struct value *peel_scale(struct value *value, double *scale) {
  for (int steps = 0; steps < 4 && value->producer != NULL; steps++) {
    double factor = 1;
    struct value *x = scaled_value(value->producer, &factor);
    if (x == NULL) break;
    *scale *= factor;
    value = x;
  }
  return value;
}

/* What Attention takes; 0 would mean the default. */
static bool scale_valid(double scale) {
  return scale > 0 && scale < 1e30;
}

/* Looks through the RotaryEmbedding that *value is, and through the Transpose that turns keys. */
static const struct node *peel_rotary(struct value **value, bool *transposed) {
  static const int64_t SWAP[] = {0, 1, 3, 2};
  struct value *x = *value;
  const struct node *turn = transposed != NULL && *transposed ? producer_of(x, OP_transpose) : NULL;
  if (turn != NULL && transpose_is(turn, 4, SWAP)) x = turn->inputs[0];
  const struct node *rotary = producer_of(x, OP_rotary_embedding);
  if (rotary == NULL || rotary->inputs[0]->shape.rank != 4) return NULL;
  if (transposed != NULL && *transposed && turn == NULL) return NULL;
  if (turn != NULL) *transposed = false;
  *value = rotary->inputs[0];
  return rotary;
}

static void peel_rotaries(struct pattern *pattern) {
  pattern->rotary[0] = peel_rotary(&pattern->query, NULL);
  pattern->rotary[1] = peel_rotary(&pattern->key, &pattern->key_transposed);
}

static bool match_decomposed(const struct graph *graph, struct node *product, struct pattern *out_pattern) {
  const struct node *softmax = producer_of(product->inputs[0], OP_softmax);
  if (softmax == NULL || product->inputs[0]->shape.rank != 4 || node_axis(softmax, 4) != 3) return false;
  if (graph_single_user(graph, product->inputs[0]) != product) return false;
  double scale = 1;
  const struct node *scores = producer_of(peel_scale(softmax->inputs[0], &scale), OP_mat_mul);
  if (scores == NULL || value_is_output(graph, scores->outputs[0])) return false;
  struct value *query = peel_scale(scores->inputs[0], &scale), *key = peel_scale(scores->inputs[1], &scale);
  *out_pattern = (struct pattern){
      .at = product, .query = query, .key = key, .value = product->inputs[1], .key_transposed = true, .scale = scale};
  return scale_valid(scale);
}

static bool match_rank4(struct node *attention, struct pattern *out_pattern) {
  if (attention->inputs[0]->shape.rank != 4) return false;
  if (attention->input_count > 3 && attention->inputs[3] != NULL) return false;
  if (node_float(attention, "softcap") != 0) return false;
  *out_pattern = (struct pattern){.at = attention,
                                  .query = attention->inputs[0],
                                  .key = attention->inputs[1],
                                  .value = attention->inputs[2],
                                  .causal = node_int(attention, "is_causal") != 0,
                                  .scale = node_float(attention, "scale")};
  return true;
}

static struct value *build_tokens(struct graph *graph, struct node *before, const struct heads *heads) {
  struct shape shape = {.rank = 3, .dim = {1, heads->tokens, heads->columns}};
  return build_reshape(graph, before, heads->base, &shape, arena_printf(graph->arena, "%s.tokens", heads->base->name));
}

static struct value *build_columns(struct graph *graph, struct node *before, const struct heads *heads) {
  struct value *x = build_tokens(graph, before, heads);
  int64_t width = heads->heads * heads->width;
  if (width == heads->columns) return x;
  const char *name = arena_printf(graph->arena, "%s.columns", heads->base->name);
  return build_slice(graph, before, x, 2, heads->offset, heads->offset + width, name);
}

/* The same rotation of (N, tokens, columns). */
static struct value *build_rotary(struct graph *graph, struct node *before, const struct node *rotary, struct value *x,
                                  int64_t heads) {
  struct value *inputs[4] = {x};
  for (int i = 1; i < rotary->input_count; i++) inputs[i] = rotary->inputs[i];
  const char *name = arena_printf(graph->arena, "%s.tokens", rotary->outputs[0]->name);
  struct node *node = build_node(graph, before, OP_rotary_embedding, inputs, rotary->input_count, name);
  node_set_int(graph, node, "num_heads", heads);
  if (node_int(rotary, "interleaved") != 0) node_set_int(graph, node, "interleaved", 1);
  int64_t rotated = node_int(rotary, "rotary_embedding_dim");
  if (rotated != 0) node_set_int(graph, node, "rotary_embedding_dim", rotated);
  return finish_node(graph, node);
}

static bool is_joint(const struct heads heads[3]) {
  for (int i = 0; i < 3; i++) {
    int64_t width = heads[i].heads * heads[i].width;
    if (heads[i].base != heads[0].base || heads[i].columns != 3 * width || heads[i].offset != i * width) return false;
  }
  return true;
}

static struct value *build_attention(struct graph *graph, const struct pattern *pattern, const struct heads heads[3]) {
  struct node *before = pattern->at;
  const char *name = before->outputs[0]->name;
  struct value *inputs[3];
  if (is_joint(heads)) {
    int64_t width = heads[0].heads * heads[0].width;
    struct node *split = build_split(graph, before, build_tokens(graph, before, &heads[0]), 2,
                                     (const int64_t[]){width, width, width}, 3, arena_printf(graph->arena, "%s.qkv", name));
    for (int i = 0; i < 3; i++) inputs[i] = split->outputs[i];
  } else {
    for (int i = 0; i < 3; i++) inputs[i] = build_columns(graph, before, &heads[i]);
  }
  for (int i = 0; i < 2; i++)
    if (pattern->rotary[i] != NULL) inputs[i] = build_rotary(graph, before, pattern->rotary[i], inputs[i], heads[i].heads);
  struct node *node = build_node(graph, before, OP_attention, inputs, 3, arena_printf(graph->arena, "%s.attention", name));
  node_set_int(graph, node, "q_num_heads", heads[0].heads);
  node_set_int(graph, node, "kv_num_heads", heads[0].heads);
  if (pattern->causal) node_set_int(graph, node, "is_causal", 1);
  if (pattern->scale != 0) node_set_float(graph, node, "scale", pattern->scale);
  return finish_node(graph, node);
}

/* Puts (N, tokens, columns) in the place of (N, heads, tokens, width): at the end of the way back to tokens, if it is taken. */
static void place_result(struct graph *graph, struct node *at, struct value *tokens, const struct heads *query) {
  static const int64_t SWAP[] = {0, 2, 1, 3};
  struct value *result = at->outputs[0];
  const struct node *back = only_user(graph, result, OP_transpose);
  if (back != NULL && transpose_is(back, 4, SWAP)) {
    result = back->outputs[0];
    const struct node *joined = only_user(graph, result, OP_reshape);
    if (joined != NULL) result = joined->outputs[0];
    replace_value(graph, result, build_reshape(graph, at, tokens, &result->shape, result->name));
    return;
  }
  struct shape shape = {.rank = 4, .dim = {1, query->tokens, query->heads, query->width}};
  struct value *cut = build_reshape(graph, at, tokens, &shape, arena_printf(graph->arena, "%s.heads", result->name));
  replace_value(graph, result, build_transpose(graph, at, cut, SWAP, result->name));
}

static bool same_heads(const struct heads heads[3]) {
  return heads[0].heads == heads[1].heads && heads[0].heads == heads[2].heads && heads[0].width == heads[1].width &&
         heads[0].width == heads[2].width && heads[1].tokens == heads[2].tokens;
}

static void fuse_pattern(struct graph *graph, struct pattern *pattern) {
  struct heads heads[3];
  bool scaled = pattern->scale != 0;
  peel_rotaries(pattern);
  if (!find_heads(pattern->query, false, scaled, &heads[0]) ||
      !find_heads(pattern->key, pattern->key_transposed, scaled, &heads[1]) ||
      !find_heads(pattern->value, false, false, &heads[2]) || !same_heads(heads))
    return;
  if (scaled) {
    for (int i = 0; i < 2; i++) heads[i].base = peel_scale(heads[i].base, &pattern->scale);
    pattern->scale *= heads[0].scale * heads[1].scale;
    if (!scale_valid(pattern->scale)) return;
  }
  bool batched = pattern->at->outputs[0]->batched;
  for (int i = 0; i < 3; i++)
    if (heads[i].base->batched != batched || heads[i].base->dtype != DTYPE_F32) return;
  place_result(graph, pattern->at, build_attention(graph, pattern, heads), &heads[0]);
}

enum status pass_fuse_attention(struct graph *graph) {
  for (struct node *node = graph->first; node != NULL; node = node->next) {
    struct pattern pattern;
    if (!node_plain(node)) continue;
    if (node->op == OP_mat_mul && match_decomposed(graph, node, &pattern)) fuse_pattern(graph, &pattern);
    if (node->op == OP_attention && match_rank4(node, &pattern)) fuse_pattern(graph, &pattern);
  }
  sweep_dead(graph);
  return STATUS_OK;
}
