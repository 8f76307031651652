/* GELU by table: a vector instruction looks up 16 indexes among 32 numbers in two registers, or 8 among 8 in one. */
#include "llvm/emit_math.h"

#include <assert.h>

enum { CUBICS = 32, QUINTICS = 8, CUBIC_POWERS = 4, QUINTIC_POWERS = 6 };

/* Of u Phi(-u) in d = u * scale - k, |d| <= 1/2, for each k: minimax polynomials (tests/reference/fit_math.py). The last
 * segment stands for all u above 5.25, where the exact value is below 4e-7. */
struct segments {
  int count, powers;
  double scale;
  const double *numbers; /* powers x count, constant terms first */
};

/* Largest error 4.3e-7. */
static const double cubics[CUBIC_POWERS][CUBICS] = {
    {-2.837100570e-08, 7.430294732e-02, 1.257671157e-01, 1.563584592e-01,
     1.690748747e-01,  1.675816318e-01, 1.557979377e-01, 1.375024245e-01,
     1.160146079e-01,  9.398775480e-02, 7.332318493e-02, 5.519309219e-02,
     4.014323173e-02,  2.824023236e-02, 1.923013650e-02, 1.268247623e-02,
     8.104474347e-03,  5.019886059e-03, 3.014591911e-03, 1.755587093e-03,
     9.916321315e-04,  5.433430704e-04, 2.888303621e-04, 1.489696398e-04,
     7.455433910e-05,  3.620734660e-05, 1.706447403e-05, 7.805156912e-06,
     3.464814023e-06,  1.492802275e-06, 6.242537138e-07, 0},
    {8.606739078e-02,  6.265692831e-02,  4.060338950e-02,  2.108512834e-02,
     4.965585074e-03,  -7.292205760e-03, -1.564005856e-02, -2.039426782e-02,
     -2.213777080e-02, -2.159949804e-02, -1.953606121e-02, -1.663568269e-02,
     -1.345561703e-02, -1.039512676e-02, -7.698710034e-03, -5.480037591e-03,
     -3.756076979e-03, -2.482412990e-03, -1.583667953e-03, -9.760364375e-04,
     -5.815237396e-04, -3.351205978e-04, -1.868778915e-04, -1.008779623e-04,
     -5.272895807e-05, -2.669495615e-05, -1.309280206e-05, -6.222175240e-06,
     -2.865695252e-06, -1.279259505e-06, -5.535836969e-07, 0},
    {-1.183849771e-02, -1.146033268e-02, -1.046912444e-02, -8.958524024e-03,
     -7.112683600e-03, -5.140504189e-03, -3.241090364e-03, -1.574821656e-03,
     -2.455680005e-04, 7.042560148e-04,  1.286995027e-03,  1.555129514e-03,
     1.583383536e-03,  1.451840208e-03,  1.233016956e-03,  9.841735757e-04,
     7.446560093e-04,  5.370380447e-04,  3.705476966e-04,  2.452626845e-04,
     1.560359379e-04,  9.556028069e-05,  5.640280578e-05,  3.211456068e-05,
     1.765273309e-05,  9.373527699e-06,  4.810638431e-06,  2.387277254e-06,
     1.145953983e-06,  5.322755159e-07,  2.392946082e-07,  0},
    {5.825352480e-05,  2.277823273e-04,  4.260400347e-04,  5.708634898e-04,
     6.481858044e-04,  6.556504527e-04,  6.018430357e-04,  5.033513677e-04,
     3.805608392e-04,  2.534089705e-04,  1.380292090e-04,  4.487070555e-05,
     -2.162422606e-05, -6.210102585e-05, -8.066618363e-05, -8.310584175e-05,
     -7.537119743e-05, -6.256526262e-05, -4.844635895e-05, -3.537291162e-05,
     -2.451857874e-05, -1.620709751e-05, -1.024933522e-05, -6.215770097e-06,
     -3.621477333e-06, -2.029924620e-06, -1.095887342e-06, -5.703495940e-07,
     -2.863741820e-07, -1.388094185e-07, -6.498740103e-08, 0},
};

/* Largest error 4.9e-7. */
static const double quintics[QUINTIC_POWERS][QUINTICS] = {
    {1.817794010e-08, 1.693200969e-01, 8.579955716e-02, 1.864491479e-02, 1.994275410e-03, 1.086594711e-04, 3.053407436e-06, 0},
    {4.038435043e-01, -1.849897994e-02, -9.828804809e-02, -3.524084003e-02, -5.136433442e-03, -3.522926539e-04,
     -1.190955249e-05, 0},
    {-2.601941018e-01, -1.265884145e-01, 2.147744017e-02, 2.676684556e-02, 5.946440036e-03, 5.338026894e-04, 2.198493741e-05,
     0},
    {-5.426014610e-04, 6.832291103e-02, 2.137262050e-02, -8.434518084e-03, -3.948594594e-03, -5.002144688e-04, -2.611807789e-05,
     0},
    {3.043323300e-02, -3.708147488e-04, -1.393710912e-02, -1.189167380e-03, 1.497399010e-03, 3.315226228e-04, 2.449105743e-05,
     0},
    {-3.918408253e-03, -7.220186093e-03, 1.768542223e-03, 1.779941920e-03, -2.147139115e-04, -1.410589928e-04, -1.487602647e-05,
     0},
};

static const struct segments many = {CUBICS, CUBIC_POWERS, 5.809523810, cubics[0]};
static const struct segments few = {QUINTICS, QUINTIC_POWERS, 1.238095238, quintics[0]};

static emit_value constants(struct emit *e, const double *numbers) {
  emit_value lanes[16];
  for (int i = 0; i < e->level->lanes; i++) lanes[i] = emit_f32(e, numbers[i]);
  return LLVMConstVector(lanes, (unsigned)e->level->lanes);
}

/* numbers[the low bits of index] of the segments' `count`. */
static emit_value look_up(struct emit *e, const struct segments *segments, const double *numbers, emit_value index) {
  emit_value low = constants(e, numbers);
  if (segments->count == e->level->lanes) {
    emit_value arguments[] = {low, index};
    return emit_intrinsic(e, "llvm.x86.avx2.permps", e->vector, arguments, 2);
  }
  emit_value arguments[] = {low, index, constants(e, numbers + e->level->lanes)};
  return emit_intrinsic(e, "llvm.x86.avx512.vpermi2var.ps.512", e->vector, arguments, 3);
}

/* x Phi(x) = max(x, 0) - u Phi(-u), u = |x|. */
emit_value emit_math_gelu_erf(struct emit *e, emit_value x) {
  const struct segments *segments = e->level->lanes == 16 ? &many : &few;
  int count = segments->count, power = segments->powers - 1;
  emit_value positive = emit_fmax(e, emit_splat_const(e, 0), x), scale = emit_splat_const(e, segments->scale);
  emit_value bound = emit_splat_const(e, (count - 1) / segments->scale);
  emit_value u = emit_fmin(e, bound, emit_fabs(e, x));                                      /* NaN stays */
  emit_value magic = emit_splat_const(e, 12582912), shifted = emit_fma(e, u, scale, magic); /* k in the low bits */
  emit_value d = emit_fma(e, u, scale, emit_fsub(e, magic, shifted));
  emit_value index = LLVMBuildBitCast(e->builder, shifted, e->ivector, "");
  emit_value below = look_up(e, segments, segments->numbers + power * count, index);
  while (power-- > 0) below = emit_fma(e, below, d, look_up(e, segments, segments->numbers + power * count, index));
  return emit_fsub(e, positive, below);
}
