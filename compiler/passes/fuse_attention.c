/* Requires: canonical, so that scales are constants and Softmax reads them directly.
 * Ensures: softmax(scale * q @ k^T + masks) @ v is one Attention. It has rank 3 whichever way the heads were cut out of the
 *          projections (reshaped and transposed, split, gathered from a joint one) and wherever the scale stood; rank 4 where
 *          the heads are something else than columns. A RotaryEmbedding of rank 4 that one of rank 3 reads has rank 3, too.
 * Breaks: nothing; results differ in rounding where a scale moved. */
#include "passes/match_attention.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "passes/window.h"

#include <string.h>

static const int64_t SWAP[] = {0, 2, 1, 3};

/* Heads (windows, heads, tokens, width) that are columns [offset, offset + heads * width) of `base`, as (windows, tokens,
 * columns). */
struct heads {
  struct value *base;
  int64_t windows, heads, tokens, width, columns, offset;
  double scale; /* of the base */
};

/* What is between heads that are columns, and query and key; NULL: nothing. */
struct rotaries {
  const struct node *query, *key;
};

/* The window with four axes: the heads of one image have three. */
static void with_windows(struct window *window) {
  if (window->shape.rank != 3) return;
  memmove(&window->shape.dim[1], &window->shape.dim[0], 3 * sizeof window->shape.dim[0]);
  memmove(&window->stride[1], &window->stride[0], 3 * sizeof window->stride[0]);
  window->shape.rank = 4;
  window->shape.dim[0] = 1;
  window->stride[0] = 0;
}

static bool heads_at_depth(struct value *value, bool transposed, bool scaled, int depth, struct heads *out_heads) {
  int tokens_axis = transposed ? 3 : 2, width_axis = transposed ? 2 : 3;
  struct window window;
  window_of(value, depth, scaled, &window);
  with_windows(&window);
  const int64_t *dim = window.shape.dim;
  struct heads heads = {window.base, dim[0], dim[1], dim[tokens_axis], dim[width_axis], 0, window.offset, window.scale};
  int64_t elements = shape_elements(&window.base->shape), rows = heads.windows * heads.tokens;
  if (elements % rows != 0) return false;
  heads.columns = elements / rows;
  if (heads.windows > 1 && window.stride[0] != heads.tokens * heads.columns) return false;
  if (heads.heads > 1 && window.stride[1] != heads.width) return false;
  if (heads.tokens > 1 && window.stride[tokens_axis] != heads.columns) return false;
  if (heads.width > 1 && window.stride[width_axis] != 1) return false;
  if (heads.offset + heads.heads * heads.width > heads.columns) return false;
  *out_heads = heads;
  return true;
}

/* The nearest base that is (windows, tokens, columns) is what the graph has a projection for; else the furthest of any shape.
 */
static bool find_heads(struct value *value, bool transposed, bool scaled, struct heads *out_heads) {
  enum { DEPTH_MAX = 8 };
  bool found = false;
  if (value->shape.rank != 4 && value->shape.rank != 3) return false;
  for (int depth = 0; depth <= DEPTH_MAX; depth++) {
    struct heads heads;
    if (!heads_at_depth(value, transposed, scaled, depth, &heads)) continue;
    *out_heads = heads;
    if (heads.base->shape.rank == 3 && heads.base->shape.dim[1] == heads.tokens) return true;
    found = true;
  }
  return found;
}

static struct value *build_tokens(struct graph *graph, struct node *before, const struct heads *heads) {
  struct shape shape = {.rank = 3, .dim = {heads->windows, heads->tokens, heads->columns}};
  return build_reshape(graph, before, heads->base, &shape, arena_printf(graph->arena, "%s.tokens", heads->base->name));
}

static struct value *build_columns(struct graph *graph, struct node *before, const struct heads *heads) {
  struct value *x = build_tokens(graph, before, heads);
  int64_t width = heads->heads * heads->width;
  if (width == heads->columns) return x;
  const char *name = arena_printf(graph->arena, "%s.columns", heads->base->name);
  return build_slice(graph, before, x, 2, heads->offset, heads->offset + width, name);
}

/* Looks through the RotaryEmbedding that *value is, and through the Transpose that turns keys. */
static const struct node *peel_rotary(struct value **value, bool *transposed) {
  static const int64_t TURN[] = {0, 1, 3, 2};
  struct value *x = *value;
  const struct node *turn = *transposed ? producer_of(x, OP_transpose) : NULL;
  if (turn != NULL && transpose_is(turn, 4, TURN)) x = turn->inputs[0];
  const struct node *rotary = producer_of(x, OP_rotary_embedding);
  if (rotary == NULL || rotary->inputs[0]->shape.rank != 4) return NULL;
  if (*transposed && turn == NULL) return NULL;
  *transposed = false;
  *value = rotary->inputs[0];
  return rotary;
}

