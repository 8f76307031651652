#include "llvm/emit_gemm_walk.h"

#include "llvm/emit_tile.h"
#include "llvm/kernels.h"

#include <stdio.h>

enum measure {
  MEASURE_HEIGHTS, /* WALK_HEIGHTS of them; of rows of an image the second is one less than the first, of images none is 0 */
  MEASURE_TILES = MEASURE_HEIGHTS + WALK_HEIGHTS, /* row tiles of an image, and how many of them are tall */
  MEASURE_TALL,
  MEASURE_TILE_PANELS,
  MEASURE_BLOCK,
  MEASURE_PANEL_BYTES,
  MEASURE_A_ROW_BYTES,
  MEASURE_A_IMAGE_BYTES,
  MEASURE_A_SHARE_BYTES,
  MEASURE_C_ROW_STRIDE,
  MEASURES
};

emit_value emit_gemm_walk_measures(struct emit *e, const struct gemm_walk *walk) {
  int64_t values[MEASURES] = {0};
  struct row_tiles tiles = walk->rows_are_images ? (struct row_tiles){0} : tile_rows(walk->rows, walk->heights[0]);
  for (int i = 0; i < WALK_HEIGHTS; i++)
    values[MEASURE_HEIGHTS + i] = walk->rows_are_images && walk->heights[i] == 0 ? INT64_MAX : walk->heights[i];
  values[MEASURE_TILES] = tiles.count;
  values[MEASURE_TALL] = tiles.tall;
  values[MEASURE_TILE_PANELS] = walk->tile_panels;
  values[MEASURE_BLOCK] = walk->block;
  values[MEASURE_PANEL_BYTES] = walk->panel_stride * 4;
  values[MEASURE_A_ROW_BYTES] = walk->a_row_stride * 4;
  values[MEASURE_A_IMAGE_BYTES] = walk->a_image_stride * 4;
  values[MEASURE_A_SHARE_BYTES] = walk->a_lines * 64;
  values[MEASURE_C_ROW_STRIDE] = walk->c_row_stride;
  emit_value words[MEASURES];
  for (int i = 0; i < MEASURES; i++) words[i] = emit_i64(e, values[i]);
  emit_value array = LLVMConstArray2(e->i64, words, MEASURES);
  char name[64];
  snprintf(name, sizeof name, "gemm_measures_%s", e->level->name);
  return emit_table(e, array, name);
}

static emit_value tile_slot(struct emit *e, emit_value tiles, int width, int height) {
  return emit_bytes(e, tiles, emit_i64(e, (int64_t)(width * WALK_HEIGHTS + height) * 8));
}

emit_value emit_gemm_walk_tiles(struct emit *e, const struct gemm_walk_tiles *tiles) {
  emit_value array = emit_stack(e, (int64_t)WALK_WIDTHS * WALK_HEIGHTS * 8);
  for (int width = 0; width < WALK_WIDTHS; width++)
    for (int height = 0; height < WALK_HEIGHTS; height++)
      if (tiles->function[width][height] != NULL)
        LLVMBuildStore(e->builder, tiles->function[width][height], tile_slot(e, array, width, height));
  return array;
}

static emit_value measure(struct emit *e, int which) {
  emit_value at = emit_bytes(e, emit_parameter(e, WALK_MEASURES), emit_i64(e, (int64_t)which * 8));
  return LLVMBuildLoad2(e->builder, e->i64, at, "");
}

static emit_value less(struct emit *e, emit_value a, emit_value b) {
  return LLVMBuildICmp(e->builder, LLVMIntSLT, a, b, "");
}

/* Panels [begin, end), computed by the tiles of `tiles`; `next`: the ones that come after them. */
struct block {
  emit_value begin, end, tiles, next;
};

/* One row of tiles: the columns of a block innermost, so that A's rows stay in L1. Meanwhile the next rows of A are brought,
 * a share of them with each tile, and the next block of B. */
static void emit_row(struct emit *e, const struct block *block, emit_value tile, emit_value image, emit_value row,
                     emit_value height) {
  emit_value next_row = emit_mul(e, emit_add(e, row, height), measure(e, MEASURE_A_ROW_BYTES));
  emit_value next_a = emit_bytes(e, emit_parameter(e, 0), next_row);
  next_a = emit_bytes(e, next_a, emit_mul(e, image, measure(e, MEASURE_A_IMAGE_BYTES)));
  emit_value width = measure(e, MEASURE_TILE_PANELS), at[] = {next_a, block->next};
  emit_value bytes[] = {measure(e, MEASURE_A_SHARE_BYTES), emit_mul(e, width, measure(e, MEASURE_PANEL_BYTES))};
  emit_value c_row_stride = measure(e, MEASURE_C_ROW_STRIDE);
  struct emit_walk panel;
  emit_walk_begin(e, &panel, block->begin, block->end, at, bytes, 2, EMIT_NOT_EMPTY);
  emit_value arguments[] = {emit_parameter(e, 0),
                            emit_parameter(e, 1),
                            emit_parameter(e, 2),
                            emit_parameter(e, 3),
                            image,
                            row,
                            panel.loop.index,
                            at[1],
                            at[0],
                            c_row_stride};
  LLVMTypeRef types[] = {e->pointer, e->pointer, e->pointer, e->pointer, e->i64,
                         e->i64,     e->i64,     e->pointer, e->pointer, e->i64};
  LLVMBuildCall2(e->builder, LLVMFunctionType(e->void_type, types, 10, 0), tile, arguments, 10, "");
  panel.loop.step = width;
  emit_walk_end(e, &panel);
}

