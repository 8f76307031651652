#include "llvm/emit_quantize.h"

#include <assert.h>
#include <math.h>

/* Vectors of 32-bit lanes whose low bytes become one vector of bytes. */
enum { PACKED = 4, VECTORS_MAX = 16 };

/* A row, or the rest of one, of fp32 or bf16. */
struct row {
  emit_value at;
  bool bf16;
};

/* A row or a group of one. */
struct line {
  struct row x;
  emit_value to; /* where it is transformed to; NULL: it is not */
  emit_value y, table;
};

/* Lines side by side: what one waits for, the others hide. */
struct quantizer {
  const struct rows_desc *desc;
  int64_t done, block; /* of the Hadamard transform: stages of distances below `done` are done */
  int count;
  struct line line[QUANTIZE_ROWS];
};

/* Smallest and largest element, and NaN where any element is infinite or NaN, else 0. */
struct range {
  emit_value low, high, poison;
};

int64_t operand_tables(const struct target_level *level, int64_t k) {
  return pack_padded_k(PRECISION_INT8, k) / (level->dot_int8 ? 4 : 2);
}

static int lanes_at(const struct emit *e, int64_t columns, int64_t column) {
  int64_t left = columns - column;
  return (int)(left > e->level->lanes ? e->level->lanes : left > 0 ? left : 0);
}

static struct row row_from(struct emit *e, struct row row, emit_value column) {
  row.at = row.bf16 ? emit_bytes(e, row.at, emit_mul(e, column, emit_i64(e, 2))) : emit_at(e, row.at, column);
  return row;
}

/* `count` vectors from `from` on, of which only the first `columns` elements exist. */
static void load_vectors(struct emit *e, struct row from, int64_t columns, int count, emit_value *out) {
  for (int v = 0; v < count; v++) {
    int64_t column = (int64_t)v * e->level->lanes;
    int lanes = lanes_at(e, columns, column);
    emit_value pointer = row_from(e, from, emit_i64(e, column)).at;
    if (lanes == 0)
      out[v] = emit_splat_const(e, 0);
    else
      out[v] = from.bf16 ? emit_load_bf16(e, pointer) : emit_load_vector(e, pointer, lanes);
  }
}

/* Lanes i and i ^ distance become their sum and difference. */
static emit_value butterfly_lanes(struct emit *e, emit_value x, int distance) {
  emit_value places[16], signs[16];
  int lanes = e->level->lanes;
  for (int i = 0; i < lanes; i++) {
    places[i] = emit_i32(e, i ^ distance);
    signs[i] = emit_f32(e, (i & distance) != 0 ? -1 : 1);
  }
  emit_value other =
      LLVMBuildShuffleVector(e->builder, x, LLVMGetPoison(e->vector), LLVMConstVector(places, (unsigned)lanes), "");
  return emit_fma(e, x, LLVMConstVector(signs, (unsigned)lanes), other);
}

/* Blocks times the Hadamard matrix of 1 and -1, which is not scaled: the weights' scales are. */
static void transform(struct emit *e, const struct quantizer *q, int count, emit_value *x) {
  int lanes = e->level->lanes;
  for (int distance = (int)q->done; distance < lanes && distance < q->block; distance *= 2)
    for (int v = 0; v < count; v++) x[v] = butterfly_lanes(e, x[v], distance);
  for (int apart = q->done > lanes ? (int)q->done / lanes : 1; (int64_t)apart * lanes < q->block; apart *= 2)
    for (int v = 0; v < count; v++) {
      if ((v & apart) != 0) continue;
      emit_value a = x[v], b = x[v + apart];
      x[v] = emit_fadd(e, a, b);
      x[v + apart] = emit_fsub(e, a, b);
    }
}

/* One unit of `columns` elements at x; transformed, where `to` is not NULL. acc: low and high of even and odd vectors, poison.
 */
