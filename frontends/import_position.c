#include "import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* For one output coordinate: input rows first .. first + count - 1, clamped to the table, and their weights. */
struct taps {
  int64_t first, count;
  double *weights;
};

static double cubic(double x, double a) {
  x = fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

/* Coordinates in float32, as PyTorch has them: at 384 pixels their rounding is the largest of all errors, and a checkpoint is
 * used with the source's. Weights and sums are double. */
static float scale_of(int64_t in, int64_t out, enum resample resample) {
  if (resample == RESAMPLE_OFFSET) return (float)(1.0 / (double)((float)((double)out + 0.1) / (float)in));
  if (resample == RESAMPLE_ALIGN_CORNERS) return out > 1 ? (float)(in - 1) / (float)(out - 1) : 0;
  return (float)in / (float)out;
}

/* Four taps around the sample point; rows beyond the edge repeat it. */
static void plain_taps(struct taps *taps, float scale, int64_t at, bool align_corners) {
  float x = align_corners ? scale * (float)at : scale * ((float)at + 0.5f) - 0.5f;
  float whole = floorf(x), t = x - whole;
  taps->first = (int64_t)whole - 1;
  taps->count = 4;
  for (int i = 0; i < 4; i++) taps->weights[i] = cubic((double)t + 1 - i, -0.75);
}

/* Two taps; a sample point before the first row is on it. */
static void linear_taps(struct taps *taps, float scale, int64_t at) {
  float x = scale * ((float)at + 0.5f) - 0.5f;
  if (x < 0) x = 0;
  taps->first = (int64_t)x;
  taps->count = 2;
  taps->weights[1] = (double)(x - (float)taps->first);
  taps->weights[0] = 1 - taps->weights[1];
}

/* The filter's support grows with the reduction, and the weights of the rows inside the table are normalised. */
static void antialias_taps(struct taps *taps, float scale, int64_t in, int64_t at) {
  float support = scale >= 1 ? 2 * scale : 2, center = (float)((double)scale * ((double)at + 0.5));
  double narrow = scale >= 1 ? 1 / (double)scale : 1, total = 0;
  double low = (double)(center - support) + 0.5;
  int64_t first = low > 0 ? (int64_t)low : 0, last = (int64_t)((double)(center + support) + 0.5);
  if (last > in) last = in;
  taps->first = first;
  taps->count = last - first;
  for (int64_t i = 0; i < taps->count; i++)
    total += taps->weights[i] = cubic(((double)(i + first) - (double)center + 0.5) * narrow, -0.5);
  for (int64_t i = 0; i < taps->count; i++) taps->weights[i] /= total;
}

static struct taps *make_taps(struct arena *arena, int64_t in, int64_t out, enum resample resample) {
  struct taps *taps = arena_array(arena, (size_t)out, sizeof *taps);
  size_t room = 8 + 4 * (size_t)(in / out + 1);
  float scale = scale_of(in, out, resample);
  double *weights = arena_array(arena, (size_t)out * room, sizeof *weights);
  for (int64_t i = 0; i < out; i++) {
    taps[i].weights = weights + (size_t)i * room;
    if (resample == RESAMPLE_ANTIALIAS)
      antialias_taps(&taps[i], scale, in, i);
    else if (resample == RESAMPLE_LINEAR)
      linear_taps(&taps[i], scale, i);
    else
      plain_taps(&taps[i], scale, i, resample == RESAMPLE_ALIGN_CORNERS);
  }
  return taps;
}

static int64_t clamp(int64_t x, int64_t count) {
  return x < 0 ? 0 : x >= count ? count - 1 : x;
}

void position_resample(const float *table, int64_t prefix, int64_t in_height, int64_t in_width, int64_t dim, float *out_table,
                       int64_t out_height, int64_t out_width, enum resample resample) {
  struct arena scratch;
  arena_init(&scratch);
  const struct taps *across = make_taps(&scratch, in_width, out_width, resample);
  const struct taps *down = make_taps(&scratch, in_height, out_height, resample);
  double *rows = arena_array(&scratch, (size_t)(in_height * out_width * dim), sizeof *rows);
  double *sum = arena_array(&scratch, (size_t)dim, sizeof *sum);
  memcpy(out_table, table, (size_t)(prefix * dim) * sizeof *table);
  const float *grid = table + prefix * dim;
  for (int64_t y = 0; y < in_height; y++)
    for (int64_t x = 0; x < out_width; x++)
      for (int64_t i = 0; i < across[x].count; i++) {
        const float *from = grid + (y * in_width + clamp(across[x].first + i, in_width)) * dim;
        double *to = rows + (y * out_width + x) * dim, weight = across[x].weights[i];
        for (int64_t d = 0; d < dim; d++) to[d] += weight * (double)from[d];
      }
  float *out = out_table + prefix * dim;
  for (int64_t y = 0; y < out_height; y++)
    for (int64_t x = 0; x < out_width; x++, out += dim) {
      memset(sum, 0, (size_t)dim * sizeof *sum);
      for (int64_t i = 0; i < down[y].count; i++) {
        const double *from = rows + (clamp(down[y].first + i, in_height) * out_width + x) * dim;
        for (int64_t d = 0; d < dim; d++) sum[d] += down[y].weights[i] * from[d];
      }
      for (int64_t d = 0; d < dim; d++) out[d] = (float)sum[d];
    }
  arena_deinit(&scratch);
}

const char *resample_text(enum resample resample) {
  switch (resample) {
  case RESAMPLE_PLAIN:
    return "bicubic without antialiasing, as transformers";
  case RESAMPLE_ANTIALIAS:
    return "antialiased bicubic, as timm";
  case RESAMPLE_OFFSET:
    return "bicubic with an offset of 0.1, as the original DINOv2";
  case RESAMPLE_ALIGN_CORNERS:
    return "bicubic with aligned corners, as torchvision";
  case RESAMPLE_LINEAR:
    return "bilinear";
  }
  return "";
}
