/* Rounding with error feedback: against closed forms, against exhaustive search, and against the elimination that it is defined
 * by; then whole graphs. */
#include "calibrate/calibrate.h"
#include "calibrate/factor.h"
#include "calibrate/feedback.h"
#include "calibrate/moments.h"
#include "ir/ops.h"
#include "passes/passes.h"
#include "support/vit_graph.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double uniform(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return (double)(*state >> 8) / 0x1p23 - 1;
}

static float *random_rows(int64_t count, uint32_t seed) {
  float *x = malloc((size_t)count * sizeof *x);
  for (int64_t i = 0; i < count; i++) x[i] = (float)uniform(&seed);
  return x;
}

/* Moments of rows that are correlated: each element is near the one before it. */
static double *correlated_moments(int64_t k, uint32_t seed) {
  int64_t rows = 2 * k + 8;
  float *x = random_rows(rows * k, seed);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 1; i < k; i++) x[r * k + i] += 0.8f * x[r * k + i - 1];
  double *moments = malloc((size_t)(k * k) * sizeof *moments);
  moments_of(x, rows, k, 1, moments);
  free(x);
  return moments;
}

static double *copy_of(const double *matrix, int64_t k) {
  double *copy = malloc((size_t)(k * k) * sizeof *copy);
  memcpy(copy, matrix, (size_t)(k * k) * sizeof *copy);
  return copy;
}

Test(calibrate, moments) {
  enum { ROWS = 37, K = 200 };
  float *x = random_rows(ROWS * K, 1);
  double *one = malloc(K * K * sizeof *one), *three = malloc(K * K * sizeof *three);
  moments_of(x, ROWS, K, 1, one);
  moments_of(x, ROWS, K, 3, three);
  cr_expect_eq(memcmp(one, three, K * K * sizeof *one), 0, "another number of threads");
  for (int64_t i = 0; i < K; i++)
    for (int64_t j = 0; j < K; j++) {
      double sum = 0;
      for (int64_t r = 0; r < ROWS; r++) sum += (double)x[r * K + i] * x[r * K + j];
      cr_assert_float_eq(one[i * K + j], sum, 1e-12, "%ld, %ld", (long)i, (long)j);
    }
  free(x), free(one), free(three);
}

/* The moments of transformed rows are the transformed moments of the rows. */
Test(calibrate, transform) {
  enum { ROWS = 9, K = 24, BLOCK = 8 };
  float *x = random_rows(ROWS * K, 2), *balance = random_rows(K, 3), turned[ROWS * K];
  double moments[K * K], transformed[K * K], expected[K * K], column[K];
  for (int64_t i = 0; i < K; i++) balance[i] = 1.5f + balance[i];
  for (int64_t r = 0; r < ROWS; r++) {
    for (int64_t i = 0; i < K; i++) column[i] = (double)x[r * K + i] / ((double)balance[i] * balance[i]);
    transform_columns(column, K, 1, balance, BLOCK); /* H^T = H; balance times 1 / balance^2 divides by it */
    for (int64_t i = 0; i < K; i++) {
      double sum = 0;
      for (int64_t s = 0; s < BLOCK; s++) {
        int64_t at = i / BLOCK * BLOCK + s;
        sum += (__builtin_popcountll((unsigned long long)(s & i % BLOCK)) % 2 ? -1 : 1) * (double)x[r * K + at] / balance[at];
      }
      cr_expect_float_eq(column[i], sum, 1e-12);
      turned[r * K + i] = (float)sum;
    }
  }
  moments_of(x, ROWS, K, 1, moments);
  moments_transform(moments, K, balance, BLOCK, transformed);
  moments_of(turned, ROWS, K, 1, expected);
  for (int64_t i = 0; i < K * K; i++) cr_expect_float_eq(transformed[i], expected[i], 1e-4);
  free(x), free(balance);
}

Test(calibrate, factor) {
  static const int64_t sizes[] = {1, 2, 5, 95, 96, 97, 193, 400};
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    int64_t k = sizes[s];
    double *c = correlated_moments(k, (uint32_t)k), *one = copy_of(c, k), *three = copy_of(c, k);
    factor(one, k, 0.5, 1);
    factor(three, k, 0.5, 3);
    for (int64_t i = 0; i < k; i++)
      for (int64_t j = 0; j <= i; j++) {
        cr_assert_eq(one[i * k + j], three[i * k + j], "another number of threads");
        double sum = i == j ? one[j * k + j] : one[i * k + j] * one[j * k + j];
        for (int64_t p = 0; p < j; p++) sum += one[i * k + p] * one[p * k + p] * one[j * k + p];
        cr_assert_float_eq(sum, c[i * k + j] + (i == j ? 0.5 : 0), 1e-10 * c[i * k + i] + 1e-10, "%ld: %ld, %ld", (long)k,
                           (long)i, (long)j);
      }
    free(c), free(one), free(three);
  }
}

