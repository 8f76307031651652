#include "llvm/emit_gemm_tile.h"
#include "llvm/emit_tile.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct gemm_tile {
  const struct gemm_desc *desc;
  int rows, panels, vectors;
  emit_value operands, image, row, column; /* of the tile's first element */
  emit_value mask[TILE_VECTORS_MAX];       /* NULL: all lanes are columns of C */
  emit_value operand[STAGES_MAX];          /* pointers to the tile's first element */
};

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
  case OP_erf:
  case OP_exp:
    return true;
  default:
    return false;
  }
}

static emit_value offset_at(struct emit *e, emit_value pointer, emit_value index, int64_t stride) {
  return emit_at(e, pointer, emit_mul(e, index, emit_i64(e, stride)));
}

static emit_value load_columns(struct emit *e, const struct gemm_tile *tile, emit_value pointer, int v) {
  return tile->mask[v] != NULL ? emit_load_mask(e, pointer, tile->mask[v]) : emit_load_vector(e, pointer, e->level->lanes);
}

static void store_columns(struct emit *e, const struct gemm_tile *tile, emit_value value, emit_value pointer, int v) {
  if (tile->mask[v] != NULL)
    emit_store_mask(e, value, pointer, tile->mask[v]);
  else
    emit_store_vector(e, value, pointer, e->level->lanes);
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
    emit_value pointer = emit_at(e, LLVMBuildLoad2(e->builder, e->pointer, slot, ""), tile->column);
    if (stage->kind == OPERAND_MATRIX) {
      pointer = offset_at(e, pointer, tile->row, stage->row_stride);
      pointer = offset_at(e, pointer, tile->image, stage->image_stride);
    }
    tile->operand[s] = pointer;
  }
}

/* Stages [begin, end) on the value of vector v in row `row` of the tile. */
static emit_value apply_stages(struct emit *e, const struct gemm_tile *tile, int begin, int end, emit_value value,
                               emit_value row, int v) {
  for (int s = begin; s < end; s++) {
    const struct stage *stage = &tile->desc->stages[s];
    emit_value operand = NULL;
    if (stage->kind == OPERAND_SCALAR) {
      operand = emit_splat_const(e, (double)stage->scalar);
    } else if (stage->kind != OPERAND_NONE) {
      emit_value pointer = emit_at_const(e, tile->operand[s], (int64_t)v * e->level->lanes);
      if (stage->kind == OPERAND_MATRIX) pointer = offset_at(e, pointer, row, stage->row_stride);
      operand = load_columns(e, tile, pointer, v);
    }
    value = emit_stage(e, stage, value, operand);
  }
  return value;
}

static void start_accumulators(struct emit *e, const struct gemm_tile *tile, emit_value *acc) {
  for (int v = 0; v < tile->vectors; v++) {
    emit_value start = emit_splat_const(e, 0);
    if (starts_with_bias(tile->desc))
      start = load_columns(e, tile, emit_at_const(e, tile->operand[0], (int64_t)v * e->level->lanes), v);
    for (int r = 0; r < tile->rows; r++) acc[r * tile->vectors + v] = start;
  }
}

/* Cheap stages on the accumulators. From the first one on that needs registers of its own, a loop over the rows of a copy of
 * the tile in the first-level cache: on the accumulators it would spill them. Not in C, which a later stage may still read. */
static void finish(struct emit *e, const struct gemm_tile *tile, const emit_value *acc, emit_value c) {
  const struct gemm_desc *desc = tile->desc;
  int64_t lanes = e->level->lanes, width = tile->vectors * lanes;
  int first = starts_with_bias(desc) ? 1 : 0, direct = first;
  while (direct < desc->stage_count && !needs_many_registers(&desc->stages[direct])) direct++;
  bool all_direct = direct == desc->stage_count;
  emit_value copy = all_direct ? NULL : emit_stack(e, tile->rows * width * 4);
  for (int r = 0; r < tile->rows; r++)
    for (int v = 0; v < tile->vectors; v++) {
      emit_value value = apply_stages(e, tile, first, direct, acc[r * tile->vectors + v], emit_i64(e, r), v);
      if (all_direct)
        store_columns(e, tile, value, emit_at_const(e, c, r * desc->c_row_stride + v * lanes), v);
      else
        emit_store_vector(e, value, emit_at_const(e, copy, r * width + v * lanes), (int)lanes);
    }
  if (all_direct) return;
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, tile->rows), 1, NULL, 0, EMIT_NOT_EMPTY);
  emit_value copy_row = offset_at(e, copy, loop.index, width), c_row = offset_at(e, c, loop.index, desc->c_row_stride);
  for (int v = 0; v < tile->vectors; v++) {
    emit_value value = emit_load_vector(e, emit_at_const(e, copy_row, v * lanes), (int)lanes);
    value = apply_stages(e, tile, direct, desc->stage_count, value, loop.index, v);
    store_columns(e, tile, value, emit_at_const(e, c_row, v * lanes), v);
  }
  emit_loop_end(e, &loop, NULL);
}

