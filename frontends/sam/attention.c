/* Attention within windows. The windows stand beside the heads: (N, tokens of a window, windows * heads * d), so that one
 * Attention does all of them.
 *
 * The score of a query at row h, column w for a key at row i, column j is scale q k + q R_h[h - i] + q R_w[w - j]. Both sums
 * over R are products of q with a small table for each row and column of queries; the query then carries one number for each
 * row and one for each column of keys, and the key a 1 at its own. That is the same sum, and no mask of all queries by all keys
 * is ever made. */
#include "sam/sam.h"

#include <math.h>
#include <string.h>

struct windows {
  int64_t count[2], size[2]; /* along the two axes */
  int64_t columns;           /* windows * heads */
  int64_t heads, width;
  bool padded;
};

static struct windows windows_of(const struct sam *sam, int64_t block) {
  const struct sam_config *config = sam->config;
  struct windows w = {.heads = config->heads, .width = config->dim / config->heads};
  bool whole = !config->windowed[block];
  for (int i = 0; i < 2; i++) {
    w.size[i] = whole ? sam->grid[i] : config->window;
    w.count[i] = (sam->grid[i] + w.size[i] - 1) / w.size[i];
    w.padded = w.padded || w.count[i] * w.size[i] != sam->grid[i];
  }
  w.columns = w.count[0] * w.count[1] * w.heads;
  return w;
}

static bool one_window(const struct windows *w) {
  return w->count[0] * w->count[1] == 1;
}

/* Queries, keys and values of the grid with its padding, side by side. What is padded is the projection's input, so that there
 * the result is the bias alone: zeros, and the bias after them. */
static enum status project(struct sam *sam, const char *path, const struct windows *w, struct value **x) {
  struct builder *b = &sam->b;
  int64_t dim = sam->config->dim;
  bool bias = sam->config->qkv_bias;
  TRY(builder_linear(b, path, dim, 3 * dim, bias && !w->padded, x));
  if (!w->padded) return STATUS_OK;
  const int64_t grid[] = {1, sam->grid[0], sam->grid[1], 3 * dim};
  const int64_t pads[] = {0, 0, 0, 0, 0, w->count[0] * w->size[0] - grid[1], w->count[1] * w->size[1] - grid[2], 0};
  *x = builder_reshape(b, builder_join(b, path, "grid"), *x, grid, 4);
  struct value *inputs[] = {*x, builder_integers(b, builder_join(b, path, "pads"), 1, pads, 8, false)};
  *x = builder_node(b, builder_join(b, path, "padded"), OP_pad, inputs, 2, NULL);
  if (!bias) return STATUS_OK;
  struct value *addend;
  TRY(builder_parameter(b, path, "bias", ROLE_BIAS, builder_shape(1, 3 * dim, 0, 0, 0), &addend));
  *x = builder_binary(b, builder_join(b, path, "biased"), OP_add, *x, addend);
  return STATUS_OK;
}

/* Of the grid to (N, rows, columns, windows * heads, width). */
static struct value *partition(struct builder *b, const char *name, const struct windows *w, struct value *x) {
  static const int64_t perm[] = {0, 2, 4, 1, 3, 5, 6};
  const int64_t apart[] = {1, w->count[0], w->size[0], w->count[1], w->size[1], w->heads, w->width};
  const int64_t windows[] = {1, w->size[0], w->size[1], w->columns, w->width};
  if (!one_window(w)) {
    x = builder_reshape(b, builder_join(b, name, "apart"), x, apart, 7);
    x = builder_transpose(b, builder_join(b, name, "turned"), x, perm, 7);
  }
  return builder_reshape(b, builder_join(b, name, "windows"), x, windows, 5);
}

