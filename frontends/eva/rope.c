#include "eva/rope.h"

#include <math.h>

/* Patch `at` of `extent` along one axis. */
static float coordinate(const struct rope *rope, int64_t at, int64_t extent, int64_t reference) {
  if (rope->grid == ROPE_INDEX) {
    float x = (float)at + (float)rope->offset;
    return reference != 0 ? x / (float)extent * (float)reference : x;
  }
  float x = ((float)at + 0.5f + (float)rope->offset) / (float)extent;
  return 2.0f * x - 1.0f;
}

static float power(double base, float exponent) {
  return (float)pow(base, (double)exponent);
}

/* Angle of a coordinate in band `band` of `bands`. */
static float angle(const struct rope *rope, float x, int64_t band, int64_t bands) {
  const float turn = (float)6.283185307179586;
  switch (rope->grid) {
  case ROPE_INDEX:
    return x * (1.0f / power(rope->temperature, (float)band / (float)bands));
  case ROPE_CENTRED_PERIODS:
    return turn * x / power(rope->temperature, 2.0f * (float)band / (float)(2 * bands));
  default:
    return turn * x * (1.0f / power(rope->temperature, (float)((double)band * (1.0 / (double)bands))));
  }
}

void rope_caches(const struct rope *rope, const int64_t *grid, int64_t prefix, int64_t head_dim, float *out_cos,
                 float *out_sin) {
  int64_t pairs = head_dim / 2, bands = head_dim / 4;
  for (int64_t i = 0; i < prefix * pairs; i++) {
    out_cos[i] = 1;
    out_sin[i] = 0;
  }
  for (int64_t patch = 0; patch < grid[0] * grid[1]; patch++) {
    int64_t at[] = {patch / grid[1], patch % grid[1]};
    for (int64_t i = 0; i < pairs; i++) {
      int axis = (i >= bands) != rope->columns_first;
      float x = coordinate(rope, at[axis], grid[axis], rope->reference[axis]);
      double turned = (double)angle(rope, x, i % bands, bands);
      out_cos[(prefix + patch) * pairs + i] = (float)cos(turned);
      out_sin[(prefix + patch) * pairs + i] = (float)sin(turned);
    }
  }
}
