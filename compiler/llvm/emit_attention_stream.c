/* Attention on AMX's tiles block of keys by block of keys, each block's scores multiplied while the powers of the one before it
 * are found, and its values one block later.
 *
 * Tiles that wait for about a thousand cycles are slow to start again (on Sapphire Rapids the products of a row tile took twice
 * their time in phases of their own), so that theirs must spread over the softmax. There is no pass for the maximum: powers are
 * relative to the largest score of the first block. Nothing is lost by that, since bf16 has the exponents of fp32, until a row
 * grows past 2^64: then the tile is computed again by the function that knows the maximum. */
#include "llvm/emit_amx.h"
#include "llvm/emit_attention_tile.h"
#include "llvm/emit_math.h"
#include "llvm/emit_tile.h"

#include <assert.h>
#include <float.h>
#include <stdio.h>

enum { KEYS = 32, WORDS = 16, SUMS_MAX = 5, STEPS_MAX = 4, OPS_MAX = 64, SUM_TILE = 5, A_TILE = 6, B_TILE = 7 };

static const double LOG2_E = 1.44269504088896341, GROWN = 0x1p64;

enum tile_op_kind { TILE_ZERO, TILE_LOAD, TILE_STORE, TILE_DOT };

struct tile_op {
  enum tile_op_kind kind;
  int tile, a, b;
  emit_value pointer;
  int64_t stride; /* words */
};

/* Instructions of tiles that are spread over the rows of a block. */
struct queue {
  struct tile_op ops[OPS_MAX];
  int count, done;
};

struct stream {
  const struct attention_desc *desc;
  int rows, sum_tiles, steps;
  bool keeps_q; /* q stays in tiles from sum_tiles on */
  emit_value q, packed, v, out;
  emit_value minus_maximum;         /* times the scale, of each row */
  emit_value scores, scores_next;   /* [rows][KEYS] floats */
  emit_value powers, powers_before; /* [rows][KEYS] bf16 */
  emit_value sums[AMX_ROWS];        /* of powers, lane by lane */
};

bool attention_streams(const struct target_level *level, const struct attention_desc *desc) {
  int64_t sum_tiles = (desc->v_dim + 15) / 16, steps = attention_depth(desc) / WORDS;
  return attention_uses_amx(level, desc) && !attention_adjusts(desc) && desc->scale > 0 && sum_tiles <= SUMS_MAX &&
         steps <= STEPS_MAX && desc->head_dim / 2 == attention_depth(desc);
}

static void add(struct queue *queue, struct tile_op op) {
  assert(queue->count < OPS_MAX);
  queue->ops[queue->count++] = op;
}

static void add_load(struct queue *queue, int tile, emit_value pointer, int64_t stride) {
  add(queue, (struct tile_op){.kind = TILE_LOAD, .tile = tile, .pointer = pointer, .stride = stride});
}

static void add_dot(struct queue *queue, int sum, int a, int b) {
  add(queue, (struct tile_op){.kind = TILE_DOT, .tile = sum, .a = a, .b = b});
}

static void run_until(struct emit *e, struct queue *queue, int end) {
  for (; queue->done < end; queue->done++) {
    const struct tile_op *op = &queue->ops[queue->done];
    emit_value stride = emit_i64(e, op->stride * 4);
    if (op->kind == TILE_ZERO) emit_amx_zero(e, op->tile);
    if (op->kind == TILE_LOAD) emit_amx_load(e, op->tile, op->pointer, stride);
    if (op->kind == TILE_STORE) emit_amx_store(e, op->tile, op->pointer, stride);
    if (op->kind == TILE_DOT) emit_amx_dot_bf16(e, op->tile, op->a, op->b);
  }
}

