#include "llvm/emit_gemm_epilogue.h"

#include <stdio.h>
#include <string.h>

void gemm_name(const struct gemm_desc *desc, char *out_name, size_t size) {
  size_t used = (size_t)snprintf(out_name, size, "gemm");
  for (int s = 0; s < desc->stage_count && used < size; s++)
    used += (size_t)snprintf(out_name + used, size - used, "_%s", stage_name(&desc->stages[s]));
}

static bool starts_with_bias(const struct gemm_desc *desc) {
  return desc->stage_count > 0 && desc->stages[0].op == OP_add && desc->stages[0].kind == OPERAND_COLUMN;
}

static bool needs_many_registers(const struct stage *stage) {
  switch (stage->op) {
  case OP_gelu:
  case OP_tanh:
  case OP_sigmoid:
  case OP_swish:
  case OP_erf:
  case OP_exp:
    return true;
  default:
    return false;
  }
}

emit_value gemm_offset(struct emit *e, emit_value pointer, emit_value index, int64_t stride) {
  return emit_at(e, pointer, emit_mul(e, index, emit_i64(e, stride)));
}

/* pointer + elements of a stage's operand */
static emit_value operand_at(struct emit *e, const struct stage *stage, emit_value pointer, emit_value elements) {
  return stage->bf16 ? emit_bytes(e, pointer, emit_mul(e, elements, emit_i64(e, 2))) : emit_at(e, pointer, elements);
}

/* Vector v of stage s's operand, in the row that begins at `pointer`. */
static emit_value load_operand(struct emit *e, const struct gemm_tile *tile, int s, emit_value pointer, int v) {
  const struct stage *stage = &tile->desc->stages[s];
  if (v > 0) pointer = operand_at(e, stage, pointer, emit_i64(e, v * (int64_t)e->level->lanes));
  if (stage->bf16) return emit_load_bf16(e, pointer);
  return tile->mask[v] != NULL ? emit_load_mask(e, pointer, tile->mask[v]) : emit_load_vector(e, pointer, e->level->lanes);
}

static bool stores_bf16(const struct emit *e, const struct gemm_desc *desc) {
  return desc->c_operand && e->level->dot_bf16;
}

/* Vector v of the row of C that starts at c_row. */
static void store_columns(struct emit *e, const struct gemm_tile *tile, emit_value value, emit_value c_row, int v) {
  int64_t column = (int64_t)v * e->level->lanes;
  if (stores_bf16(e, tile->desc))
    emit_store_bf16(e, value, emit_bytes(e, c_row, emit_i64(e, column * 2)));
  else if (tile->mask[v] != NULL)
    emit_store_mask(e, value, emit_at_const(e, c_row, column), tile->mask[v]);
  else
    emit_store_vector(e, value, emit_at_const(e, c_row, column), e->level->lanes);
}

/* The vectors of the tile's last panel may reach past n. */
static void make_masks(struct emit *e, struct gemm_tile *tile) {
  if (tile->desc->n % 16 == 0) return;
  int lanes = e->level->lanes;
  emit_value valid = LLVMBuildTrunc(e->builder, emit_sub(e, emit_i64(e, tile->desc->n), tile->column), e->i32, "");
  for (int v = tile->vectors - 16 / lanes; v < tile->vectors; v++) {
    emit_value places[16];
    for (int i = 0; i < lanes; i++) places[i] = emit_i32(e, v * lanes + i);
    tile->mask[v] = LLVMBuildICmp(e->builder, LLVMIntSLT, LLVMConstVector(places, (unsigned)lanes), emit_splat(e, valid), "");
  }
}

static void find_operands(struct emit *e, struct gemm_tile *tile) {
  for (int s = 0; s < tile->desc->stage_count; s++) {
    const struct stage *stage = &tile->desc->stages[s];
    if (stage->kind != OPERAND_COLUMN && stage->kind != OPERAND_MATRIX) continue;
    emit_value slot = emit_bytes(e, tile->operands, emit_i64(e, s * (int64_t)sizeof(void *)));
    emit_value pointer = operand_at(e, stage, LLVMBuildLoad2(e->builder, e->pointer, slot, ""), tile->column);
    if (stage->kind == OPERAND_MATRIX) {
      pointer = operand_at(e, stage, pointer, emit_mul(e, tile->row, emit_i64(e, stage->row_stride)));
      pointer = operand_at(e, stage, pointer, emit_mul(e, tile->image, emit_i64(e, stage->image_stride)));
    }
    tile->operand[s] = pointer;
  }
}

/* Stages [begin, end) on the value of vector v in the row whose operands are `operands`. */
static emit_value apply_stages(struct emit *e, const struct gemm_tile *tile, int begin, int end, emit_value value,
                               const emit_value *operands, int v) {
  for (int s = begin; s < end; s++) {
    const struct stage *stage = &tile->desc->stages[s];
    emit_value operand = NULL;
    if (stage->kind == OPERAND_SCALAR) {
      operand = emit_splat_const(e, (double)stage->scalar);
    } else if (stage->kind != OPERAND_NONE) {
      operand = load_operand(e, tile, s, operands[s], v);
    }
    value = emit_stage(e, stage, value, operand);
  }
  return value;
}