static emit_value load_tile(struct emit *e, const struct block *block, int height) {
  return LLVMBuildLoad2(e->builder, e->pointer, tile_slot(e, block->tiles, 0, height), "");
}

/* Rows are images: the tallest tiles that there are images left for. */
static void emit_images(struct emit *e, const struct block *block) {
  emit_value images = emit_parameter(e, 4), zero = emit_i64(e, 0);
  struct emit_loop loop;
  emit_loop_begin(e, &loop, zero, images, 1, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_value left = emit_sub(e, images, loop.index), tile = load_tile(e, block, WALK_HEIGHTS - 1);
  emit_value height = measure(e, MEASURE_HEIGHTS + WALK_HEIGHTS - 1);
  for (int i = WALK_HEIGHTS - 2; i >= 0; i--) {
    emit_value taller = measure(e, MEASURE_HEIGHTS + i), fits = LLVMBuildNot(e->builder, less(e, left, taller), "");
    tile = emit_select(e, fits, load_tile(e, block, i), tile);
    height = emit_select(e, fits, taller, height);
  }
  emit_row(e, block, tile, zero, loop.index, height);
  loop.step = height;
  emit_loop_end(e, &loop, NULL);
}

/* The row tiles of this call, those of all images counted through. */
static void emit_rows_of_images(struct emit *e, const struct block *block) {
  emit_value tiles = measure(e, MEASURE_TILES), tall = measure(e, MEASURE_TALL), begin = emit_parameter(e, 7);
  emit_value height = measure(e, MEASURE_HEIGHTS), zero = emit_i64(e, 0), one = emit_i64(e, 1);
  emit_value place[] = {LLVMBuildUDiv(e->builder, begin, tiles, ""), LLVMBuildURem(e->builder, begin, tiles, "")};
  struct emit_loop loop;
  emit_loop_begin(e, &loop, begin, emit_parameter(e, 8), 1, place, 2, EMIT_MAYBE_EMPTY);
  emit_value image = loop.carried[0], tile = loop.carried[1], is_tall = less(e, tile, tall);
  emit_value row = emit_sub(e, emit_mul(e, tile, height), emit_max(e, emit_sub(e, tile, tall), zero));
  emit_row(e, block, emit_select(e, is_tall, load_tile(e, block, 0), load_tile(e, block, 1)), image, row,
           emit_select(e, is_tall, height, emit_sub(e, height, one)));
  emit_value next = emit_add(e, tile, one), is_last = LLVMBuildICmp(e->builder, LLVMIntEQ, next, tiles, "");
  place[0] = emit_select(e, is_last, emit_add(e, image, one), image);
  place[1] = emit_select(e, is_last, zero, next);
  emit_loop_end(e, &loop, place);
}

/* Panels in blocks of full tiles; then the matrix's own remainder in one tile. */
static void emit_blocks(struct emit *e, bool rows_are_images) {
  emit_value begin = emit_parameter(e, 5), end = emit_parameter(e, 6), width = measure(e, MEASURE_TILE_PANELS);
  emit_value tiles = LLVMBuildUDiv(e->builder, emit_sub(e, end, begin), width, "");
  emit_value full_end = emit_add(e, begin, emit_mul(e, tiles, width)), size = measure(e, MEASURE_BLOCK);
  struct emit_loop loop;
  emit_loop_begin(e, &loop, begin, end, 1, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_value is_full = less(e, loop.index, full_end);
  struct block block = {.begin = loop.index};
  block.end = emit_select(e, is_full, emit_min(e, emit_add(e, loop.index, size), full_end), end);
  emit_value panels = emit_bytes(e, emit_parameter(e, 1), emit_mul(e, block.end, measure(e, MEASURE_PANEL_BYTES)));
  block.next = emit_select(e, less(e, block.end, end), panels, emit_parameter(e, WALK_FOLLOWING));
  emit_value all = emit_parameter(e, WALK_TILES);
  block.tiles = emit_select(e, is_full, tile_slot(e, all, WALK_FULL, 0), tile_slot(e, all, WALK_REMAINDER, 0));
  (rows_are_images ? emit_images : emit_rows_of_images)(e, &block);
  loop.step = emit_sub(e, block.end, block.begin);
  emit_loop_end(e, &loop, NULL);
}

emit_value emit_gemm_walk(struct emit *e, bool rows_are_images) {
  emit_value found = kernel_find(e, "gemm_walk", &rows_are_images, sizeof rows_are_images);
  if (found != NULL) return found;
  char name[64];
  snprintf(name, sizeof name, "gemm_%s_%s", rows_are_images ? "images" : "rows", e->level->name);
  LLVMTypeRef types[WALK_PARAMETERS];
  for (int i = 0; i < WALK_PARAMETERS; i++) types[i] = i < 4 || i >= WALK_FOLLOWING ? e->pointer : e->i64;
  emit_value function = emit_function_begin(e, name, e->void_type, types, WALK_PARAMETERS);
  emit_blocks(e, rows_are_images);
  emit_function_end(e);
  kernel_add(e, "gemm_walk", &rows_are_images, sizeof rows_are_images, function);
  return function;
}
