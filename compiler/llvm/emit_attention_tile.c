#include "llvm/emit_amx.h"
#include "llvm/emit_attention_tile.h"
#include "llvm/emit_tile.h"

#include <float.h>
#include <stdio.h>

/* Keys whose scores are held at a time, and the bytes of stack that a tile's scores and sums may take together. Rows of v are
 * far apart in memory, so no prefetcher of the CPU sees the next one coming. */
enum { KEYS_MAX = 640, STACK_SCORES = 40 * 1024, STACK_SUMS = 16 * 1024, FETCH_STEPS = 8 };

static const double LOG2_E = 1.44269504088896341;

emit_value attention_row(struct emit *e, emit_value pointer, emit_value row, int64_t stride) {
  return emit_at(e, pointer, emit_mul(e, row, emit_i64(e, stride)));
}

int attention_tile_height(const struct target_level *level, const struct attention_desc *desc) {
  int height = attention_uses_amx(level, desc) ? AMX_ROWS : level->registers == 32 ? 14 : 6;
  int64_t fits = STACK_SUMS / 4 / desc->v_dim;
  if (fits < 1) fits = 1;
  return height < fits ? height : (int)fits;
}

static int64_t keys_per_block(const struct attention_tile *tile) {
  int64_t most = STACK_SCORES / 4 / tile->rows / 16 * 16, k_rows = tile->desc->k_rows;
  if (most > KEYS_MAX) most = KEYS_MAX;
  if (k_rows <= most) return k_rows;
  int64_t blocks = (k_rows + most - 1) / most;
  return ((k_rows + blocks - 1) / blocks + 31) / 32 * 32;
}

/* Scores of `vectors` vectors of keys from vector `vector` on, a whole panel's first one if there are several. */
static void score_tile(struct emit *e, const struct attention_tile *t, emit_value vector, int vectors) {
  int lanes = e->level->lanes, panel_vectors = 16 / lanes;
  struct tile_product product = {.rows = t->rows, .vectors = vectors, .last_lanes = lanes, .a = t->q, .b_step = 16};
  emit_value panel = LLVMBuildUDiv(e->builder, vector, emit_i64(e, panel_vectors), "");
  emit_value within = LLVMBuildURem(e->builder, vector, emit_i64(e, panel_vectors), "");
  product.b = attention_row(e, t->packed, panel, attention_panel_stride(t->desc));
  product.b = attention_row(e, product.b, within, lanes);
  product.dot = tile_dot(e->level, t->desc->precision);
  product.a_row_stride = t->desc->q.row;
  product.k = t->desc->precision == PRECISION_BF16 ? t->desc->head_dim / 2 : t->desc->head_dim;
  for (int v = 0; v < vectors; v++)
    product.b_offset[v] = v / panel_vectors * attention_panel_stride(t->desc) + v % panel_vectors * lanes;
  emit_value acc[EMIT_CARRIED_MAX];
  for (int i = 0; i < t->rows * vectors; i++) acc[i] = emit_splat_const(e, 0);
  emit_tile_multiply(e, &product, acc);
  emit_value to = attention_row(e, t->scores, vector, lanes);
  for (int r = 0; r < t->rows; r++)
    for (int v = 0; v < vectors; v++)
      emit_store_vector(e, acc[r * vectors + v], emit_at_const(e, to, r * t->score_stride + v * lanes), lanes);
}

/* Lane i becomes the sum of the lanes from i * split on. */
static emit_value join_lanes(struct emit *e, emit_value vector, int split) {
  emit_value numbers[16];
  unsigned lanes = (unsigned)e->level->lanes;
  for (int s = split / 2; s > 0; s /= 2) {
    for (unsigned i = 0; i < lanes; i++) numbers[i] = emit_i32(e, (int32_t)i ^ s);
    vector = emit_fadd(e, vector, LLVMBuildShuffleVector(e->builder, vector, vector, LLVMConstVector(numbers, lanes), ""));
  }
  for (unsigned i = 0; i < lanes; i++) numbers[i] = emit_i32(e, (int32_t)i * split % (int32_t)lanes);
  return LLVMBuildShuffleVector(e->builder, vector, vector, LLVMConstVector(numbers, lanes), "");
}