void gemm_tile_start(struct emit *e, const struct gemm_tile *tile, emit_value *acc) {
  for (int v = 0; v < tile->vectors; v++) {
    emit_value start = emit_splat_const(e, 0);
    if (starts_with_bias(tile->desc)) start = load_operand(e, tile, 0, tile->operand[0], v);
    for (int r = 0; r < tile->rows; r++) acc[r * tile->vectors + v] = start;
  }
}

void gemm_tile_begin(struct emit *e, struct gemm_tile *tile, emit_value c) {
  const struct gemm_desc *desc = tile->desc;
  make_masks(e, tile);
  find_operands(e, tile);
  c = emit_bytes(e, c, emit_mul(e, tile->column, emit_i64(e, stores_bf16(e, desc) ? 2 : 4)));
  if (tile->c_row_stride == NULL) tile->c_row_stride = emit_i64(e, desc->c_row_stride);
  c = emit_at(e, c, emit_mul(e, tile->row, tile->c_row_stride));
  tile->c = gemm_offset(e, c, tile->image, desc->c_image_stride);
}

emit_value gemm_scaled(struct emit *e, emit_value sum, emit_value integers, const emit_value row[2],
                       const emit_value column[2]) {
  emit_value scale = emit_fmul(e, row[0], column[0]);
  if (!e->level->dot_int8) integers = LLVMBuildNeg(e->builder, integers, "");
  sum = emit_fma(e, row[1], LLVMBuildFNeg(e->builder, column[1], ""), sum);
  return emit_fma(e, LLVMBuildSIToFP(e->builder, integers, e->vector, ""), scale, sum);
}

void gemm_row_scales(struct emit *e, emit_value at, emit_value out[2]) {
  for (int i = 0; i < 2; i++) out[i] = emit_splat(e, emit_load_f32(e, emit_at_const(e, at, i)));
}

/* One vector of words of scale and sum, to `at` and 16 floats on. */
static void unpack_words(struct emit *e, emit_value words, int sum_bits, emit_value at) {
  LLVMBuilderRef b = e->builder;
  emit_value sum_mask = emit_splat_i32(e, (int32_t)(((uint32_t)1 << sum_bits) - 1)), rest = emit_splat_i32(e, 32 - sum_bits);
  words = LLVMBuildBitCast(b, words, e->ivector, "");
  emit_value bits = LLVMBuildAnd(b, words, LLVMBuildNot(b, sum_mask, ""), "");
  emit_value scale = LLVMBuildBitCast(b, LLVMBuildLShr(b, bits, emit_splat_i32(e, 1), ""), e->vector, "");
  emit_value sum = LLVMBuildAShr(b, LLVMBuildShl(b, words, rest, ""), rest, "");
  emit_store_vector(e, scale, at, e->level->lanes);
  sum = emit_fmul(e, scale, LLVMBuildSIToFP(b, sum, e->vector, ""));
  emit_store_vector(e, sum, emit_at_const(e, at, 16), e->level->lanes);
}

struct gemm_scales gemm_unpack_scales(struct emit *e, const struct gemm_scales *scales, int panels, int sum_bits,
                                      emit_value to) {
  struct gemm_scales unpacked = {scales->a, to, scales->row_stride, GEMM_SCALES_WORDS};
  for (int p = 0; p < panels; p++)
    for (int i = 0; i < 16; i += e->level->lanes) {
      emit_value words = emit_load_vector(e, emit_at_const(e, scales->b, p * scales->panel_stride + i), e->level->lanes);
      unpack_words(e, words, sum_bits, emit_at_const(e, unpacked.b, p * unpacked.panel_stride + i));
    }
  return unpacked;
}

void gemm_column_scales(struct emit *e, const struct gemm_scales *scales, int v, emit_value out[2]) {
  int column = v * e->level->lanes;
  emit_value at = emit_at_const(e, scales->b, column / 16 * scales->panel_stride + column % 16);
  for (int i = 0; i < 2; i++) out[i] = emit_load_vector(e, emit_at_const(e, at, (int64_t)i * 16), e->level->lanes);
}

/* Two vectors of bf16 become one store. */
static bool store_both(struct emit *e, const struct gemm_tile *tile, const emit_value *values, emit_value c_row, int v) {
  if (!stores_bf16(e, tile->desc) || v + 1 >= tile->vectors) return false;
  int64_t column = (int64_t)v * e->level->lanes;
  emit_store_bf16_pair(e, values[v], values[v + 1], emit_bytes(e, c_row, emit_i64(e, column * 2)));
  return true;
}

/* All vectors of the row of C that starts at c_row. */
static void store_row(struct emit *e, const struct gemm_tile *tile, const emit_value *values, emit_value c_row) {
  for (int v = 0; v < tile->vectors; v++)
    if (store_both(e, tile, values, c_row, v))
      v++;
    else
      store_columns(e, tile, values[v], c_row, v);
}

