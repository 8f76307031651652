/* The order in which a product's tiles are computed. Every product of a level goes through the same function, which is told the
 * product's measures: it costs a tile a few instructions, and is as much code as two tiles. Internal to compiler/llvm. */
#ifndef VITC_LLVM_EMIT_GEMM_WALK_H
#define VITC_LLVM_EMIT_GEMM_WALK_H

#include "llvm/emit.h"

/* Heights of tiles, from the tallest on; of as many panels as a tile has, and of the matrix's own remainder. */
enum { WALK_HEIGHTS = 3, WALK_FULL = 0, WALK_REMAINDER, WALK_WIDTHS };

/* Columns in blocks of `block` panels; the rows of tiles of a block one after the other; of each the tiles of the block. */
struct gemm_walk {
  bool rows_are_images;      /* tiles of rows of the images, which are counted when it runs; else of the rows of each image */
  int64_t rows;              /* of an image */
  int heights[WALK_HEIGHTS]; /* images: descending to 1, any of them 0 for none; else the first, and the second one less */
  int64_t tile_panels, block;
  int64_t panel_stride, a_row_stride, a_image_stride, c_row_stride; /* words */
  int64_t a_lines;                                                  /* of the next rows of A, by each tile of a block */
};

/* Tiles are functions as emit_gemm_tile makes them, NULL where there are none. */
struct gemm_walk_tiles {
  emit_value function[WALK_WIDTHS][WALK_HEIGHTS];
};

/* Parameters of the function that emit_gemm_walk returns: those of a GEMM (kernels.h); panels that are needed after the last;
 * what the other two functions make. */
enum { WALK_FOLLOWING = 9, WALK_TILES, WALK_MEASURES, WALK_PARAMETERS };

emit_value emit_gemm_walk(struct emit *e, bool rows_are_images);
emit_value emit_gemm_walk_measures(struct emit *e, const struct gemm_walk *walk); /* a constant */
emit_value emit_gemm_walk_tiles(struct emit *e, const struct gemm_walk_tiles *tiles);

#endif
