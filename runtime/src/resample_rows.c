#include "resample.h"

#include <string.h>

/* Sums of bytes times weights, in 32-bit integers that are exact in any order: the vector width never changes a bit. */
typedef int32_t lane4 __attribute__((vector_size(16)));
typedef int32_t lane8 __attribute__((vector_size(32)));
typedef uint8_t byte4 __attribute__((vector_size(4)));
typedef uint8_t byte8 __attribute__((vector_size(8)));

enum { HALF = 1 << (WEIGHT_BITS - 1), ROWS = 4, BLOCK = 4 };

#define INLINE static inline __attribute__((always_inline))

INLINE uint8_t clip(int32_t sum) {
  int32_t value = sum >> WEIGHT_BITS;
  return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* Four rows at a time; a pixel is loaded with the byte behind it, whose sum is dropped. */
INLINE void four_rows(const uint8_t *const from[ROWS], uint8_t *const to[ROWS], const struct taps *taps, uint32_t left) {
  for (uint32_t i = 0; i < taps->count; i++) {
    const int32_t *weights = taps->weights + i * taps->room;
    size_t at = (size_t)taps->start[i] * 3;
    lane4 sum[ROWS];
    for (int r = 0; r < ROWS; r++) sum[r] = (lane4){HALF, HALF, HALF, HALF};
    for (uint32_t t = 0; t < taps->length[i]; t++, at += 3) {
      for (int r = 0; r < ROWS; r++) {
        byte4 pixel;
        memcpy(&pixel, from[r] + at, sizeof pixel);
        sum[r] += __builtin_convertvector(pixel, lane4) * weights[t];
      }
    }
    size_t out = (size_t)(taps->first + i - left) * 3;
    for (int r = 0; r < ROWS; r++)
      for (size_t c = 0; c < 3; c++) to[r][out + c] = clip(sum[r][c]);
  }
}

INLINE void one_row(const uint8_t *from, uint8_t *to, const struct taps *taps, uint32_t left) {
  for (uint32_t i = 0; i < taps->count; i++) {
    const int32_t *weights = taps->weights + i * taps->room;
    const uint8_t *pixel = from + (size_t)taps->start[i] * 3;
    int32_t sum[3] = {HALF, HALF, HALF};
    for (uint32_t t = 0; t < taps->length[i]; t++, pixel += 3)
      for (size_t c = 0; c < 3; c++) sum[c] += pixel[c] * weights[t];
    for (size_t c = 0; c < 3; c++) to[(size_t)(taps->first + i - left) * 3 + c] = clip(sum[c]);
  }
}

INLINE void horizontal(const struct horizontal_pass *pass, const struct taps *taps) {
  size_t used = (size_t)(taps->start[taps->count - 1] + taps->length[taps->count - 1]) * 3;
  uint32_t y = 0;
  while (y + ROWS <= pass->rows && (y + ROWS - 1) * pass->stride + used < pass->readable) {
    const uint8_t *from[ROWS];
    uint8_t *to[ROWS];
    for (uint32_t r = 0; r < ROWS; r++, y++) {
      from[r] = pass->from + y * pass->stride;
      to[r] = pass->to + (size_t)y * pass->width * 3;
    }
    four_rows(from, to, taps, pass->left);
  }
  for (; y < pass->rows; y++) one_row(pass->from + y * pass->stride, pass->to + (size_t)y * pass->width * 3, taps, pass->left);
}

INLINE void vertical(const uint8_t *from, size_t stride, uint32_t count, const int32_t *weights, size_t bytes, uint8_t *to) {
  size_t at = 0;
  for (; at + BLOCK * 8 <= bytes; at += BLOCK * 8) {
    lane8 sum[BLOCK];
    for (size_t b = 0; b < BLOCK; b++) sum[b] = (lane8){HALF, HALF, HALF, HALF, HALF, HALF, HALF, HALF};
    const uint8_t *row = from + at;
    for (uint32_t t = 0; t < count; t++, row += stride) {
      for (size_t b = 0; b < BLOCK; b++) {
        byte8 values;
        memcpy(&values, row + b * 8, sizeof values);
        sum[b] += __builtin_convertvector(values, lane8) * weights[t];
      }
    }
    for (size_t b = 0; b < BLOCK; b++)
      for (size_t i = 0; i < 8; i++) to[at + b * 8 + i] = clip(sum[b][i]);
  }
  for (; at < bytes; at++) {
    int32_t sum = HALF;
    for (uint32_t t = 0; t < count; t++) sum += from[at + t * stride] * weights[t];
    to[at] = clip(sum);
  }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void horizontal_avx2(const struct horizontal_pass *pass, const struct taps *taps) {
  horizontal(pass, taps);
}

__attribute__((target("avx2"))) static void vertical_avx2(const uint8_t *from, size_t stride, uint32_t count,
                                                          const int32_t *weights, size_t bytes, uint8_t *to) {
  vertical(from, stride, count, weights, bytes, to);
}
#endif

void resample_horizontal(const struct horizontal_pass *pass, const struct taps *taps) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) {
    horizontal_avx2(pass, taps);
    return;
  }
#endif
  horizontal(pass, taps);
}

void resample_vertical(const uint8_t *from, size_t stride, uint32_t count, const int32_t *weights, size_t bytes, uint8_t *to) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) {
    vertical_avx2(from, stride, count, weights, bytes, to);
    return;
  }
#endif
  vertical(from, stride, count, weights, bytes, to);
}
