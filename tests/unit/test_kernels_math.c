/* Vector mathematics against libm in double precision, over every exponent. */
#include "llvm/emit_math.h"
#include "llvm/kernels.h"
#include "support/jit.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void map_function(const float *, float *, int64_t);

enum { COUNT = 1 << 20 };

struct sample {
  float *x, *y;
};

/* A kernel that maps `count` elements (a multiple of 16) through one stage; OP_pow stands for 2^x, approximate for bf16. */
static map_function *map_kernel(struct jit *jit, enum op op, int approximate, bool rough) {
  struct emit *e = &jit->emit;
  LLVMTypeRef types[] = {e->pointer, e->pointer, e->i64};
  struct stage stage = {.op = op, .approximate = approximate, .rough = rough};
  emit_value function = emit_function_begin(e, "map", e->void_type, types, 3);
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, 0), emit_parameter(e, 2), e->level->lanes, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_value x = emit_load_vector(e, emit_at(e, emit_parameter(e, 0), loop.index), e->level->lanes);
  emit_value y = op != OP_pow  ? emit_stage(e, &stage, x, NULL)
                 : approximate ? emit_math_exp2_rough(e, x)
                               : emit_math_exp2(e, x);
  emit_store_vector(e, y, emit_at(e, emit_parameter(e, 1), loop.index), e->level->lanes);
  emit_loop_end(e, &loop, NULL);
  emit_function_end(e);
  return (map_function *)jit_address(jit, function);
}

/* Every 4096th bit pattern, so that all exponents, signs, infinities and NaNs are there. */
static void fill_patterns(float *x) {
  for (uint32_t i = 0; i < COUNT; i++) {
    uint32_t bits = i << 12 | (i * 2654435761u >> 20);
    memcpy(&x[i], &bits, sizeof bits);
  }
}

static double exact_gelu(double x) {
  return x < -40 ? -0.0 : x * erfc(-x / M_SQRT2) / 2;
}
static double exact_gelu_tanh(double x) {
  return x < -40 ? -0.0 : x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
static double exact_sigmoid(double x) {
  return 1 / (1 + exp(-x));
}

struct bound {
  double relative, absolute; /* one of them must hold */
};

static void check_one(float x, float got, double want, struct bound bound, const char *what) {
  if (isnan(want)) {
    cr_assert(isnan(got), "%s: NaN became %g", what, (double)got);
    return;
  }
  if (fabs(want) > (double)FLT_MAX) {
    cr_assert(isinf(got) && signbit(got) == signbit(want), "%s(%.9g) is %.9g, not infinite", what, (double)x, (double)got);
    return;
  }
  double error = fabs((double)got - want);
  cr_assert(error <= bound.absolute || error <= bound.relative * fabs(want), "%s(%.9g) is %.9g, not %.9g", what, (double)x,
            (double)got, want);
}

static void sweep_form(enum op op, int approximate, bool rough, double (*exact)(double), struct bound bound, const char *what) {
  float *x = malloc(COUNT * sizeof *x), *y = malloc(COUNT * sizeof *y);
  uint32_t seed = 1;
  int levels = 0;
  for (int l = 0; l < LEVEL_COUNT; l++) {
    if (!jit_runs(&target_levels[l])) continue;
    levels++;
    struct jit jit;
    jit_init(&jit, &target_levels[l]);
    map_function *map = map_kernel(&jit, op, approximate, rough);
    double worst_absolute = 0, worst_relative = 0;
    for (int pass = 0; pass < 3; pass++) {
      if (pass == 0)
        fill_patterns(x);
      else
        for (int i = 0; i < COUNT; i++) x[i] = next_random(&seed) * (pass == 1 ? 6 : 100);
      map(x, y, COUNT);
      for (int i = 0; i < COUNT; i++) {
        double want = exact((double)x[i]), error = fabs((double)y[i] - want);
        check_one(x[i], y[i], want, bound, what);
        if (!isfinite(want) || fabs(want) > (double)FLT_MAX) continue;
        worst_absolute = fmax(worst_absolute, error);
        if (fabs(want) > (double)FLT_MIN) worst_relative = fmax(worst_relative, error / fabs(want));
      }
    }
    fprintf(stderr, "%s %s: largest error %.2e absolute, %.2e relative\n", what, target_levels[l].name, worst_absolute,
            worst_relative);
    jit_deinit(&jit);
  }
  cr_assert(levels > 0);
  free(x);
  free(y);
}

static void sweep(enum op op, int approximate, double (*exact)(double), struct bound bound, const char *what) {
  sweep_form(op, approximate, false, exact, bound, what);
}

Test(kernels_math, exp) {
  sweep(OP_exp, 0, exp, (struct bound){2.4e-7, 2e-45}, "exp");
}
Test(kernels_math, erf) {
  sweep(OP_erf, 0, erf, (struct bound){0, 3e-7}, "erf");
}
Test(kernels_math, tanh) {
  sweep(OP_tanh, 0, tanh, (struct bound){2.4e-7, 2e-45}, "tanh");
}
Test(kernels_math, sigmoid) {
  sweep(OP_sigmoid, 0, exact_sigmoid, (struct bound){2.4e-7, (double)FLT_MIN}, "sigmoid");
}
Test(kernels_math, sigmoid_rough) {
  sweep_form(OP_sigmoid, 0, true, exact_sigmoid, (struct bound){2.4e-7, 2e-5}, "rough sigmoid");
}
Test(kernels_math, gelu) {
  sweep(OP_gelu, 0, exact_gelu, (struct bound){2.4e-7, 6e-7}, "gelu");
}
Test(kernels_math, gelu_tanh) {
  sweep(OP_gelu, 1, exact_gelu_tanh, (struct bound){2.4e-7, 6e-7}, "gelu_tanh");
}
Test(kernels_math, gelu_rough) {
  sweep_form(OP_gelu, 0, true, exact_gelu, (struct bound){2.4e-7, 1e-4}, "rough gelu");
  sweep_form(OP_gelu, 1, true, exact_gelu_tanh, (struct bound){2.4e-7, 1e-4}, "rough gelu_tanh");
}

static double exact_exp2(double x) {
  return x < -125 ? 0 : x > 127 ? NAN : exp2(x);
}

/* Softmax's exponents are at most 0; the sweep's patterns are folded to that side. */
static void sweep_exp2(int for_bf16, struct bound bound) {
  float *x = malloc(COUNT * sizeof *x), *y = malloc(COUNT * sizeof *y);
  for (int l = 0; l < LEVEL_COUNT; l++) {
    if (!jit_runs(&target_levels[l]) || (for_bf16 && !target_levels[l].dot_bf16)) continue;
    struct jit jit;
    jit_init(&jit, &target_levels[l]);
    map_function *map = map_kernel(&jit, OP_pow, for_bf16, false);
    uint32_t seed = 1;
    for (int pass = 0; pass < 2; pass++) {
      fill_patterns(x);
      for (int i = 0; i < COUNT; i++) x[i] = pass == 0 ? -fabsf(x[i]) : next_random(&seed) * 126;
      map(x, y, COUNT);
      for (int i = 0; i < COUNT; i++) check_one(x[i], y[i], exact_exp2((double)x[i]), bound, target_levels[l].name);
    }
    jit_deinit(&jit);
  }
  free(x);
  free(y);
}

Test(kernels_math, exp2) {
  sweep_exp2(0, (struct bound){2.5e-7, 2.4e-38});
}
Test(kernels_math, exp2_for_bf16) {
  sweep_exp2(1, (struct bound){7.6e-5, 2.4e-38});
}
