#include "weights.h"

#include "frontend.h"
#include "safetensors/safetensors.h"
#include "torch/pth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void weights_init(struct weights *weights) {
  *weights = (struct weights){0};
  arena_init(&weights->arena);
}

void weights_close(struct weights *weights) {
  for (int i = 0; i < weights->file_count; i++) span_unmap(&weights->files[i]);
  arena_deinit(&weights->arena);
  free(weights->tensors);
  *weights = (struct weights){0};
}

enum status weights_open(const char *path, struct weights *out_weights, struct diag *diag) {
  weights_init(out_weights);
  TRY(weights_read(path, out_weights, diag));
  return weights_index(out_weights, path, diag);
}

enum status weights_read(const char *path, struct weights *weights, struct diag *diag) {
  return pth_probe(path) ? pth_read(path, weights, diag) : safetensors_read(path, weights, diag);
}

enum status weights_map(struct weights *weights, const char *path, struct span *out_span, struct diag *diag) {
  if (weights->file_count == WEIGHTS_FILES_MAX)
    return diag_fail(diag, STATUS_INPUT, "%s: a model of more than %d files", path, WEIGHTS_FILES_MAX);
  TRY(span_map_file(path, out_span, diag));
  weights->files[weights->file_count++] = *out_span;
  return STATUS_OK;
}

struct weight *weights_add(struct weights *weights, const char *name, enum dtype dtype, const struct shape *shape,
                           const void *data) {
  if (weights->count == weights->capacity) {
    size_t capacity = weights->capacity ? weights->capacity * 2 : 256;
    struct weight *tensors = realloc(weights->tensors, capacity * sizeof *tensors);
    if (!tensors) {
      fprintf(stderr, "vitc: out of memory\n");
      exit(STATUS_SYSTEM);
    }
    weights->tensors = tensors;
    weights->capacity = capacity;
  }
  struct weight *weight = &weights->tensors[weights->count++];
  *weight = (struct weight){arena_strdup(&weights->arena, name), dtype, *shape, data};
  return weight;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(((const struct weight *)a)->name, ((const struct weight *)b)->name);
}

enum status weights_index(struct weights *weights, const char *file, struct diag *diag) {
  if (weights->count) qsort(weights->tensors, weights->count, sizeof *weights->tensors, compare_names);
  for (size_t i = 1; i < weights->count; i++)
    if (!compare_names(&weights->tensors[i - 1], &weights->tensors[i]))
      return diag_fail(diag, STATUS_INPUT, "%s: tensor \"%s\" occurs twice", file, weights->tensors[i].name);
  return STATUS_OK;
}

const struct weight *weights_find(const struct weights *weights, const char *name) {
  const struct weight key = {.name = name};
  if (!weights->count) return NULL;
  return bsearch(&key, weights->tensors, weights->count, sizeof *weights->tensors, compare_names);
}

static const char *weight_name(const void *context, size_t i) {
  return ((const struct weights *)context)->tensors[i].name;
}

const char *weights_nearest(const struct weights *weights, const char *name) {
  return frontend_nearest(name, weight_name, weights, weights->count);
}

static bool is_float(enum dtype dtype) {
  return dtype == DTYPE_F32 || dtype == DTYPE_F16 || dtype == DTYPE_BF16 || dtype == DTYPE_F64;
}

enum dtype weight_graph_dtype(const struct weight *weight) {
  return is_float(weight->dtype) ? DTYPE_F32 : weight->dtype;
}

static float half_to_float(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 1023;
  if (exponent == 0) return (sign ? -1.0f : 1.0f) * (float)mantissa * 0x1p-24f;
  uint32_t bits = sign | (exponent == 31 ? 255 : exponent + 112) << 23 | mantissa << 13;
  float single;
  memcpy(&single, &bits, sizeof single);
  return single;
}

/* Element i, which may be misaligned. */
static double float_element(const struct weight *weight, size_t i) {
  const uint8_t *at = (const uint8_t *)weight->data + i * dtype_size(weight->dtype);
  double f64;
  float f32;
  uint16_t u16;
  uint32_t u32;
  switch (weight->dtype) {
  case DTYPE_F64:
    memcpy(&f64, at, sizeof f64);
    return f64;
  case DTYPE_F32:
    memcpy(&f32, at, sizeof f32);
    return (double)f32;
  case DTYPE_F16:
    memcpy(&u16, at, sizeof u16);
    return (double)half_to_float(u16);
  default:
    memcpy(&u16, at, sizeof u16);
    u32 = (uint32_t)u16 << 16;
    memcpy(&f32, &u32, sizeof f32);
    return (double)f32;
  }
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
  if (weight->dtype == to) {
    if ((uintptr_t)weight->data % size == 0) return weight->data;
    void *copy = arena_array(arena, count, size);
    memcpy(copy, weight->data, count * size);
    return copy;
  }
  bool from_float = is_float(weight->dtype);
  if (from_float && to != DTYPE_F32 && to != DTYPE_F64) return NULL;
  void *elements = arena_array(arena, count, size);
  for (size_t i = 0; i < count; i++) {
    if (to == DTYPE_F32 || to == DTYPE_F64) {
      double number = from_float ? float_element(weight, i) : (double)integer_element(weight, i);
      if (to == DTYPE_F32)
        ((float *)elements)[i] = (float)number;
      else
        ((double *)elements)[i] = number;
    } else if (!store_integer(to, elements, i, integer_element(weight, i))) {
      return NULL;
    }
  }
  return elements;
}

static enum status fail_element(const struct weight *weight, size_t i, const char *what, const char *file, struct diag *diag) {
  return diag_fail(diag, STATUS_INPUT, "%s: tensor \"%s\": element %zu is %s", file, weight->name, i, what);
}

enum status weights_check_finite(const struct weight *weight, const char *file, struct diag *diag) {
  size_t count = (size_t)shape_elements(&weight->shape);
  const uint8_t *bytes = weight->data;
  if (weight->dtype == DTYPE_BOOL) {
    for (size_t i = 0; i < count; i++)
      if (bytes[i] > 1) return fail_element(weight, i, "neither 0 nor 1, in a tensor of bool", file, diag);
    return STATUS_OK;
  }
  if (!is_float(weight->dtype)) return STATUS_OK;
  for (size_t start = 0; start < count; start += 4096) {
    size_t stop = count - start < 4096 ? count : start + 4096;
    /* Exponents of all ones, gathered without a branch: the blob of a large model is scanned at memory speed. */
    uint32_t bad = weight->dtype != DTYPE_F32;
    for (size_t i = start; i < stop && weight->dtype == DTYPE_F32; i++) {
      uint32_t bits;
      memcpy(&bits, bytes + i * sizeof bits, sizeof bits);
      bad |= (bits & 0x7F800000u) == 0x7F800000u;
    }
    for (size_t i = start; bad && i < stop; i++) {
      double number = float_element(weight, i);
      if (isnan(number)) return fail_element(weight, i, "NaN", file, diag);
      if (isinf(number)) return fail_element(weight, i, "infinite", file, diag);
      if (fabs(number) > 3.4028234663852886e38) return fail_element(weight, i, "too large for float32", file, diag);
    }
  }
  return STATUS_OK;
}
