#include "safetensors/safetensors.h"

#include "json/emit.h"

#include <stdlib.h>

/* Elements start at a multiple of HEADER_ALIGNMENT in the file, so that a mapped file is aligned for every dtype. A block of
 * elements is looked at, converted and written while it is in the cache. */
enum { HEADER_ALIGNMENT = 64, BLOCK_ELEMENTS = 1 << 17 };

struct writer {
  struct output *output;
  const struct weight *tensors;
  size_t count;
  const char *file; /* NULL: tensors as they are */
  struct diag *diag;
};

static const char *const spellings[DTYPE_COUNT] = {
    [DTYPE_F32] = "F32", [DTYPE_F16] = "F16", [DTYPE_BF16] = "BF16", [DTYPE_F64] = "F64",   [DTYPE_U8] = "U8",
    [DTYPE_I8] = "I8",   [DTYPE_I32] = "I32", [DTYPE_I64] = "I64",   [DTYPE_BOOL] = "BOOL",
};

static enum dtype written_dtype(const struct writer *w, const struct weight *weight) {
  return w->file ? weight_graph_dtype(weight) : weight->dtype;
}

static void write_header(const struct writer *w, FILE *stream) {
  uint64_t begin = 0;
  fputc('{', stream);
  for (size_t i = 0; i < w->count; i++) {
    const struct weight *weight = &w->tensors[i];
    enum dtype dtype = written_dtype(w, weight);
    uint64_t end = begin + (uint64_t)shape_elements(&weight->shape) * dtype_size(dtype);
    if (i) fputc(',', stream);
    emit_string(stream, weight->name);
    fprintf(stream, ":{\"dtype\":\"%s\",\"shape\":[", spellings[dtype]);
    for (int axis = 0; axis < weight->shape.rank; axis++)
      fprintf(stream, "%s%lld", axis ? "," : "", (long long)weight->shape.dim[axis]);
    fprintf(stream, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)begin, (unsigned long long)end);
    begin = end;
  }
  fputc('}', stream);
}

static enum status write_length_and_header(const struct writer *w) {
  char *header = NULL;
  size_t length = 0;
  FILE *text = open_memstream(&header, &length);
  if (!text) return diag_fail(w->diag, STATUS_SYSTEM, "%s: out of memory", w->output->path);
  write_header(w, text);
  while ((8 + (uint64_t)ftell(text)) % HEADER_ALIGNMENT) fputc(' ', text);
  if (fclose(text)) {
    free(header);
    return diag_fail(w->diag, STATUS_SYSTEM, "%s: out of memory", w->output->path);
  }
  for (int i = 0; i < 8; i++) fputc((int)((uint64_t)length >> (8 * i) & 255), w->output->stream);
  fwrite(header, 1, length, w->output->stream);
  free(header);
  return STATUS_OK;
}

static enum status write_elements(const struct writer *w, const struct weight *weight, float *buffer) {
  size_t count = (size_t)shape_elements(&weight->shape), size = dtype_size(written_dtype(w, weight));
  if (!w->file) return output_write(w->output, weight->data, count * size, w->diag);
  for (size_t i = 0; i < count; i += BLOCK_ELEMENTS) {
    size_t block = count - i < BLOCK_ELEMENTS ? count - i : BLOCK_ELEMENTS;
    TRY(weights_check_range(weight, i, block, w->file, w->diag));
    TRY(output_write(w->output, weight_block(weight, i, block, buffer), block * size, w->diag));
  }
  return STATUS_OK;
}

static enum status write_tensors(const struct writer *w) {
  float *buffer = malloc(BLOCK_ELEMENTS * sizeof *buffer);
  if (!buffer) return diag_fail(w->diag, STATUS_SYSTEM, "%s: out of memory", w->output->path);
  enum status status = write_length_and_header(w);
  for (size_t i = 0; i < w->count && status == STATUS_OK; i++) status = write_elements(w, &w->tensors[i], buffer);
  free(buffer);
  return status;
}

enum status safetensors_write(struct output *output, const struct weight *tensors, size_t count, struct diag *diag) {
  return write_tensors(&(struct writer){output, tensors, count, NULL, diag});
}

enum status safetensors_write_graph(struct output *output, const struct weight *tensors, size_t count, const char *file,
                                    struct diag *diag) {
  return write_tensors(&(struct writer){output, tensors, count, file, diag});
}