static void visit_unit(struct emit *e, const struct quantizer *q, struct row from, emit_value to, int64_t columns, int count,
                       emit_value *acc) {
  emit_value x[VECTORS_MAX];
  load_vectors(e, from, columns, count, x);
  if (to != NULL) transform(e, q, count, x);
  for (int v = 0; v < count; v++) {
    int64_t column = (int64_t)v * e->level->lanes;
    int lanes = lanes_at(e, columns, column);
    if (lanes == 0) return;
    if (to != NULL) emit_store_vector(e, x[v], emit_at_const(e, to, column), lanes);
    emit_value low = emit_fmin(e, x[v], acc[v % 2]), high = emit_fmax(e, x[v], acc[2 + v % 2]);
    bool whole = lanes == e->level->lanes;
    acc[v % 2] = whole ? low : emit_select(e, emit_lane_mask(e, lanes), low, acc[v % 2]);
    acc[2 + v % 2] = whole ? high : emit_select(e, emit_lane_mask(e, lanes), high, acc[2 + v % 2]);
    /* Each element of a transformed block is a sum of all of them. */
    if (to == NULL || v == 0) acc[4] = emit_fma(e, x[v], emit_splat_const(e, 0), acc[4]);
  }
}

static emit_value reduce_min(struct emit *e, emit_value x) {
  return LLVMBuildFNeg(e->builder, emit_reduce_max(e, LLVMBuildFNeg(e->builder, x, "")), "");
}

enum { RANGE_SUMS = 5 };

static void visit_units(struct emit *e, const struct quantizer *q, emit_value begin, int64_t columns, int count,
                        emit_value *acc) {
  for (int i = 0; i < q->count; i++) {
    const struct line *line = &q->line[i];
    emit_value to = line->to != NULL ? emit_at(e, line->to, begin) : NULL;
    visit_unit(e, q, row_from(e, line->x, begin), to, columns, count, &acc[i * RANGE_SUMS]);
  }
}

/* The range of `columns` elements of each line, which are transformed meanwhile. */
static void find_ranges(struct emit *e, const struct quantizer *q, int64_t columns, struct range *out) {
  bool transforms = q->line[0].to != NULL;
  int64_t lanes = e->level->lanes, count = transforms && q->block > lanes ? q->block / lanes : PACKED;
  if (transforms && q->block <= lanes) count = 1;
  int64_t unit = count * lanes, whole = columns / unit * unit;
  emit_value acc[QUANTIZE_ROWS * RANGE_SUMS];
  int sums = q->count * RANGE_SUMS;
  for (int i = 0; i < sums; i++) {
    int of = i % RANGE_SUMS;
    acc[i] = emit_splat_const(e, of < 2 ? (double)INFINITY : of < 4 ? (double)-INFINITY : 0);
  }
  if (whole > 0) {
    struct emit_loop loop;
    emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, whole), unit, acc, sums, EMIT_NOT_EMPTY);
    for (int i = 0; i < sums; i++) acc[i] = loop.carried[i];
    visit_units(e, q, loop.index, unit, (int)count, acc);
    emit_loop_end(e, &loop, acc);
    for (int i = 0; i < sums; i++) acc[i] = loop.carried[i];
  }
  if (whole < columns) visit_units(e, q, emit_i64(e, whole), columns - whole, (int)count, acc);
  for (int i = 0; i < q->count; i++) {
    const emit_value *of = &acc[i * RANGE_SUMS];
    out[i] = (struct range){reduce_min(e, emit_fmin(e, of[0], of[1])), emit_reduce_max(e, emit_fmax(e, of[2], of[3])),
                            emit_reduce_add(e, of[4])};
  }
}

static emit_value to_integers(struct emit *e, emit_value x) {
  if (e->level->lanes == 8) return emit_intrinsic(e, "llvm.x86.avx.cvt.ps2dq.256", NULL, &x, 1);
  LLVMTypeRef i16 = LLVMInt16TypeInContext(e->context);
  emit_value arguments[] = {x, LLVMConstNull(e->ivector), LLVMConstAllOnes(i16),
                            emit_i32(e, 4)}; /* as the mode says: nearest */
  return emit_intrinsic(e, "llvm.x86.avx512.mask.cvtps2dq.512", NULL, arguments, 4);
}

