/* Vector mathematics. The polynomials are our own minimax fits: tests/reference/fit_math.py derives them. Errors are the
 * largest seen against libm in double precision, at any level:
 *
 *   exp      x in [-104, 89]: 2 units in the last place; 0 below, infinity above, denormal results within one denormal unit
 *   exp2     x in [-125, 127]: relative 2.5e-7; below -125 about 2^-125 or less (for softmax: arguments are at most 0)
 *            rough: relative 7.6e-5, with AVX-512 only
 *   erf      absolute 3e-7 everywhere, exactly +-1 from |x| = 4
 *   tanh     2 units in the last place
 *   sigmoid  2 units in the last place while the result is a normal number
 *            rough: absolute 2e-5
 *   gelu     absolute 6e-7 (erf and tanh); exactly 0 or x past |x| = 5.25
 *            rough: absolute 1e-4; exactly 0 or x past |x| = 4.4
 *
 * NaN gives NaN; infinities give the functions' limits, 0 of either sign. */
#include "llvm/emit_math.h"
#include "llvm/kernels.h"

#include <assert.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* Horner; coefficients from the constant term up. */
static emit_value polynomial(struct emit *e, const double *coefficients, int count, emit_value x) {
  emit_value value = emit_splat_const(e, coefficients[count - 1]);
  for (int i = count - 2; i >= 0; i--) value = emit_fma(e, value, x, emit_splat_const(e, coefficients[i]));
  return value;
}

/* The second operand of a comparison is what a NaN selects: these keep a NaN in x. */
static emit_value at_least(struct emit *e, emit_value x, double low) {
  return emit_fmax(e, emit_splat_const(e, low), x);
}

static emit_value at_most(struct emit *e, emit_value x, double high) {
  return emit_fmin(e, emit_splat_const(e, high), x);
}

static emit_value bits_of(struct emit *e, emit_value x) {
  return LLVMBuildBitCast(e->builder, x, e->ivector, "");
}

/* |x| with the sign bit of `sign`; the sign of x is clear. */
static emit_value with_sign(struct emit *e, emit_value x, emit_value sign) {
  emit_value bit = LLVMBuildAnd(e->builder, bits_of(e, sign), emit_splat_i32(e, INT32_MIN), "");
  return LLVMBuildBitCast(e->builder, LLVMBuildOr(e->builder, bits_of(e, x), bit, ""), e->vector, "");
}

/* 2^n for whole n in [-126, 127]. */
static emit_value power_of_two(struct emit *e, emit_value n) {
  emit_value biased = LLVMBuildAdd(e->builder, n, emit_splat_i32(e, 127), "");
  return LLVMBuildBitCast(e->builder, LLVMBuildShl(e->builder, biased, emit_splat_i32(e, 23), ""), e->vector, "");
}

/* p * 2^n for whole n in [-252, 254] (with AVX-512 n is rounded down), rounding once where the result is denormal (p is in
 * [1/2, 2)). */
static emit_value scale_by_power(struct emit *e, emit_value p, emit_value n) {
  if (e->level->masks && e->level->lanes == 16) {
    emit_value mask = LLVMConstInt(LLVMInt16TypeInContext(e->context), 0xffff, 0);
    emit_value arguments[] = {p, n, p, mask, emit_i32(e, 4)}; /* 4: the current rounding mode */
    return emit_intrinsic(e, "llvm.x86.avx512.mask.scalef.ps.512", e->vector, arguments, 5);
  }
  emit_value whole = LLVMBuildFPToSI(e->builder, n, e->ivector, "");
  emit_value half = LLVMBuildAShr(e->builder, whole, emit_splat_i32(e, 1), "");
  emit_value rest = LLVMBuildSub(e->builder, whole, half, "");
  return emit_fmul(e, emit_fmul(e, p, power_of_two(e, half)), power_of_two(e, rest));
}

/* x = n ln 2 + r with |r| <= ln(2) / 2; returns r. ln 2 is in two parts, the first short enough for n * high to be exact. */
static emit_value reduce_argument(struct emit *e, emit_value x, emit_value *out_n) {
  emit_value scaled = emit_fmul(e, x, emit_splat_const(e, 1.44269504088896341));
  *out_n = emit_intrinsic(e, "llvm.roundeven", e->vector, &scaled, 1);
  emit_value r = emit_fma(e, *out_n, emit_splat_const(e, -0.693145751953125), x);
  return emit_fma(e, *out_n, emit_splat_const(e, -1.42860682030941723e-6), r);
}

/* e^r - 1 on |r| <= ln(2) / 2, relative to e^r 3.1e-9 before rounding. */
static emit_value expm1_reduced(struct emit *e, emit_value r) {
  static const double c[] = {5.000000095e-01, 1.666651884e-01, 4.166620581e-02, 8.368889356e-03, 1.395049096e-03};
  return emit_fma(e, emit_fmul(e, r, r), polynomial(e, c, COUNT(c), r), r);
}

emit_value emit_math_exp(struct emit *e, emit_value x) {
  emit_value n, r = reduce_argument(e, at_most(e, at_least(e, x, -104.5), 89.5), &n);
  return scale_by_power(e, emit_fadd(e, expm1_reduced(e, r), emit_splat_const(e, 1)), n);
}

