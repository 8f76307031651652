/* What the kernels share beyond kernels.h: base-2 exponential of a vector. */
#ifndef VITC_LLVM_EMIT_MATH_H
#define VITC_LLVM_EMIT_MATH_H

#include "llvm/emit.h"

/* 2^x for x <= 127 (softmax: x <= 0); about 2^-125 or less below -125, minus infinity included. */
emit_value emit_math_exp2(struct emit *e, emit_value x);

/* The same for results that are rounded to bf16 or fewer bits: relative 7.6e-5. AVX-512 only; 0 far below -125. */
emit_value emit_math_exp2_rough(struct emit *e, emit_value x);

#endif
