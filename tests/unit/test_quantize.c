/* Weights to s8 against the definition in double precision, and closed forms. */
#include "plan/pack.h"
#include "plan/quantize.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PANEL = QUANTIZE_PANEL };

struct result {
  int8_t *q;
  float *scale, *work;
  int32_t *sum;
};

static struct result quantize(const struct quantize_matrix *matrix, int64_t column) {
  size_t rows = (size_t)(matrix->k + 3) / 4 * 4, groups = (size_t)quantize_groups(matrix->k, matrix->group);
  struct result r = {.q = malloc(rows * PANEL), .scale = malloc(groups * PANEL * sizeof *r.scale)};
  r.work = malloc(rows * PANEL * sizeof *r.work);
  r.sum = malloc(groups * PANEL * sizeof *r.sum);
  memset(r.q, 99, rows * PANEL);
  quantize_panel(matrix, column, r.work, r.q, r.scale, r.sum);
  return r;
}

static void result_deinit(struct result *r) {
  free(r->q), free(r->scale), free(r->work), free(r->sum);
}

static int8_t q_at(const struct result *r, int64_t i, int64_t j) {
  return r->q[(i / 4 * PANEL + j) * 4 + i % 4];
}

static float *random_floats(int64_t count, unsigned seed, double low, double high) {
  float *x = malloc((size_t)count * sizeof *x);
  uint32_t state = seed * 2654435761u + 1;
  for (int64_t i = 0; i < count; i++) {
    state = state * 1664525u + 1013904223u;
    x[i] = (float)(low + (high - low) * (state >> 8) / 0x1p24);
  }
  return x;
}

static float *transposed_of(const float *b, int64_t k, int64_t n) {
  float *t = malloc((size_t)(k * n) * sizeof *t);
  for (int64_t i = 0; i < k; i++)
    for (int64_t j = 0; j < n; j++) t[j * k + i] = b[i * n + j];
  return t;
}

static double hadamard_sign(int64_t i, int64_t j) {
  return __builtin_popcountll((unsigned long long)(i & j)) % 2 ? -1 : 1;
}

/* Row i of H^T @ (balance * B) at column j, by its definition. */
static double transformed(const struct quantize_matrix *m, int64_t i, int64_t j) {
  int64_t block = m->hadamard ? quantize_block(m->k) : 1, first = i / block * block;
  double sum = 0;
  for (int64_t r = first; r < first + block; r++)
    sum += hadamard_sign(r - first, i - first) * m->b[r * m->n + j] * (m->balance ? m->balance[r] : 1);
  return sum;
}

Test(quantize, block) {
  static const int64_t expected[][2] = {{1, 1},     {2, 2},     {6, 2},      {100, 4},    {192, 64},  {333, 1},
                                        {384, 128}, {768, 128}, {1280, 128}, {1536, 128}, {4096, 128}};
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
    cr_expect_eq(quantize_block(expected[i][0]), expected[i][1], "%ld", (long)expected[i][0]);
}

/* With a largest value of 127 the scale is 1: halves go to even, and the bytes are in words of four rows. */
Test(quantize, rounds_to_nearest_even) {
  const float column[] = {127, -63.5f, 0.5f, 1.5f, -2.5f, 2.49f, -127};
  const int8_t expected[] = {127, -64, 0, 2, -2, 2, -127, 0};
  struct quantize_matrix m = {.b = column, .k = 7, .n = 1};
  struct result r = quantize(&m, 0);
  for (int64_t i = 0; i < 8; i++) cr_expect_eq(q_at(&r, i, 0), expected[i], "row %ld: %d", (long)i, q_at(&r, i, 0));
  for (int64_t i = 0; i < 8; i++)
    for (int64_t j = 1; j < PANEL; j++) cr_expect_eq(q_at(&r, i, j), 0);
  cr_expect_eq(r.scale[0], 1.0f);
  cr_expect_eq(r.scale[1], 0.0f);
  cr_expect_eq(r.sum[0], 127 - 64 + 2 - 2 + 2 - 127);
  result_deinit(&r);
}

/* A column of ones becomes the first row of each block alone: block * q * scale is the sum of a block. */
Test(quantize, hadamard_of_constant) {
  float column[384];
  for (int i = 0; i < 384; i++) column[i] = i < 128 ? 0.5f : -0.25f;
  struct quantize_matrix m = {.b = column, .k = 384, .n = 1, .hadamard = true};
  struct result r = quantize(&m, 0);
  /* 64 / 127 is 1.0079 / 2: 1 + 1 / 64 with the 7 bits of mantissa that a sum of 17 bits leaves. */
  cr_expect_eq(r.scale[0], (1 + 2 / 128.0f) / 2 / 128);
  for (int64_t i = 0; i < 384; i++) cr_expect_eq(q_at(&r, i, 0), i == 0 ? 126 : i % 128 == 0 ? -63 : 0, "row %ld", (long)i);
  result_deinit(&r);
}

