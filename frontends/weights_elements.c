/* Elements of weights: other dtypes of them, and whether a model can hold them. Where a large model's every element passes, the
 * loops have no branch, so that they go at the speed of memory. */
#include "weights.h"

#include <math.h>
#include <string.h>

static bool is_float(enum dtype dtype) {
  return dtype == DTYPE_F32 || dtype == DTYPE_F16 || dtype == DTYPE_BF16 || dtype == DTYPE_F64;
}

enum dtype weight_graph_dtype(const struct weight *weight) {
  return is_float(weight->dtype) ? DTYPE_F32 : weight->dtype;
}

static float from_bits(uint32_t bits) {
  float single;
  memcpy(&single, &bits, sizeof single);
  return single;
}

/* The exponent is moved by a product, which also makes the small numbers normal; infinities and NaN keep all ones. */
static float half_to_float(uint16_t half) {
  uint32_t magnitude = (uint32_t)(half & 0x7FFF) << 13, sign = (uint32_t)(half & 0x8000) << 16, bits;
  float single = from_bits(magnitude) * 0x1p112f;
  memcpy(&bits, &single, sizeof bits);
  return from_bits(bits | (0x7F800000u & -(uint32_t)((half & 0x7C00) == 0x7C00)) | sign);
}

/* float32 of elements that may be misaligned. */
static void to_floats(enum dtype from, const uint8_t *at, size_t count, float *floats) {
  double f64;
  uint16_t u16;
  switch (from) {
  case DTYPE_F64:
    for (size_t i = 0; i < count; i++) {
      memcpy(&f64, at + i * sizeof f64, sizeof f64);
      floats[i] = (float)f64;
    }
    break;
  case DTYPE_F16:
    for (size_t i = 0; i < count; i++) {
      memcpy(&u16, at + i * sizeof u16, sizeof u16);
      floats[i] = half_to_float(u16);
    }
    break;
  case DTYPE_BF16:
    for (size_t i = 0; i < count; i++) {
      memcpy(&u16, at + i * sizeof u16, sizeof u16);
      floats[i] = from_bits((uint32_t)u16 << 16);
    }
    break;
  default:
    memcpy(floats, at, count * sizeof *floats);
  }
}

static double float_element(const struct weight *weight, size_t i) {
  const uint8_t *at = (const uint8_t *)weight->data + i * dtype_size(weight->dtype);
  double f64;
  float f32;
  if (weight->dtype == DTYPE_F64) {
    memcpy(&f64, at, sizeof f64);
    return f64;
  }
  to_floats(weight->dtype, at, 1, &f32);
  return (double)f32;
}

static int64_t integer_element(const struct weight *weight, size_t i) {
  const uint8_t *at = (const uint8_t *)weight->data + i * dtype_size(weight->dtype);
  int32_t i32;
  int64_t i64;
  switch (weight->dtype) {
  case DTYPE_I64:
    memcpy(&i64, at, sizeof i64);
    return i64;
  case DTYPE_I32:
    memcpy(&i32, at, sizeof i32);
    return i32;
  case DTYPE_I8:
    return (int8_t)*at;
  default:
    return *at;
  }
}

static bool store_integer(enum dtype to, void *elements, size_t i, int64_t integer) {
  switch (to) {
  case DTYPE_I64:
    ((int64_t *)elements)[i] = integer;
    return true;
  case DTYPE_I32:
    ((int32_t *)elements)[i] = (int32_t)integer;
    return integer >= INT32_MIN && integer <= INT32_MAX;
  case DTYPE_I8:
    ((int8_t *)elements)[i] = (int8_t)integer;
    return integer >= INT8_MIN && integer <= INT8_MAX;
  case DTYPE_U8:
    ((uint8_t *)elements)[i] = (uint8_t)integer;
    return integer >= 0 && integer <= UINT8_MAX;
  default:
    return false;
  }
}

