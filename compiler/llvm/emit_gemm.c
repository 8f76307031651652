#include "llvm/kernels.h"

#include "llvm/emit_gemm_tile.h"
#include "llvm/emit_tile.h"

#include <assert.h>
#include <stdio.h>

/* Tile columns that a block keeps in the second-level cache while the rows of A pass; with long rows of B only one fits. */
enum { BLOCK_TILES = 2, BLOCK_TILES_LONG = 1, LONG_K = 2048, HEIGHTS_MAX = 4 };

enum { WIDTH_FULL, WIDTH_REMAINDER, WIDTH_ONE, WIDTHS };

struct gemm {
  struct gemm_desc desc;
  bool rows_are_images;                             /* the number of rows is known when it runs */
  int panels, tile_panels, remainder_panels, block; /* block: panels that the second-level cache keeps */
  int heights[HEIGHTS_MAX], height_count;
  emit_value tile[HEIGHTS_MAX][WIDTHS];
  emit_value images;
};

int64_t gemm_panel_stride(int64_t k) {
  return (k | 1) * 16;
}

int64_t gemm_split_panels(const struct target_level *level, const struct gemm_desc *desc) {
  int64_t panels = (desc->n + 15) / 16, tile = (int64_t)level->nv * level->lanes / 16;
  return panels < tile ? panels : tile;
}

/* With one row an image, rows of different images make the tiles: then images are the rows of one image. */
static void choose_tiles(const struct emit *e, struct gemm *gemm) {
  struct gemm_desc *desc = &gemm->desc;
  gemm->panels = (int)((desc->n + 15) / 16);
  gemm->tile_panels = (int)gemm_split_panels(e->level, desc);
  gemm->remainder_panels = gemm->panels % gemm->tile_panels;
  gemm->block = gemm->tile_panels * (desc->k > LONG_K ? BLOCK_TILES_LONG : BLOCK_TILES);
  gemm->rows_are_images = desc->m == 1;
  if (!gemm->rows_are_images) {
    struct row_tiles tiles = tile_rows(desc->m, e->level->mr);
    gemm->heights[gemm->height_count++] = tiles.height;
    if (tiles.tall < tiles.count) gemm->heights[gemm->height_count++] = tiles.height - 1;
    return;
  }
  desc->a_row_stride = desc->a_image_stride;
  desc->c_row_stride = desc->c_image_stride;
  for (int s = 0; s < desc->stage_count; s++) desc->stages[s].row_stride = desc->stages[s].image_stride;
  int heights[] = {e->level->mr, e->level->mr / 2, 1};
  for (int i = 0; i < 3; i++) gemm->heights[gemm->height_count++] = heights[i];
}

static emit_value call_tile(struct emit *e, emit_value tile, emit_value image, emit_value row, emit_value panel) {
  emit_value arguments[] = {
      emit_parameter(e, 0), emit_parameter(e, 1), emit_parameter(e, 2), emit_parameter(e, 3), image, row, panel};
  return emit_call(e, tile, arguments, 7);
}

/* All tiles of one height from row `begin` to `end`, the columns of a block innermost so that A's rows stay in L1. */
static void emit_height(struct emit *e, const struct gemm *gemm, int height, int width, emit_value image,
                        const emit_value *rows, const emit_value *panels) {
  int panel_count[] = {gemm->tile_panels, gemm->remainder_panels, 1};
  struct emit_loop row, panel;
  emit_loop_begin(e, &row, rows[0], rows[1], gemm->heights[height], NULL, 0, EMIT_MAYBE_EMPTY);
  emit_loop_begin(e, &panel, panels[0], panels[1], panel_count[width], NULL, 0, EMIT_NOT_EMPTY);
  call_tile(e, gemm->tile[height][width], image, row.index, panel.index);
  emit_loop_end(e, &panel, NULL);
  emit_loop_end(e, &row, NULL);
}