/* No rows at all: nothing but the damping. */
Test(calibrate, factor_of_zeros) {
  double c[9] = {0};
  factor(c, 3, 0.25, 1);
  for (int64_t i = 0; i < 3; i++)
    for (int64_t j = 0; j <= i; j++) cr_expect_eq(c[i * 3 + j], i == j ? 0.25 : 0);
}

static double *room_for(int64_t k) {
  return malloc((size_t)feedback_room(k) * sizeof(double));
}

/* Moments without correlation: every element goes to the nearest level, halves to the even one. The largest is so far above the
 * others, and its row weighs so much, that no smaller scale is worth its clipping. */
Test(calibrate, diagonal_is_plain_rounding) {
  enum { K = 100 };
  double *d = calloc(K * K, sizeof *d), b[K], *room = room_for(K);
  int8_t q[K];
  float scale;
  uint32_t seed = 5;
  for (int64_t i = 0; i < K; i++) d[i * K + i] = 1, b[i] = 20 * uniform(&seed);
  b[0] = 127, b[1] = 0.5, b[2] = 1.5, b[3] = -2.5;
  d[0] = 1e9;
  feedback_round(d, K, b, 1, room, q, &scale);
  cr_expect_eq(scale, 1.0f);
  for (int64_t i = 0; i < K; i++) cr_expect_eq(q[i], (int)nearbyint(b[i]), "row %ld: %g, %d", (long)i, b[i], q[i]);
  free(d), free(room);
}

/* Two rows: the second is rounded alone, the first makes up for rho times its error. Its weight keeps the full range. */
Test(calibrate, two_rows) {
  const double rho = 0.75;
  double m[4] = {1e12, 0, rho, 1}, *room = room_for(2), b[2] = {-127, 0};
  for (int64_t step = 0; step <= 40; step++) {
    b[1] = 10 + (double)step / 40;
    int8_t q[2];
    float scale;
    feedback_round(m, 2, b, 1, room, q, &scale);
    double below = b[1] - nearbyint(b[1]), above = nearbyint(b[0] + rho * below);
    cr_expect_eq(scale, 1.0f);
    cr_expect_eq(q[1], (int)nearbyint(b[1]), "%g: %d", b[1], q[1]);
    cr_expect_eq(q[0], (int)(above < -127 ? -127 : above), "%g: %d", b[1], q[0]);
  }
  free(room);
}

static double weighed(const double *c, int64_t k, const double *b, const int8_t *q, double scale) {
  double sum = 0;
  for (int64_t i = 0; i < k; i++)
    for (int64_t j = 0; j < k; j++) sum += (b[i] - scale * q[i]) * c[i * k + j] * (b[j] - scale * q[j]);
  return sum;
}

static double plain_error(const double *c, int64_t k, const double *b, double scale) {
  int8_t *q = malloc((size_t)k);
  for (int64_t i = 0; i < k; i++) q[i] = (int8_t)nearbyint(b[i] / scale);
  double sum = weighed(c, k, b, q, scale);
  free(q);
  return sum;
}

/* The least error with every q within 2 of plain rounding at this scale. */
static double least_error(const double *c, int64_t k, const double *b, double scale) {
  double least = INFINITY;
  int64_t choices = 1;
  for (int64_t i = 0; i < k; i++) choices *= 5;
  for (int64_t choice = 0; choice < choices; choice++) {
    int8_t q[8];
    int64_t rest = choice;
    for (int64_t i = 0; i < k; i++, rest /= 5)
      q[i] = (int8_t)fmax(-127, fmin(127, nearbyint(b[i] / scale) + (double)(rest % 5) - 2));
    least = fmin(least, weighed(c, k, b, q, scale));
  }
  return least;
}

