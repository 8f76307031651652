#include "resample.h"

enum { HALF = 1 << (WEIGHT_BITS - 1) };

/* Sums of bytes times weights are integers of 32 bits, exact in any order: the vector width never changes a bit. */
static uint8_t clip(int32_t sum) {
  int32_t value = sum >> WEIGHT_BITS;
  return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

void resample_horizontal_from(const struct horizontal_pass *pass, const struct taps *taps, uint32_t row) {
  for (; row < pass->rows; row++) {
    const uint8_t *from = pass->from + row * pass->stride;
    uint8_t *to = pass->to + ((size_t)row * pass->width + (taps->first - pass->left)) * 3;
    for (uint32_t i = 0; i < taps->count; i++, to += 3) {
      const int32_t *weights = taps->weights + i * taps->room;
      const uint8_t *pixel = from + (size_t)taps->start[i] * 3;
      int32_t red = HALF, green = HALF, blue = HALF;
      for (uint32_t t = 0; t < taps->length[i]; t++, pixel += 3) {
        red += pixel[0] * weights[t];
        green += pixel[1] * weights[t];
        blue += pixel[2] * weights[t];
      }
      to[0] = clip(red);
      to[1] = clip(green);
      to[2] = clip(blue);
    }
  }
}

void resample_vertical_from(const uint8_t *from, size_t stride, uint32_t count, const int32_t *weights, size_t bytes,
                            uint8_t *to, size_t at) {
  enum { BLOCK = 64 };
  while (at < bytes) {
    size_t size = bytes - at < BLOCK ? bytes - at : BLOCK;
    int32_t sum[BLOCK];
    for (size_t i = 0; i < size; i++) sum[i] = HALF;
    for (uint32_t t = 0; t < count; t++) {
      const uint8_t *row = from + t * stride + at;
      for (size_t i = 0; i < size; i++) sum[i] += row[i] * weights[t];
    }
    for (size_t i = 0; i < size; i++) to[at + i] = clip(sum[i]);
    at += size;
  }
}

void resample_horizontal(const struct horizontal_pass *pass, const struct taps *taps) {
  uint32_t done = 0;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) done = resample_horizontal_avx2(pass, taps);
#endif
  resample_horizontal_from(pass, taps, done);
}

void resample_vertical(const uint8_t *from, size_t stride, uint32_t count, const int32_t *weights, size_t bytes, uint8_t *to) {
  size_t done = 0;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) done = resample_vertical_avx2(from, stride, count, weights, bytes, to);
#endif
  resample_vertical_from(from, stride, count, weights, bytes, to, done);
}