static struct tile_product find_product(struct emit *e, const struct gemm_tile *tile, int64_t panel_stride, int64_t a_lines) {
  const struct gemm_desc *desc = tile->desc;
  emit_value a = offset_at(e, emit_parameter(e, 0), tile->row, desc->a_row_stride);
  struct tile_product product = {.rows = tile->rows, .vectors = tile->vectors, .last_lanes = e->level->lanes, .b_step = 16};
  product.a = offset_at(e, a, tile->image, desc->a_image_stride);
  product.b = offset_at(e, emit_parameter(e, 1), emit_parameter(e, 6), panel_stride);
  product.a_row_stride = desc->a_row_stride;
  product.k = desc->k;
  for (int v = 0; v < tile->vectors; v++) {
    int column = v * e->level->lanes;
    product.b_offset[v] = column / 16 * panel_stride + column % 16;
  }
  /* A residual is far away when the tile ends: its lines are asked for before. */
  for (int s = 0; s < desc->stage_count; s++)
    if (desc->stages[s].kind == OPERAND_MATRIX) {
      product.residual = tile->operand[s];
      product.residual_row_stride = desc->stages[s].row_stride;
    }
  if (desc->m == 1) return product;
  /* Every row of A brings the same number of lines of each panel. */
  int64_t row_lines = (desc->k + desc->m - 1) / desc->m;
  product.ahead[0].from = offset_at(e, emit_parameter(e, 7), tile->row, row_lines * 16);
  product.ahead[0].lines = tile->rows * row_lines;
  product.ahead[0].runs = tile->panels;
  product.ahead[0].stride = panel_stride;
  /* A tile of one panel reads so much of B for a row of A that fetching A costs more than it brings. */
  if (tile->panels > 1) product.ahead[1] = (struct tile_fetch){emit_parameter(e, 8), a_lines, tile->rows, desc->a_row_stride};
  return product;
}

emit_value emit_gemm_tile(struct emit *e, const struct gemm_desc *desc, int rows, int panels, int64_t panel_stride,
                          int64_t a_lines) {
  char stages[256], name[320];
  gemm_name(desc, stages, sizeof stages);
  snprintf(name, sizeof name, "%s_f32_%dx%d_%s", stages, rows, panels * 16, e->level->name);
  LLVMTypeRef types[] = {e->pointer, e->pointer, e->pointer, e->pointer, e->i64, e->i64, e->i64, e->pointer, e->pointer};
  emit_value function = emit_function_begin(e, name, e->void_type, types, 9);
  struct gemm_tile tile = {.desc = desc, .rows = rows, .panels = panels, .vectors = panels * 16 / e->level->lanes};
  tile.operands = emit_parameter(e, 3);
  tile.image = emit_parameter(e, 4);
  tile.row = emit_parameter(e, 5);
  tile.column = emit_mul(e, emit_parameter(e, 6), emit_i64(e, 16));
  make_masks(e, &tile);
  find_operands(e, &tile);
  emit_value c = offset_at(e, emit_at(e, emit_parameter(e, 2), tile.column), tile.row, desc->c_row_stride);
  c = offset_at(e, c, tile.image, desc->c_image_stride);
  struct tile_product product = find_product(e, &tile, panel_stride, a_lines);
  emit_value acc[EMIT_CARRIED_MAX];
  start_accumulators(e, &tile, acc);
  emit_tile_multiply(e, &product, acc);
  finish(e, &tile, acc, c);
  emit_function_end(e);
  return function;
}