/* A block's scores, a panel of 16 keys after the other. */
static void add_scores(struct emit *e, const struct stream *s, struct queue *queue, emit_value block, emit_value to) {
  int64_t stride = attention_panel_stride(s->desc);
  emit_value keys = attention_row(e, s->packed, block, 2 * stride);
  for (int panel = 0; panel < KEYS / 16; panel++) {
    /* With q in tiles two are left, which take turns as the sum. */
    int sum = !s->keeps_q ? SUM_TILE : panel % 2 == 0 ? A_TILE : B_TILE;
    int b = s->keeps_q && panel % 2 != 0 ? A_TILE : B_TILE;
    add(queue, (struct tile_op){.kind = TILE_ZERO, .tile = sum});
    for (int step = 0; step < s->steps; step++) {
      if (!s->keeps_q) add_load(queue, A_TILE, emit_at_const(e, s->q, step * WORDS), s->desc->q.row);
      add_load(queue, b, emit_at_const(e, keys, panel * stride + step * WORDS * 16), WORDS);
      add_dot(queue, sum, s->keeps_q ? s->sum_tiles + step : A_TILE, b);
    }
    emit_value pointer = emit_at_const(e, to, panel * 16);
    add(queue, (struct tile_op){.kind = TILE_STORE, .tile = sum, .pointer = pointer, .stride = KEYS});
  }
}

static void add_values(struct emit *e, const struct stream *s, struct queue *queue, emit_value block, emit_value powers) {
  int64_t stride = attention_value_stride(s->desc);
  emit_value values = attention_row(e, s->v, block, stride * KEYS / 2);
  add_load(queue, A_TILE, powers, KEYS / 2);
  for (int i = 0; i < s->sum_tiles; i++) {
    add_load(queue, B_TILE, emit_at_const(e, values, i * 16), stride);
    add_dot(queue, i, A_TILE, B_TILE);
  }
}

/* Scores of half a row of a block, of which the first `lanes` exist, to powers. */
static emit_value power(struct emit *e, const struct stream *s, int row, int half, int lanes) {
  if (lanes <= 0) return emit_splat_const(e, 0);
  emit_value scores = emit_load_vector(e, emit_at_const(e, s->scores, row * KEYS + half * 16), 16);
  emit_value minus = emit_splat(e, emit_load_f32(e, emit_at_const(e, s->minus_maximum, row)));
  emit_value scale = emit_splat_const(e, (double)s->desc->scale * LOG2_E);
  emit_value result = emit_math_exp2_rough(e, emit_fma(e, scores, scale, minus));
  return lanes >= 16 ? result : emit_select(e, emit_lane_mask(e, lanes), result, emit_splat_const(e, 0));
}

/* A block of `keys` keys, and the queue spread over its rows. */
static void find_powers(struct emit *e, struct stream *s, int64_t keys, struct queue *queue) {
  for (int row = 0; row < s->rows; row++) {
    run_until(e, queue, queue->count * (row + 1) / s->rows);
    emit_value low = power(e, s, row, 0, keys < 16 ? (int)keys : 16), high = power(e, s, row, 1, (int)keys - 16);
    s->sums[row] = emit_fadd(e, s->sums[row], keys > 16 ? emit_fadd(e, low, high) : low);
    emit_store_bf16_pair(e, low, high, emit_at_const(e, s->powers, row * KEYS / 2));
  }
}

/* From the scores of the first block, of `keys` keys. */
static void find_maxima(struct emit *e, struct stream *s, int64_t keys) {
  emit_value rows[AMX_ROWS];
  for (int row = 0; row < s->rows; row++) {
    emit_value at = emit_at_const(e, s->scores, row * KEYS), least = emit_splat_const(e, (double)-FLT_MAX);
    rows[row] = emit_load_vector(e, at, 16);
    if (keys < 16) rows[row] = emit_select(e, emit_lane_mask(e, (int)keys), rows[row], least);
    if (keys <= 16) continue;
    emit_value high = emit_load_vector(e, emit_at_const(e, at, 16), 16);
    if (keys < KEYS) high = emit_select(e, emit_lane_mask(e, (int)keys - 16), high, least);
    rows[row] = emit_fmax(e, rows[row], high);
  }
  emit_value scale = emit_splat_const(e, (double)s->desc->scale * -LOG2_E);
  emit_store_vector(e, emit_fmul(e, emit_reduce_rows(e, rows, s->rows, emit_fmax), scale), s->minus_maximum, 16);
}

