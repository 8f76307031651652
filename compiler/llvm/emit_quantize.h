/* Rows of floats become operand rows of int8. Internal to compiler/llvm. */
#ifndef VITC_LLVM_EMIT_QUANTIZE_H
#define VITC_LLVM_EMIT_QUANTIZE_H

#include "llvm/kernels.h"

/* One row: desc->columns floats at x become the operand row at y. With desc->hadamard they are transformed first, into
 * `transformed`, which has room for them and may be x; else x is not changed and `transformed` not used.
 * For each group x = scale * u8 + low, nearest even, with low the smallest element and low + 255 * scale the largest, neither
 * of which need have another sign than the other. A group of equal elements is exact; a group with an infinity or NaN has a
 * scale of NaN. */
void emit_quantize_row(struct emit *e, const struct rows_desc *desc, emit_value x, emit_value transformed, emit_value y);

#endif
