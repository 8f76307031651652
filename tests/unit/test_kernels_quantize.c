/* Rows that become operand rows of int8, against the definition in double precision. */
#include "llvm/kernels.h"
#include "support/amx_model.h"
#include "support/bf16.h"
#include "support/jit.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef void rows_function(const float *, void *, const void *const *, int64_t, int64_t, int64_t);

struct problem {
  struct rows_desc desc;
  float *x, *scale, *bias;
  float *narrow; /* with x_operand: x's numbers, which bf16 has, as operand rows of bf16 */
};

static struct problem shape(int64_t rows, int64_t columns, int64_t group, bool transformed) {
  struct problem p;
  memset(&p, 0, sizeof p);
  struct rows_desc *d = &p.desc;
  d->op = OP_identity;
  d->to = PRECISION_INT8;
  d->group = group;
  d->hadamard = transformed ? pack_hadamard(columns) : 0;
  d->rows = rows;
  d->columns = columns;
  d->x_row_stride = columns;
  d->x_image_stride = rows * columns;
  d->y_row_stride = pack_padded_k(PRECISION_INT8, columns) + 16;
  d->y_image_stride = rows * d->y_row_stride;
  uint32_t seed = (uint32_t)(rows * 31 + columns);
  p.x = guarded_floats((size_t)(rows * columns), 0);
  for (int64_t i = 0; i < rows * columns; i++) p.x[i] = next_random(&seed) * (i % 7 == 0 ? 9.0f : 1.0f) + 0.25f;
  return p;
}

/* The last row ends where its bf16 do. */
static size_t narrow_count(const struct problem *p) {
  return (size_t)((p->desc.rows - 1) * p->desc.x_row_stride + p->desc.columns / 2);
}

/* From here on x is what bf16 has of it, and given so where a level reads bf16. */
static void make_narrow(struct problem *p) {
  const struct rows_desc *d = &p->desc;
  p->desc.x_operand = 1;
  p->narrow = guarded_floats(narrow_count(p), 0);
  for (int64_t row = 0; row < d->rows; row++)
    for (int64_t k = 0; k < d->columns; k++) {
      float *x = &p->x[row * d->x_row_stride + k];
      uint16_t rounded = to_bf16(*x);
      *x = from_bf16(rounded);
      memcpy((char *)(p->narrow + row * d->x_row_stride) + 2 * k, &rounded, sizeof rounded);
    }
}

static void destroy(struct problem *p) {
  guarded_free(p->x, (size_t)(p->desc.rows * p->desc.columns));
  if (p->narrow != NULL) guarded_free(p->narrow, narrow_count(p));
  if (p->scale != NULL) guarded_free(p->scale, (size_t)p->desc.columns);
  if (p->bias != NULL) guarded_free(p->bias, (size_t)p->desc.columns);
}

/* The row before it is quantised: normalised, and times the matrix whose entry (i, j) is -1 where i & j has an odd number of
 * bits. */
static void wanted_row(const struct problem *p, int64_t row, double *out) {
  const struct rows_desc *d = &p->desc;
  const float *x = p->x + row * d->x_row_stride;
  int64_t columns = d->columns, block = d->hadamard > 0 ? d->hadamard : 1;
  double *plain = malloc((size_t)columns * sizeof *plain), mean = 0, variance = 0;
  for (int64_t k = 0; k < columns; k++) mean += (double)x[k] / (double)columns;
  for (int64_t k = 0; k < columns; k++) variance += ((double)x[k] - mean) * ((double)x[k] - mean) / (double)columns;
  for (int64_t k = 0; k < columns; k++) {
    plain[k] = (double)x[k];
    if (d->op != OP_identity)
      plain[k] = ((double)x[k] - mean) / sqrt(variance + (double)d->epsilon) * (double)p->scale[k] + (double)p->bias[k];
  }
  for (int64_t k = 0; k < columns; k++) {
    out[k] = 0;
    for (int64_t i = 0; i < block; i++)
      out[k] += plain[k / block * block + i] * (__builtin_popcountll((unsigned long long)(i & (k % block))) % 2 == 0 ? 1 : -1);
  }
  free(plain);
}

static int operand_u8(const struct target_level *level, const float *row, int64_t k) {
  const uint8_t *bytes = (const uint8_t *)row;
  if (level->dot_int8) return bytes[k];
  uint16_t wide;
  memcpy(&wide, bytes + 2 * (k / 4 * 4 + k % 2 * 2 + k % 4 / 2), sizeof wide);
  return wide;
}

