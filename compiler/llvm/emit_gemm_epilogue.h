/* What every GEMM microkernel does around its product: where the tile's operands are, the sums' start, the stages, and the
 * stores. Internal to compiler/llvm. */
#ifndef VITC_LLVM_EMIT_GEMM_EPILOGUE_H
#define VITC_LLVM_EMIT_GEMM_EPILOGUE_H

#include "llvm/emit_tile.h"
#include "llvm/kernels.h"

/* Where the scales of int8 are: of the tile's first row (kernels.h), and row_stride words on of the next; of its first panel,
 * and panel_stride words on of the next. Of a panel: words of scale and sum (pack.h), which gemm_unpack_scales makes 16 floats
 * of scales and 16 of products of scale and sum: once a tile, and its rows each read them. */
struct gemm_scales {
  emit_value a, b;
  int64_t row_stride, panel_stride;
};

/* A tile of C: `rows` rows from `row` on of image `image`, `panels` panels of 16 columns from `column` on. */
struct gemm_tile {
  const struct gemm_desc *desc;
  int rows, panels, vectors;
  emit_value operands, image, row, column; /* of the tile's first element */
  emit_value c_row_stride;                 /* elements; NULL: the description's */
  emit_value c;                            /* the tile's first element */
  emit_value mask[TILE_VECTORS_MAX];       /* NULL: all lanes are columns of C */
  emit_value operand[STAGES_MAX];          /* pointers to the tile's first element */
  const struct gemm_scales *scales;        /* sums in memory are integers, to be scaled; NULL: floats */
};

/* Fills the rest of a tile whose members up to c_row_stride are set; `c` is the first element of the whole of C. */
void gemm_tile_begin(struct emit *e, struct gemm_tile *tile, emit_value c);

/* acc[r * vectors + v]: the bias, where the stages start with one, or zero. */
void gemm_tile_start(struct emit *e, const struct gemm_tile *tile, emit_value *acc);

/* Applies the stages (but for a bias that gemm_tile_start took) and stores. */
void gemm_tile_finish(struct emit *e, const struct gemm_tile *tile, const emit_value *acc);

/* The product of integers, scaled: added to `sum`. row, column: scale and offset, scale and sum, as vectors. */
emit_value gemm_scaled(struct emit *e, emit_value sum, emit_value integers, const emit_value row[2],
                       const emit_value column[2]);

/* The same with the columns' unpacked, to 32 words a panel at `to`; `sum_bits` of a word are the sum's. */
enum { GEMM_SCALES_WORDS = 32 };
struct gemm_scales gemm_unpack_scales(struct emit *e, const struct gemm_scales *scales, int panels, int sum_bits,
                                      emit_value to);

/* Scale and offset of a row of operands, which are at `at`, as vectors; scale and product of scale and sum of vector v of the
 * tile's columns, unpacked. */
void gemm_row_scales(struct emit *e, emit_value at, emit_value out[2]);
void gemm_column_scales(struct emit *e, const struct gemm_scales *scales, int v, emit_value out[2]);

/* What a loop over the rows of a tile goes along, for emit_walk: where each is in a row, and how far it is to the next, NULL
 * for what is there once or not at all. */
enum { ROWS_COPY, ROWS_C, ROWS_SCALES, ROWS_OPERANDS, ROWS_POINTERS = ROWS_OPERANDS + STAGES_MAX };
struct gemm_rows {
  emit_value at[ROWS_POINTERS], bytes[ROWS_POINTERS];
};

/* At row `begin`, NULL for the first; `copy` are the sums in memory, copy_stride elements from row to row. */
void gemm_rows_begin(struct emit *e, const struct gemm_tile *tile, emit_value copy, int64_t copy_stride, emit_value begin,
                     struct gemm_rows *out_rows);

/* The stages from `first` on and the stores of one row of the tile, from sums in memory. */
void gemm_tile_finish_row(struct emit *e, const struct gemm_tile *tile, const struct gemm_rows *rows, int first);

/* The same for all of its rows, row r at copy + r * stride elements, in a loop over the rows. `first`: the first stage. */
void gemm_tile_finish_copy(struct emit *e, const struct gemm_tile *tile, emit_value copy, int64_t stride, int first);

/* pointer + index * stride elements of 4 bytes */
emit_value gemm_offset(struct emit *e, emit_value pointer, emit_value index, int64_t stride);

/* Writes "gemm" and the stages' names, as in gemm_bias_gelu. */
void gemm_name(const struct gemm_desc *desc, char *out_name, size_t size);

#endif