/* The way back, to (N, T, dim) without the padding. */
static struct value *unpartition(struct sam *sam, const char *name, const struct windows *w, struct value *x) {
  static const int64_t perm[] = {0, 3, 1, 4, 2, 5, 6};
  struct builder *b = &sam->b;
  int64_t dim = sam->config->dim;
  const int64_t apart[] = {1, w->size[0], w->size[1], w->count[0], w->count[1], w->heads, w->width};
  const int64_t grid[] = {1, w->count[0] * w->size[0], w->count[1] * w->size[1], dim};
  const int64_t tokens[] = {1, sam->grid[0] * sam->grid[1], dim};
  if (one_window(w) && !w->padded) return x;
  x = builder_reshape(b, builder_join(b, name, "apart"), x, apart, 7);
  if (!one_window(w)) x = builder_transpose(b, builder_join(b, name, "turned"), x, perm, 7);
  x = builder_reshape(b, builder_join(b, name, "padded"), x, grid, 4);
  if (grid[1] != sam->grid[0]) x = builder_slice(b, builder_join(b, name, "rows"), x, 1, 0, sam->grid[0]);
  if (grid[2] != sam->grid[1]) x = builder_slice(b, builder_join(b, name, "columns"), x, 2, 0, sam->grid[1]);
  return builder_reshape(b, builder_join(b, name, "tokens"), x, tokens, 3);
}

/* For each position along the axis the transpose of its rows of R, for every position of a key: (size, width, size). The scale
 * of the scores is taken out again. A table of another length is resampled. */
static enum status relative_table(struct sam *sam, enum sam_part part, int64_t block, const struct windows *w, int axis,
                                  struct value **out) {
  const struct sam_config *config = sam->config;
  const char *key = sam_key(sam, part, block);
  int64_t size = w->size[axis], trained = config->windowed[block] ? size : config->image[axis] / config->patch[axis];
  struct shape stored = builder_shape(2, 2 * trained - 1, w->width, 0, 0), shape = builder_shape(3, size, w->width, size, 0);
  struct arena *arena = sam->b.graph->arena;
  const void *data;
  TRY(tensors_take(sam->tensors, key, &stored, ROLE_TABLE, config->origin, &data));
  const float *rows = data;
  if (trained != size) {
    float *resampled = arena_array(arena, (size_t)((2 * size - 1) * w->width), sizeof *resampled);
    position_resample(rows, 0, stored.dim[0], 1, w->width, resampled, 2 * size - 1, 1, RESAMPLE_LINEAR);
    rows = resampled;
  }
  float *table = arena_array(arena, (size_t)shape_elements(&shape), sizeof *table);
  double scale = sqrt((double)w->width);
  for (int64_t query = 0; query < size; query++)
    for (int64_t c = 0; c < w->width; c++)
      for (int64_t at = 0; at < size; at++)
        table[(query * w->width + c) * size + at] = (float)((double)rows[(query - at + size - 1) * w->width + c] * scale);
  *out = builder_table(&sam->b, builder_join(&sam->b, key, "table"), shape, table);
  return STATUS_OK;
}

/* The queries, followed by their numbers for the rows and for the columns of keys. */
static enum status extend_queries(struct sam *sam, int64_t block, const char *name, const struct windows *w, struct value **q) {
  static const int64_t swap[] = {0, 2, 1, 3, 4};
  struct builder *b = &sam->b;
  const int64_t by_row[] = {1, w->size[0], w->size[1] * w->columns, w->width};
  const int64_t by_column[] = {1, w->size[1], w->size[0] * w->columns, w->width};
  const int64_t rows[] = {1, w->size[0], w->size[1], w->columns, w->size[0]};
  const int64_t columns[] = {1, w->size[1], w->size[0], w->columns, w->size[1]};
  struct value *tables[2], *parts[3] = {*q};
  TRY(relative_table(sam, SAM_RELATIVE_HEIGHT, block, w, 0, &tables[0]));
  TRY(relative_table(sam, SAM_RELATIVE_WIDTH, block, w, 1, &tables[1]));
  struct value *x = builder_reshape(b, builder_join(b, name, "by_row"), *q, by_row, 4);
  x = builder_binary(b, builder_join(b, name, "rel_h.matmul"), OP_mat_mul, x, tables[0]);
  parts[1] = builder_reshape(b, builder_join(b, name, "rel_h"), x, rows, 5);
  x = builder_transpose(b, builder_join(b, name, "by_column.turned"), *q, swap, 5);
  x = builder_reshape(b, builder_join(b, name, "by_column"), x, by_column, 4);
  x = builder_binary(b, builder_join(b, name, "rel_w.matmul"), OP_mat_mul, x, tables[1]);
  x = builder_reshape(b, builder_join(b, name, "rel_w.turned"), x, columns, 5);
  parts[2] = builder_transpose(b, builder_join(b, name, "rel_w"), x, swap, 5);
  *q = builder_concat(b, builder_join(b, name, "q.relative"), parts, 3, 4);
  return STATUS_OK;
}

