/* Row kernels (layer normalisation, softmax) against double precision. */
#include "llvm/kernels.h"
#include "support/jit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef void rows_function(const float *, float *, const void *const *, int64_t, int64_t, int64_t);

enum { SENTINEL = -7777 };

struct problem {
  struct rows_desc desc;
  int64_t images;
  float shift; /* of the values: a mean far from 0 */
  float *x, *y, *scale, *bias;
  size_t x_count, y_count;
};

static struct problem shape(enum op op, int64_t rows, int64_t columns, int64_t images) {
  struct problem p = {.images = images};
  p.desc = (struct rows_desc){.op = op, .rows = rows, .columns = columns, .epsilon = 1e-6f, .has_bias = 1};
  p.desc.x_row_stride = columns + 2;
  p.desc.x_image_stride = rows * (columns + 2) + 3;
  p.desc.y_row_stride = columns + 5;
  p.desc.y_image_stride = rows * (columns + 5) + 1;
  return p;
}

static void fill(struct problem *p) {
  const struct rows_desc *d = &p->desc;
  uint32_t seed = (uint32_t)(d->columns + d->rows);
  p->x_count = (size_t)((p->images - 1) * d->x_image_stride + (d->rows - 1) * d->x_row_stride + d->columns);
  p->y_count = (size_t)((p->images - 1) * d->y_image_stride + (d->rows - 1) * d->y_row_stride + d->columns);
  p->x = guarded_floats(p->x_count, 0);
  p->y = guarded_floats(p->y_count, SENTINEL);
  p->scale = guarded_floats((size_t)d->columns, 0);
  p->bias = guarded_floats((size_t)d->columns, 0);
  for (size_t i = 0; i < p->x_count; i++) p->x[i] = next_random(&seed) * 4 + p->shift;
  for (int64_t i = 0; i < d->columns; i++) {
    p->scale[i] = next_random(&seed);
    p->bias[i] = next_random(&seed);
  }
}

static void destroy(struct problem *p) {
  guarded_free(p->x, p->x_count);
  guarded_free(p->y, p->y_count);
  guarded_free(p->scale, (size_t)p->desc.columns);
  guarded_free(p->bias, (size_t)p->desc.columns);
}

static void layer_norm(const struct problem *p, const float *x, double *want) {
  int64_t n = p->desc.columns;
  double mean = 0, variance = 0;
  for (int64_t i = 0; i < n; i++) mean += (double)x[i] / (double)n;
  for (int64_t i = 0; i < n; i++) variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
  double factor = 1 / sqrt(variance + (double)p->desc.epsilon);
  for (int64_t i = 0; i < n; i++)
    want[i] = ((double)x[i] - mean) * factor * (double)p->scale[i] + (p->desc.has_bias ? (double)p->bias[i] : 0);
}

static void softmax(const struct problem *p, const float *x, double *want) {
  double maximum = -INFINITY, sum = 0;
  for (int64_t i = 0; i < p->desc.columns; i++) maximum = fmax(maximum, (double)x[i]);
  for (int64_t i = 0; i < p->desc.columns; i++) sum += want[i] = exp((double)x[i] - maximum);
  for (int64_t i = 0; i < p->desc.columns; i++) want[i] /= sum;
}

static void check(const struct problem *p, const float *x, const char *level) {
  const struct rows_desc *d = &p->desc;
  double *want = malloc((size_t)d->columns * sizeof *want), bound = 4e-6 * (1 + fabs((double)p->shift) / 4);
  char *inside = calloc(p->y_count, 1);
  for (int64_t g = 0; g < p->images; g++)
    for (int64_t i = 0; i < d->rows; i++) {
      const float *row = x + g * d->x_image_stride + i * d->x_row_stride;
      if (d->op == OP_softmax)
        softmax(p, row, want);
      else
        layer_norm(p, row, want);
      for (int64_t j = 0; j < d->columns; j++) {
        int64_t at = g * d->y_image_stride + i * d->y_row_stride + j;
        inside[at] = 1;
        cr_assert(fabs((double)p->y[at] - want[j]) <= bound, "%s rows %d columns %d: row %d column %d is %.9g, not %.9g", level,
                  (int)d->rows, (int)d->columns, (int)i, (int)j, (double)p->y[at], want[j]);
      }
    }
  for (size_t i = 0; i < p->y_count; i++)
    cr_assert(inside[i] || p->y[i] == (float)SENTINEL, "%s: wrote outside at %zu", level, i);
  free(inside);
  free(want);
}

