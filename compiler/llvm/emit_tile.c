#include "llvm/emit_tile.h"

#include <assert.h>
#include <string.h>

enum { SWEEP_UNROLL = 4 };

/* Steps of k per iteration of the inner loop: enough work to hide the loop's own instructions and its fetches. */
static int64_t unroll_of(const struct tile_product *p) {
  return p->rows * p->vectors <= 16 ? 8 : 4;
}

static void fetch(struct emit *e, emit_value pointer, int write, int locality) {
  LLVMTypeRef types[] = {e->pointer};
  unsigned id = LLVMLookupIntrinsicID("llvm.prefetch", strlen("llvm.prefetch"));
  emit_value arguments[] = {pointer, emit_i32(e, write), emit_i32(e, locality), emit_i32(e, 1)}; /* 1: data */
  emit_call(e, LLVMGetIntrinsicDeclaration(e->module, id, types, 1), arguments, 4);
}

void emit_fetch(struct emit *e, emit_value pointer, int locality) {
  fetch(e, pointer, 0, locality);
}

void emit_fetch_write(struct emit *e, emit_value pointer) {
  fetch(e, pointer, 1, 3);
}

enum tile_dot tile_dot(const struct target_level *level, enum precision precision) {
  switch (target_arithmetic(level, precision)) {
  case ARITHMETIC_BF16:
    return DOT_BF16;
  case ARITHMETIC_INT8:
    return DOT_INT8;
  case ARITHMETIC_INT16:
    return DOT_INT8_WIDEN;
  default:
    return precision == PRECISION_BF16 ? DOT_BF16_WIDEN : DOT_F32;
  }
}

int64_t tile_a_step(enum tile_dot dot) {
  return dot == DOT_BF16_WIDEN || dot == DOT_INT8_WIDEN ? 2 : 1;
}

static emit_value multiply_add(struct emit *e, enum tile_dot dot, emit_value sum, emit_value a, emit_value b) {
  switch (dot) {
  case DOT_BF16:
    return emit_dot_bf16(e, sum, a, b);
  case DOT_INT8:
    return emit_dot_int8(e, sum, a, b);
  case DOT_INT8_WIDEN:
    return emit_dot_int16(e, sum, a, b);
  default:
    return emit_fma(e, a, b, sum);
  }
}

/* a[0 .. count) in every `count` lanes that follow each other. */
static emit_value repeat(struct emit *e, emit_value a, int count) {
  LLVMTypeRef type = LLVMVectorType(e->f32, (unsigned)count);
  emit_value part = LLVMBuildLoad2(e->builder, type, a, ""), lanes[64];
  LLVMSetAlignment(part, 4);
  for (int i = 0; i < e->level->lanes; i++) lanes[i] = emit_i32(e, i % count);
  return LLVMBuildShuffleVector(e->builder, part, LLVMGetPoison(type), LLVMConstVector(lanes, (unsigned)e->level->lanes), "");
}

static emit_value spread(struct emit *e, const struct tile_product *p, emit_value from) {
  if (p->a_lanes > 1) return repeat(e, from, p->a_lanes);
  bool words = p->dot != DOT_F32 && p->dot != DOT_BF16_WIDEN;
  return emit_splat(e, words ? LLVMBuildLoad2(e->builder, e->i32, from, "") : emit_load_f32(e, from));
}

/* Rows of the tile times the vectors b: a column of A, `at` elements from the product's a. */
static void multiply_rows(struct emit *e, const struct tile_product *p, emit_value a_column, const emit_value *b,
                          emit_value *acc) {
  for (int r = 0; r < p->rows; r++) {
    emit_value a = spread(e, p, emit_at_const(e, a_column, r * p->a_row_stride));
    for (int v = 0; v < p->vectors; v++) {
      emit_value *sum = &acc[r * p->vectors + v];
      *sum = multiply_add(e, p->dot, *sum, a, b[v]);
    }
  }
}

