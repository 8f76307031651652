/* Pillow's 8-bit resampling of a window: of the image resized to full_width x full_height, only the window's pixels are
 * computed, so that a crop costs what it shows. Each pixel has the bits of the full resize. */
#ifndef VITC_RUNTIME_RESAMPLE_H
#define VITC_RUNTIME_RESAMPLE_H

#include "decode.h"

struct window {
  uint32_t full_width, full_height; /* at most INT32_MAX */
  uint32_t left, top, width, height;
};

vitc_image_status image_resample(const vitc_image *image, const struct window *window, vitc_filter filter,
                                 vitc_image *out_image);

/* Where the three planes of a window go: rows `stride` floats apart, planes `plane` floats apart. */
struct float_target {
  float *pixels;
  size_t stride, plane;
};

/* The window of the image rescaled to floats and then resized, bilinear or bicubic. */
vitc_image_status image_resample_float(const vitc_image *image, const struct window *window, vitc_filter filter, double rescale,
                                       const struct float_target *target);

enum { WEIGHT_BITS = 22 };

/* Of outputs that follow each other, each made of neighbouring inputs: the weights of output i, in units of 2^-WEIGHT_BITS, are
 * weights[i * room] onwards. */
struct taps {
  uint32_t first, count; /* outputs */
  size_t room;
  uint32_t *start, *length; /* inputs */
  const int32_t *weights;
};

/* Rows [0, rows) of `from`, `stride` bytes apart with their first column at `from`, to columns [first - left, ...) of `to`,
 * which is `width` pixels wide. `readable` is the number of bytes that may be read from `from`. */
struct horizontal_pass {
  const uint8_t *from;
  size_t stride, readable;
  uint8_t *to;
  uint32_t rows, width, left;
};

void resample_horizontal(const struct horizontal_pass *pass, const struct taps *taps);

/* to[i] from `count` rows that are `stride` bytes apart, each of `bytes` bytes. */
void resample_vertical(const uint8_t *from, size_t stride, uint32_t count, const int32_t *weights, size_t bytes, uint8_t *to);

/* The same in plain C, from row `row` or byte `at` on. */
void resample_horizontal_from(const struct horizontal_pass *pass, const struct taps *taps, uint32_t row);
void resample_vertical_from(const uint8_t *from, size_t stride, uint32_t count, const int32_t *weights, size_t bytes,
                            uint8_t *to, size_t at);

#if defined(__x86_64__)
/* The same for as many rows, or bytes, as whole vectors take; returns how many. */
uint32_t resample_horizontal_avx2(const struct horizontal_pass *pass, const struct taps *taps);
size_t resample_vertical_avx2(const uint8_t *from, size_t stride, uint32_t count, const int32_t *weights, size_t bytes,
                              uint8_t *to);
#endif

#endif