/* Every key's row and column, as ones among zeros: (1, rows, columns, 1, rows + columns). */
static struct value *key_places(struct builder *b, const struct windows *w) {
  struct arena *arena = b->graph->arena;
  int64_t width = w->size[0] + w->size[1];
  const char *name = arena_printf(arena, "places_%lldx%lld", (long long)w->size[0], (long long)w->size[1]);
  struct value *made = graph_find(b->graph, name);
  if (made) return made;
  struct shape shape = {.rank = 5, .dim = {1, w->size[0], w->size[1], 1, width}};
  float *places = arena_array(arena, (size_t)shape_elements(&shape), sizeof *places);
  for (int64_t i = 0; i < w->size[0]; i++)
    for (int64_t j = 0; j < w->size[1]; j++) {
      float *place = places + (i * w->size[1] + j) * width;
      place[i] = place[w->size[0] + j] = 1;
    }
  return builder_table(b, name, shape, places);
}

static struct value *extend_keys(struct builder *b, const char *name, const struct windows *w, struct value *k) {
  int64_t width = w->size[0] + w->size[1];
  const int64_t all[] = {1, w->size[0], w->size[1], w->columns, width};
  struct value *inputs[] = {key_places(b, w), builder_integers(b, builder_join(b, name, "places.shape"), 1, all, 5, true)};
  struct value *parts[] = {k, builder_node(b, builder_join(b, name, "places"), OP_expand, inputs, 2, NULL)};
  return builder_concat(b, builder_join(b, name, "k.relative"), parts, 2, 4);
}

enum status sam_attention(struct sam *sam, int64_t block, struct value **x) {
  static const char *const names[] = {"q", "k", "v"};
  const struct sam_config *config = sam->config;
  struct builder *b = &sam->b;
  struct windows w = windows_of(sam, block);
  const char *qkv = sam_module(sam, SAM_QKV, block), *dot = strrchr(qkv, '.');
  const char *path = arena_strndup(b->graph->arena, qkv, (size_t)(dot - qkv));
  int64_t tokens = w.size[0] * w.size[1];
  struct value *q_k_v[3];
  TRY(project(sam, qkv, &w, x));
  builder_split(b, qkv, *x, w.padded ? 3 : 2, names, 3, q_k_v);
  for (int i = 0; i < 3; i++) q_k_v[i] = partition(b, builder_join(b, path, names[i]), &w, q_k_v[i]);
  if (config->relative) {
    TRY(extend_queries(sam, block, path, &w, &q_k_v[0]));
    q_k_v[1] = extend_keys(b, path, &w, q_k_v[1]);
  }
  for (int i = 0; i < 3; i++) {
    int64_t width = w.width + (config->relative && i < 2 ? w.size[0] + w.size[1] : 0);
    const int64_t rows[] = {1, tokens, w.columns * width};
    q_k_v[i] = builder_reshape(b, builder_join(b, builder_join(b, path, names[i]), "tokens"), q_k_v[i], rows, 3);
  }
  const char *name = builder_join(b, path, "attention");
  *x = builder_attention(b, name, q_k_v, NULL, w.columns, 1 / sqrt((double)w.width));
  *x = unpartition(sam, name, &w, *x);
  return builder_linear(b, sam_module(sam, SAM_PROJECTION, block), config->dim, config->dim, true, x);
}
