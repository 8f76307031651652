/* How far one array is from another. */
#ifndef VITC_CMD_METRICS_H
#define VITC_CMD_METRICS_H

#include <stdbool.h>
#include <stddef.h>

struct metrics {
  double deviation; /* standard deviation of the reference; its root mean square where that is 0 */
  double largest;   /* largest absolute error over the deviation; infinite when either array has a NaN or infinity */
  double rms;       /* root mean square error over the deviation */
  double cosine;
  bool has_top;      /* the arrays are rows of class scores */
  double top1, top5; /* share of rows with the same largest element; mean overlap of the five largest */
};

/* `rows` rows of `columns` elements. */
struct metrics measure(const float *reference, const float *values, size_t rows, size_t columns, bool classes);

#endif
