/* Attention's products on AMX's tiles: four tiles of sums at a time, so that none waits for its own. */
#include "llvm/emit_amx.h"
#include "llvm/emit_attention_tile.h"

enum { SUMS = 4, TILE_A = 4, TILE_B = 5, TILES_B = 3, WORDS = 16 };

bool attention_uses_amx(const struct target_level *level, const struct attention_desc *desc) {
  return level->tiles && desc->precision == PRECISION_BF16;
}

/* A query may end within a tile's row, and what follows it is not zero: such are copied. */
static emit_value padded_queries(struct emit *e, const struct attention_tile *t, int64_t depth) {
  int64_t own = t->desc->head_dim / 2;
  emit_value copy = emit_stack(e, t->rows * depth * 4);
  for (int r = 0; r < t->rows; r++)
    for (int64_t w = 0; w < depth; w += WORDS) {
      emit_value from = emit_at_const(e, t->q, r * t->desc->q.row + w);
      emit_value words = emit_load_vector(e, from, own - w < WORDS ? (int)(own - w) : WORDS);
      emit_store_vector(e, words, emit_at_const(e, copy, r * depth + w), WORDS);
    }
  return copy;
}

void emit_attention_amx_begin(struct emit *e, struct attention_tile *t) {
  int rows[AMX_TILES];
  for (int tile = 0; tile < AMX_TILES; tile++) rows[tile] = tile <= TILE_A ? t->rows : AMX_ROWS;
  emit_amx_configure(e, rows);
  int64_t depth = attention_depth(t->desc);
  t->q_stride = t->desc->q.row;
  if (t->desc->head_dim / 2 == depth) return;
  t->q = padded_queries(e, t, depth);
  t->q_stride = depth;
}

static emit_value bytes_of(struct emit *e, int64_t words) {
  return emit_i64(e, words * 4);
}

/* Scores of `count` panels of keys from `panel` on. */
static void score_panels(struct emit *e, const struct attention_tile *t, emit_value panel, int count) {
  int64_t stride = attention_panel_stride(t->desc);
  emit_value keys = attention_row(e, t->packed, panel, stride);
  for (int i = 0; i < count; i++) emit_amx_zero(e, i);
  for (int64_t w = 0; w < attention_depth(t->desc); w += WORDS) {
    emit_amx_load(e, TILE_A, emit_at_const(e, t->q, w), bytes_of(e, t->q_stride));
    for (int i = 0; i < count; i++) {
      int tile = TILE_B + i % TILES_B;
      emit_amx_load(e, tile, emit_at_const(e, keys, i * stride + w * WORDS), bytes_of(e, WORDS));
      emit_amx_dot_bf16(e, i, TILE_A, tile);
    }
  }
  emit_value to = attention_row(e, t->scores, panel, WORDS);
  for (int i = 0; i < count; i++) emit_amx_store(e, i, emit_at_const(e, to, i * WORDS), bytes_of(e, t->score_stride));
}

void emit_attention_amx_scores(struct emit *e, const struct attention_tile *t) {
  int64_t panels = (t->keys + WORDS - 1) / WORDS, whole = panels / SUMS * SUMS;
  if (whole > 0) {
    struct emit_loop loop;
    emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, whole), SUMS, NULL, 0, EMIT_NOT_EMPTY);
    score_panels(e, t, loop.index, SUMS);
    emit_loop_end(e, &loop, NULL);
  }
  if (whole < panels) score_panels(e, t, emit_i64(e, whole), (int)(panels - whole));
}

/* Earlier keys' sums by their factor. */
static void shrink_sums(struct emit *e, const struct attention_tile *t) {
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, t->rows), 1, NULL, 0, EMIT_NOT_EMPTY);
  emit_value factor = emit_splat(e, emit_load_f32(e, emit_at(e, t->factor, loop.index)));
  emit_value row = attention_row(e, t->sums, loop.index, t->sum_stride);
  for (int64_t column = 0; column < t->sum_stride; column += WORDS) {
    emit_value at = emit_at_const(e, row, column);
    emit_store_vector(e, emit_fmul(e, factor, emit_load_vector(e, at, WORDS)), at, WORDS);
  }
  emit_loop_end(e, &loop, NULL);
}

/* Sums of `count` tiles of columns from `column` on. */
static void value_columns(struct emit *e, const struct attention_tile *t, int64_t column, int count) {
  int64_t stride = attention_value_stride(t->desc), pairs = (t->keys + 31) / 32 * WORDS;
  for (int i = 0; i < count; i++) {
    if (t->continues)
      emit_amx_load(e, i, emit_at_const(e, t->sums, column + i * WORDS), bytes_of(e, t->sum_stride));
    else
      emit_amx_zero(e, i);
  }
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, pairs), WORDS, NULL, 0, EMIT_NOT_EMPTY);
  emit_amx_load(e, TILE_A, emit_at(e, t->scores, loop.index), bytes_of(e, t->score_stride));
  emit_value values = emit_at_const(e, attention_row(e, t->v, loop.index, stride), column);
  for (int i = 0; i < count; i++) {
    int tile = TILE_B + i % TILES_B;
    emit_amx_load(e, tile, emit_at_const(e, values, i * WORDS), bytes_of(e, stride));
    emit_amx_dot_bf16(e, i, TILE_A, tile);
  }
  emit_loop_end(e, &loop, NULL);
  for (int i = 0; i < count; i++)
    emit_amx_store(e, i, emit_at_const(e, t->sums, column + i * WORDS), bytes_of(e, t->sum_stride));
}

static void store_rows(struct emit *e, const struct attention_tile *t) {
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, t->rows), 1, NULL, 0, EMIT_NOT_EMPTY);
  emit_value inverse = emit_splat(e, emit_load_f32(e, emit_at(e, t->denominator, loop.index)));
  emit_value sums = attention_row(e, t->sums, loop.index, t->sum_stride);
  emit_value out = attention_row(e, t->out, loop.index, t->desc->out.row);
  for (int64_t column = 0; column < t->desc->v_dim; column += WORDS) {
    int64_t left = t->desc->v_dim - column;
    emit_value value = emit_fmul(e, emit_load_vector(e, emit_at_const(e, sums, column), WORDS), inverse);
    attention_store(e, t->desc, value, out, column, left < WORDS ? (int)left : WORDS);
  }
  emit_loop_end(e, &loop, NULL);
}

void emit_attention_amx_values(struct emit *e, const struct attention_tile *t) {
  if (t->continues) shrink_sums(e, t);
  for (int64_t column = 0; column < t->sum_stride; column += SUMS * WORDS) {
    int64_t tiles = (t->sum_stride - column) / WORDS;
    value_columns(e, t, column, tiles < SUMS ? (int)tiles : SUMS);
  }
  if (t->last) store_rows(e, t);
}
