/* Rows of bf16 times the Hadamard matrix of HADAMARD_TILE rows and columns, block by block, in AMX's tiles: 1 and -1 are exact
 * in bf16, and sums are fp32. The stages of larger blocks add what is further apart. Internal to compiler/llvm. */
#ifndef VITC_LLVM_EMIT_HADAMARD_AMX_H
#define VITC_LLVM_EMIT_HADAMARD_AMX_H

#include "llvm/kernels.h"

enum { HADAMARD_TILE = 32, HADAMARD_ROWS_MAX = 2 };

/* The blocks of a row are the rows of `count` tiles of `height` blocks, of which the last may overlap the one before. */
struct hadamard_tiles {
  int64_t blocks, count;
  int height;
};

/* Configures the tiles; emit_amx_release ends it. */
struct hadamard_tiles emit_hadamard_begin(struct emit *e, int64_t columns);

/* `count` rows of bf16, one at each from[i], transformed, as floats at to[i]. Meanwhile those `ahead` bytes further on, which
 * may be no rows, are asked for: the cache's own prefetcher begins anew with each row. */
void emit_hadamard_rows(struct emit *e, const struct hadamard_tiles *tiles, const emit_value *from, const emit_value *to,
                        int count, int64_t ahead);

#endif
