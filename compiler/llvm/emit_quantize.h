/* Rows of floats become operand rows of int8. Internal to compiler/llvm. */
#ifndef VITC_LLVM_EMIT_QUANTIZE_H
#define VITC_LLVM_EMIT_QUANTIZE_H

#include "llvm/kernels.h"

/* One row: desc->columns floats at x (not changed) become the operand row at y, with desc->group. */
void emit_quantize_row(struct emit *e, const struct rows_desc *desc, emit_value x, emit_value y);

#endif
