/* The microkernel of a GEMM: one tile of C. Internal to compiler/llvm. */
#ifndef VITC_LLVM_EMIT_GEMM_TILE_H
#define VITC_LLVM_EMIT_GEMM_TILE_H

#include "llvm/emit_gemm_epilogue.h"

/* Function: void (const float *a, const float *b, float *c, const void *const *operands, int64_t image, int64_t row, int64_t
 * panel, const float *next_b, const float *next_a, int64_t c_row_stride): computes rows [row, row + rows) and `panels` panels
 * from `panel` on, never a column at or past n. desc->k may be a part of B's rows: panel_stride is of the whole B. Meanwhile
 * this tile's share of the `panels` panels from next_b on, and a_lines cache lines of each of `rows` rows from next_a on, are
 * brought into the second-level cache; they may be any addresses. c_row_stride is looked at in low precision only. */
emit_value emit_gemm_tile(struct emit *e, const struct gemm_desc *desc, int rows, int panels, int64_t panel_stride,
                          int64_t a_lines);

/* The same for int8. */
emit_value emit_gemm_int8_tile(struct emit *e, const struct gemm_desc *desc, int rows, int panels, int64_t panel_stride,
                               int64_t a_lines);

/* Lines of each of the next panels that a tile fetches for a row of its own; 0: none. All that it takes from desc->m. */
int64_t gemm_tile_share(const struct gemm_desc *desc);

/* Begins such a function, and describes its tile; what it multiplies, all of K. */
struct gemm_tile gemm_tile_function(struct emit *e, const struct gemm_desc *desc, int rows, int panels);
struct tile_product gemm_tile_product(struct emit *e, const struct gemm_tile *tile, int64_t panel_stride, int64_t a_lines);

#endif
