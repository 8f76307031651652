/* The softmax of a tile's scores. Each row gives one vector, of the largest scores or of sums, and the vectors of all rows are
 * reduced together: one row's reduction is a chain that takes the time of many vectors of scores. */
#include "llvm/emit_attention_tile.h"
#include "llvm/emit_math.h"
#include "llvm/emit_tile.h"

#include <float.h>

static const double LOG2_E = 1.44269504088896341;

struct softmax_row {
  const struct attention_tile *tile;
  emit_value row, minus_maximum;
  struct attention_score at;
};

/* The largest exponent belongs to the largest score, or with a negative scale to the smallest. */
static emit_value largest(struct emit *e, emit_value a, emit_value b) {
  return emit_fmax(e, a, b);
}
static emit_value smallest(struct emit *e, emit_value a, emit_value b) {
  return emit_fmin(e, a, b);
}

static emit_value visit_extreme(struct emit *e, void *context, emit_value column, int lanes, emit_value acc) {
  const struct softmax_row *softmax = context;
  emit_value score = emit_load_vector(e, emit_at(e, softmax->row, column), lanes);
  if (lanes < e->level->lanes) score = emit_select(e, emit_lane_mask(e, lanes), score, acc);
  return softmax->tile->score_scale < 0 ? smallest(e, score, acc) : largest(e, score, acc);
}

static emit_value visit_adjust(struct emit *e, void *context, emit_value column, int lanes, emit_value acc) {
  const struct softmax_row *softmax = context;
  emit_value place = emit_at(e, softmax->row, column);
  struct attention_score at = softmax->at;
  at.column = column;
  at.lanes = lanes;
  emit_value score = emit_attention_adjust(e, softmax->tile->desc, &at, emit_load_vector(e, place, lanes));
  emit_store_vector(e, score, place, e->level->lanes);
  if (lanes < e->level->lanes) score = emit_select(e, emit_lane_mask(e, lanes), score, acc);
  return largest(e, score, acc);
}

/* Exactly zero for keys that are masked: a query may have no other. */
static emit_value adjusted_power(struct emit *e, const struct softmax_row *softmax, emit_value score) {
  emit_value below = emit_fmul(e, emit_fadd(e, score, softmax->minus_maximum), emit_splat_const(e, LOG2_E));
  emit_value seen = LLVMBuildFCmp(e->builder, LLVMRealOGT, below, emit_splat_const(e, -125), "");
  return emit_select(e, seen, emit_math_exp2(e, below), emit_splat_const(e, 0));
}

static emit_value visit_power(struct emit *e, void *context, emit_value column, int lanes, emit_value acc) {
  const struct softmax_row *softmax = context;
  emit_value place = emit_at(e, softmax->row, column), score = emit_load_vector(e, place, lanes);
  emit_value scale = emit_splat_const(e, softmax->tile->score_scale);
  emit_value power = softmax->tile->adjusts ? adjusted_power(e, softmax, score)
                                            : emit_math_exp2(e, emit_fma(e, score, scale, softmax->minus_maximum));
  if (lanes < e->level->lanes) power = emit_select(e, emit_lane_mask(e, lanes), power, emit_splat_const(e, 0));
  if (softmax->tile->desc->precision == PRECISION_BF16) /* behind what is still to be read of the row */
    emit_store_bf16(e, power, emit_bytes(e, softmax->row, emit_mul(e, column, emit_i64(e, 2))));
  else
    emit_store_vector(e, power, place, e->level->lanes);
  return emit_fadd(e, acc, power);
}

/* What the sums of earlier keys are multiplied by when the largest exponent grows from `before` to `maximum`. */
static emit_value shrink_factor(struct emit *e, const struct attention_tile *t, emit_value before, emit_value maximum) {
  emit_value difference = emit_fsub(e, before, maximum);
  if (t->adjusts) difference = emit_fmul(e, difference, emit_splat_const(e, LOG2_E));
  return emit_math_exp2(e, difference);
}

