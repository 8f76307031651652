/* Rows of floats become operand rows of int8. Internal to compiler/llvm. */
#ifndef VITC_LLVM_EMIT_QUANTIZE_H
#define VITC_LLVM_EMIT_QUANTIZE_H

#include "llvm/kernels.h"

/* desc->columns elements at x, fp32 or bf16; of their Hadamard transform, the stages that add elements less than `done` apart
 * are done already (1: none). */
struct quantize_row {
  emit_value x, y;
  bool bf16;
  int64_t done;
  emit_value room; /* for the transformed row in fp32; may be x */
};

/* Rows that are alike but for where they are become the operand rows at y, transformed first where desc->hadamard says so; else
 * x is not changed and the room not used. For each group x = scale * u8 + low, nearest even, with low the smallest element and
 * low + 255 * scale the largest, neither of which need have another sign than the other. A group of equal elements is exact; a
 * group with an infinity or NaN has a scale of NaN. Rows may be the same one. */
enum { QUANTIZE_ROWS = 2 };
void emit_quantize_rows(struct emit *e, const struct rows_desc *desc, const struct quantize_row *rows, int count);

#endif