/* The integers of four vectors, cut to [0, 255], as bytes in order. The instructions join by 128-bit parts. */
static emit_value to_bytes(struct emit *e, const emit_value *integers) {
  bool wide = e->level->lanes == 16;
  emit_value pairs[2];
  for (int i = 0; i < 2; i++)
    pairs[i] = emit_intrinsic(e, wide ? "llvm.x86.avx512.packssdw.512" : "llvm.x86.avx2.packssdw", NULL, &integers[2 * i], 2);
  emit_value bytes = emit_intrinsic(e, wide ? "llvm.x86.avx512.packuswb.512" : "llvm.x86.avx2.packuswb", NULL, pairs, 2);
  emit_value places[16];
  int parts = e->level->lanes / 4;
  for (int vector = 0; vector < PACKED; vector++)
    for (int part = 0; part < parts; part++) places[vector * parts + part] = emit_i32(e, part * 4 + vector);
  return LLVMBuildShuffleVector(e->builder, LLVMBuildBitCast(e->builder, bytes, e->ivector, ""), LLVMGetPoison(e->ivector),
                                LLVMConstVector(places, (unsigned)e->level->lanes), "");
}

static void store_words(struct emit *e, emit_value words, emit_value to) {
  LLVMSetAlignment(LLVMBuildStore(e->builder, words, to), 4);
}

/* Of each word of four bytes the first and third, then the second and fourth, 16 bits each. */
static void store_pairs(struct emit *e, emit_value words, emit_value to) {
  emit_value mask = emit_splat_i32(e, 0xff00ff), even = LLVMBuildAnd(e->builder, words, mask, "");
  emit_value odd = LLVMBuildAnd(e->builder, LLVMBuildLShr(e->builder, words, emit_splat_i32(e, 8), ""), mask, "");
  for (int half = 0; half < 2; half++) {
    emit_value places[16];
    int lanes = e->level->lanes;
    for (int i = 0; i < lanes; i++) places[i] = emit_i32(e, half * lanes / 2 + i / 2 + (i % 2) * lanes);
    emit_value joined = LLVMBuildShuffleVector(e->builder, even, odd, LLVMConstVector(places, (unsigned)lanes), "");
    store_words(e, joined, emit_at_const(e, to, (int64_t)half * lanes));
  }
}

struct scale {
  emit_value factor, shift; /* vectors: u8 = round(x * factor + shift) */
};

static void quantize_unit(struct emit *e, const struct scale *scale, struct row from, emit_value to, int64_t columns) {
  emit_value x[PACKED];
  load_vectors(e, from, columns, PACKED, x);
  for (int v = 0; v < PACKED; v++) x[v] = to_integers(e, emit_fma(e, x[v], scale->factor, scale->shift));
  if (e->level->dot_int8)
    store_words(e, to_bytes(e, x), to);
  else
    store_pairs(e, to_bytes(e, x), to);
}

static emit_value operand_at(struct emit *e, emit_value y, emit_value column) {
  return emit_bytes(e, y, e->level->dot_int8 ? column : emit_mul(e, column, emit_i64(e, 2)));
}

static void quantize_units(struct emit *e, const struct quantizer *q, const struct scale *scales, emit_value begin,
                           int64_t columns) {
  for (int i = 0; i < q->count; i++) {
    const struct line *line = &q->line[i];
    struct row from = line->to != NULL ? (struct row){.at = line->to} : line->x;
    quantize_unit(e, &scales[i], row_from(e, from, begin), operand_at(e, line->y, begin), columns);
  }
}

static void quantize(struct emit *e, const struct quantizer *q, const struct scale *scales, int64_t columns) {
  int64_t unit = PACKED * (int64_t)e->level->lanes, whole = columns / unit * unit;
  if (whole > 0) {
    struct emit_loop loop;
    emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, whole), unit, NULL, 0, EMIT_NOT_EMPTY);
    quantize_units(e, q, scales, loop.index, unit);
    emit_loop_end(e, &loop, NULL);
  }
  if (whole < columns) quantize_units(e, q, scales, emit_i64(e, whole), columns - whole);
}