/* Scores of the keys that fill no vector, of vector `vector`. */
static void score_split(struct emit *e, const struct attention_tile *t, int64_t vector, int split) {
  int lanes = e->level->lanes;
  struct tile_product product = {.rows = t->rows, .vectors = 1, .last_lanes = lanes, .a = t->q, .b_step = 16, .a_lanes = split};
  product.b = emit_at_const(e, t->packed, vector * lanes / 16 * attention_panel_stride(t->desc) + vector * lanes % 16);
  product.a_row_stride = t->desc->q.row;
  product.k = t->desc->head_dim / split;
  emit_value acc[EMIT_CARRIED_MAX];
  for (int r = 0; r < t->rows; r++) acc[r] = emit_splat_const(e, 0);
  emit_tile_multiply(e, &product, acc);
  for (int r = 0; r < t->rows; r++) {
    emit_value to = emit_at_const(e, t->scores, r * t->score_stride + vector * lanes);
    emit_store_vector(e, join_lanes(e, acc[r], split), to, lanes);
  }
}

static void scores(struct emit *e, const struct attention_tile *t) {
  int lanes = e->level->lanes, panel_vectors = 16 / lanes, split = attention_split(e->level, t->desc);
  int step = tile_vectors(e->level, t->rows, 4) / panel_vectors * panel_vectors;
  if (step < panel_vectors) step = panel_vectors;
  int64_t vectors = (t->keys + lanes - 1) / lanes, full = t->keys / lanes;
  if (split == 1 || full == vectors) full = vectors;
  int64_t whole = full / step * step;
  if (whole > 0) {
    struct emit_loop loop;
    emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, whole), step, NULL, 0, EMIT_NOT_EMPTY);
    score_tile(e, t, loop.index, step);
    emit_loop_end(e, &loop, NULL);
  }
  if (whole < full) score_tile(e, t, emit_i64(e, whole), (int)(full - whole));
  if (full < vectors) score_split(e, t, full, split);
}

void attention_store(struct emit *e, const struct attention_desc *desc, emit_value value, emit_value row, int64_t column,
                     int lanes) {
  if (desc->out_operand)
    emit_store_bf16(e, value, emit_bytes(e, row, emit_i64(e, column * 2)));
  else
    emit_store_vector(e, value, emit_at_const(e, row, column), lanes);
}

/* `vectors` vectors of the weighted sum of v's rows from column `column` on; `last_lanes` of the last one exist. */
static void value_tile(struct emit *e, const struct attention_tile *t, emit_value column, int vectors, int last_lanes) {
  int lanes = e->level->lanes;
  struct tile_product product = {.rows = t->rows, .vectors = vectors, .last_lanes = last_lanes, .a = t->scores};
  bool pairs = t->desc->precision == PRECISION_BF16;
  product.dot = tile_dot(e->level, t->desc->precision);
  product.k = pairs ? (t->keys + 1) / 2 : t->keys;
  product.b = emit_at(e, t->v, column);
  product.a_row_stride = t->score_stride;
  product.b_step = pairs ? attention_value_stride(t->desc) : t->desc->v.row;
  product.fetch_steps = pairs ? 0 : FETCH_STEPS;
  for (int v = 0; v < vectors; v++) product.b_offset[v] = v * lanes;
  emit_value sums = t->sums != NULL ? emit_at(e, t->sums, column) : NULL;
  emit_value out = emit_bytes(e, t->out, emit_mul(e, column, emit_i64(e, t->desc->out_operand ? 2 : 4)));
  emit_value acc[EMIT_CARRIED_MAX];
  for (int r = 0; r < t->rows; r++) {
    emit_value factor = t->continues ? emit_splat(e, emit_load_f32(e, emit_at_const(e, t->factor, r))) : NULL;
    for (int v = 0; v < vectors; v++) {
      emit_value *to = &acc[r * vectors + v];
      *to = emit_splat_const(e, 0);
      if (t->continues)
        *to = emit_fmul(e, factor, emit_load_vector(e, emit_at_const(e, sums, r * t->sum_stride + v * lanes), lanes));
    }
  }
  emit_tile_multiply(e, &product, acc);
  for (int r = 0; r < t->rows; r++) {
    emit_value inverse = t->last ? emit_splat(e, emit_load_f32(e, emit_at_const(e, t->denominator, r))) : NULL;
    for (int v = 0; v < vectors; v++) {
      emit_value value = acc[r * vectors + v];
      if (t->last)
        attention_store(e, t->desc, emit_fmul(e, value, inverse), emit_at_const(e, out, r * t->desc->out.row), v * lanes,
                        v == vectors - 1 ? last_lanes : lanes);
      else
        emit_store_vector(e, value, emit_at_const(e, sums, r * t->sum_stride + v * lanes), lanes);
    }
  }
}

