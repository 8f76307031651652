/* What every GEMM microkernel does around its product: where the tile's operands are, the sums' start, the stages, and the
 * stores. Internal to compiler/llvm. */
#ifndef VITC_LLVM_EMIT_GEMM_EPILOGUE_H
#define VITC_LLVM_EMIT_GEMM_EPILOGUE_H

#include "llvm/emit_tile.h"
#include "llvm/kernels.h"

/* A tile of C: `rows` rows from `row` on of image `image`, `panels` panels of 16 columns from `column` on. */
struct gemm_tile {
  const struct gemm_desc *desc;
  int rows, panels, vectors;
  emit_value operands, image, row, column; /* of the tile's first element */
  emit_value c;                            /* the tile's first element */
  emit_value mask[TILE_VECTORS_MAX];       /* NULL: all lanes are columns of C */
  emit_value operand[STAGES_MAX];          /* pointers to the tile's first element */
};

/* Fills the rest of a tile whose first seven members are set; `c` is the first element of the whole of C. */
void gemm_tile_begin(struct emit *e, struct gemm_tile *tile, emit_value c);

/* acc[r * vectors + v]: the bias, where the stages start with one, or zero. */
void gemm_tile_start(struct emit *e, const struct gemm_tile *tile, emit_value *acc);

/* Applies the stages (but for a bias that gemm_tile_start took) and stores. */
void gemm_tile_finish(struct emit *e, const struct gemm_tile *tile, const emit_value *acc);

/* The stages from `first` on and the stores of one row of the tile, from sums in memory. */
void gemm_tile_finish_row(struct emit *e, const struct gemm_tile *tile, emit_value copy_row, emit_value row, int first);

/* The same for all of its rows, row r at copy + r * stride elements, in a loop over the rows. `first`: the first stage. */
void gemm_tile_finish_copy(struct emit *e, const struct gemm_tile *tile, emit_value copy, int64_t stride, int first);

/* pointer + index * stride elements of 4 bytes */
emit_value gemm_offset(struct emit *e, emit_value pointer, emit_value index, int64_t stride);

/* Writes "gemm" and the stages' names, as in gemm_bias_gelu. */
void gemm_name(const struct gemm_desc *desc, char *out_name, size_t size);

#endif