/* The blocks between the first and the last one. */
static void middle_blocks(struct emit *e, struct stream *s, int64_t blocks) {
  emit_value carried[AMX_ROWS + 4];
  emit_value *pointers[] = {&s->scores, &s->scores_next, &s->powers, &s->powers_before};
  int rows = s->rows;
  for (int row = 0; row < rows; row++) carried[row] = s->sums[row];
  for (int i = 0; i < 4; i++) carried[rows + i] = *pointers[i];
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, 1), emit_i64(e, blocks - 1), 1, carried, rows + 4, EMIT_NOT_EMPTY);
  for (int row = 0; row < rows; row++) s->sums[row] = loop.carried[row];
  for (int i = 0; i < 4; i++) *pointers[i] = loop.carried[rows + i];
  struct queue queue = {.count = 0};
  add_scores(e, s, &queue, emit_add(e, loop.index, emit_i64(e, 1)), s->scores_next);
  add_values(e, s, &queue, emit_sub(e, loop.index, emit_i64(e, 1)), s->powers_before);
  find_powers(e, s, KEYS, &queue);
  for (int row = 0; row < rows; row++) carried[row] = s->sums[row];
  for (int i = 0; i < 4; i++) carried[rows + i] = *pointers[i ^ 1]; /* each pair changes places */
  emit_loop_end(e, &loop, carried);
  for (int row = 0; row < rows; row++) s->sums[row] = loop.carried[row];
  for (int i = 0; i < 4; i++) *pointers[i] = loop.carried[rows + i];
}

static void all_blocks(struct emit *e, struct stream *s) {
  int64_t blocks = (s->desc->k_rows + KEYS - 1) / KEYS, left = s->desc->k_rows - (blocks - 1) * KEYS;
  struct queue queue = {.count = 0};
  for (int step = 0; s->keeps_q && step < s->steps; step++)
    add_load(&queue, s->sum_tiles + step, emit_at_const(e, s->q, step * WORDS), s->desc->q.row);
  add_scores(e, s, &queue, emit_i64(e, 0), s->scores);
  for (int i = 0; i < s->sum_tiles; i++) add(&queue, (struct tile_op){.kind = TILE_ZERO, .tile = i});
  run_until(e, &queue, queue.count);
  find_maxima(e, s, blocks > 1 ? KEYS : left);
  if (blocks > 1) {
    queue.count = queue.done = 0;
    add_scores(e, s, &queue, emit_i64(e, 1), s->scores_next);
    find_powers(e, s, KEYS, &queue);
    emit_value scores = s->scores, powers = s->powers;
    s->scores = s->scores_next;
    s->scores_next = scores;
    s->powers = s->powers_before;
    s->powers_before = powers;
  }
  if (blocks > 2) middle_blocks(e, s, blocks);
  queue.count = queue.done = 0;
  if (blocks > 1) add_values(e, s, &queue, emit_i64(e, blocks - 2), s->powers_before);
  find_powers(e, s, left, &queue);
  add_values(e, s, &queue, emit_i64(e, blocks - 1), s->powers);
  run_until(e, &queue, queue.count);
}

