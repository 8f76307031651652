#include "calibrate/factor.h"

#include "base/parallel.h"
#include "ops/eval.h"

enum { BLOCK = 96, PART = 192 };

struct step {
  double *matrix;
  double *scaled; /* rows of M @ D in the block's columns */
  int64_t k, first, end;
};

/* The block on the diagonal, row after row. */
static void factor_block(const struct step *s, double least) {
  for (int64_t j = s->first; j < s->end; j++) {
    double *row = s->matrix + j * s->k;
    for (int64_t i = s->first; i < j; i++) {
      const double *above = s->matrix + i * s->k;
      double sum = row[i]; /* M[j, i] * D[i] */
      for (int64_t p = s->first; p < i; p++) sum -= row[p] * above[p];
      row[i] = sum;
    }
    for (int64_t i = s->first; i < j; i++) {
      double scaled = row[i];
      row[i] = scaled / s->matrix[i * s->k + i];
      row[j] -= scaled * row[i];
    }
    if (!(row[j] >= least)) row[j] = least;
  }
}

/* Rows below the block, in its columns. */
static void solve_rows(void *context, int64_t item) {
  const struct step *s = context;
  int64_t from = s->end + item * PART, to = from + PART < s->k ? from + PART : s->k, width = s->end - s->first;
  for (int64_t j = from; j < to; j++) {
    double *row = s->matrix + j * s->k + s->first, *scaled = s->scaled + j * BLOCK;
    for (int64_t i = 0; i < width; i++) {
      const double *above = s->matrix + (s->first + i) * s->k + s->first;
      double sum = row[i];
      for (int64_t p = 0; p < i; p++) sum -= scaled[p] * above[p];
      scaled[i] = sum;
    }
    for (int64_t i = 0; i < width; i++) row[i] = scaled[i] / s->matrix[(s->first + i) * s->k + s->first + i];
  }
}

/* What the block takes from the rows below it, up to their diagonal. */
static void update_rows(void *context, int64_t item) {
  const struct step *s = context;
  int64_t from = s->end + item * PART, to = from + PART < s->k ? from + PART : s->k;
  double *out = s->matrix + from * s->k + s->end;
  const struct product product = {
      .rows = to - from,
      .columns = to - s->end,
      .inner = s->end - s->first,
      .a = {.data = s->scaled + from * BLOCK, .wide = true, .row_stride = BLOCK, .column_stride = 1},
      .b = {.data = s->matrix + s->end * s->k + s->first, .wide = true, .row_stride = 1, .column_stride = s->k},
      .alpha = -1,
      .beta = 1,
      .addend = {.data = out, .wide = true, .row_stride = s->k, .column_stride = 1},
      .out = out,
      .out_wide = true,
      .out_row_stride = s->k,
      .out_column_stride = 1};
  matrix_product(&product);
}

void factor(double *matrix, int64_t k, double damping, int threads) {
  struct arena scratch;
  arena_init(&scratch);
  struct step s = {.matrix = matrix, .scaled = arena_array(&scratch, (size_t)k * BLOCK, sizeof(double)), .k = k};
  for (int64_t i = 0; i < k; i++) matrix[i * k + i] += damping;
  for (s.first = 0; s.first < k; s.first = s.end) {
    s.end = s.first + BLOCK < k ? s.first + BLOCK : k;
    factor_block(&s, damping);
    int64_t parts = (k - s.end + PART - 1) / PART;
    parallel_run(threads, parts, solve_rows, &s);
    parallel_run(threads, parts, update_rows, &s);
  }
  arena_deinit(&scratch);
}