static void run(struct problem p) {
  fill(&p);
  int levels = 0;
  const void *operands[] = {p.scale, p.bias};
  size_t bytes = p.y_count * sizeof(float);
  float *whole = malloc(bytes);
  for (int i = 0; i < LEVEL_COUNT; i++) {
    if (!jit_runs(&target_levels[i])) continue;
    levels++;
    struct jit jit;
    jit_init(&jit, &target_levels[i]);
    rows_function *kernel = (rows_function *)jit_address(&jit, emit_rows(&jit.emit, &p.desc));
    int64_t rows = p.images * p.desc.rows;
    for (size_t j = 0; j < p.y_count; j++) p.y[j] = SENTINEL;
    kernel(p.x, p.y, operands, p.images, 0, rows);
    check(&p, p.x, target_levels[i].name);
    memcpy(whole, p.y, bytes);
    for (size_t j = 0; j < p.y_count; j++) p.y[j] = SENTINEL;
    for (int64_t row = rows - 1; row >= 0; row--) kernel(p.x, p.y, operands, p.images, row, row + 1);
    cr_assert(memcmp(whole, p.y, bytes) == 0, "%s: other bits when rows are split", target_levels[i].name);
    kernels_free(&jit.emit);
    jit_deinit(&jit);
  }
  cr_assert(levels > 0);
  free(whole);
  destroy(&p);
}

static const int64_t columns[] = {1, 3, 7, 8, 15, 16, 17, 48, 64, 100, 127, 192, 333, 768, 1000, 1280};
enum { COLUMNS = sizeof columns / sizeof columns[0] };

Test(kernels_rows, layer_normalization) {
  for (int i = 0; i < COLUMNS; i++) {
    struct problem p = shape(OP_layer_normalization, 1 + i % 5, columns[i], 1 + i % 3);
    p.desc.has_bias = i % 2;
    if (columns[i] == 1) p.desc.epsilon = 1e-2f;
    run(p);
  }
}

Test(kernels_rows, layer_normalization_far_from_zero) {
  struct problem p = shape(OP_layer_normalization, 3, 768, 1);
  p.shift = 100;
  run(p);
}

Test(kernels_rows, softmax) {
  for (int i = 0; i < COLUMNS; i++) run(shape(OP_softmax, 1 + i % 5, columns[i], 1 + i % 3));
}

Test(kernels_rows, in_place) {
  static const enum op ops[] = {OP_layer_normalization, OP_softmax};
  for (int o = 0; o < 2; o++)
    for (int l = 0; l < LEVEL_COUNT; l++) {
      if (!jit_runs(&target_levels[l])) continue;
      struct problem p = shape(ops[o], 5, 101, 2);
      p.desc.y_row_stride = p.desc.x_row_stride;
      p.desc.y_image_stride = p.desc.x_image_stride;
      fill(&p);
      struct jit jit;
      jit_init(&jit, &target_levels[l]);
      rows_function *kernel = (rows_function *)jit_address(&jit, emit_rows(&jit.emit, &p.desc));
      const void *operands[] = {p.scale, p.bias};
      kernel(p.x, p.y, operands, 2, 0, 10);
      kernel(p.x, p.x, operands, 2, 0, 10);
      for (int64_t row = 0; row < 10; row++) {
        int64_t at = row / 5 * p.desc.x_image_stride + row % 5 * p.desc.x_row_stride;
        cr_assert(memcmp(p.x + at, p.y + at, 101 * sizeof(float)) == 0);
      }
      kernels_free(&jit.emit);
      jit_deinit(&jit);
      destroy(&p);
    }
}
