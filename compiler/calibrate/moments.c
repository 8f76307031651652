#include "calibrate/moments.h"

#include "base/parallel.h"
#include "ops/eval.h"

#include <string.h>

/* A part of the rows and columns of C: an item of the work. */
enum { PART = 192 };

struct accumulation {
  const float *x;
  int64_t rows, k;
  double *moments;
};

/* C is symmetric: the part of rows [i, i + PART) up to the diagonal. */
static void accumulate(void *context, int64_t item) {
  const struct accumulation *a = context;
  int64_t first = item * PART, end = first + PART < a->k ? first + PART : a->k;
  const struct product product = {.rows = end - first,
                                  .columns = end,
                                  .inner = a->rows,
                                  .a = {.data = a->x + first, .row_stride = 1, .column_stride = a->k},
                                  .b = {.data = a->x, .row_stride = a->k, .column_stride = 1},
                                  .alpha = 1,
                                  .out = a->moments + first * a->k,
                                  .out_wide = true,
                                  .out_row_stride = a->k,
                                  .out_column_stride = 1};
  matrix_product(&product);
}

static void mirror(double *matrix, int64_t k) {
  enum { TILE = 32 };
  for (int64_t row = 0; row < k; row += TILE)
    for (int64_t column = 0; column <= row; column += TILE)
      for (int64_t i = row; i < row + TILE && i < k; i++)
        for (int64_t j = column; j < column + TILE && j < i; j++) matrix[j * k + i] = matrix[i * k + j];
}

void moments_of(const float *x, int64_t rows, int64_t k, int threads, double *moments) {
  struct accumulation a = {.x = x, .rows = rows, .k = k, .moments = moments};
  parallel_run(threads, (k + PART - 1) / PART, accumulate, &a);
  mirror(moments, k);
}

/* Sylvester's Hadamard matrix times blocks of rows, which are `width` elements long. */
static void hadamard_rows(double *rows, int64_t count, int64_t width, int64_t block) {
  for (int64_t half = 1; half < block; half *= 2)
    for (int64_t i = 0; i < count; i++) {
      if ((i & half) != 0) continue;
      double *a = rows + i * width, *b = rows + (i + half) * width;
      for (int64_t j = 0; j < width; j++) {
        double sum = a[j] + b[j], difference = a[j] - b[j];
        a[j] = sum;
        b[j] = difference;
      }
    }
}

void transform_columns(double *columns, int64_t k, int64_t count, const float *balance, int64_t block) {
  for (int64_t i = 0; balance != NULL && i < k; i++)
    for (int64_t j = 0; j < count; j++) columns[i * count + j] *= (double)balance[i];
  hadamard_rows(columns, k, count, block);
}

void moments_transform(const double *moments, int64_t k, const float *balance, int64_t block, double *out) {
  memcpy(out, moments, (size_t)(k * k) * sizeof *out);
  for (int64_t i = 0; balance != NULL && i < k; i++)
    for (int64_t j = 0; j < k; j++) out[i * k + j] /= (double)balance[i] * (double)balance[j];
  for (int64_t i = 0; i < k; i++) hadamard_rows(out + i * k, k, 1, block); /* each row's elements */
  for (int64_t i = 0; i < k; i += block) hadamard_rows(out + i * k, block, k, block);
}
