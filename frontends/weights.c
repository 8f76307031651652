#include "weights.h"

#include "frontend.h"
#include "safetensors/safetensors.h"
#include "torch/pth.h"

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
