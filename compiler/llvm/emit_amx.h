/* AMX's tile registers: eight of up to 16 rows of up to 64 bytes, numbered by the generator; the code generator never allocates
 * them. Internal to compiler/llvm.
 *
 * With emit->tile_model every instruction is a call to a function amx_<instruction> of whoever runs the code, with the same
 * operands in the same order: this is how the kernels are run where there is no AMX. */
#ifndef VITC_LLVM_EMIT_AMX_H
#define VITC_LLVM_EMIT_AMX_H

#include "llvm/emit.h"

enum { AMX_TILES = 8, AMX_ROWS = 16, AMX_ROW_BYTES = 64 };

/* Gives tile t rows[t] rows of 64 bytes, all zero. Once before the others; emit_amx_release ends it. */
void emit_amx_configure(struct emit *e, const int rows[AMX_TILES]);
void emit_amx_release(struct emit *e);

void emit_amx_zero(struct emit *e, int tile);
/* The rows of a tile from or to memory, `stride` bytes apart. */
void emit_amx_load(struct emit *e, int tile, emit_value pointer, emit_value stride);
/* The same from memory that is not read again soon: it leaves the first-level cache to others (tileloaddt1). */
void emit_amx_load_once(struct emit *e, int tile, emit_value pointer, emit_value stride);
void emit_amx_store(struct emit *e, int tile, emit_value pointer, emit_value stride);

/* sum[r][j] += of each word w of row r of a and column j of row w of b: two products of bf16 in fp32 (tdpbf16ps) ... */
void emit_amx_dot_bf16(struct emit *e, int sum, int a, int b);
/* ... or four products of u8 of a and s8 of b in s32 (tdpbusd). */
void emit_amx_dot_int8(struct emit *e, int sum, int a, int b);

#endif