/* One half of the words of B, as wide as a word: of two bf16 the first or second, of four s8 the first and third or the
 * second and fourth. */
static emit_value widen_half(struct emit *e, enum tile_dot dot, emit_value b, int half) {
  if (dot == DOT_BF16_WIDEN) {
    emit_value words = LLVMBuildBitCast(e->builder, b, e->ivector, "");
    words = half == 0 ? LLVMBuildShl(e->builder, words, emit_splat_i32(e, 16), "")
                      : LLVMBuildAnd(e->builder, words, emit_splat_i32(e, (int32_t)0xffff0000u), "");
    return LLVMBuildBitCast(e->builder, words, e->vector, "");
  }
  LLVMTypeRef pairs = LLVMVectorType(LLVMInt16TypeInContext(e->context), (unsigned)e->level->lanes * 2);
  emit_value bytes[32], eight = LLVMConstInt(LLVMInt16TypeInContext(e->context), 8, 0);
  for (int i = 0; i < e->level->lanes * 2; i++) bytes[i] = eight;
  eight = LLVMConstVector(bytes, (unsigned)e->level->lanes * 2);
  b = LLVMBuildBitCast(e->builder, b, pairs, "");
  if (half == 0) b = LLVMBuildShl(e->builder, b, eight, "");
  return LLVMBuildAShr(e->builder, b, eight, "");
}

/* Words of A from one step to the next. */
static int64_t a_step(const struct tile_product *p) {
  return p->a_lanes > 1 ? p->a_lanes : tile_a_step(p->dot);
}

/* Step k from a column of A and a row of B on. */
static void multiply_step(struct emit *e, const struct tile_product *p, emit_value a_column, emit_value b_row, int64_t k,
                          emit_value *acc) {
  b_row = emit_at_const(e, b_row, k * p->b_step);
  a_column = emit_at_const(e, a_column, k * a_step(p));
  emit_value b[TILE_VECTORS_MAX], halves[TILE_VECTORS_MAX];
  for (int v = 0; v < p->vectors; v++)
    b[v] = emit_load_vector(e, emit_at_const(e, b_row, p->b_offset[v]), v == p->vectors - 1 ? p->last_lanes : e->level->lanes);
  for (int v = 0; p->fetch_steps > 0 && v < p->vectors; v += 16 / e->level->lanes)
    emit_fetch(e, emit_at_const(e, b_row, p->fetch_steps * p->b_step + p->b_offset[v]), 3);
  if (tile_a_step(p->dot) == 1) {
    multiply_rows(e, p, a_column, b, acc);
    return;
  }
  for (int half = 0; half < 2; half++) {
    for (int v = 0; v < p->vectors; v++) halves[v] = widen_half(e, p->dot, b[v], half);
    multiply_rows(e, p, emit_at_const(e, a_column, half), halves, acc);
  }
}

/* Spreads the fetches over the loop: a burst would hold up the loads of the tile itself. Run after run, each for a power of two
 * of turns. */
static void fetch_ahead(struct emit *e, const struct tile_fetch *fetch, int64_t turns, emit_value turn) {
  int64_t each = 0;
  int shift = 0;
  do {
    each++;
    for (shift = 0; (each << shift) < fetch->lines; shift++) continue;
  } while (fetch->runs << shift > turns && each < 4);
  emit_value from = fetch->from, within = turn;
  if (fetch->runs > 1) {
    emit_value run = LLVMBuildLShr(e->builder, turn, emit_i64(e, shift), "");
    within = LLVMBuildAnd(e->builder, turn, emit_i64(e, (1 << shift) - 1), "");
    from = emit_at(e, from, emit_mul(e, run, emit_i64(e, fetch->stride)));
  }
  from = emit_at(e, from, emit_mul(e, within, emit_i64(e, each * 16)));
  for (int64_t i = 0; i < each; i++) emit_fetch(e, emit_at_const(e, from, i * 16), 2);
}