/* The vectors of a tile's rows, reduced: lane i is of row i. */
static emit_value reduce_rows(struct emit *e, const struct attention_tile *t,
                              emit_value (*combine)(struct emit *, emit_value, emit_value)) {
  int lanes = e->level->lanes;
  emit_value vectors[ATTENTION_ROWS_MAX];
  for (int r = 0; r < t->rows; r++) vectors[r] = emit_load_vector(e, emit_at_const(e, t->row_vectors, r * lanes), lanes);
  return emit_reduce_rows(e, vectors, t->rows, combine);
}

void emit_attention_maxima(struct emit *e, const struct attention_tile *t) {
  struct emit_loop loop;
  int lanes = e->level->lanes;
  emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, t->rows), 1, NULL, 0, EMIT_NOT_EMPTY);
  bool negative = t->score_scale < 0;
  struct softmax_row row = {.tile = t, .row = attention_row(e, t->scores, loop.index, t->score_stride)};
  if (t->mask != NULL)
    row.at.mask = attention_mask_at(e, t->desc, t->mask, emit_mul(e, loop.index, emit_i64(e, t->desc->mask.row)));
  if (t->row != NULL) row.at.row = emit_add(e, t->row, loop.index);
  struct sweep sweep = {.columns = t->keys, .context = &row, .visit = t->adjusts ? visit_adjust : visit_extreme};
  sweep.initial = emit_splat_const(e, negative ? (double)FLT_MAX : (double)-FLT_MAX);
  sweep.combine = negative ? smallest : largest;
  emit_store_vector(e, emit_sweep(e, &sweep), attention_row(e, t->row_vectors, loop.index, lanes), lanes);
  emit_loop_end(e, &loop, NULL);
  emit_value maximum = reduce_rows(e, t, sweep.combine);
  if (!t->adjusts) maximum = emit_fmul(e, maximum, emit_splat_const(e, t->score_scale));
  if (t->continues) {
    emit_value before = emit_load_vector(e, t->maximum, lanes);
    maximum = emit_fmax(e, before, maximum);
    emit_store_vector(e, shrink_factor(e, t, before, maximum), t->factor, lanes);
  }
  emit_store_vector(e, maximum, t->maximum, lanes);
}

/* Nothing seen: the result is 0 by any factor that is finite. */
static emit_value inverse(struct emit *e, const struct attention_tile *t, emit_value sum) {
  emit_value one = emit_splat_const(e, 1);
  if (!t->adjusts) return emit_fdiv(e, one, sum);
  emit_value none = LLVMBuildFCmp(e->builder, LLVMRealOEQ, sum, emit_splat_const(e, 0), "");
  return emit_fdiv(e, one, emit_select(e, none, one, sum));
}

void emit_attention_powers(struct emit *e, const struct attention_tile *t) {
  struct emit_loop loop;
  int lanes = e->level->lanes;
  emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, t->rows), 1, NULL, 0, EMIT_NOT_EMPTY);
  struct softmax_row row = {.tile = t, .row = attention_row(e, t->scores, loop.index, t->score_stride)};
  emit_value maximum = emit_splat(e, emit_load_f32(e, emit_at(e, t->maximum, loop.index)));
  row.minus_maximum = LLVMBuildFNeg(e->builder, maximum, "");
  struct sweep sweep = {.columns = t->keys, .context = &row, .visit = visit_power, .combine = emit_fadd};
  sweep.initial = emit_splat_const(e, 0);
  emit_store_vector(e, emit_sweep(e, &sweep), attention_row(e, t->row_vectors, loop.index, lanes), lanes);
  int64_t written = (t->keys + 15) / 16 * 16;
  if (t->amx && written % 32 != 0) emit_store_bf16(e, emit_splat_const(e, 0), emit_bytes(e, row.row, emit_i64(e, written * 2)));
  emit_loop_end(e, &loop, NULL);
  emit_value sum = reduce_rows(e, t, emit_fadd);
  if (t->continues) {
    emit_value before = emit_load_vector(e, t->denominator, lanes);
    sum = emit_fma(e, before, emit_load_vector(e, t->factor, lanes), sum);
  }
  emit_store_vector(e, t->last ? inverse(e, t, sum) : sum, t->denominator, lanes);
}