/* The least number above with fewer bits of mantissa: 32 less those that the largest sum takes, and an exponent's 8. */
static void check_scale(double scale, double exact, int64_t rows) {
  int sum_bits = (int)ceil(log2((double)(2 * 127 * rows + 1))), exponent;
  double step = ldexp(1, -(32 - sum_bits - 8)), mantissa = frexp(scale, &exponent) * 2;
  cr_expect(scale >= exact * (1 - 1e-6) && scale <= exact * (1 + step) * (1 + 1e-6), "%ld rows: %g for %g", (long)rows, scale,
            exact);
  cr_expect(scale == 0 || fmod(mantissa - 1, step) == 0, "%ld rows: %g has too many bits", (long)rows, scale);
}

static void check_panel(const struct quantize_matrix *m, int64_t column, const struct result *r) {
  double block = (double)(m->hadamard ? quantize_block(m->k) : 1);
  int64_t group = m->group ? m->group : m->k;
  for (int64_t j = 0; j < PANEL; j++) {
    for (int64_t begin = 0, g = 0; begin < m->k; begin += group, g++) {
      int64_t end = begin + group < m->k ? begin + group : m->k, sum = 0;
      double largest = 0, scale = r->scale[g * PANEL + j];
      for (int64_t i = begin; i < end; i++) {
        double exact = column + j < m->n ? transformed(m, i, column + j) : 0;
        largest = fmax(largest, fabs(exact));
        sum += q_at(r, i, j);
        cr_expect_leq(fabs(exact - q_at(r, i, j) * scale * block), scale * block * 0.501, "k %ld row %ld column %ld: %g",
                      (long)m->k, (long)i, (long)(column + j), exact);
      }
      check_scale(scale * block, largest / 127, group < m->k ? group : m->k);
      cr_expect_eq(r->sum[g * PANEL + j], sum);
    }
  }
}

static void check_matrix(int64_t k, int64_t n, int64_t group, bool hadamard, bool balanced) {
  float *b = random_floats(k * n, (unsigned)k, -1, 1), *balance = random_floats(k, 7, 0.25, 4), *t = transposed_of(b, k, n);
  struct quantize_matrix m = {.b = b, .k = k, .n = n, .hadamard = hadamard, .group = group};
  if (balanced) m.balance = balance;
  struct quantize_matrix mt = m;
  mt.b = t, mt.transposed = true;
  size_t groups = (size_t)quantize_groups(k, group);
  for (int64_t column = 0; column < n; column += PANEL) {
    struct result r = quantize(&m, column), rt = quantize(&mt, column);
    check_panel(&m, column, &r);
    for (int64_t i = k; i < (k + 3) / 4 * 4; i++)
      for (int64_t j = 0; j < PANEL; j++) cr_expect_eq(q_at(&r, i, j), 0, "past k");
    cr_expect_eq(memcmp(r.q, rt.q, (size_t)((k + 3) / 4 * 4 * PANEL)), 0, "transposed");
    cr_expect_eq(memcmp(r.scale, rt.scale, groups * PANEL * sizeof *r.scale), 0, "transposed");
    cr_expect_eq(memcmp(r.sum, rt.sum, groups * PANEL * sizeof *r.sum), 0, "transposed");
    result_deinit(&r), result_deinit(&rt);
  }
  free(b), free(balance), free(t);
}

Test(quantize, matrices) {
  static const int64_t lengths[] = {1, 2, 3, 4, 6, 8, 12, 31, 64, 96, 100, 130, 192, 333, 384, 640};
  static const int64_t groups[] = {0, 4, 128, 1024};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
      for (int way = 0; way < 4; way++) check_matrix(lengths[i], 21, groups[g], way & 1, way & 2);
  check_matrix(4096, 16, 0, true, true);
}

/* x @ B from the transformed x and the s8: the errors of rounding, not of the transform. */
Test(quantize, product) {
  enum { K = 384, N = 16 };
  float *b = random_floats(K * N, 3, -1, 1), *balance = random_floats(K, 4, 0.1, 6), *x = random_floats(K, 5, -2, 2);
  b[5 * N + 2] = 40; /* an outlier among the weights, and one in x */
  x[77] = 100;
  struct quantize_matrix m = {.b = b, .k = K, .n = N, .hadamard = true, .balance = balance};
  struct result r = quantize(&m, 0);
  for (int64_t j = 0; j < N; j++) {
    double exact = 0, product = 0, squares = 0;
    for (int64_t i = 0; i < K; i++) {
      double turned = 0;
      for (int64_t s = 0; s < 128; s++) turned += hadamard_sign(s, i % 128) * x[i / 128 * 128 + s] / balance[i / 128 * 128 + s];
      exact += (double)x[i] * b[i * N + j];
      product += turned * q_at(&r, i, j) * r.scale[j];
      squares += turned * turned;
    }
    /* errors of up to half a step, even ones, add as squares: four standard deviations */
    cr_expect_float_eq(product, exact, 4 * r.scale[j] * sqrt(squares / 12), "column %ld: %g, %g", (long)j, product, exact);
  }
  result_deinit(&r);
  free(b), free(balance), free(x);
}

