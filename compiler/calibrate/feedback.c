#include "calibrate/feedback.h"

#include "ops/eval.h"
#include "plan/quantize.h"

#include <math.h>
#include <string.h>

/* ROWS are rounded one by one; what rows below them add comes from one product. */
enum { ROWS = 48, WIDTH = FEEDBACK_SCALES * FEEDBACK_COLUMNS };

static const double LEVELS = 127;

/* Columns whose largest value is smaller count as zeros, as in plan/quantize.c. */
static const double SMALLEST_MAX = 1e-30;

/* Of the scale with which a column's largest value is 127. */
static const double FACTORS[FEEDBACK_SCALES] = {1, 0.92, 0.84, 0.76};

/* Column c * FEEDBACK_SCALES + f of the errors: column c at the f-th scale. */
struct work {
  const double *factor, *columns;
  int64_t k, count, width;
  double *errors;  /* k x width */
  double *sums;    /* ROWS x width: what the errors below a block add to its rows */
  double *weighed; /* width: e^T C e */
  double scale[WIDTH], inverse[WIDTH];
};

int64_t feedback_room(int64_t k) {
  return (k + ROWS + 1) * WIDTH;
}

static void set_scales(struct work *w) {
  for (int64_t c = 0; c < w->count; c++) {
    double largest = 0;
    for (int64_t i = 0; i < w->k; i++) largest = fmax(largest, fabs(w->columns[i * w->count + c]));
    for (int64_t f = 0; f < FEEDBACK_SCALES; f++) {
      double scale = largest < SMALLEST_MAX ? 0 : (double)quantize_scale((float)(largest / LEVELS * FACTORS[f]), w->k);
      w->scale[c * FEEDBACK_SCALES + f] = scale;
      w->inverse[c * FEEDBACK_SCALES + f] = scale > 0 ? 1 / scale : 0;
    }
  }
}

/* Added to |x| < 2^51 and taken off again, it leaves x rounded to nearest even, in the FPU's default mode. */
#define ROUNDER 0x1.8p52

static inline double rounded(double value) {
  value = value > LEVELS ? LEVELS : value;
  value = value < -LEVELS ? -LEVELS : value;
  return value + ROUNDER - ROUNDER;
}

static void sum_below(struct work *w, int64_t first, int64_t end) {
  const struct product product = {
      .rows = end - first,
      .columns = w->width,
      .inner = w->k - end,
      .a = {.data = w->factor + end * w->k + first, .wide = true, .row_stride = 1, .column_stride = w->k},
      .b = {.data = w->errors + end * w->width, .wide = true, .row_stride = w->width, .column_stride = 1},
      .alpha = 1,
      .out = w->sums,
      .out_wide = true,
      .out_row_stride = w->width,
      .out_column_stride = 1};
  matrix_product(&product);
}

static void add_row(double *restrict sums, const double *restrict errors, double factor, int64_t width) {
  for (int64_t c = 0; c < width; c++) sums[c] += factor * errors[c];
}

static void round_row(struct work *w, int64_t j, const double *sums) {
  double weight = w->factor[j * w->k + j], *errors = w->errors + j * w->width;
  for (int64_t c = 0; c < w->width; c++) {
    double value = w->columns[j * w->count + c / FEEDBACK_SCALES];
    errors[c] = value - w->scale[c] * rounded((value + sums[c]) * w->inverse[c]);
    double left = errors[c] + sums[c];
    w->weighed[c] += weight * left * left;
  }
}

static void round_block(struct work *w, int64_t first, int64_t end) {
  sum_below(w, first, end);
  for (int64_t j = end - 1; j >= first; j--) {
    double *sums = w->sums + (j - first) * w->width;
    for (int64_t i = j + 1; i < end; i++) add_row(sums, w->errors + i * w->width, w->factor[i * w->k + j], w->width);
    round_row(w, j, sums);
  }
}

static void choose(const struct work *w, int8_t *q, float *scale) {
  for (int64_t c = 0; c < w->count; c++) {
    int64_t best = c * FEEDBACK_SCALES;
    for (int64_t f = best + 1; f < (c + 1) * FEEDBACK_SCALES; f++)
      if (w->weighed[f] < w->weighed[best]) best = f;
    scale[c] = (float)w->scale[best];
    for (int64_t i = 0; i < w->k; i++) {
      double level = (w->columns[i * w->count + c] - w->errors[i * w->width + best]) * w->inverse[best];
      q[i * w->count + c] = (int8_t)rounded(level);
    }
  }
}

void feedback_round(const double *factor, int64_t k, const double *columns, int64_t count, double *room, int8_t *q,
                    float *scale) {
  struct work w = {.factor = factor, .columns = columns, .k = k, .count = count, .width = count * FEEDBACK_SCALES};
  w.errors = room;
  w.sums = w.errors + k * w.width;
  w.weighed = w.sums + ROWS * w.width;
  memset(w.weighed, 0, (size_t)w.width * sizeof *w.weighed);
  set_scales(&w);
  for (int64_t end = k; end > 0; end -= ROWS) round_block(&w, end > ROWS ? end - ROWS : 0, end);
  choose(&w, q, scale);
}