/* x = step * u8 + low. Ranges too narrow to divide 255 by are one value. */
static struct scale scale_of(struct emit *e, const struct range *range, emit_value table) {
  emit_value width = emit_fsub(e, range->high, range->low), least = emit_f32(e, 1e-34);
  emit_value wide = LLVMBuildFCmp(e->builder, LLVMRealOGT, width, least, ""), zero = emit_f32(e, 0);
  emit_value factor = emit_select(e, wide, emit_fdiv(e, emit_f32(e, 255), width), zero);
  emit_value step = emit_select(e, wide, emit_fmul(e, width, emit_f32(e, 1.0 / 255)), zero);
  emit_store_f32(e, emit_fadd(e, step, range->poison), table);
  emit_store_f32(e, LLVMBuildFNeg(e->builder, range->low, ""), emit_at_const(e, table, 1));
  struct scale scale = {.factor = emit_splat(e, factor)};
  scale.shift = emit_splat(e, emit_fmul(e, LLVMBuildFNeg(e->builder, range->low, ""), factor));
  return scale;
}

static void quantize_lines(struct emit *e, const struct quantizer *q, int64_t columns) {
  struct range ranges[QUANTIZE_ROWS];
  struct scale scales[QUANTIZE_ROWS];
  find_ranges(e, q, columns, ranges);
  for (int i = 0; i < q->count; i++) scales[i] = scale_of(e, &ranges[i], q->line[i].table);
  quantize(e, q, scales, columns);
}

static void quantize_group(struct emit *e, const struct quantizer *q, emit_value group, int64_t columns) {
  struct quantizer of = *q;
  emit_value begin = emit_mul(e, group, emit_i64(e, q->desc->group));
  for (int i = 0; i < of.count; i++) {
    struct line *line = &of.line[i];
    if (line->to != NULL) line->x = (struct row){.at = line->to};
    line->to = NULL;
    line->x = row_from(e, line->x, begin);
    line->y = operand_at(e, line->y, begin);
    line->table = emit_at(e, line->table, emit_mul(e, group, emit_i64(e, 2)));
  }
  quantize_lines(e, &of, columns);
}

static struct quantizer quantizer_of(struct emit *e, const struct rows_desc *desc, const struct quantize_row *rows, int count) {
  struct quantizer q = {.desc = desc, .done = rows->done, .block = desc->hadamard > 0 ? desc->hadamard : 1, .count = count};
  assert(count <= QUANTIZE_ROWS && desc->group % 64 == 0);
  assert(q.block <= VECTORS_MAX * (int64_t)e->level->lanes && desc->columns % q.block == 0);
  assert(!rows->bf16 || desc->columns % e->level->lanes == 0);
  for (int i = 0; i < count; i++) {
    emit_value table = emit_at_const(e, rows[i].y, operand_tables(e->level, desc->columns));
    emit_value to = q.block > q.done ? rows[i].room : NULL;
    q.line[i] = (struct line){{rows[i].x, rows[i].bf16}, to, rows[i].y, table};
  }
  return q;
}

void emit_quantize_rows(struct emit *e, const struct rows_desc *desc, const struct quantize_row *rows, int count) {
  struct quantizer q = quantizer_of(e, desc, rows, count);
  struct range unused[QUANTIZE_ROWS];
  int64_t columns = desc->columns, group = desc->group;
  if (group == 0) {
    quantize_lines(e, &q, columns);
    return;
  }
  if (q.line[0].to != NULL) find_ranges(e, &q, columns, unused);
  int64_t whole = columns / group;
  if (whole > 0) {
    struct emit_loop loop;
    emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, whole), 1, NULL, 0, EMIT_NOT_EMPTY);
    quantize_group(e, &q, loop.index, group);
    emit_loop_end(e, &loop, NULL);
  }
  if (columns % group != 0) quantize_group(e, &q, emit_i64(e, whole), columns % group);
}
