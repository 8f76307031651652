#include "ops/eval.h"

#include <math.h>
#include <string.h>

static float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static double half_load(uint16_t half) {
  int exponent = half >> 10 & 31, mantissa = half & 1023;
  double magnitude = exponent == 31  ? (mantissa != 0 ? (double)NAN : (double)INFINITY)
                     : exponent == 0 ? ldexp(mantissa, -24)
                                     : ldexp(1024 + mantissa, exponent - 25);
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

static uint16_t half_store(double value) {
  uint16_t sign = signbit(value) != 0 ? 0x8000 : 0;
  double magnitude = fabs(value);
  if (isnan(value)) return (uint16_t)(sign | 0x7e00);
  if (magnitude >= 65520) return (uint16_t)(sign | 0x7c00);
  if (magnitude == 0) return sign;
  int exponent;
  frexp(magnitude, &exponent);
  /* The exponent of the last place: at least that of subnormals, whose encoding the smallest normals continue. */
  int place = exponent - 11 < -24 ? -24 : exponent - 11;
  long units = lrint(ldexp(magnitude, -place));
  if (place == -24) return (uint16_t)(sign | units);
  /* A carry out of the mantissa moves into the exponent, which is right. */
  return (uint16_t)(sign | (uint16_t)(((place + 25) << 10) + (int)(units - 1024)));
}

/* Rounds the double itself; through float first would round twice. */
static uint16_t brain_store(double value) {
  float nearest = (float)value;
  uint32_t bits;
  memcpy(&bits, &nearest, sizeof bits);
  if (isnan(value)) return (uint16_t)(bits >> 16 | 0x40);
  uint32_t low = bits & 0xffff;
  bool up = low > 0x8000 || (low == 0x8000 && ((double)fabsf(nearest) < fabs(value) ||
                                               ((double)fabsf(nearest) == fabs(value) && (bits >> 16 & 1) != 0)));
  return (uint16_t)((bits >> 16) + (up ? 1u : 0u));
}

double element_load(enum dtype dtype, const void *data, int64_t at) {
  switch (dtype) {
  case DTYPE_F32:
    return (double)((const float *)data)[at];
  case DTYPE_F64:
    return ((const double *)data)[at];
  case DTYPE_F16:
    return half_load(((const uint16_t *)data)[at]);
  case DTYPE_BF16:
    return (double)float_of_bits((uint32_t)((const uint16_t *)data)[at] << 16);
  case DTYPE_U8:
    return ((const uint8_t *)data)[at];
  case DTYPE_I8:
    return ((const int8_t *)data)[at];
  case DTYPE_I32:
    return ((const int32_t *)data)[at];
  case DTYPE_I64:
    return (double)((const int64_t *)data)[at];
  case DTYPE_BOOL:
    return ((const uint8_t *)data)[at] != 0;
  case DTYPE_COUNT:
    break;
  }
  return 0;
}

/* Out of range and NaN are undefined in C and in ONNX; here they give the nearest end and 0. */
static int64_t to_integer(double element, double low, double high) {
  if (isnan(element)) return 0;
  if (element < low) return (int64_t)low;
  return element >= 0x1p63 ? INT64_MAX : element > high ? (int64_t)high : (int64_t)element;
}

void element_store(enum dtype dtype, void *data, int64_t at, double element) {
  switch (dtype) {
  case DTYPE_F32:
    ((float *)data)[at] = (float)element;
    break;
  case DTYPE_F64:
    ((double *)data)[at] = element;
    break;
  case DTYPE_F16:
    ((uint16_t *)data)[at] = half_store(element);
    break;
  case DTYPE_BF16:
    ((uint16_t *)data)[at] = brain_store(element);
    break;
  case DTYPE_U8:
    ((uint8_t *)data)[at] = (uint8_t)to_integer(element, 0, UINT8_MAX);
    break;
  case DTYPE_I8:
    ((int8_t *)data)[at] = (int8_t)to_integer(element, INT8_MIN, INT8_MAX);
    break;
  case DTYPE_I32:
    ((int32_t *)data)[at] = (int32_t)to_integer(element, INT32_MIN, INT32_MAX);
    break;
  case DTYPE_I64:
    ((int64_t *)data)[at] = to_integer(element, -0x1p63, 0x1p63);
    break;
  case DTYPE_BOOL:
    ((uint8_t *)data)[at] = element != 0;
    break;
  case DTYPE_COUNT:
    break;
  }
}

void shape_strides(const struct shape *shape, int64_t out_strides[RANK_MAX]) {
  int64_t stride = 1;
  for (int i = shape->rank - 1; i >= 0; i--) {
    out_strides[i] = stride;
    stride *= shape->dim[i];
  }
}

void broadcast_strides(const struct shape *from, const struct shape *result, int64_t out_strides[RANK_MAX]) {
  int64_t strides[RANK_MAX] = {0};
  shape_strides(from, strides);
  for (int i = 0; i < result->rank; i++) {
    int at = i - (result->rank - from->rank);
    out_strides[i] = at < 0 || from->dim[at] == 1 ? 0 : strides[at];
  }
}

void walk_init(struct walk *walk, const struct shape *shape, const int64_t *const *strides, int operand_count) {
  *walk = (struct walk){.shape = shape, .operand_count = operand_count};
  for (int i = 0; i < operand_count; i++) walk->strides[i] = strides[i];
}

bool walk_next(struct walk *walk) {
  for (int axis = walk->shape->rank - 2; axis >= 0; axis--) {
    bool wraps = ++walk->index[axis] == walk->shape->dim[axis];
    for (int i = 0; i < walk->operand_count; i++)
      walk->offset[i] += wraps ? -walk->strides[i][axis] * (walk->shape->dim[axis] - 1) : walk->strides[i][axis];
    if (!wraps) return true;
    walk->index[axis] = 0;
  }
  return false;
}

static void copy_row(char *out, const char *in, int64_t count, int64_t stride, size_t size) {
  if (stride == 1) {
    memcpy(out, in, (size_t)count * size);
    return;
  }
  int64_t step = stride * (int64_t)size;
  if (size == sizeof(uint32_t)) {
    for (int64_t i = 0; i < count; i++) memcpy(out + i * 4, in + i * step, 4);
    return;
  }
  for (int64_t i = 0; i < count; i++) memcpy(out + i * (int64_t)size, in + i * step, size);
}

void copy_strided(void *out, const void *in, const struct shape *shape, const int64_t *strides, int64_t offset,
                  size_t element_size) {
  if (shape->rank == 0) {
    memcpy(out, (const char *)in + offset * (int64_t)element_size, element_size);
    return;
  }
  struct walk walk;
  walk_init(&walk, shape, &strides, 1);
  int64_t inner = shape->dim[shape->rank - 1];
  char *to = out;
  do {
    const char *from = (const char *)in + (offset + walk.offset[0]) * (int64_t)element_size;
    copy_row(to, from, inner, strides[shape->rank - 1], element_size);
    to += inner * (int64_t)element_size;
  } while (walk_next(&walk));
}