/* Never better than the best there is, most often the same, and over many columns much better than plain rounding. */
Test(calibrate, exhaustive) {
  enum { K = 4, COLUMNS = 40 };
  double plain = 0, found = 0, *room = room_for(K);
  int same = 0;
  for (uint32_t column = 0; column < COLUMNS; column++) {
    double *c = correlated_moments(K, column), *f, b[K], largest = 0;
    for (int64_t i = 0; i < K; i++) c[i * K + i] += 0.1;
    f = copy_of(c, K);
    factor(f, K, 1e-12, 1);
    uint32_t seed = column + 77;
    for (int64_t i = 0; i < K; i++) b[i] = uniform(&seed), largest = fmax(largest, fabs(b[i]));
    int8_t q[K];
    float scale;
    feedback_round(f, K, b, 1, room, q, &scale);
    double error = weighed(c, K, b, q, (double)scale), least = least_error(c, K, b, (double)scale);
    cr_expect_geq(error, least * (1 - 1e-6), "column %u", column);
    same += error <= least * (1 + 1e-6);
    found += error, plain += plain_error(c, K, b, (double)(float)(largest / 127));
    free(c), free(f);
  }
  cr_expect_geq(same, COLUMNS / 2, "%d of %d columns are the best", same, COLUMNS);
  cr_expect_leq(found, plain * 0.75, "%g, plain rounding %g", found, plain);
  free(room);
}

/* The definition: round the last element, let all others take its error by the inverse of C, eliminate it, and so on. */
static void eliminate(const double *c, int64_t k, const double *b, double scale, int8_t *q) {
  double *inverse = calloc((size_t)(k * k), sizeof *inverse), *a = copy_of(c, k), *rest = malloc((size_t)k * sizeof *rest);
  for (int64_t i = 0; i < k; i++) inverse[i * k + i] = 1, rest[i] = b[i];
  for (int64_t p = 0; p < k; p++) /* Gauss and Jordan's; C is positive, so no pivot is searched */
    for (int64_t i = 0; i < k; i++) {
      if (i == p) continue;
      double factor_of = a[i * k + p] / a[p * k + p];
      for (int64_t j = 0; j < k; j++) {
        a[i * k + j] -= factor_of * a[p * k + j];
        inverse[i * k + j] -= factor_of * inverse[p * k + j];
      }
    }
  for (int64_t i = 0; i < k; i++)
    for (int64_t j = 0; j < k; j++) inverse[i * k + j] /= a[i * k + i];
  for (int64_t p = k - 1; p >= 0; p--) {
    q[p] = (int8_t)fmax(-127, fmin(127, nearbyint(rest[p] / scale)));
    double error = (rest[p] - scale * q[p]) / inverse[p * k + p];
    for (int64_t i = 0; i < p; i++) rest[i] -= error * inverse[i * k + p];
    for (int64_t i = 0; i < p; i++)
      for (int64_t j = 0; j < p; j++) inverse[i * k + j] -= inverse[i * k + p] * inverse[p * k + j] / inverse[p * k + p];
  }
  free(inverse), free(a), free(rest);
}

Test(calibrate, elimination) {
  enum { K = 150, COLUMNS = 7 };
  double *c = correlated_moments(K, 9), *f, *b = malloc(K * COLUMNS * sizeof *b), *room = room_for(K);
  int8_t q[K * COLUMNS], expected[K];
  float scale[COLUMNS];
  uint32_t seed = 10;
  for (int64_t i = 0; i < K; i++) c[i * K + i] += 1;
  for (int64_t i = 0; i < K * COLUMNS; i++) b[i] = uniform(&seed) + uniform(&seed);
  f = copy_of(c, K);
  factor(f, K, 1e-9, 1);
  feedback_round(f, K, b, COLUMNS, room, q, scale);
  for (int64_t j = 0; j < COLUMNS; j++) {
    double column[K], largest = 0;
    int8_t found[K];
    for (int64_t i = 0; i < K; i++) column[i] = b[i * COLUMNS + j], found[i] = q[i * COLUMNS + j];
    for (int64_t i = 0; i < K; i++) largest = fmax(largest, fabs(column[i]));
    eliminate(c, K, column, (double)scale[j], expected);
    cr_expect_eq(memcmp(found, expected, K), 0, "column %ld", (long)j);
    cr_expect_leq(weighed(c, K, column, found, (double)scale[j]),
                  plain_error(c, K, column, (double)(float)(largest / 127)) * 0.7, "column %ld", (long)j);
  }
  free(c), free(f), free(b), free(room);
}