/* The same rotation of (windows, tokens, columns). */
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

/* The sum of the masks; fold_constants runs again after this pass. */
static struct value *build_mask(struct graph *graph, const struct attention_pattern *pattern) {
  struct value *sum = NULL;
  for (int i = 0; i < pattern->mask_count; i++) {
    struct value *mask = pattern->masks[i];
    if (pattern->mask_scale[i] != 1) {
      struct value *factor =
          build_scalar(graph, arena_printf(graph->arena, "%s.factor", mask->name), (float)pattern->mask_scale[i]);
      mask = build_binary(graph, pattern->at, OP_mul, mask, factor, arena_printf(graph->arena, "%s.scaled", mask->name));
    }
    sum = sum == NULL ? mask
                      : build_binary(graph, pattern->at, OP_add, sum, mask, arena_printf(graph->arena, "%s.sum", mask->name));
  }
  if (sum == NULL) return NULL;
  struct shape shape = sum->shape;
  bool heads_first = pattern->at->outputs[0]->shape.rank == 3 && shape.rank == 3 && sum->batched;
  if (!heads_first && shape.rank > 1) return sum;
  int missing = heads_first ? 1 : 2 - shape.rank;
  memmove(&shape.dim[missing], &shape.dim[0], (size_t)shape.rank * sizeof shape.dim[0]);
  for (int i = 0; i < missing; i++) shape.dim[i] = 1;
  shape.rank += missing;
  return build_reshape(graph, pattern->at, sum, &shape, arena_printf(graph->arena, "%s.heads", sum->name));
}

static struct node *build_attention(struct graph *graph, const struct attention_pattern *pattern,
                                    struct value *const operands[3]) {
  struct value *inputs[4] = {operands[0], operands[1], operands[2], build_mask(graph, pattern)};
  const char *name = arena_printf(graph->arena, "%s.attention", pattern->at->outputs[0]->name);
  struct node *node = build_node(graph, pattern->at, OP_attention, inputs, inputs[3] != NULL ? 4 : 3, name);
  if (pattern->causal) node_set_int(graph, node, "is_causal", 1);
  if (pattern->scale != 0) node_set_float(graph, node, "scale", pattern->scale);
  if (pattern->softcap != 0) node_set_float(graph, node, "softcap", pattern->softcap);
  return node;
}

static struct value *attend_columns(struct graph *graph, const struct attention_pattern *pattern, const struct heads heads[3],
                                    const struct rotaries *rotaries) {
  struct node *before = pattern->at;
  struct value *inputs[3];
  if (is_joint(heads)) {
    int64_t width = heads[0].heads * heads[0].width;
    const char *name = arena_printf(graph->arena, "%s.qkv", before->outputs[0]->name);
    struct node *split =
        build_split(graph, before, build_tokens(graph, before, &heads[0]), 2, (const int64_t[]){width, width, width}, 3, name);
    for (int i = 0; i < 3; i++) inputs[i] = split->outputs[i];
  } else {
    for (int i = 0; i < 3; i++) inputs[i] = build_columns(graph, before, &heads[i]);
  }
  if (rotaries->query != NULL) inputs[0] = build_rotary(graph, before, rotaries->query, inputs[0], heads[0].heads);
  if (rotaries->key != NULL) inputs[1] = build_rotary(graph, before, rotaries->key, inputs[1], heads[1].heads);
  struct node *node = build_attention(graph, pattern, inputs);
  node_set_int(graph, node, "q_num_heads", heads[0].heads);
  node_set_int(graph, node, "kv_num_heads", heads[1].heads);
  return finish_node(graph, node);
}

/* Puts (windows, tokens, columns) in the place of (windows, heads, tokens, width): at the end of the way back to tokens, if it
 * is taken. */
static void place_result(struct graph *graph, struct node *at, struct value *tokens, const struct heads *query, int64_t width) {
  struct value *result = at->outputs[0];
  struct shape heads = {.rank = 4, .dim = {query->windows, query->heads, query->tokens, width}};
  const struct node *apart = only_user(graph, result, OP_reshape);
  if (apart != NULL && shape_equal(&apart->outputs[0]->shape, &heads)) result = apart->outputs[0];
  const struct node *back = only_user(graph, result, OP_transpose);
  if (back != NULL && transpose_is(back, 4, SWAP)) {
    result = back->outputs[0];
    const struct node *joined = only_user(graph, result, OP_reshape);
    if (joined != NULL) result = joined->outputs[0];
    replace_value(graph, result, build_reshape(graph, at, tokens, &result->shape, result->name));
    return;
  }
  struct shape shape = {.rank = 4, .dim = {query->windows, query->tokens, query->heads, width}};
  struct value *cut = build_reshape(graph, at, tokens, &shape, arena_printf(graph->arena, "%s.heads", result->name));
  struct value *turned = build_transpose(graph, at, cut, SWAP, result->name);
  replace_value(graph, result, build_reshape(graph, at, turned, &result->shape, result->name));
}