const void *weight_elements(const struct weight *weight, enum dtype to, struct arena *arena) {
  size_t count = (size_t)shape_elements(&weight->shape), size = dtype_size(to);
  bool from_float = is_float(weight->dtype);
  if (weight->dtype == to && (uintptr_t)weight->data % size == 0) return weight->data;
  if (weight->dtype != to && from_float && to != DTYPE_F32 && to != DTYPE_F64) return NULL;
  void *elements = arena_array(arena, count, size);
  if (weight->dtype == to) {
    memcpy(elements, weight->data, count * size);
  } else if (to == DTYPE_F32 && from_float) {
    to_floats(weight->dtype, weight->data, count, elements);
  } else if (to == DTYPE_F32) {
    for (size_t i = 0; i < count; i++) ((float *)elements)[i] = (float)integer_element(weight, i);
  } else if (to == DTYPE_F64) {
    for (size_t i = 0; i < count; i++)
      ((double *)elements)[i] = from_float ? float_element(weight, i) : (double)integer_element(weight, i);
  } else {
    for (size_t i = 0; i < count; i++)
      if (!store_integer(to, elements, i, integer_element(weight, i))) return NULL;
  }
  return elements;
}

const void *weight_block(const struct weight *weight, size_t first, size_t count, void *buffer) {
  const uint8_t *at = (const uint8_t *)weight->data + first * dtype_size(weight->dtype);
  if (weight_graph_dtype(weight) == weight->dtype) return at;
  to_floats(weight->dtype, at, count, buffer);
  return buffer;
}

static enum status fail_element(const struct weight *weight, size_t i, const char *what, const char *file, struct diag *diag) {
  return diag_fail(diag, STATUS_INPUT, "%s: tensor \"%s\": element %zu is %s", file, weight->name, i, what);
}

/* Whether an element may be one to refuse: its exponent is all ones, or too large for float32. */
static bool is_suspect(enum dtype dtype, const uint8_t *bytes, size_t count) {
  uint32_t found = 0, u32;
  uint16_t u16, mask = dtype == DTYPE_F16 ? 0x7C00 : 0x7F80;
  uint64_t u64;
  switch (dtype) {
  case DTYPE_F32:
    for (size_t i = 0; i < count; i++) {
      memcpy(&u32, bytes + i * sizeof u32, sizeof u32);
      found |= (u32 & 0x7F800000u) == 0x7F800000u;
    }
    break;
  case DTYPE_F64:
    for (size_t i = 0; i < count; i++) {
      memcpy(&u64, bytes + i * sizeof u64, sizeof u64);
      found |= (u64 >> 52 & 0x7FF) >= 1023 + 127;
    }
    break;
  default:
    for (size_t i = 0; i < count; i++) {
      memcpy(&u16, bytes + i * sizeof u16, sizeof u16);
      found |= (u16 & mask) == mask;
    }
  }
  return found != 0;
}

enum status weights_check_range(const struct weight *weight, size_t first, size_t count, const char *file, struct diag *diag) {
  const uint8_t *bytes = (const uint8_t *)weight->data + first * dtype_size(weight->dtype);
  if (weight->dtype == DTYPE_BOOL) {
    for (size_t i = 0; i < count; i++)
      if (bytes[i] > 1) return fail_element(weight, first + i, "neither 0 nor 1, in a tensor of bool", file, diag);
    return STATUS_OK;
  }
  if (!is_float(weight->dtype) || !is_suspect(weight->dtype, bytes, count)) return STATUS_OK;
  for (size_t i = first; i < first + count; i++) {
    double number = float_element(weight, i);
    if (isnan(number)) return fail_element(weight, i, "NaN", file, diag);
    if (isinf(number)) return fail_element(weight, i, "infinite", file, diag);
    if (fabs(number) > 3.4028234663852886e38) return fail_element(weight, i, "too large for float32", file, diag);
  }
  return STATUS_OK;
}

enum status weights_check_finite(const struct weight *weight, const char *file, struct diag *diag) {
  enum { BLOCK = 1 << 14 };
  size_t count = (size_t)shape_elements(&weight->shape);
  for (size_t i = 0; i < count; i += BLOCK)
    TRY(weights_check_range(weight, i, count - i < BLOCK ? count - i : BLOCK, file, diag));
  return STATUS_OK;
}