Test(calibrate, zeros) {
  double m[16] = {0}, b[8] = {0}, *room = room_for(4);
  int8_t q[8];
  float scale[2];
  for (int64_t i = 0; i < 4; i++) m[i * 4 + i] = 1, b[i * 2] = 1e-38;
  feedback_round(m, 4, b, 2, room, q, scale);
  for (int64_t i = 0; i < 8; i++) cr_expect_eq(q[i], 0);
  cr_expect_eq(scale[0], 0.0f);
  cr_expect_eq(scale[1], 0.0f);
  free(room);
}

/* ---- whole graphs */

struct model {
  struct arena arena;
  struct diag diag;
  struct graph graph;
  struct plan plan;
};

static void open_model(struct model *m, const struct vit_form *form, bool fused) {
  static const char *const disabled[] = {"fuse_layer_norm"};
  const struct pass_options passes = {.disabled = disabled, .disabled_count = fused ? 0 : 1};
  const struct plan_options options = {.batch_max = 1, .precision = PRECISION_INT8};
  memset(m, 0, sizeof *m);
  arena_init(&m->arena);
  make_vit_graph(&m->graph, &m->arena, &m->diag, form);
  cr_assert_eq(run_passes(&m->graph, &passes), STATUS_OK, "%s", m->diag.message);
  cr_assert_eq(plan_graph(&m->graph, &options, &m->arena, &m->plan), STATUS_OK, "%s", m->diag.message);
}

static const struct vit_form FORM = {
    .height = 48, .width = 48, .patch = 8, .dim = 96, .heads = 3, .hidden = 200, .depth = 2, .classes = 10, .seed = 4};

Test(calibrate, graph) {
  enum { BATCH = 3 };
  struct model fused, plain;
  struct calibration found[2];
  open_model(&fused, &FORM, true);
  open_model(&plain, &FORM, false);
  float *pixels = random_rows(BATCH * 3 * 48 * 48, 6);
  const void *inputs[] = {pixels};
  for (int i = 0; i < 2; i++) {
    const struct calibration_input input = {
        .graph = &plain.graph, .plan = &fused.plan, .batch = BATCH, .inputs = inputs, .threads = i == 0 ? 1 : 3};
    cr_assert_eq(calibrate(&input, &fused.arena, &found[i], &fused.diag), STATUS_OK, "%s", fused.diag.message);
  }
  cr_assert_geq(found[0].count, 2 * 4);
  calibration_apply(&found[0], &fused.plan);
  int applied = 0;
  for (int i = 0; i < fused.plan.packed_count; i++) {
    const struct packed *packed = &fused.plan.packed[i];
    if (packed->quantized == NULL) continue;
    int64_t padded = (packed->k + 3) / 4 * 4, panels = (packed->n + 15) / 16, steps = 0;
    for (int64_t at = 0; at < padded * panels * 16; at++) steps += abs(packed->quantized->q[at]);
    cr_expect_gt(steps, 10 * packed->k * packed->n, "%s has weights", packed->value->name);
    applied++;
  }
  cr_expect_eq(applied, found[0].count);
  for (int i = 0; i < found[0].count; i++) {
    const struct packed *packed = NULL;
    for (int s = 0; s < fused.plan.step_count; s++)
      if (strcmp(fused.plan.steps[s].node->outputs[0]->name, found[0].products[i].result) == 0)
        packed = &fused.plan.packed[fused.plan.steps[s].inputs[1].index];
    cr_assert_not_null(packed);
    size_t bytes = (size_t)((packed->k + 3) / 4 * 4 * ((packed->n + 15) / 16 * 16));
    cr_expect_eq(memcmp(found[0].products[i].weights.q, found[1].products[i].weights.q, bytes), 0, "threads");
  }
  free(pixels);
  arena_deinit(&fused.arena), arena_deinit(&plain.arena);
}

Test(calibrate, pixels_that_are_not_finite) {
  struct model fused, plain;
  struct calibration found;
  open_model(&fused, &FORM, true);
  open_model(&plain, &FORM, false);
  float *pixels = random_rows(3 * 48 * 48, 6);
  pixels[77] = INFINITY;
  const void *inputs[] = {pixels};
  const struct calibration_input input = {
      .graph = &plain.graph, .plan = &fused.plan, .batch = 1, .inputs = inputs, .threads = 1};
  cr_expect_eq(calibrate(&input, &fused.arena, &found, &fused.diag), STATUS_INPUT);
  cr_expect_not_null(strstr(fused.diag.message, "is not finite on the images"), "%s", fused.diag.message);
  free(pixels);
  arena_deinit(&fused.arena), arena_deinit(&plain.arena);
}