static bool same_heads(const struct heads heads[3]) {
  return heads[0].windows == heads[1].windows && heads[0].windows == heads[2].windows && heads[1].heads == heads[2].heads &&
         heads[0].heads % heads[1].heads == 0 && heads[0].width == heads[1].width && heads[1].tokens == heads[2].tokens;
}

/* Queries may be the same for all images. */
static bool operands_fit(const struct value *query, const struct value *key, const struct value *value, int64_t windows) {
  if (query->dtype != DTYPE_F32 || key->dtype != DTYPE_F32 || value->dtype != DTYPE_F32) return false;
  return key->batched && value->batched && (query->batched || windows == 1);
}

static bool fuse_columns(struct graph *graph, const struct attention_pattern *found) {
  struct attention_pattern pattern = *found;
  struct heads heads[3];
  bool scaled = pattern.scale != 0, turned = false;
  struct rotaries rotaries = {.query = peel_rotary(&pattern.query, &turned)};
  rotaries.key = peel_rotary(&pattern.key, &pattern.key_transposed);
  if (!find_heads(pattern.query, false, scaled, &heads[0]) ||
      !find_heads(pattern.key, pattern.key_transposed, scaled, &heads[1]) ||
      !find_heads(pattern.value, false, false, &heads[2]) || !same_heads(heads))
    return false;
  if (scaled) {
    for (int i = 0; i < 2; i++) heads[i].base = peel_scale(heads[i].base, &pattern.scale);
    pattern.scale *= heads[0].scale * heads[1].scale;
    if (!attention_scale_valid(pattern.scale)) return false;
  }
  if (!operands_fit(heads[0].base, heads[1].base, heads[2].base, heads[0].windows)) return false;
  place_result(graph, pattern.at, attend_columns(graph, &pattern, heads, &rotaries), &heads[0], heads[2].width);
  return true;
}

/* Keys (.., tokens, width) of (.., width, tokens). */
static struct value *turn_keys(struct graph *graph, struct node *before, struct value *key) {
  int rank = key->shape.rank;
  int64_t perm[RANK_MAX], inner_perm[RANK_MAX];
  for (int i = 0; i < rank; i++) perm[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
  const struct node *inner = producer_of(key, OP_transpose);
  const char *name = arena_printf(graph->arena, "%s.rows", key->name);
  if (inner == NULL) return build_transpose(graph, before, key, perm, name);
  transpose_perm(inner, inner_perm);
  bool returns = true;
  for (int i = 0; i < rank; i++) {
    perm[i] = inner_perm[perm[i]];
    returns = returns && perm[i] == i;
  }
  return returns ? inner->inputs[0] : build_transpose(graph, before, inner->inputs[0], perm, name);
}

static struct value *build_rank4(struct graph *graph, struct node *before, struct value *x) {
  if (x->shape.rank == 4) return x;
  struct shape shape = {4, {1, x->shape.dim[0], x->shape.dim[1], x->shape.dim[2]}};
  return build_reshape(graph, before, x, &shape, arena_printf(graph->arena, "%s.image", x->name));
}

/* Heads that are no columns of anything. */
static void fuse_heads(struct graph *graph, const struct attention_pattern *pattern) {
  const struct value *q = pattern->query, *k = pattern->key, *v = pattern->value;
  struct value *result = pattern->at->outputs[0];
  int rank = result->shape.rank;
  if (q->shape.rank != rank || k->shape.rank != rank || v->shape.rank != rank) return;
  int64_t windows = rank == 4 ? v->shape.dim[0] : 1, kv_heads = v->shape.dim[rank - 3], heads = q->shape.dim[rank - 3];
  if (k->shape.dim[rank - 3] != kv_heads || heads % kv_heads != 0 || !operands_fit(q, k, v, windows)) return;
  if (rank == 4 && (q->shape.dim[0] != windows || k->shape.dim[0] != windows)) return;
  struct value *operands[3] = {pattern->query, turn_keys(graph, pattern->at, pattern->key), pattern->value};
  for (int i = 0; i < 3; i++) operands[i] = build_rank4(graph, pattern->at, operands[i]);
  struct value *attended = finish_node(graph, build_attention(graph, pattern, operands));
  replace_value(graph, result, build_reshape(graph, pattern->at, attended, &result->shape, result->name));
}

enum status pass_fuse_attention(struct graph *graph) {
  for (struct node *node = graph->first; node != NULL; node = node->next) {
    struct attention_pattern pattern;
    if (!match_attention(graph, node, &pattern) || fuse_columns(graph, &pattern)) continue;
    if (node->op == OP_mat_mul) fuse_heads(graph, &pattern);
  }
  sweep_dead(graph);
  return STATUS_OK;
}
