/* bf16 in the tests' own arithmetic. */
#ifndef VITC_TESTS_BF16_H
#define VITC_TESTS_BF16_H

#include "plan/pack.h"

#include <stdint.h>
#include <string.h>

/* Rounded to nearest even; not for NaN. */
static inline uint16_t to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float from_bf16(uint16_t value) {
  uint32_t bits = (uint32_t)value << 16;
  float result;
  memcpy(&result, &bits, sizeof result);
  return result;
}

/* Element `index` of an array of bf16; the floats that have room for `count` and for what kernels may read after them. */
static inline float bf16_at(const void *array, size_t index) {
  return from_bf16(((const uint16_t *)array)[index]);
}

static inline size_t bf16_floats(size_t count) {
  return (count + PACK_TABLE_ROOM + 1) / 2;
}

#endif
