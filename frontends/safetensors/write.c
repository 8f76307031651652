#include "safetensors/safetensors.h"

#include "json/emit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Elements start at a multiple of this in the file, so that a mapped file is aligned for every dtype. */
enum { HEADER_ALIGNMENT = 64 };

static const char *const spellings[DTYPE_COUNT] = {
    [DTYPE_F32] = "F32", [DTYPE_F16] = "F16", [DTYPE_BF16] = "BF16", [DTYPE_F64] = "F64",   [DTYPE_U8] = "U8",
    [DTYPE_I8] = "I8",   [DTYPE_I32] = "I32", [DTYPE_I64] = "I64",   [DTYPE_BOOL] = "BOOL",
};

static uint64_t weight_bytes(const struct weight *weight) {
  return (uint64_t)shape_elements(&weight->shape) * dtype_size(weight->dtype);
}

static void write_header(FILE *stream, const struct weight *tensors, size_t count) {
  uint64_t begin = 0;
  fputc('{', stream);
  for (size_t i = 0; i < count; i++) {
    const struct weight *weight = &tensors[i];
    uint64_t end = begin + weight_bytes(weight);
    if (i) fputc(',', stream);
    emit_string(stream, weight->name);
    fprintf(stream, ":{\"dtype\":\"%s\",\"shape\":[", spellings[weight->dtype]);
    for (int axis = 0; axis < weight->shape.rank; axis++)
      fprintf(stream, "%s%lld", axis ? "," : "", (long long)weight->shape.dim[axis]);
    fprintf(stream, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)begin, (unsigned long long)end);
    begin = end;
  }
  fputc('}', stream);
}

enum status safetensors_write(struct output *output, const struct weight *tensors, size_t count, struct diag *diag) {
  char *header = NULL;
  size_t length = 0;
  FILE *text = open_memstream(&header, &length);
  if (!text) return diag_fail(diag, STATUS_SYSTEM, "%s: out of memory", output->path);
  write_header(text, tensors, count);
  while ((8 + (uint64_t)ftell(text)) % HEADER_ALIGNMENT) fputc(' ', text);
  if (fclose(text)) {
    free(header);
    return diag_fail(diag, STATUS_SYSTEM, "%s: out of memory", output->path);
  }
  for (int i = 0; i < 8; i++) fputc((int)((uint64_t)length >> (8 * i) & 255), output->stream);
  fwrite(header, 1, length, output->stream);
  free(header);
  for (size_t i = 0; i < count; i++) {
    size_t bytes = (size_t)weight_bytes(&tensors[i]);
    if (fwrite(tensors[i].data, 1, bytes, output->stream) != bytes)
      return diag_fail(diag, STATUS_SYSTEM, "%s: cannot write: %s", output->path, strerror(errno));
  }
  return STATUS_OK;
}