Test(quantize, scale_and_sum) {
  cr_expect_eq(quantize_sum_bits(1), 8);
  cr_expect_eq(quantize_sum_bits(258), 16); /* 32,766 */
  cr_expect_eq(quantize_sum_bits(259), 17);
  cr_expect_eq(quantize_sum_bits(QUANTIZE_ROWS_MAX), 24);
  cr_expect_eq(quantize_scale(1, 3072), 1.0f);
  cr_expect_eq(quantize_scale(1.0001f, 3072), 1.0625f);
  cr_expect_eq(quantize_scale(1.97f, 3072), 2.0f);
  cr_expect(isinf(quantize_scale(NAN, 3072)) && isinf(quantize_scale(INFINITY, 3072)));
  cr_expect_eq(pack_scale_and_sum(1.0625f, -3, 20), 0x7f100000u | 0xffffd);
  cr_expect_eq(pack_scale_and_sum(0, 390144, 20), 390144u);
  cr_expect_eq(pack_scale_of(pack_scale_and_sum(1.0625f, -3, 20), 20), 1.0625f);
}

Test(quantize, values_without_scale) {
  enum { K = 8, N = 6 };
  float b[K * N] = {0};
  b[0] = NAN, b[N + 1] = INFINITY, b[2 * N + 2] = -INFINITY, b[3 * N + 3] = 1e-40f, b[5] = FLT_MAX;
  for (int64_t i = 0; i < K; i++)
    for (int64_t j = 0; j < 3; j++)
      if (b[i * N + j] == 0) b[i * N + j] = 3;
  struct quantize_matrix m = {.b = b, .k = K, .n = N};
  struct result r = quantize(&m, 0);
  for (int64_t j = 0; j < 3; j++) cr_expect_not(isfinite(r.scale[j]), "column %ld", (long)j);
  cr_expect_eq(r.scale[3], 0.0f);
  cr_expect_eq(r.scale[4], 0.0f);
  cr_expect(isfinite(r.scale[5]));
  for (int64_t i = 0; i < K; i++)
    for (int64_t j = 0; j < N; j++) cr_expect_eq(q_at(&r, i, j), i == 0 && j == 5 ? 127 : 0);
  for (int64_t j = 0; j < N; j++) cr_expect_eq(r.sum[j], j == 5 ? 127 : 0);
  result_deinit(&r);
}

Test(quantize, squares) {
  enum { K = 50, N = 37 };
  float *b = random_floats(K * N, 9, -1, 1), *t = transposed_of(b, K, N), rows[K] = {0}, columns[K] = {0};
  quantize_add_squares(&(struct quantize_matrix){.b = b, .k = K, .n = N}, rows);
  for (int twice = 0; twice < 2; twice++)
    quantize_add_squares(&(struct quantize_matrix){.b = t, .k = K, .n = N, .transposed = true}, columns);
  for (int64_t i = 0; i < K; i++) {
    double sum = 0;
    for (int64_t j = 0; j < N; j++) sum += (double)b[i * N + j] * b[i * N + j];
    cr_expect_float_eq(rows[i], sum, 1e-5 * sum);
    cr_expect_float_eq(columns[i], 2 * sum, 1e-5 * sum);
  }
  free(b), free(t);
}

Test(quantize, balance) {
  /* x and rows of B of sizes 4 and 1, 5 and 5 (gain 3, bias 4), 1 and 16 */
  const float gain[] = {4, 3, 1}, bias[] = {0, 4, 0}, squares[] = {10 * 1, 10 * 25, 10 * 256};
  float balance[3];
  quantize_balance(gain, bias, squares, 3, 10, balance);
  cr_expect_eq(balance[0], 2.0f);
  cr_expect_eq(balance[1], 1.0f);
  cr_expect_eq(balance[2], 0.25f);
  quantize_balance(gain, NULL, squares, 2, 10, balance);
  cr_expect_float_eq(balance[1], sqrtf(0.6f), 1e-6);
}

/* Whatever the sizes, a balance is a positive number near the others. */
Test(quantize, balance_of_dead_channels) {
  enum { K = 40 };
  float gain[K], bias[K] = {0}, squares[K], balance[K];
  for (int64_t i = 0; i < K; i++) gain[i] = 1, squares[i] = 1;
  gain[1] = 0;
  squares[2] = 0;
  gain[3] = 1e12f;
  squares[4] = 1e-30f;
  squares[5] = INFINITY;
  squares[6] = NAN;
  gain[7] = NAN;
  bias[8] = -INFINITY;
  quantize_balance(gain, bias, squares, K, 1, balance);
  float low = FLT_MAX, high = 0;
  for (int64_t i = 0; i < K; i++) {
    cr_expect(isfinite(balance[i]) && balance[i] > 0, "channel %ld: %g", (long)i, balance[i]);
    low = fminf(low, balance[i]), high = fmaxf(high, balance[i]);
  }
  cr_expect_leq(high, low * 257);
  memset(gain, 0, sizeof gain);
  quantize_balance(gain, NULL, squares, K, 1, balance);
  for (int64_t i = 0; i < K; i++) cr_expect(isfinite(balance[i]) && balance[i] > 0);
}
