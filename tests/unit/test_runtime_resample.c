/* The vector paths of resampling against the plain C ones, which tests/reference/preprocess.py can only see on CPUs without the
 * vector instructions. */
#include "../../runtime/src/resample.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 61, ROWS = 9, ROOM = 13, OUTPUTS = 40 };

static uint32_t state = 1;

static uint32_t below(uint32_t limit) {
  state = state * 1664525u + 1013904223u;
  return (uint32_t)((uint64_t)state * limit >> 32);
}

/* Weights of either sign whose sums stay within 32 bits for any bytes. */
static void fill(uint8_t *bytes, size_t count, int32_t *weights, size_t weight_count) {
  for (size_t i = 0; i < count; i++) bytes[i] = (uint8_t)(below(4) ? below(256) : below(2) * 255);
  int32_t largest = (1 << 22) / ROOM * 2;
  for (size_t i = 0; i < weight_count; i++) weights[i] = (int32_t)below((uint32_t)largest) - largest / 4;
}

Test(resample, rows_by_vectors_are_rows_by_bytes) {
  for (int round = 0; round < 200; round++) {
    uint32_t start[OUTPUTS], length[OUTPUTS], rows = 1 + below(ROWS);
    int32_t weights[OUTPUTS * ROOM];
    uint8_t fast[ROWS * OUTPUTS * 3], plain[sizeof fast], *from = malloc((size_t)rows * COLUMNS * 3);
    fill(from, (size_t)rows * COLUMNS * 3, weights, OUTPUTS * ROOM);
    for (uint32_t i = 0; i < OUTPUTS; i++) {
      length[i] = 1 + below(ROOM);
      start[i] = i * (COLUMNS - length[i]) / (OUTPUTS - 1);
    }
    memset(fast, 0, sizeof fast);
    memset(plain, 0, sizeof plain);
    struct taps taps = {.first = 3, .count = OUTPUTS - 5, .room = ROOM, .start = start, .length = length, .weights = weights};
    struct horizontal_pass pass = {from, COLUMNS * 3, (size_t)rows * COLUMNS * 3, fast, rows, OUTPUTS, 1};
    resample_horizontal(&pass, &taps);
    pass.to = plain;
    resample_horizontal_from(&pass, &taps, 0);
    cr_assert(eq(int, memcmp(fast, plain, sizeof fast), 0));
    free(from);
  }
}

Test(resample, columns_by_vectors_are_columns_by_bytes) {
  for (int round = 0; round < 400; round++) {
    uint32_t rows = 1 + below(ROOM);
    size_t bytes = 1 + below(COLUMNS * 3), stride = bytes + below(5);
    int32_t weights[ROOM];
    uint8_t fast[COLUMNS * 3], plain[COLUMNS * 3], *from = malloc((rows - 1) * stride + bytes);
    fill(from, (rows - 1) * stride + bytes, weights, ROOM);
    resample_vertical(from, stride, rows, weights, bytes, fast);
    resample_vertical_from(from, stride, rows, weights, bytes, plain, 0);
    cr_assert(eq(int, memcmp(fast, plain, bytes), 0));
    free(from);
  }
}
