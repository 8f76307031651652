/* GELU by table: a vector instruction looks up 16 indexes among 32 numbers in two registers, or 8 among 8 in one. The
 * polynomials are minimax fits of each segment (tests/reference/fit_math.py).
 *
 * With u = |x|, GELU is max(x, 0) less a tail that is the same for x and -x: u Phi(-u), or in the form with tanh u sigmoid(-2
 * z). That is what is in the tables, in d = u * scale - k, |d| <= 1/2; the last segment, which no u is past, is zero. */
#include "llvm/emit_math.h"
#include "llvm/gelu.def"
#include "llvm/kernels.h"

enum { MANY = 32, FEW = 8 };

struct segments {
  int count, powers; /* powers x count numbers, constant terms first */
  double scale;
  const double *numbers;
};

static emit_value constants(struct emit *e, const double *numbers) {
  emit_value lanes[16];
  for (int i = 0; i < e->level->lanes; i++) lanes[i] = emit_f32(e, numbers[i]);
  return LLVMConstVector(lanes, (unsigned)e->level->lanes);
}

/* The numbers of one power at the low bits of index. */
static emit_value look_up(struct emit *e, const struct segments *segments, int power, emit_value index) {
  const double *numbers = segments->numbers + power * segments->count;
  emit_value low = constants(e, numbers);
  if (segments->count == e->level->lanes) {
    emit_value arguments[] = {low, index};
    return emit_intrinsic(e, "llvm.x86.avx2.permps", e->vector, arguments, 2);
  }
  emit_value arguments[] = {low, index, constants(e, numbers + e->level->lanes)};
  return emit_intrinsic(e, "llvm.x86.avx512.vpermi2var.ps.512", e->vector, arguments, 3);
}

/* Adding this leaves a number rounded to a whole one in the low bits. */
static const double MAGIC = 12582912;

static emit_value gelu_less_tail(struct emit *e, emit_value x, const struct segments *segments) {
  emit_value positive = emit_fmax(e, emit_splat_const(e, 0), x), scale = emit_splat_const(e, segments->scale);
  emit_value bound = emit_splat_const(e, (segments->count - 1) / segments->scale);
  emit_value u = emit_fmin(e, bound, emit_fabs(e, x)); /* NaN stays */
  emit_value magic = emit_splat_const(e, MAGIC), shifted = emit_fma(e, u, scale, magic);
  emit_value d = emit_fma(e, u, scale, emit_fsub(e, magic, shifted));
  emit_value index = LLVMBuildBitCast(e->builder, shifted, e->ivector, "");
  int power = segments->powers - 1;
  emit_value tail = look_up(e, segments, power, index);
  while (power-- > 0) tail = emit_fma(e, tail, d, look_up(e, segments, power, index));
  return emit_fsub(e, positive, tail);
}

/* Bounded only where infinity would become NaN: x itself is the value of the last segment. */
static emit_value gelu_whole(struct emit *e, emit_value x, const struct segments *segments) {
  x = emit_fmax(e, emit_splat_const(e, -16 / segments->scale), x); /* NaN stays */
  emit_value bounded = emit_fmin(e, emit_splat_const(e, 15 / segments->scale), x);
  emit_value shifted = emit_fma(e, bounded, emit_splat_const(e, segments->scale), emit_splat_const(e, MAGIC + 16));
  emit_value index = LLVMBuildBitCast(e->builder, shifted, e->ivector, "");
  emit_value slope = emit_fma(e, look_up(e, segments, 2, index), bounded, look_up(e, segments, 1, index));
  return emit_fma(e, slope, x, look_up(e, segments, 0, index));
}

emit_value emit_math_gelu(struct emit *e, emit_value x, int approximate) {
  struct segments many = {MANY, 4, 5.809523810, cubics[approximate][0]}, few = {FEW, 6, 1.238095238, quintics[approximate][0]};
  return gelu_less_tail(e, x, e->level->lanes == 16 ? &many : &few);
}

emit_value emit_math_gelu_rough(struct emit *e, emit_value x, int approximate) {
  struct segments whole = {MANY, 3, 3.536585366, rough_whole[approximate][0]};
  struct segments few = {FEW, 4, 1.547619048, rough_cubics[approximate][0]};
  return e->level->lanes == 16 ? gelu_whole(e, x, &whole) : gelu_less_tail(e, x, &few);
}
