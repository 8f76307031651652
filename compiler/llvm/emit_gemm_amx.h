/* GEMM on AMX's tiles: emit_gemm for levels with tiles, in bf16 and int8, m > 1. Internal to compiler/llvm. */
#ifndef VITC_LLVM_EMIT_GEMM_AMX_H
#define VITC_LLVM_EMIT_GEMM_AMX_H

#include "llvm/kernels.h"

bool gemm_uses_amx(const struct target_level *level, const struct gemm_desc *desc);
emit_value emit_gemm_amx(struct emit *e, const struct gemm_desc *desc);
int64_t gemm_amx_split_panels(const struct gemm_desc *desc);
int64_t gemm_amx_row_tiles(const struct gemm_desc *desc);

#endif
