#include "llvm/emit_math.h"
#include "llvm/emit_quantize.h"
#include "llvm/emit_tile.h"
#include "llvm/kernels.h"

#include <assert.h>
#include <float.h>
#include <stdio.h>

struct row {
  const struct rows_desc *desc;
  emit_value x, y, scale, bias; /* bias: NULL when there is none */
  emit_value floats;            /* int8: the row's floats as they are quantised, on the stack */
  emit_value centre, factor;    /* vectors: mean and 1 / deviation, or maximum and 1 / sum */
};

static emit_value off_lanes(struct emit *e, int lanes, emit_value value, emit_value otherwise) {
  return lanes == e->level->lanes ? value : emit_select(e, emit_lane_mask(e, lanes), value, otherwise);
}

static emit_value visit_sum(struct emit *e, void *context, emit_value column, int lanes, emit_value acc) {
  const struct row *row = context;
  return emit_fadd(e, acc, emit_load_vector(e, emit_at(e, row->x, column), lanes));
}

static emit_value visit_square(struct emit *e, void *context, emit_value column, int lanes, emit_value acc) {
  const struct row *row = context;
  emit_value centred = emit_fsub(e, emit_load_vector(e, emit_at(e, row->x, column), lanes), row->centre);
  centred = off_lanes(e, lanes, centred, emit_splat_const(e, 0));
  return emit_fma(e, centred, centred, acc);
}

static bool to_bf16(const struct emit *e, const struct rows_desc *desc) {
  return desc->to == PRECISION_BF16 && e->level->dot_bf16;
}

static void store_result(struct emit *e, const struct row *row, emit_value value, emit_value column, int lanes) {
  if (to_bf16(e, row->desc)) {
    emit_value two_bytes = emit_mul(e, column, emit_i64(e, 2));
    emit_store_bf16(e, off_lanes(e, lanes, value, emit_splat_const(e, 0)), emit_bytes(e, row->y, two_bytes));
  } else {
    emit_store_vector(e, value, emit_at(e, row->desc->to == PRECISION_INT8 ? row->floats : row->y, column), lanes);
  }
}

/* Zeros between the row and its padded length; the last vector of bf16 has filled its own lanes. */
static void pad_result(struct emit *e, const struct row *row) {
  const struct rows_desc *desc = row->desc;
  if (desc->to != PRECISION_BF16) return;
  int64_t lanes = e->level->lanes, end = pack_padded_k(desc->to, desc->columns), column = desc->columns;
  if (to_bf16(e, desc)) column = (column + lanes - 1) / lanes * lanes;
  for (; column < end; column += lanes) {
    int left = (int)(end - column < lanes ? end - column : lanes);
    store_result(e, row, emit_splat_const(e, 0), emit_i64(e, column), left);
  }
}

static emit_value visit_copy(struct emit *e, void *context, emit_value column, int lanes, emit_value acc) {
  const struct row *row = context;
  store_result(e, row, emit_load_vector(e, emit_at(e, row->x, column), lanes), column, lanes);
  return acc;
}

static void copy_row(struct emit *e, struct row *row) {
  struct sweep sweep = {.columns = row->desc->columns, .visit = visit_copy, .context = row};
  emit_sweep(e, &sweep);
}

static emit_value visit_normalise(struct emit *e, void *context, emit_value column, int lanes, emit_value acc) {
  const struct row *row = context;
  emit_value centred = emit_fsub(e, emit_load_vector(e, emit_at(e, row->x, column), lanes), row->centre);
  emit_value scaled = emit_fmul(e, centred, row->factor), scale = emit_load_vector(e, emit_at(e, row->scale, column), lanes);
  if (row->bias != NULL)
    scaled = emit_fma(e, scaled, scale, emit_load_vector(e, emit_at(e, row->bias, column), lanes));
  else
    scaled = emit_fmul(e, scaled, scale);
  store_result(e, row, scaled, column, lanes);
  return acc;
}

static void layer_norm_row(struct emit *e, struct row *row) {
  emit_value columns = emit_f32(e, (double)row->desc->columns);
  struct sweep sweep = {.columns = row->desc->columns, .initial = emit_splat_const(e, 0), .combine = emit_fadd, .context = row};
  sweep.visit = visit_sum;
  row->centre = emit_splat(e, emit_fdiv(e, emit_reduce_add(e, emit_sweep(e, &sweep)), columns));
  sweep.visit = visit_square;
  emit_value variance = emit_fdiv(e, emit_reduce_add(e, emit_sweep(e, &sweep)), columns);
  emit_value deviation = emit_fsqrt(e, emit_fadd(e, variance, emit_f32(e, (double)row->desc->epsilon)));
  row->factor = emit_splat(e, emit_fdiv(e, emit_f32(e, 1), deviation));
  sweep.initial = NULL;
  sweep.visit = visit_normalise;
  emit_sweep(e, &sweep);
}

static emit_value visit_maximum(struct emit *e, void *context, emit_value column, int lanes, emit_value acc) {
  const struct row *row = context;
  emit_value x = emit_load_vector(e, emit_at(e, row->x, column), lanes);
  return emit_fmax(e, off_lanes(e, lanes, x, acc), acc);
}