void gemm_rows_begin(struct emit *e, const struct gemm_tile *tile, emit_value copy, int64_t copy_stride, emit_value begin,
                     struct gemm_rows *out_rows) {
  const struct gemm_desc *desc = tile->desc;
  emit_value four = emit_i64(e, 4);
  memset(out_rows, 0, sizeof *out_rows);
  out_rows->at[ROWS_COPY] = copy;
  out_rows->bytes[ROWS_COPY] = emit_i64(e, copy_stride * 4);
  out_rows->at[ROWS_C] = tile->c;
  out_rows->bytes[ROWS_C] = emit_mul(e, tile->c_row_stride, four);
  if (tile->scales != NULL) {
    out_rows->at[ROWS_SCALES] = tile->scales->a;
    out_rows->bytes[ROWS_SCALES] = emit_i64(e, tile->scales->row_stride * 4);
  }
  for (int s = 0; s < desc->stage_count; s++) {
    const struct stage *stage = &desc->stages[s];
    out_rows->at[ROWS_OPERANDS + s] = tile->operand[s];
    out_rows->bytes[ROWS_OPERANDS + s] =
        stage->kind == OPERAND_MATRIX ? emit_i64(e, stage->row_stride * (stage->bf16 ? 2 : 4)) : NULL;
  }
  for (int i = 0; i < ROWS_POINTERS && begin != NULL; i++)
    if (out_rows->bytes[i] != NULL) out_rows->at[i] = emit_bytes(e, out_rows->at[i], emit_mul(e, begin, out_rows->bytes[i]));
}

void gemm_tile_finish_row(struct emit *e, const struct gemm_tile *tile, const struct gemm_rows *rows, int first) {
  int lanes = e->level->lanes;
  emit_value values[TILE_VECTORS_MAX], row_scales[2], column_scales[2];
  if (tile->scales != NULL) gemm_row_scales(e, rows->at[ROWS_SCALES], row_scales);
  for (int v = 0; v < tile->vectors; v++) {
    emit_value value = emit_load_vector(e, emit_at_const(e, rows->at[ROWS_COPY], v * lanes), lanes);
    if (tile->scales != NULL) {
      gemm_column_scales(e, tile->scales, v, column_scales);
      value = LLVMBuildBitCast(e->builder, value, e->ivector, "");
      value = gemm_scaled(e, emit_splat_const(e, 0), value, row_scales, column_scales);
    }
    values[v] = apply_stages(e, tile, first, tile->desc->stage_count, value, &rows->at[ROWS_OPERANDS], v);
    if (!stores_bf16(e, tile->desc)) store_columns(e, tile, values[v], rows->at[ROWS_C], v);
  }
  if (stores_bf16(e, tile->desc)) store_row(e, tile, values, rows->at[ROWS_C]);
}

void gemm_tile_finish_copy(struct emit *e, const struct gemm_tile *tile, emit_value copy, int64_t stride, int first) {
  struct gemm_rows rows;
  struct emit_walk walk;
  gemm_rows_begin(e, tile, copy, stride, NULL, &rows);
  emit_walk_begin(e, &walk, emit_i64(e, 0), emit_i64(e, tile->rows), rows.at, rows.bytes, ROWS_POINTERS, EMIT_NOT_EMPTY);
  gemm_tile_finish_row(e, tile, &rows, first);
  emit_walk_end(e, &walk);
}

/* Cheap stages on the accumulators. From the first one on that needs registers of its own, a loop over the rows of a copy of
 * the tile in the first-level cache: on the accumulators it would spill them. Not in C, which a later stage may still read. */
void gemm_tile_finish(struct emit *e, const struct gemm_tile *tile, const emit_value *acc) {
  const struct gemm_desc *desc = tile->desc;
  int64_t lanes = e->level->lanes, width = tile->vectors * lanes;
  int first = starts_with_bias(desc) ? 1 : 0, direct = first;
  while (direct < desc->stage_count && !needs_many_registers(&desc->stages[direct])) direct++;
  bool all_direct = direct == desc->stage_count;
  emit_value copy = all_direct ? NULL : emit_stack(e, tile->rows * width * 4);
  for (int r = 0; r < tile->rows; r++) {
    emit_value c_row = emit_at(e, tile->c, emit_mul(e, emit_i64(e, r), tile->c_row_stride)), operands[STAGES_MAX];
    for (int s = first; s < direct; s++) {
      const struct stage *stage = &desc->stages[s];
      emit_value from = emit_i64(e, stage->kind == OPERAND_MATRIX ? r * stage->row_stride : 0);
      operands[s] = tile->operand[s] != NULL ? operand_at(e, stage, tile->operand[s], from) : NULL;
    }
    for (int v = 0; v < tile->vectors; v++) {
      emit_value value = apply_stages(e, tile, first, direct, acc[r * tile->vectors + v], operands, v);
      if (all_direct)
        store_columns(e, tile, value, c_row, v);
      else
        emit_store_vector(e, value, emit_at_const(e, copy, r * width + v * lanes), (int)lanes);
    }
  }
  if (!all_direct) gemm_tile_finish_copy(e, tile, copy, width, direct);
}