/* The group's table is its smallest element and its range over 255; each element is the nearest step. */
static void check_group(const struct problem *p, const struct target_level *level, const float *got, const double *want,
                        int64_t begin, int64_t end) {
  const float *table = got + operand_tables(level, p->desc.columns) + (p->desc.group > 0 ? begin / p->desc.group * 2 : 0);
  double low = INFINITY, high = -INFINITY, size = 0;
  for (int64_t k = begin; k < end; k++) {
    low = fmin(low, want[k]);
    high = fmax(high, want[k]);
    size = fmax(size, fabs(want[k]));
  }
  double step = (high - low) / 255, slack = 1e-5 * size;
  cr_assert(fabs((double)table[0] - step) <= slack / 255 + FLT_MIN && fabs((double)table[1] + low) <= slack,
            "%s, %d columns: scale %g offset %g, not %g and %g", level->name, (int)p->desc.columns, (double)table[0],
            (double)table[1], step, -low);
  for (int64_t k = begin; k < end; k++) {
    int u8 = operand_u8(level, got, k);
    cr_assert(u8 >= 0 && u8 <= 255, "%s: element %d is %d", level->name, (int)k, u8);
    double x = (double)table[0] * u8 - (double)table[1];
    cr_assert(fabs(x - want[k]) <= step / 2 + slack, "%s, %d columns: element %d is %g, not %g within %g", level->name,
              (int)p->desc.columns, (int)k, x, want[k], step / 2);
  }
}

static void run_level(const struct problem *p, const struct target_level *level, bool model, float *y, size_t count) {
  const struct rows_desc *d = &p->desc;
  struct jit jit;
  jit_init(&jit, level);
  jit.emit.tile_model = model;
  rows_function *run = (rows_function *)jit_address(&jit, emit_rows(&jit.emit, d));
  const void *operands[] = {p->scale, p->bias};
  const float *x = d->x_operand && level->dot_bf16 ? p->narrow : p->x;
  memset(y, 0xee, count * sizeof *y);
  run(x, y, operands, 1, 0, d->rows);
  float *whole = malloc(count * sizeof *y);
  memcpy(whole, y, count * sizeof *y);
  memset(y, 0xee, count * sizeof *y);
  for (int64_t row = d->rows - 1; row >= 0; row--) run(x, y, operands, 1, row, row + 1);
  cr_assert(memcmp(whole, y, count * sizeof *y) == 0, "%s: other bits row by row", level->name);
  free(whole);
  kernels_free(&jit.emit);
  jit_deinit(&jit);
}

typedef void check_function(const struct problem *, const struct target_level *, const float *);

/* AMX's tiles by their model, beside the vectors of the level below. */
static void run_model(const struct problem *p, check_function *check, float *y, size_t count) {
  struct target_level level = target_levels[LEVEL_amx];
  level.features = target_levels[LEVEL_avx512bf16].features;
  level.requires = target_levels[LEVEL_avx512bf16].requires;
  if (!jit_runs(&level)) return;
  amx_model_install();
  run_level(p, &level, true, y, count);
  check(p, &level, y);
}

/* Runs at every level that multiplies int8; `check` gets each. */
static void run(struct problem *p, check_function *check) {
  size_t count = (size_t)((p->desc.rows - 1) * p->desc.y_row_stride + pack_padded_k(PRECISION_INT8, p->desc.columns));
  float *y = guarded_floats(count, 0);
  int levels = 0;
  for (int i = 0; i < LEVEL_COUNT; i++) {
    const struct target_level *level = &target_levels[i];
    if ((level->precisions >> PRECISION_INT8 & 1) == 0 || !jit_runs(level)) continue;
    levels++;
    run_level(p, level, false, y, count);
    check(p, level, y);
  }
  cr_assert(levels > 0);
  if (rows_use_tiles(&p->desc)) run_model(p, check, y, count);
  guarded_free(y, count);
  destroy(p);
}

static void check_rows(const struct problem *p, const struct target_level *level, const float *y) {
  const struct rows_desc *d = &p->desc;
  int64_t length = d->group > 0 ? d->group : d->columns;
  double *want = malloc((size_t)d->columns * sizeof *want);
  for (int64_t row = 0; row < d->rows; row++) {
    wanted_row(p, row, want);
    for (int64_t begin = 0; begin < d->columns; begin += length)
      check_group(p, level, y + row * d->y_row_stride, want, begin, begin + length < d->columns ? begin + length : d->columns);
  }
  free(want);
}

Test(kernels_quantize, rows_as_they_are) {
  static const int64_t columns[] = {1, 5, 16, 17, 64, 100, 129, 384, 768, 1000};
  for (int i = 0; i < 10; i++) {
    struct problem p = shape(3, columns[i], 0, false);
    run(&p, check_rows);
  }
}

