#include "llvm/emit_gemm_tile.h"

#include <assert.h>

static struct gemm_scales find_scales(struct emit *e, const struct tile_product *product, const struct gemm_desc *desc,
                                      int64_t panel_stride) {
  struct gemm_scales scales = {.row_stride = product->a_row_stride, .panel_stride = panel_stride};
  scales.a = emit_at_const(e, product->a, operand_tables(e->level, desc->k));
  scales.b = emit_at_const(e, product->b, pack_words(PRECISION_INT8, desc->k) * 16);
  return scales;
}

static void multiply(struct emit *e, const struct gemm_tile *tile, const struct tile_product *product, emit_value *out) {
  for (int i = 0; i < tile->rows * tile->vectors; i++) out[i] = LLVMConstNull(e->ivector);
  emit_tile_multiply(e, product, out);
}

static emit_value place_of(struct emit *e, emit_value sums, int64_t index) {
  return emit_at_const(e, sums, index * e->level->lanes);
}

/* Adds the groups from `group` on, `words` of K each, to the sums in memory. */
static void add_group(struct emit *e, const struct gemm_tile *tile, struct tile_product product, struct gemm_scales scales,
                      emit_value group, int64_t words, emit_value sums) {
  emit_value integers[EMIT_CARRIED_MAX], columns[TILE_VECTORS_MAX][2], row[2];
  emit_value begin = emit_mul(e, group, emit_i64(e, tile->desc->group / 4));
  product.k_all = product.k;
  product.k_begin = begin;
  product.k = words;
  product.a = emit_at(e, product.a, emit_mul(e, begin, emit_i64(e, tile_a_step(product.dot))));
  product.b = emit_at(e, product.b, emit_mul(e, begin, emit_i64(e, 16)));
  scales.a = emit_at(e, scales.a, emit_mul(e, group, emit_i64(e, 2)));
  scales.b = emit_at(e, scales.b, emit_mul(e, group, emit_i64(e, 16)));
  multiply(e, tile, &product, integers);
  emit_value unpacked = emit_stack(e, (int64_t)tile->panels * GEMM_SCALES_WORDS * 4);
  scales = gemm_unpack_scales(e, &scales, tile->panels, pack_sum_bits(tile->desc->k, tile->desc->group), unpacked);
  for (int v = 0; v < tile->vectors; v++) gemm_column_scales(e, &scales, v, columns[v]);
  for (int r = 0; r < tile->rows; r++) {
    gemm_row_scales(e, emit_at_const(e, scales.a, r * scales.row_stride), row);
    for (int v = 0; v < tile->vectors; v++) {
      emit_value place = place_of(e, sums, r * tile->vectors + v), sum = emit_load_vector(e, place, e->level->lanes);
      sum = gemm_scaled(e, sum, integers[r * tile->vectors + v], row, columns[v]);
      emit_store_vector(e, sum, place, e->level->lanes);
    }
  }
}

/* Groups that have scales each: the sums are in the first-level cache meanwhile. */
static void multiply_groups(struct emit *e, const struct gemm_tile *tile, const struct tile_product *product,
                            const struct gemm_scales *scales, emit_value sums) {
  int64_t group_words = tile->desc->group / 4, whole = product->k / group_words;
  for (int i = 0; i < tile->rows * tile->vectors; i++)
    emit_store_vector(e, emit_splat_const(e, 0), place_of(e, sums, i), e->level->lanes);
  if (whole > 0) {
    struct emit_loop loop;
    emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, whole), 1, NULL, 0, EMIT_NOT_EMPTY);
    add_group(e, tile, *product, *scales, loop.index, group_words, sums);
    emit_loop_end(e, &loop, NULL);
  }
  if (product->k % group_words != 0) add_group(e, tile, *product, *scales, emit_i64(e, whole), product->k % group_words, sums);
}

/* The sums, in registers as long as they are integers of one scale, are finished row by row from a copy: scales and stages
 * need registers too. */
emit_value emit_gemm_int8_tile(struct emit *e, const struct gemm_desc *desc, int rows, int panels, int64_t panel_stride,
                               int64_t a_lines) {
  assert(desc->precision == PRECISION_INT8 && desc->group % 64 == 0);
  struct gemm_tile tile = gemm_tile_function(e, desc, rows, panels);
  struct tile_product product = gemm_tile_product(e, &tile, panel_stride, a_lines);
  struct gemm_scales scales = find_scales(e, &product, desc, panel_stride);
  int64_t width = (int64_t)tile.vectors * e->level->lanes;
  emit_value function = e->function, integers[EMIT_CARRIED_MAX], sums = emit_stack(e, rows * width * 4);
  if (desc->group > 0) {
    multiply_groups(e, &tile, &product, &scales, sums);
  } else {
    multiply(e, &tile, &product, integers);
    for (int i = 0; i < rows * tile.vectors; i++)
      LLVMSetAlignment(LLVMBuildStore(e->builder, integers[i], place_of(e, sums, i)), 4);
    emit_value unpacked = emit_stack(e, (int64_t)panels * GEMM_SCALES_WORDS * 4);
    scales = gemm_unpack_scales(e, &scales, panels, pack_sum_bits(desc->k, 0), unpacked);
    tile.scales = &scales;
  }
  gemm_tile_finish_copy(e, &tile, sums, width, 0);
  emit_function_end(e);
  return function;
}
