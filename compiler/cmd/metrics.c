#include "cmd/metrics.h"

#include "vitc/host.h"

#include <math.h>

enum { TOP = 5 };

static double ratio(double value, double scale) {
  return value == 0 ? 0 : scale > 0 ? value / scale : INFINITY;
}

static void measure_errors(const float *reference, const float *values, size_t count, struct metrics *metrics) {
  double sum = 0, squares = 0, other_squares = 0, products = 0, errors = 0, largest = 0;
  for (size_t i = 0; i < count; i++) {
    double x = (double)reference[i], y = (double)values[i], error = fabs(x - y);
    if (!isfinite(x) || !isfinite(y)) error = INFINITY;
    if (error > largest) largest = error;
    errors += error * error;
    sum += x;
    squares += x * x;
    other_squares += y * y;
    products += x * y;
  }
  double n = count > 0 ? (double)count : 1, mean = sum / n, variance = 0;
  for (size_t i = 0; i < count; i++) variance += ((double)reference[i] - mean) * ((double)reference[i] - mean);
  metrics->deviation = sqrt(variance / n);
  if (!(metrics->deviation > 0)) metrics->deviation = sqrt(squares / n);
  metrics->largest = isnan(metrics->deviation) ? INFINITY : ratio(largest, metrics->deviation);
  metrics->rms = isnan(metrics->deviation) ? INFINITY : ratio(sqrt(errors / n), metrics->deviation);
  metrics->cosine = squares > 0 && other_squares > 0 ? products / sqrt(squares) / sqrt(other_squares)
                                                     : (double)(squares <= 0 && other_squares <= 0);
}

static void measure_top(const float *reference, const float *values, size_t rows, size_t columns, struct metrics *metrics) {
  size_t k = columns < TOP ? columns : TOP, same = 0, overlap = 0;
  for (size_t row = 0; row < rows; row++) {
    uint32_t a[TOP], b[TOP];
    vitc_top_k(reference + row * columns, columns, k, a);
    vitc_top_k(values + row * columns, columns, k, b);
    same += a[0] == b[0];
    for (size_t i = 0; i < k; i++)
      for (size_t j = 0; j < k; j++) overlap += a[i] == b[j];
  }
  metrics->top1 = (double)same / (double)rows;
  metrics->top5 = (double)overlap / (double)(rows * k);
}

struct metrics measure(const float *reference, const float *values, size_t rows, size_t columns, bool classes) {
  struct metrics metrics = {.has_top = classes && columns > 1 && rows > 0};
  measure_errors(reference, values, rows * columns, &metrics);
  if (metrics.has_top) measure_top(reference, values, rows, columns, &metrics);
  return metrics;
}
