#include "ir/graph.h"

#include <string.h>

static const struct {
  const char *name;
  size_t size;
} DTYPES[DTYPE_COUNT] = {
    [DTYPE_F32] = {"float32", 4}, [DTYPE_F16] = {"float16", 2}, [DTYPE_BF16] = {"bfloat16", 2},
    [DTYPE_F64] = {"float64", 8}, [DTYPE_U8] = {"uint8", 1},    [DTYPE_I8] = {"int8", 1},
    [DTYPE_I32] = {"int32", 4},   [DTYPE_I64] = {"int64", 8},   [DTYPE_BOOL] = {"bool", 1},
};

size_t dtype_size(enum dtype dtype) {
  return DTYPES[dtype].size;
}

const char *dtype_name(enum dtype dtype) {
  return DTYPES[dtype].name;
}

bool dtype_parse(const char *name, enum dtype *out_dtype) {
  for (int i = 0; i < DTYPE_COUNT; i++) {
    if (strcmp(DTYPES[i].name, name) != 0) continue;
    *out_dtype = (enum dtype)i;
    return true;
  }
  return false;
}

int64_t shape_elements(const struct shape *shape) {
  int64_t elements = 1;
  for (int i = 0; i < shape->rank; i++) elements *= shape->dim[i];
  return elements;
}

bool shape_equal(const struct shape *a, const struct shape *b) {
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++)
    if (a->dim[i] != b->dim[i]) return false;
  return true;
}
