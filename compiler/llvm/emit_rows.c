#include "llvm/emit_amx.h"
#include "llvm/emit_hadamard_amx.h"
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
  emit_value centre, factor;    /* vectors: mean and 1 / deviation, or maximum and 1 / sum */
  emit_value result;            /* y, or what becomes y */
  bool result_bf16;
  emit_value low, low_column; /* of a result in bf16: the first vector of a pair, until the second is there; or NULL */
  emit_value floats;          /* int8: room for the row as it is quantised */
  bool x_bf16;                /* int8: x is bf16 */
};

/* Two operand rows are made side by side, as long as the first-level cache has room for both as floats and as what they come
 * from and become. They are never in the place of x, so both may be the same one. */
enum { SIDE_BY_SIDE_MAX = 2048 };

struct rows {
  int count;
  struct row row[SWEEPS_MAX];
  bool by_tiles; /* the Hadamard transform begins in AMX's tiles */
  struct hadamard_tiles tiles;
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

/* Two vectors of bf16 are one store, where there are two to the end of the row. */
static void store_result(struct emit *e, struct row *row, emit_value value, emit_value column, int lanes) {
  if (!row->result_bf16) {
    emit_store_vector(e, value, emit_at(e, row->result, column), lanes);
    return;
  }
  if (row->desc->columns % (2 * (int64_t)e->level->lanes) != 0) {
    emit_value to = emit_bytes(e, row->result, emit_mul(e, column, emit_i64(e, 2)));
    emit_store_bf16(e, off_lanes(e, lanes, value, emit_splat_const(e, 0)), to);
  } else if (row->low == NULL) {
    row->low = value;
    row->low_column = column;
  } else {
    emit_store_bf16_pair(e, row->low, value, emit_bytes(e, row->result, emit_mul(e, row->low_column, emit_i64(e, 2))));
    row->low = NULL;
  }
}

/* Zeros between the row and its padded length; the last vector of bf16 has filled its own lanes. */
static void pad_result(struct emit *e, struct row *row) {
  const struct rows_desc *desc = row->desc;
  if (desc->to != PRECISION_BF16) return;
  int64_t lanes = e->level->lanes, end = pack_padded_k(desc->to, desc->columns), column = desc->columns;
  if (row->result_bf16) column = (column + lanes - 1) / lanes * lanes;
  for (; column < end; column += lanes) {
    int left = (int)(end - column < lanes ? end - column : lanes);
    store_result(e, row, emit_splat_const(e, 0), emit_i64(e, column), left);
  }
}

static emit_value visit_copy(struct emit *e, void *context, emit_value column, int lanes, emit_value acc) {
  struct row *row = context;
  store_result(e, row, emit_load_vector(e, emit_at(e, row->x, column), lanes), column, lanes);
  return acc;
}

/* `out`: what each row's sweep comes to; not used without `initial`. */
static void sweep_rows(struct emit *e, struct rows *rows, const struct sweep *pattern, emit_value *out) {
  struct sweep sweeps[SWEEPS_MAX];
  for (int i = 0; i < rows->count; i++) {
    sweeps[i] = *pattern;
    sweeps[i].columns = rows->row[i].desc->columns;
    sweeps[i].context = &rows->row[i];
  }
  emit_sweeps(e, sweeps, rows->count, out);
}

static void copy_rows(struct emit *e, struct rows *rows) {
  const struct sweep sweep = {.visit = visit_copy};
  sweep_rows(e, rows, &sweep, NULL);
}

static emit_value visit_normalise(struct emit *e, void *context, emit_value column, int lanes, emit_value acc) {
  struct row *row = context;
  emit_value centred = emit_fsub(e, emit_load_vector(e, emit_at(e, row->x, column), lanes), row->centre);
  emit_value scaled = emit_fmul(e, centred, row->factor), scale = emit_load_vector(e, emit_at(e, row->scale, column), lanes);
  if (row->bias != NULL)
    scaled = emit_fma(e, scaled, scale, emit_load_vector(e, emit_at(e, row->bias, column), lanes));
  else
    scaled = emit_fmul(e, scaled, scale);
  store_result(e, row, scaled, column, lanes);
  return acc;
}

static void layer_norm_rows(struct emit *e, struct rows *rows) {
  const struct rows_desc *desc = rows->row[0].desc;
  emit_value columns = emit_f32(e, (double)desc->columns), sums[SWEEPS_MAX];
  struct sweep sweep = {.initial = emit_splat_const(e, 0), .combine = emit_fadd, .visit = visit_sum};
  sweep_rows(e, rows, &sweep, sums);
  for (int i = 0; i < rows->count; i++) rows->row[i].centre = emit_splat(e, emit_fdiv(e, emit_reduce_add(e, sums[i]), columns));
  sweep.visit = visit_square;
  sweep_rows(e, rows, &sweep, sums);
  for (int i = 0; i < rows->count; i++) {
    emit_value variance = emit_fdiv(e, emit_reduce_add(e, sums[i]), columns);
    emit_value deviation = emit_fsqrt(e, emit_fadd(e, variance, emit_f32(e, (double)desc->epsilon)));
    rows->row[i].factor = emit_splat(e, emit_fdiv(e, emit_f32(e, 1), deviation));
  }
  sweep = (struct sweep){.visit = visit_normalise};
  sweep_rows(e, rows, &sweep, NULL);
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

/* What the product reads is made of the row where it is. */
static bool stays(const struct row *row) {
  return row->desc->op == OP_identity && row->desc->to == PRECISION_INT8;
}

static void quantize_rows(struct emit *e, const struct rows *rows) {
  const struct rows_desc *desc = rows->row[0].desc;
  struct quantize_row to[SWEEPS_MAX];
  emit_value from[SWEEPS_MAX], floats[SWEEPS_MAX];
  for (int i = 0; i < rows->count; i++) {
    const struct row *row = &rows->row[i];
    from[i] = stays(row) ? row->x : row->result;
    floats[i] = row->floats;
    to[i] = (struct quantize_row){.x = from[i], .y = row->y, .bf16 = row->x_bf16, .done = 1, .room = floats[i]};
    if (rows->by_tiles) to[i] = (struct quantize_row){.x = floats[i], .y = row->y, .done = HADAMARD_TILE, .room = floats[i]};
  }
  if (rows->by_tiles) emit_hadamard_rows(e, &rows->tiles, from, floats, rows->count, rows->count * desc->x_row_stride * 4);
  emit_quantize_rows(e, desc, to, rows->count);
}

static void emit_some_rows(struct emit *e, struct rows *rows) {
  const struct rows_desc *desc = rows->row[0].desc;
  if (desc->op == OP_softmax) {
    for (int i = 0; i < rows->count; i++) softmax_row(e, &rows->row[i]);
    return;
  }
  if (desc->op == OP_layer_normalization)
    layer_norm_rows(e, rows);
  else if (!stays(&rows->row[0]))
    copy_rows(e, rows);
  for (int i = 0; i < rows->count; i++) pad_result(e, &rows->row[i]);
  if (desc->to == PRECISION_INT8) quantize_rows(e, rows);
}

static void find_row(struct emit *e, struct row *row, emit_value index) {
  const struct rows_desc *desc = row->desc;
  emit_value rows = emit_i64(e, desc->rows);
  emit_value image = LLVMBuildUDiv(e->builder, index, rows, ""), within = LLVMBuildURem(e->builder, index, rows, "");
  row->x = row_at(e, emit_parameter(e, 0), image, desc->x_image_stride, within, desc->x_row_stride);
  row->y = row_at(e, emit_parameter(e, 1), image, desc->y_image_stride, within, desc->y_row_stride);
  if (desc->to == PRECISION_INT8) return;
  row->result = row->y;
  row->result_bf16 = desc->to == PRECISION_BF16 && e->level->dot_bf16;
}

/* Room for rows of int8 before they are quantised, half of the distance apart at which a load seems to read what a store has
 * just written. */
static void prepare_int8(struct emit *e, struct rows *rows) {
  enum { ALIAS = 4096 };
  const struct rows_desc *desc = rows->row[0].desc;
  int64_t apart = (desc->columns * 4 + ALIAS - 1) / ALIAS * ALIAS + ALIAS / 2;
  emit_value room = emit_stack(e, (rows->count - 1) * apart + (desc->columns + 15) / 16 * 64);
  for (int i = 0; i < rows->count; i++) {
    struct row *row = &rows->row[i];
    row->x_bf16 = desc->x_operand != 0 && e->level->dot_bf16;
    row->result = row->floats = emit_bytes(e, room, emit_i64(e, i * apart));
  }
}

static void prepare_rows(struct emit *e, const struct rows_desc *desc, struct rows *rows) {
  bool is_norm = desc->op == OP_layer_normalization;
  rows->count = desc->to != PRECISION_FP32 && desc->columns <= SIDE_BY_SIDE_MAX ? SWEEPS_MAX : 1;
  for (int i = 0; i < rows->count; i++) {
    struct row *row = &rows->row[i];
    row->desc = desc;
    if (is_norm) row->scale = operand(e, 0);
    if (is_norm && desc->has_bias) row->bias = operand(e, 1);
  }
  if (desc->to == PRECISION_INT8) prepare_int8(e, rows);
}

/* Only where rows are bf16 already: to round them to bf16 first would take as long as it saves. And where they fill half of a
 * tile: its products take as long for few blocks. */
bool rows_use_tiles(const struct rows_desc *desc) {
  enum { LEAST = AMX_ROWS / 2 * HADAMARD_TILE };
  return desc->x_operand && desc->hadamard >= HADAMARD_TILE && desc->columns >= LEAST;
}

/* The last row is its own neighbour, where it has none. */
static void emit_all_rows(struct emit *e, struct rows *rows) {
  const struct rows_desc *desc = rows->row[0].desc;
  rows->by_tiles = rows_use_tiles(desc) && e->level->tiles && e->level->dot_bf16;
  if (rows->by_tiles) rows->tiles = emit_hadamard_begin(e, desc->columns);
  emit_value begin = emit_parameter(e, 4), end = emit_parameter(e, 5), last = emit_sub(e, end, emit_i64(e, 1));
  struct emit_loop loop;
  emit_loop_begin(e, &loop, begin, end, rows->count, NULL, 0, EMIT_MAYBE_EMPTY);
  for (int i = 0; i < rows->count; i++)
    find_row(e, &rows->row[i], i == 0 ? loop.index : emit_min(e, emit_add(e, loop.index, emit_i64(e, i)), last));
  emit_some_rows(e, rows);
  emit_loop_end(e, &loop, NULL);
  if (rows->by_tiles) emit_amx_release(e);
}

emit_value emit_rows(struct emit *e, const struct rows_desc *desc) {
  assert(desc->op == OP_layer_normalization || desc->op == OP_softmax || desc->op == OP_identity);
  assert(desc->op != OP_softmax || desc->to == PRECISION_FP32);
  assert(desc->rows > 0 && desc->columns > 0 && (!desc->x_operand || (desc->op == OP_identity && desc->to == PRECISION_INT8)));
  emit_value found = kernel_find(e, "rows", desc, sizeof *desc);
  if (found != NULL) return found;
  char name[96];
  snprintf(name, sizeof name, "%s_%s_%lldx%lld_%s", rows_name(desc), precision_name(desc->to), (long long)desc->rows,
           (long long)desc->columns, e->level->name);
  LLVMTypeRef types[] = {e->pointer, e->pointer, e->pointer, e->i64, e->i64, e->i64};
  emit_value function = emit_function_begin(e, name, e->void_type, types, 6);
  struct rows rows = {0};
  prepare_rows(e, desc, &rows);
  emit_all_rows(e, &rows);
  emit_function_end(e);
  kernel_add(e, "rows", desc, sizeof *desc, function);
  return function;
}