/* Each row for as many turns as make the rows last to the end of the loop. */
static void fetch_residual(struct emit *e, const struct tile_product *p, int64_t looped, emit_value k) {
  int shift = 0;
  while (looped >> (shift + 1) >= p->rows) shift++;
  emit_value row = LLVMBuildLShr(e->builder, k, emit_i64(e, shift), "");
  emit_value from = emit_at(e, p->residual, emit_mul(e, row, emit_i64(e, p->residual_row_stride)));
  for (int v = 0; v < p->vectors; v += 16 / e->level->lanes) emit_fetch(e, emit_at_const(e, from, v * e->level->lanes), 3);
}

void emit_tile_multiply(struct emit *e, const struct tile_product *product, emit_value *acc) {
  int count = product->rows * product->vectors;
  emit_value carried[EMIT_CARRIED_MAX], *a = &carried[count], *b = &carried[count + 1];
  assert(count + 2 <= EMIT_CARRIED_MAX && product->vectors <= TILE_VECTORS_MAX);
  int64_t unroll = unroll_of(product), looped = product->k / unroll * unroll;
  if (looped > 0) {
    struct emit_loop loop;
    memcpy(carried, acc, (size_t)count * sizeof *acc);
    *a = product->a;
    *b = product->b;
    emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, looped), unroll, carried, count + 2, EMIT_NOT_EMPTY);
    memcpy(carried, loop.carried, (size_t)(count + 2) * sizeof *acc);
    emit_value k = product->k_begin != NULL ? emit_add(e, product->k_begin, loop.index) : loop.index;
    int64_t all = product->k_begin != NULL ? product->k_all : looped;
    emit_value turn = LLVMBuildUDiv(e->builder, k, emit_i64(e, unroll), "");
    for (int i = 0; i < 2; i++)
      if (product->ahead[i].from != NULL) fetch_ahead(e, &product->ahead[i], all / unroll, turn);
    if (product->residual != NULL) fetch_residual(e, product, all, k);
    for (int64_t step = 0; step < unroll; step++) multiply_step(e, product, *a, *b, step, carried);
    *a = emit_at_const(e, *a, unroll * a_step(product));
    *b = emit_at_const(e, *b, unroll * product->b_step);
    emit_loop_end(e, &loop, carried);
    memcpy(acc, loop.carried, (size_t)count * sizeof *acc);
  }
  for (int64_t step = looped; step < product->k; step++) multiply_step(e, product, product->a, product->b, step, acc);
}

int tile_height(const struct target_level *level, enum precision precision) {
  enum tile_dot dot = tile_dot(level, precision);
  if (tile_a_step(dot) == 1) return level->mr;
  int others = 2 * level->nv + (dot == DOT_INT8_WIDEN ? 3 : 1); /* words and halves of B, one of A; products of two rows */
  return (level->registers - others) / level->nv;
}

int tile_vectors(const struct target_level *level, int rows, int wanted) {
  int vectors = (level->registers - 1) / (rows + 1);
  if (vectors > TILE_VECTORS_MAX) vectors = TILE_VECTORS_MAX;
  return vectors < wanted ? vectors : wanted;
}

struct row_tiles tile_rows(int64_t rows, int height_max) {
  struct row_tiles tiles = {.count = (rows + height_max - 1) / height_max};
  tiles.height = (int)((rows + tiles.count - 1) / tiles.count);
  tiles.tall = rows - tiles.count * (tiles.height - 1);
  return tiles;
}

static emit_value masked_intrinsic(struct emit *e, const char *name) {
  LLVMTypeRef types[] = {e->vector, e->pointer};
  return LLVMGetIntrinsicDeclaration(e->module, LLVMLookupIntrinsicID(name, strlen(name)), types, 2);
}