static void store_rows(struct emit *e, const struct stream *s, emit_value sums, emit_value inverses) {
  const struct attention_desc *desc = s->desc;
  int64_t stride = s->sum_tiles * 16;
  for (int row = 0; row < s->rows; row++) {
    emit_value inverse = emit_splat(e, emit_load_f32(e, emit_at_const(e, inverses, row)));
    emit_value out = emit_at_const(e, s->out, row * desc->out.row);
    for (int64_t column = 0; column < desc->v_dim; column += 16) {
      int64_t left = desc->v_dim - column;
      emit_value at = emit_at_const(e, sums, row * stride + column);
      emit_value value = emit_fmul(e, emit_load_vector(e, at, 16), inverse);
      if (!desc->out_operand || left < 32) {
        attention_store(e, desc, value, out, column, left < 16 ? (int)left : 16);
        continue;
      }
      emit_value next = emit_fmul(e, emit_load_vector(e, emit_at_const(e, at, 16), 16), inverse);
      emit_store_bf16_pair(e, value, next, emit_at_const(e, out, column / 2));
      column += 16;
    }
  }
}

static void configure(struct emit *e, int rows) {
  int all[AMX_TILES];
  for (int tile = 0; tile < AMX_TILES; tile++) all[tile] = rows;
  all[B_TILE] = AMX_ROWS;
  emit_amx_configure(e, all);
}

void emit_attention_stream_begin(struct emit *e) {
  configure(e, AMX_ROWS);
}

emit_value emit_attention_stream(struct emit *e, const struct attention_desc *desc, int rows, emit_value exact) {
  char name[96];
  snprintf(name, sizeof name, "attention_stream_%s_%d_%s", precision_name(desc->precision), rows, e->level->name);
  LLVMTypeRef types[4] = {e->pointer, e->pointer, e->pointer, e->pointer};
  emit_value function = emit_function_begin(e, name, e->void_type, types, 4), parameters[4];
  for (int i = 0; i < 4; i++) parameters[i] = emit_parameter(e, i);
  struct stream s = {.desc = desc, .rows = rows, .steps = (int)(attention_depth(desc) / WORDS)};
  s.sum_tiles = (int)((desc->v_dim + 15) / 16);
  /* The two tiles that are left serve as keys and sums in turn, which have the same rows only here. */
  s.keeps_q = s.sum_tiles + s.steps <= A_TILE && rows == AMX_ROWS;
  s.q = parameters[0];
  s.packed = parameters[1];
  s.v = parameters[2];
  s.out = parameters[3];
  s.minus_maximum = emit_stack(e, 64);
  s.scores = emit_stack(e, rows * KEYS * 4);
  s.scores_next = emit_stack(e, rows * KEYS * 4);
  s.powers = emit_stack(e, rows * KEYS * 2);
  s.powers_before = emit_stack(e, rows * KEYS * 2);
  emit_value sums = emit_stack(e, (int64_t)rows * s.sum_tiles * 64);
  for (int row = 0; row < rows; row++) s.sums[row] = emit_splat_const(e, 0);
  if (rows != AMX_ROWS) configure(e, rows);
  all_blocks(e, &s);
  for (int i = 0; i < s.sum_tiles; i++) emit_amx_store(e, i, emit_at_const(e, sums, i * 16), emit_i64(e, s.sum_tiles * 64));
  emit_value total = emit_reduce_rows(e, s.sums, rows, emit_fadd);
  emit_value grown = LLVMBuildFCmp(e->builder, LLVMRealUGT, total, emit_splat_const(e, GROWN), "");
  grown = LLVMBuildBitCast(e->builder, grown, LLVMInt16TypeInContext(e->context), "");
  grown = LLVMBuildIsNotNull(e->builder, grown, "");
  emit_store_vector(e, emit_fdiv(e, emit_splat_const(e, 1), total), s.minus_maximum, 16);
  struct emit_if branch;
  emit_if_begin(e, &branch, LLVMBuildNot(e->builder, grown, ""));
  store_rows(e, &s, sums, s.minus_maximum);
  emit_if_end(e, &branch);
  emit_if_begin(e, &branch, grown);
  emit_call(e, exact, parameters, 4);
  if (rows == AMX_ROWS) configure(e, AMX_ROWS);
  emit_if_end(e, &branch);
  if (rows != AMX_ROWS) configure(e, AMX_ROWS);
  emit_function_end(e);
  return function;
}
