#include "llvm/emit_gemm_tile.h"

#include <stdio.h>

/* Every row of A brings the same number of lines of each panel. */
int64_t gemm_tile_share(const struct gemm_desc *desc) {
  return desc->m == 1 ? 0 : (pack_words(desc->precision, desc->k) + desc->m - 1) / desc->m;
}

struct tile_product gemm_tile_product(struct emit *e, const struct gemm_tile *tile, int64_t panel_stride, int64_t a_lines) {
  const struct gemm_desc *desc = tile->desc;
  emit_value a = gemm_offset(e, emit_parameter(e, 0), tile->row, desc->a_row_stride);
  struct tile_product product = {.rows = tile->rows, .vectors = tile->vectors, .last_lanes = e->level->lanes, .b_step = 16};
  product.a = gemm_offset(e, a, tile->image, desc->a_image_stride);
  product.b = gemm_offset(e, emit_parameter(e, 1), emit_parameter(e, 6), panel_stride);
  product.a_row_stride = desc->a_row_stride;
  product.k = pack_words(desc->precision, desc->k);
  product.dot = tile_dot(e->level, desc->precision);
  for (int v = 0; v < tile->vectors; v++) {
    int column = v * e->level->lanes;
    product.b_offset[v] = column / 16 * panel_stride + column % 16;
  }
  /* A residual is far away when the tile ends: its lines are asked for before. Of bf16, every one is another tile's, too. */
  for (int s = 0; s < desc->stage_count; s++)
    if (desc->stages[s].kind == OPERAND_MATRIX) {
      product.residual = tile->operand[s];
      product.residual_row_stride = desc->stages[s].row_stride / (desc->stages[s].bf16 ? 2 : 1);
    }
  int64_t row_lines = gemm_tile_share(desc);
  if (row_lines == 0) return product;
  product.ahead[0].from = gemm_offset(e, emit_parameter(e, 7), tile->row, row_lines * 16);
  product.ahead[0].lines = tile->rows * row_lines;
  product.ahead[0].runs = tile->panels;
  product.ahead[0].stride = panel_stride;
  /* A tile of one panel reads so much of B for a row of A that fetching A costs more than it brings. */
  if (tile->panels > 1) product.ahead[1] = (struct tile_fetch){emit_parameter(e, 8), a_lines, tile->rows, desc->a_row_stride};
  return product;
}

struct gemm_tile gemm_tile_function(struct emit *e, const struct gemm_desc *desc, int rows, int panels) {
  char stages[256], name[320];
  gemm_name(desc, stages, sizeof stages);
  snprintf(name, sizeof name, "%s_%s_%dx%d_%s", stages, precision_name(desc->precision), rows, panels * 16, e->level->name);
  LLVMTypeRef types[] = {e->pointer, e->pointer, e->pointer, e->pointer, e->i64,
                         e->i64,     e->i64,     e->pointer, e->pointer, e->i64};
  emit_function_begin(e, name, e->void_type, types, 10);
  struct gemm_tile tile = {.desc = desc, .rows = rows, .panels = panels, .vectors = panels * 16 / e->level->lanes};
  tile.operands = emit_parameter(e, 3);
  tile.image = emit_parameter(e, 4);
  tile.row = emit_parameter(e, 5);
  tile.column = emit_mul(e, emit_parameter(e, 6), emit_i64(e, 16));
  if (desc->precision != PRECISION_FP32) tile.c_row_stride = emit_parameter(e, 9);
  gemm_tile_begin(e, &tile, emit_parameter(e, 2));
  return tile;
}

emit_value emit_gemm_tile(struct emit *e, const struct gemm_desc *desc, int rows, int panels, int64_t panel_stride,
                          int64_t a_lines) {
  struct gemm_tile tile = gemm_tile_function(e, desc, rows, panels);
  struct tile_product product = gemm_tile_product(e, &tile, panel_stride, a_lines);
  emit_value acc[EMIT_CARRIED_MAX], function = e->function;
  gemm_tile_start(e, &tile, acc);
  emit_tile_multiply(e, &product, acc);
  gemm_tile_finish(e, &tile, acc);
  emit_function_end(e);
  return function;
}