static void values(struct emit *e, const struct attention_tile *t) {
  int64_t lanes = e->level->lanes, v_dim = t->desc->v_dim, total = (v_dim + lanes - 1) / lanes;
  int most = tile_vectors(e->level, t->rows, 4);
  int64_t groups = (total + most - 1) / most, step = (total + groups - 1) / groups;
  int64_t whole = v_dim / lanes / step * step;
  if (whole > 0) {
    struct emit_loop loop;
    emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, whole * lanes), step * lanes, NULL, 0, EMIT_NOT_EMPTY);
    value_tile(e, t, loop.index, (int)step, (int)lanes);
    emit_loop_end(e, &loop, NULL);
  }
  if (whole < total) value_tile(e, t, emit_i64(e, whole * lanes), (int)(total - whole), (int)(v_dim - (total - 1) * lanes));
}

static void block(struct emit *e, struct attention_tile *t, emit_value first_key, int64_t keys, bool last) {
  struct attention_tile at = *t;
  at.keys = keys;
  at.last = last;
  at.packed =
      attention_row(e, t->packed, LLVMBuildSDiv(e->builder, first_key, emit_i64(e, 16), ""), attention_panel_stride(t->desc));
  if (t->desc->precision == PRECISION_BF16)
    at.v = attention_row(e, t->v, LLVMBuildSDiv(e->builder, first_key, emit_i64(e, 2), ""), attention_value_stride(t->desc));
  else
    at.v = attention_row(e, t->v, first_key, t->desc->v.row);
  if (t->mask != NULL) at.mask = attention_mask_at(e, t->desc, t->mask, first_key);
  if (t->row != NULL) at.row = emit_sub(e, t->row, first_key);
  if (t->amx)
    emit_attention_amx_scores(e, &at);
  else
    scores(e, &at);
  emit_attention_maxima(e, &at);
  emit_attention_powers(e, &at);
  if (t->amx)
    emit_attention_amx_values(e, &at);
  else
    values(e, &at);
}

/* No key seen yet: nothing summed, and a maximum below every score. */
static void clear_sums(struct emit *e, const struct attention_tile *t) {
  int lanes = e->level->lanes;
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, t->rows * t->sum_stride), lanes, NULL, 0, EMIT_NOT_EMPTY);
  emit_store_vector(e, emit_splat_const(e, 0), emit_at(e, t->sums, loop.index), lanes);
  emit_loop_end(e, &loop, NULL);
  emit_store_vector(e, emit_splat_const(e, (double)-FLT_MAX), t->maximum, lanes);
  emit_store_vector(e, emit_splat_const(e, 0), t->denominator, lanes);
}

emit_value emit_attention_tile(struct emit *e, const struct attention_desc *desc, int rows) {
  char name[96];
  snprintf(name, sizeof name, "attention_tile%s_%s_%d_%s", desc->has_mask ? "_mask" : "", precision_name(desc->precision), rows,
           e->level->name);
  LLVMTypeRef types[6] = {e->pointer, e->pointer, e->pointer, e->pointer};
  int parameters = 4;
  if (desc->has_mask) types[parameters++] = e->pointer;
  if (desc->causal) types[parameters++] = e->i64;
  emit_value function = emit_function_begin(e, name, e->void_type, types, parameters);
  struct attention_tile t = {.desc = desc, .rows = rows, .score_scale = (double)desc->scale * LOG2_E};
  t.adjusts = attention_adjusts(desc);
  t.amx = attention_uses_amx(e->level, desc);
  if (desc->has_mask) t.mask = emit_parameter(e, 4);
  if (desc->causal) t.row = emit_parameter(e, parameters - 1);
  t.q = emit_parameter(e, 0);
  t.packed = emit_parameter(e, 1);
  t.v = emit_parameter(e, 2);
  t.out = emit_parameter(e, 3);
  int64_t keys = keys_per_block(&t), blocks = (desc->k_rows + keys - 1) / keys;
  t.score_stride = (keys + 31) / 32 * 32 + 16;
  t.sum_stride = (desc->v_dim + 15) / 16 * 16;
  t.scores = emit_stack(e, rows * t.score_stride * 4);
  t.row_vectors = emit_stack(e, (int64_t)rows * e->level->lanes * 4);
  t.maximum = emit_stack(e, 64);
  t.denominator = emit_stack(e, 64);
  if (blocks > 1 || t.amx) t.sums = emit_stack(e, rows * t.sum_stride * 4);
  if (t.amx) emit_attention_amx_begin(e, &t);
  if (blocks > 1) {
    t.continues = true;
    t.factor = emit_stack(e, 64);
    clear_sums(e, &t);
    struct emit_loop loop;
    emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, (blocks - 1) * keys), keys, NULL, 0, EMIT_NOT_EMPTY);
    block(e, &t, loop.index, keys, false);
    emit_loop_end(e, &loop, NULL);
  }
  block(e, &t, emit_i64(e, (blocks - 1) * keys), desc->k_rows - (blocks - 1) * keys, true);
  if (t.amx) emit_amx_release(e);
  emit_function_end(e);
  return function;
}
