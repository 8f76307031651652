/* Pictures that are rescaled to floats before they are resized, as PyTorch's antialiased interpolation does it: float32
 * weights, horizontal pass first. PyTorch's own sums differ in the last bit from CPU to CPU; these are in order, each product
 * rounded. */
#include "resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of the outputs of one axis: the weights of output i are weights[i * room] onwards. */
struct float_taps {
  size_t room;
  uint32_t *start, *length;
  float *weights;
};

static float bilinear(float x) {
  x = fabsf(x);
  return x < 1 ? 1 - x : 0;
}

static float bicubic(float x) {
  const float a = -0.5f;
  x = fabsf(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

static void float_taps_free(struct float_taps *taps) {
  free(taps->start);
  free(taps->length);
  free(taps->weights);
}

/* Outputs [first, first + count) of an axis of `in` samples resized to `out`. */
static int float_taps_init(struct float_taps *taps, uint32_t in, uint32_t out, uint32_t first, uint32_t count,
                           vitc_filter filter) {
  float scale = (float)in / (float)out, reach = filter == VITC_BILINEAR ? 1 : 2;
  float support = scale >= 1 ? reach * scale : reach, narrow = scale >= 1 ? 1 / scale : 1;
  taps->room = (size_t)ceilf(support) * 2 + 1;
  taps->start = malloc(count * sizeof *taps->start);
  taps->length = malloc(count * sizeof *taps->length);
  taps->weights = calloc(count, taps->room * sizeof *taps->weights);
  if (!taps->start || !taps->length || !taps->weights) return 0;
  for (uint32_t i = 0; i < count; i++) {
    float centre = (float)((double)scale * ((double)(first + i) + 0.5)), total = 0;
    int64_t low = (int64_t)((double)(centre - support) + 0.5), high = (int64_t)((double)(centre + support) + 0.5);
    if (low < 0) low = 0;
    if (high > (int64_t)in) high = in;
    if (high - low > (int64_t)taps->room) high = low + (int64_t)taps->room;
    float *weights = taps->weights + i * taps->room;
    taps->start[i] = (uint32_t)low;
    taps->length[i] = (uint32_t)(high - low);
    for (int64_t j = 0; j < high - low; j++) {
      float x = (float)(((double)((float)(j + low) - centre) + 0.5) * (double)narrow);
      weights[j] = filter == VITC_BILINEAR ? bilinear(x) : bicubic(x);
      total += weights[j];
    }
    for (int64_t j = 0; j < high - low; j++) weights[j] /= total;
  }
  return 1;
}

/* One row of 8-bit pixels to the window's columns of three planes, `plane` floats apart. */
static void resize_row(const uint8_t *row, const float *unit, const struct float_taps *taps, uint32_t count, float *to,
                       size_t plane) {
  for (uint32_t i = 0; i < count; i++) {
    const uint8_t *from = row + (size_t)taps->start[i] * 3;
    const float *weights = taps->weights + i * taps->room;
    float sum[3] = {unit[from[0]] * weights[0], unit[from[1]] * weights[0], unit[from[2]] * weights[0]};
    for (uint32_t j = 1; j < taps->length[i]; j++)
      for (size_t c = 0; c < 3; c++) sum[c] += unit[from[3 * j + c]] * weights[j];
    for (size_t c = 0; c < 3; c++) to[c * plane + i] = sum[c];
  }
}

/* out[column] = sum over rows of weight * from[row][column]. */
static void resize_column(const float *from, size_t stride, const float *weights, uint32_t length, uint32_t columns,
                          float *out) {
  for (uint32_t x = 0; x < columns; x++) out[x] = from[x] * weights[0];
  for (uint32_t j = 1; j < length; j++)
    for (uint32_t x = 0; x < columns; x++) out[x] += from[j * stride + x] * weights[j];
}

/* The window's rows need rows [first, end) of the picture. */
static vitc_image_status resize_window(const vitc_image *image, const struct window *window, const struct float_taps *across,
                                       const struct float_taps *down, const float *unit, const struct float_target *target) {
  uint32_t last = window->height - 1, first = down->start[0], end = down->start[last] + down->length[last];
  size_t rows = end - first, plane = rows * window->width;
  float *middle = malloc(3 * plane * sizeof *middle);
  if (!middle) return VITC_IMAGE_E_MEMORY;
  for (size_t y = 0; y < rows; y++)
    resize_row(image->pixels + (first + y) * image->width * 3, unit, across, window->width, middle + y * window->width, plane);
  for (size_t c = 0; c < 3; c++)
    for (uint32_t y = 0; y < window->height; y++)
      resize_column(middle + c * plane + (down->start[y] - first) * (size_t)window->width, window->width,
                    down->weights + y * down->room, down->length[y], window->width,
                    target->pixels + c * target->plane + y * target->stride);
  free(middle);
  return VITC_IMAGE_OK;
}

vitc_image_status image_resample_float(const vitc_image *image, const struct window *window, vitc_filter filter, double rescale,
                                       const struct float_target *target) {
  struct float_taps across = {0}, down = {0};
  float unit[256];
  if (filter != VITC_BILINEAR && filter != VITC_BICUBIC) return VITC_IMAGE_E_ARGUMENT;
  for (int value = 0; value < 256; value++) unit[value] = (float)value * (float)rescale;
  vitc_image_status status = VITC_IMAGE_E_MEMORY;
  if (float_taps_init(&across, image->width, window->full_width, window->left, window->width, filter) &&
      float_taps_init(&down, image->height, window->full_height, window->top, window->height, filter))
    status = resize_window(image, window, &across, &down, unit, target);
  float_taps_free(&across);
  float_taps_free(&down);
  return status;
}