Test(kernels_quantize, transformed_rows) {
  static const int64_t columns[] = {1, 6, 20, 40, 72, 80, 96, 100, 192, 333, 768, 1000, 3072};
  for (int i = 0; i < 13; i++) {
    struct problem p = shape(2, columns[i], 0, true);
    run(&p, check_rows);
  }
}

Test(kernels_quantize, rows_of_bf16) {
  static const int64_t columns[] = {32, 64, 96, 192, 352, 544, 768, 1056, 3072, 4128};
  for (int i = 0; i < 10; i++)
    for (int transformed = 0; transformed < 2; transformed++) {
      struct problem p = shape(3, columns[i], i % 3 == 2 ? 64 : 0, transformed == 1);
      make_narrow(&p);
      run(&p, check_rows);
    }
}

Test(kernels_quantize, groups) {
  static const int64_t columns[] = {64, 100, 384, 1000}, groups[] = {64, 128, 256};
  for (int i = 0; i < 4; i++)
    for (int g = 0; g < 3; g++) {
      struct problem p = shape(2, columns[i], groups[g], (i + g) % 2 == 0);
      run(&p, check_rows);
    }
}

Test(kernels_quantize, normalised_rows) {
  static const int64_t columns[] = {37, 192, 768};
  for (int i = 0; i < 3; i++) {
    struct problem p = shape(5, columns[i], 0, i > 0);
    uint32_t seed = 9;
    p.desc.op = OP_layer_normalization;
    p.desc.epsilon = 1e-6f;
    p.desc.has_bias = 1;
    p.scale = guarded_floats((size_t)columns[i], 0);
    p.bias = guarded_floats((size_t)columns[i], 0);
    for (int64_t k = 0; k < columns[i]; k++) {
      p.scale[k] = next_random(&seed) + 1;
      p.bias[k] = next_random(&seed);
    }
    run(&p, check_rows);
  }
}

static void check_exact(const struct problem *p, const struct target_level *level, const float *y) {
  for (int64_t row = 0; row < p->desc.rows; row++) {
    const float *got = y + row * p->desc.y_row_stride, *table = got + operand_tables(level, p->desc.columns);
    for (int64_t k = 0; k < p->desc.columns; k++)
      cr_assert_eq(table[0] * (float)operand_u8(level, got, k) - table[1], p->x[row * p->desc.columns + k]);
  }
}

Test(kernels_quantize, equal_elements_are_exact) {
  static const float values[] = {0, 1, -3.7f, 1e-40f, 3e38f, -1e-30f};
  struct problem p = shape(6, 100, 0, false);
  for (int i = 0; i < 600; i++) p.x[i] = values[i / 100];
  run(&p, check_exact);
}

static void check_bounded(const struct problem *p, const struct target_level *level, const float *y) {
  for (int64_t row = 0; row < p->desc.rows; row++) {
    const float *got = y + row * p->desc.y_row_stride, *table = got + operand_tables(level, p->desc.columns);
    for (int64_t k = 0; k < p->desc.columns; k++) {
      float x = table[0] * (float)operand_u8(level, got, k) - table[1];
      cr_assert(fabsf(x) <= 2e-34f, "%s: %g", level->name, (double)x);
    }
  }
}

Test(kernels_quantize, tiny_elements_stay_tiny) {
  struct problem p = shape(3, 100, 0, true);
  for (int i = 0; i < 300; i++) p.x[i] *= i < 100 ? 1e-45f : i < 200 ? 1e-39f : 1e-37f;
  run(&p, check_bounded);
}

static void check_nan(const struct problem *p, const struct target_level *level, const float *y) {
  for (int64_t row = 0; row < p->desc.rows; row++) {
    const float *got = y + row * p->desc.y_row_stride, *table = got + operand_tables(level, p->desc.columns);
    cr_assert(isnan(table[0] * (float)operand_u8(level, got, 3) - table[1]), "%s: row %d", level->name, (int)row);
  }
}

Test(kernels_quantize, what_is_not_finite_stays_so) {
  for (int way = 0; way < 3; way++) {
    int columns = way == 2 ? 256 : 100;
    struct problem p = shape(4, columns, 0, way > 0);
    p.x[7] = NAN;
    p.x[2 * columns - 1] = INFINITY;
    p.x[2 * columns] = -INFINITY;
    for (int i = 3 * columns; i < 4 * columns; i++) p.x[i] = NAN;
    if (way == 2) make_narrow(&p);
    run(&p, check_nan);
  }
}