/* Every row of every image for the panels [panels[0], panels[1]), which are not empty. */
static void emit_block(struct emit *e, const struct gemm *gemm, int width, const emit_value *panels) {
  emit_value zero = emit_i64(e, 0);
  if (gemm->rows_are_images) {
    emit_value rows[2] = {zero, zero};
    for (int i = 0; i < gemm->height_count; i++) {
      emit_value height = emit_i64(e, gemm->heights[i]), left = emit_sub(e, gemm->images, rows[0]);
      rows[1] = emit_add(e, rows[0], emit_mul(e, LLVMBuildSDiv(e->builder, left, height, ""), height));
      emit_height(e, gemm, i, width, zero, rows, panels);
      rows[0] = rows[1];
    }
    return;
  }
  struct row_tiles tiles = tile_rows(gemm->desc.m, e->level->mr);
  int64_t tall_rows = tiles.tall * tiles.height;
  emit_value tall[] = {zero, emit_i64(e, tall_rows)}, rest[] = {emit_i64(e, tall_rows), emit_i64(e, gemm->desc.m)};
  struct emit_loop image;
  emit_loop_begin(e, &image, zero, gemm->images, 1, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_height(e, gemm, 0, width, image.index, tall, panels);
  if (gemm->height_count > 1) emit_height(e, gemm, 1, width, image.index, rest, panels);
  emit_loop_end(e, &image, NULL);
}

/* Panels in blocks of full tiles; then what is left at the end of the range: the matrix's own remainder in one tile, or, where
 * a caller cut a tile, panel after panel. */
static void emit_panels(struct emit *e, const struct gemm *gemm) {
  emit_value begin = emit_parameter(e, 5), end = emit_parameter(e, 6), width = emit_i64(e, gemm->tile_panels);
  emit_value tiles = LLVMBuildSDiv(e->builder, emit_sub(e, end, begin), width, "");
  emit_value full_end = emit_add(e, begin, emit_mul(e, tiles, width));
  int64_t block = gemm->block;
  struct emit_loop loop;
  emit_loop_begin(e, &loop, begin, full_end, block, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_value panels[] = {loop.index, emit_min(e, emit_add(e, loop.index, emit_i64(e, block)), full_end)};
  emit_block(e, gemm, WIDTH_FULL, panels);
  emit_loop_end(e, &loop, NULL);
  if (gemm->tile_panels == 1) return;

  emit_value rest[] = {full_end, end}, left = emit_sub(e, end, full_end);
  emit_value is_remainder = LLVMBuildICmp(e->builder, LLVMIntEQ, left, emit_i64(e, gemm->remainder_panels), "");
  struct emit_if branch;
  if (gemm->remainder_panels > 1) {
    emit_if_begin(e, &branch, is_remainder);
    emit_block(e, gemm, WIDTH_REMAINDER, rest);
    emit_if_end(e, &branch);
  }
  emit_value some = LLVMBuildICmp(e->builder, LLVMIntSGT, left, emit_i64(e, 0), "");
  if (gemm->remainder_panels > 1) some = LLVMBuildAnd(e->builder, some, LLVMBuildNot(e->builder, is_remainder, ""), "");
  emit_if_begin(e, &branch, some);
  emit_block(e, gemm, WIDTH_ONE, rest);
  emit_if_end(e, &branch);
}

static void emit_tiles(struct emit *e, struct gemm *gemm) {
  for (int i = 0; i < gemm->height_count; i++) {
    int height = gemm->heights[i];
    gemm->tile[i][WIDTH_FULL] = emit_gemm_tile(e, &gemm->desc, height, gemm->tile_panels, gemm->block);
    if (gemm->remainder_panels > 1)
      gemm->tile[i][WIDTH_REMAINDER] = emit_gemm_tile(e, &gemm->desc, height, gemm->remainder_panels, gemm->block);
    if (gemm->tile_panels > 1) gemm->tile[i][WIDTH_ONE] = emit_gemm_tile(e, &gemm->desc, height, 1, gemm->block);
  }
}

emit_value emit_gemm(struct emit *e, const struct gemm_desc *desc) {
  assert(desc->m > 0 && desc->n > 0 && desc->k > 0);
  emit_value found = kernel_find(e, "gemm", desc, sizeof *desc);
  if (found != NULL) return found;
  struct gemm gemm = {.desc = *desc};
  choose_tiles(e, &gemm);
  emit_tiles(e, &gemm);
  char stages[256], name[320];
  gemm_name(desc, stages, sizeof stages);
  snprintf(name, sizeof name, "%s_f32_m%lld_n%lld_k%lld_%s", stages, (long long)desc->m, (long long)desc->n, (long long)desc->k,
           e->level->name);
  LLVMTypeRef types[] = {e->pointer, e->pointer, e->pointer, e->pointer, e->i64, e->i64, e->i64};
  emit_value function = emit_function_begin(e, name, e->void_type, types, 7);
  gemm.images = emit_parameter(e, 4);
  emit_panels(e, &gemm);
  emit_function_end(e);
  kernel_add(e, "gemm", desc, sizeof *desc, function);
  return function;
}
