#include "cmd/ranges.h"

#include "driver_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Sums of squares and largest absolute values of one axis. */
struct axis {
  double *squares, *largest;
};

static struct axis axis_of(struct arena *arena, size_t count) {
  struct axis axis = {arena_array(arena, count + 1, sizeof *axis.squares), arena_array(arena, count + 1, sizeof *axis.largest)};
  for (size_t i = 0; i < count; i++) axis.squares[i] = axis.largest[i] = 0;
  return axis;
}

static double crest_of(double largest, double squares, size_t count) {
  return squares > 0 ? largest / sqrt(squares / (double)count) : 0;
}

/* One row of elements into the sums of its channels. */
static void add_row(const struct range_array *array, const float *row, struct axis *channels, struct range *range,
                    double *out_squares, double *out_largest) {
  double squares = 0, largest = 0;
  for (size_t c = 0; c < array->channels; c++) {
    double x = (double)row[c * array->channel_stride];
    if (!isfinite(x)) {
      range->not_finite++;
      x = 0;
    }
    double size = fabs(x), square = x * x;
    if (x < range->minimum) range->minimum = x;
    if (x > range->maximum) range->maximum = x;
    if (size > largest) largest = size;
    if (size > channels->largest[c]) channels->largest[c] = size;
    channels->squares[c] += square;
    squares += square;
  }
  *out_squares = squares;
  *out_largest = largest;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void find_outliers(const struct axis *channels, size_t count, struct range *range, struct arena *scratch) {
  for (size_t c = 0; c < count; c++) {
    int at = range->outlier_count < OUTLIERS ? range->outlier_count++ : OUTLIERS;
    for (; at > 0 && range->outliers[at - 1].largest < channels->largest[c]; at--)
      if (at < OUTLIERS) range->outliers[at] = range->outliers[at - 1];
    if (at < OUTLIERS) range->outliers[at] = (struct outlier){.channel = (int64_t)c, .largest = channels->largest[c]};
  }
  double *sorted = arena_array(scratch, count + 1, sizeof *sorted);
  for (size_t c = 0; c < count; c++) sorted[c] = channels->largest[c];
  qsort(sorted, count, sizeof *sorted, by_size);
  range->median = count % 2 != 0 ? sorted[count / 2] : count > 0 ? (sorted[count / 2 - 1] + sorted[count / 2]) / 2 : 0;
  for (int i = 0; i < range->outlier_count; i++)
    range->outliers[i].ratio = range->median > 0                ? range->outliers[i].largest / range->median
                               : range->outliers[i].largest > 0 ? INFINITY
                                                                : 1;
}

struct range range_of(const struct range_array *array, struct arena *scratch) {
  size_t rows = array->outer * array->rows, count = array->channels, row_count = 0;
  struct range range = {.minimum = INFINITY, .maximum = -INFINITY};
  struct axis channels = axis_of(scratch, count);
  double squares = 0;
  for (size_t r = 0; r < rows; r++) {
    const float *row = array->data + r / array->rows * array->outer_stride + r % array->rows * array->row_stride;
    double row_squares, row_largest;
    add_row(array, row, &channels, &range, &row_squares, &row_largest);
    squares += row_squares;
    double crest = crest_of(row_largest, row_squares, count);
    row_count += row_squares > 0;
    range.row_crest += crest;
    range.row_crest_worst = fmax(range.row_crest_worst, crest);
  }
  if (row_count > 0) range.row_crest /= (double)row_count;
  size_t live = 0;
  for (size_t c = 0; c < count; c++) {
    double crest = crest_of(channels.largest[c], channels.squares[c], rows);
    live += channels.squares[c] > 0;
    range.channel_crest += crest;
    range.channel_crest_worst = fmax(range.channel_crest_worst, crest);
  }
  if (live > 0) range.channel_crest /= (double)live;
  if (rows * count > 0) range.rms = sqrt(squares / (double)(rows * count));
  range.crest = crest_of(fmax(-range.minimum, range.maximum), squares, rows * count);
  find_outliers(&channels, count, &range, scratch);
  return range;
}

struct range range_of_packed(const struct packed *packed, struct arena *scratch) {
  size_t columns = (size_t)(packed->n * packed->groups), k = (size_t)packed->k;
  struct range_array array = {.data = packed->value->data, .outer = 1, .rows = k, .channels = columns};
  array.row_stride = packed->transposed ? 1 : columns;
  array.channel_stride = packed->transposed ? k : 1;
  return range_of(&array, scratch);
}

const char *range_outliers_text(const struct range *range, struct arena *arena) {
  const double far = 2;
  const char *text = "";
  for (int i = 0; i < range->outlier_count && range->outliers[i].ratio >= far; i++)
    text = arena_printf(arena, "%s%s%lld (%.1fx)", text, i > 0 ? ", " : "", (long long)range->outliers[i].channel,
                        range->outliers[i].ratio);
  return text[0] != '\0' ? text : "-";
}

static void member(const char *name, double number) {
  printf("\"%s\":", name);
  json_number(stdout, number);
  putchar(',');
}

void range_print_json(const struct range *range) {
  putchar('{');
  member("min", range->minimum);
  member("max", range->maximum);
  member("rms", range->rms);
  member("crest", range->crest);
  member("row_crest_mean", range->row_crest);
  member("row_crest_max", range->row_crest_worst);
  member("channel_crest_mean", range->channel_crest);
  member("channel_crest_max", range->channel_crest_worst);
  member("median_channel_max", range->median);
  printf("\"not_finite\":%zu,\"outliers\":[", range->not_finite);
  for (int i = 0; i < range->outlier_count; i++) {
    printf("%s{\"channel\":%lld,", i > 0 ? "," : "", (long long)range->outliers[i].channel);
    member("max", range->outliers[i].largest);
    fputs("\"ratio\":", stdout);
    json_number(stdout, range->outliers[i].ratio);
    putchar('}');
  }
  fputs("]}", stdout);
}