/* 2^x = 2^floor(x) 2^f, from the polynomial of 2^f: AVX-512 has instructions for x - floor(x) and for p * 2^floor(x). */
static emit_value exp2_scalef(struct emit *e, emit_value x, const double *coefficients, int count) {
  emit_value mask = LLVMConstInt(LLVMInt16TypeInContext(e->context), 0xffff, 0);
  /* 9: towards minus infinity, no exception for inexact; 4: the current rounding mode */
  emit_value arguments[] = {x, emit_i32(e, 9), x, mask, emit_i32(e, 4)};
  emit_value f = emit_intrinsic(e, "llvm.x86.avx512.mask.reduce.ps.512", e->vector, arguments, 5);
  return scale_by_power(e, polynomial(e, coefficients, count, f), x);
}

emit_value emit_math_exp2_rough(struct emit *e, emit_value x) {
  static const double c[] = {9.999252186e-01, 6.958335407e-01, 2.260671548e-01, 7.802452308e-02};
  return exp2_scalef(e, x, c, COUNT(c));
}

/* Adding 1.5 * 2^20 leaves x rounded to eighths, 8 n + i, in the low bits: i finds 2^(i/8) among 8 numbers in a register, and n
 * is shifted to the exponent. There i is right below it; the numbers are the bits of 2^(i/8) less that. */
emit_value emit_math_exp2(struct emit *e, emit_value x) {
  static const double c[] = {9.999999817e-01, 6.931472085e-01, 2.402640729e-01, 5.549890048e-02};
  static const int32_t eighths[] = {1065353216, 1065063874, 1064843248, 1064697559,
                                    1064633587, 1064658730, 1064781053, 1065009351};
  static const double above[] = {9.999999251e-01, 6.931530732e-01, 2.401536170e-01,
                                 5.582631804e-02, 8.989340124e-03, 1.877576658e-03};
  if (e->level->masks && e->level->lanes == 16) return exp2_scalef(e, x, above, COUNT(above));
  assert(e->level->lanes == COUNT(eighths));
  emit_value numbers[COUNT(eighths)];
  for (int i = 0; i < COUNT(eighths); i++) numbers[i] = emit_i32(e, eighths[i]);
  x = at_least(e, x, -125);
  emit_value magic = emit_splat_const(e, 0x1.8p20), shifted = emit_fadd(e, x, magic);
  emit_value f = emit_fsub(e, x, emit_fsub(e, shifted, magic));
  emit_value arguments[] = {LLVMBuildBitCast(e->builder, LLVMConstVector(numbers, 8), e->vector, ""), bits_of(e, shifted)};
  emit_value within = bits_of(e, emit_intrinsic(e, "llvm.x86.avx2.permps", e->vector, arguments, 2));
  emit_value exponent = LLVMBuildShl(e->builder, bits_of(e, shifted), emit_splat_i32(e, 20), "");
  emit_value power = LLVMBuildBitCast(e->builder, LLVMBuildAdd(e->builder, exponent, within, ""), e->vector, "");
  return emit_fmul(e, polynomial(e, c, COUNT(c), f), power);
}

emit_value emit_math_erf(struct emit *e, emit_value x) {
  /* erf(x) / x in v = x^2 / 8 - 1: in x^2 itself the terms cancel to 1e-4. */
  static const double c[] = {3.535309948e-01,  -1.765761935e-01, 1.316752174e-01,  -1.077124662e-01, 9.020706834e-02,
                             -7.469811126e-02, 5.989919709e-02,  -4.595973599e-02, 3.303430109e-02,  -2.180586029e-02,
                             1.432468339e-02,  -9.885810763e-03, 5.054506337e-03,  -1.218324502e-03, 9.565391353e-04,
                             -1.333070796e-03, 5.070635072e-04};
  emit_value u = at_most(e, emit_fabs(e, x), 4);
  emit_value v = emit_fma(e, emit_fmul(e, u, u), emit_splat_const(e, 0.125), emit_splat_const(e, -1));
  emit_value value = at_most(e, emit_fmul(e, u, polynomial(e, c, COUNT(c), v)), 1);
  emit_value far = LLVMBuildFCmp(e->builder, LLVMRealOGE, u, emit_splat_const(e, 4), "");
  return with_sign(e, emit_select(e, far, emit_splat_const(e, 1), value), x);
}

/* From e^(-2|x|) - 1 = t: tanh |x| = -t / (2 + t), which keeps its relative accuracy near 0. */
emit_value emit_math_tanh(struct emit *e, emit_value x) {
  emit_value minus_u = at_least(e, emit_fmul(e, emit_fabs(e, x), emit_splat_const(e, -2)), -40);
  emit_value n, r = reduce_argument(e, minus_u, &n);
  emit_value power = power_of_two(e, LLVMBuildFPToSI(e->builder, n, e->ivector, ""));
  emit_value t = emit_fma(e, power, expm1_reduced(e, r), emit_fsub(e, power, emit_splat_const(e, 1)));
  emit_value magnitude = emit_fdiv(e, emit_fsub(e, emit_splat_const(e, 0), t), emit_fadd(e, t, emit_splat_const(e, 2)));
  return with_sign(e, emit_fabs(e, magnitude), x);
}

emit_value emit_math_sigmoid(struct emit *e, emit_value x) {
  emit_value power = emit_math_exp(e, emit_fsub(e, emit_splat_const(e, 0), x));
  return emit_fdiv(e, emit_splat_const(e, 1), emit_fadd(e, power, emit_splat_const(e, 1)));
}

emit_value emit_math_sigmoid_rough(struct emit *e, emit_value x) {
  if (e->level->lanes < 16) return emit_math_sigmoid(e, x);
  emit_value power = emit_math_exp2_rough(e, emit_fmul(e, x, emit_splat_const(e, -1.44269504088896341)));
  return emit_fdiv(e, emit_splat_const(e, 1), emit_fadd(e, power, emit_splat_const(e, 1)));
}