emit_value emit_load_mask(struct emit *e, emit_value pointer, emit_value mask) {
  emit_value arguments[] = {pointer, emit_i32(e, 4), mask, LLVMConstNull(e->vector)};
  return emit_call(e, masked_intrinsic(e, "llvm.masked.load"), arguments, 4);
}

void emit_store_mask(struct emit *e, emit_value vector, emit_value pointer, emit_value mask) {
  emit_value arguments[] = {vector, pointer, emit_i32(e, 4), mask};
  emit_call(e, masked_intrinsic(e, "llvm.masked.store"), arguments, 4);
}

void emit_sweeps(struct emit *e, const struct sweep *sweeps, int count, emit_value *out) {
  int64_t lanes = e->level->lanes, step = lanes * SWEEP_UNROLL, columns = sweeps->columns, looped = columns / step * step;
  int carried = sweeps->initial != NULL ? count * SWEEP_UNROLL : 0;
  emit_value acc[SWEEPS_MAX * SWEEP_UNROLL];
  assert(count <= SWEEPS_MAX);
  for (int i = 0; i < count * SWEEP_UNROLL; i++) acc[i] = sweeps[i / SWEEP_UNROLL].initial;
  if (looped > 0) {
    struct emit_loop loop;
    emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, looped), step, acc, carried, EMIT_NOT_EMPTY);
    for (int i = 0; i < SWEEP_UNROLL; i++)
      for (int s = 0; s < count; s++) {
        emit_value column = emit_add(e, loop.index, emit_i64(e, i * lanes)), *at = &acc[s * SWEEP_UNROLL + i];
        *at =
            sweeps[s].visit(e, sweeps[s].context, column, (int)lanes, carried > 0 ? loop.carried[s * SWEEP_UNROLL + i] : NULL);
      }
    emit_loop_end(e, &loop, acc);
    for (int i = 0; i < carried; i++) acc[i] = loop.carried[i];
  }
  for (int64_t column = looped, i = 0; column < columns; column += lanes, i++)
    for (int s = 0; s < count; s++) {
      int64_t left = columns - column;
      emit_value *at = &acc[s * SWEEP_UNROLL + i];
      *at = sweeps[s].visit(e, sweeps[s].context, emit_i64(e, column), (int)(left < lanes ? left : lanes), *at);
    }
  for (int s = 0; carried > 0 && s < count; s++) {
    const emit_value *of = &acc[s * SWEEP_UNROLL];
    out[s] = sweeps[s].combine(e, sweeps[s].combine(e, of[0], of[1]), sweeps[s].combine(e, of[2], of[3]));
  }
}

emit_value emit_sweep(struct emit *e, const struct sweep *sweep) {
  emit_value result = NULL;
  emit_sweeps(e, sweep, 1, &result);
  return result;
}

emit_value emit_reduce_rows(struct emit *e, const emit_value *rows, int count,
                            emit_value (*combine)(struct emit *, emit_value, emit_value)) {
  int lanes = e->level->lanes;
  emit_value work[16];
  assert(count <= lanes && lanes <= 16);
  for (int i = 0; i < lanes; i++) work[i] = rows[i < count ? i : 0];
  for (int s = lanes / 2; s > 0; s /= 2) {
    emit_value low[16], high[16];
    for (int lane = 0; lane < lanes; lane++) {
      low[lane] = emit_i32(e, (lane & s) == 0 ? lane : lanes + lane - s);
      high[lane] = emit_i32(e, (lane & s) == 0 ? lane + s : lanes + lane);
    }
    for (int i = 0; i < s; i++) {
      emit_value a = LLVMBuildShuffleVector(e->builder, work[i], work[i + s], LLVMConstVector(low, (unsigned)lanes), "");
      emit_value b = LLVMBuildShuffleVector(e->builder, work[i], work[i + s], LLVMConstVector(high, (unsigned)lanes), "");
      work[i] = combine(e, a, b);
    }
  }
  return work[0];
}