static emit_value visit_exp(struct emit *e, void *context, emit_value column, int lanes, emit_value acc) {
  const struct row *row = context;
  emit_value x = emit_fsub(e, emit_load_vector(e, emit_at(e, row->x, column), lanes), row->centre);
  emit_value power = off_lanes(e, lanes, emit_math_exp(e, x), emit_splat_const(e, 0));
  emit_store_vector(e, power, emit_at(e, row->y, column), lanes);
  return emit_fadd(e, acc, power);
}

static emit_value visit_scale(struct emit *e, void *context, emit_value column, int lanes, emit_value acc) {
  const struct row *row = context;
  emit_value place = emit_at(e, row->y, column);
  emit_store_vector(e, emit_fmul(e, emit_load_vector(e, place, lanes), row->factor), place, lanes);
  return acc;
}

static void softmax_row(struct emit *e, struct row *row) {
  struct sweep sweep = {.columns = row->desc->columns, .combine = emit_fmax, .visit = visit_maximum, .context = row};
  sweep.initial = emit_splat_const(e, (double)-FLT_MAX);
  row->centre = emit_splat(e, emit_reduce_max(e, emit_sweep(e, &sweep)));
  sweep.initial = emit_splat_const(e, 0);
  sweep.combine = emit_fadd;
  sweep.visit = visit_exp;
  row->factor = emit_splat(e, emit_fdiv(e, emit_f32(e, 1), emit_reduce_add(e, emit_sweep(e, &sweep))));
  sweep.initial = NULL;
  sweep.visit = visit_scale;
  emit_sweep(e, &sweep);
}

static emit_value operand(struct emit *e, int index) {
  emit_value slot = emit_bytes(e, emit_parameter(e, 2), emit_i64(e, index * (int64_t)sizeof(void *)));
  return LLVMBuildLoad2(e->builder, e->pointer, slot, "");
}

static emit_value row_at(struct emit *e, emit_value pointer, emit_value image, int64_t image_stride, emit_value row,
                         int64_t row_stride) {
  return emit_at(e, pointer,
                 emit_add(e, emit_mul(e, image, emit_i64(e, image_stride)), emit_mul(e, row, emit_i64(e, row_stride))));
}

const char *rows_name(const struct rows_desc *desc) {
  return desc->op == OP_softmax ? "softmax" : desc->op == OP_identity ? "convert" : "layer_norm";
}

static void emit_one_row(struct emit *e, struct row *row) {
  const struct rows_desc *desc = row->desc;
  if (desc->op == OP_softmax) {
    softmax_row(e, row);
    return;
  }
  emit_value floats = row->floats;
  if (desc->op == OP_layer_normalization)
    layer_norm_row(e, row);
  else if (desc->to == PRECISION_INT8)
    floats = row->x; /* quantised from where it is */
  else
    copy_row(e, row);
  pad_result(e, row);
  if (desc->to == PRECISION_INT8) emit_quantize_row(e, desc, floats, row->floats, row->y);
}

emit_value emit_rows(struct emit *e, const struct rows_desc *desc) {
  assert(desc->op == OP_layer_normalization || desc->op == OP_softmax || desc->op == OP_identity);
  assert(desc->op != OP_softmax || desc->to == PRECISION_FP32);
  assert(desc->rows > 0 && desc->columns > 0);
  emit_value found = kernel_find(e, "rows", desc, sizeof *desc);
  if (found != NULL) return found;
  bool is_norm = desc->op == OP_layer_normalization;
  char name[96];
  snprintf(name, sizeof name, "%s_%s_%lldx%lld_%s", rows_name(desc), precision_name(desc->to), (long long)desc->rows,
           (long long)desc->columns, e->level->name);
  LLVMTypeRef types[] = {e->pointer, e->pointer, e->pointer, e->i64, e->i64, e->i64};
  emit_value function = emit_function_begin(e, name, e->void_type, types, 6);
  struct row row = {.desc = desc};
  if (desc->to == PRECISION_INT8) row.floats = emit_stack(e, (desc->columns + 15) / 16 * 64);
  if (is_norm) row.scale = operand(e, 0);
  if (is_norm && desc->has_bias) row.bias = operand(e, 1);
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_parameter(e, 4), emit_parameter(e, 5), 1, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_value rows = emit_i64(e, desc->rows);
  emit_value image = LLVMBuildUDiv(e->builder, loop.index, rows, ""), index = LLVMBuildURem(e->builder, loop.index, rows, "");
  row.x = row_at(e, emit_parameter(e, 0), image, desc->x_image_stride, index, desc->x_row_stride);
  row.y = row_at(e, emit_parameter(e, 1), image, desc->y_image_stride, index, desc->y_row_stride);
  emit_one_row(e, &row);
  emit_loop_end(e, &loop, NULL);
  emit_function_end(e);
  kernel_add(e, "rows", desc, sizeof *desc, function);
  return function;
}
