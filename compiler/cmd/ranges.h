/* How far the elements of an array reach, and which of its channels and rows reach further than the others: what makes one
 * scale serve many elements badly. Elements that are not finite count as zeros and are counted. */
#ifndef VITC_CMD_RANGES_H
#define VITC_CMD_RANGES_H

#include "base/arena.h"
#include "plan/plan.h"

#include <stddef.h>
#include <stdint.h>

/* Element (i, row, channel) is data[i * outer_stride + row * row_stride + channel * channel_stride]. */
struct range_array {
  const float *data;
  size_t outer, rows, channels;
  size_t outer_stride, row_stride, channel_stride;
};

enum { OUTLIERS = 3 };

struct outlier {
  int64_t channel;
  double largest, ratio; /* largest absolute value; over the median of the channels' largest, infinite where that is 0 */
};

struct range {
  double minimum, maximum, rms, crest;       /* crest: largest absolute value over rms */
  double row_crest, row_crest_worst;         /* of single rows: mean and largest */
  double channel_crest, channel_crest_worst; /* of single channels */
  double median;                             /* of the channels' largest absolute values */
  size_t not_finite;
  int outlier_count; /* the channels with the largest values, if there are that many */
  struct outlier outliers[OUTLIERS];
};

struct range range_of(const struct range_array *array, struct arena *scratch);

/* Of a product's weights: rows are K, channels the columns. */
struct range range_of_packed(const struct packed *packed, struct arena *scratch);

/* "199 (50.3x), 7 (3.1x)": the outliers that are at least twice the median, or "-". */
const char *range_outliers_text(const struct range *range, struct arena *arena);

/* A JSON object on stdout; `rows` and `channels` name the figures of single rows and channels. */
void range_print_json(const struct range *range);

#endif
