#include "onnx/importer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ONNX's numbers of data types, with the dtypes that the file's elements have. */
static const struct {
  int32_t data_type;
  enum dtype stored, computed;
} types[] = {
    {1, DTYPE_F32, DTYPE_F32},  {2, DTYPE_U8, DTYPE_U8},    {3, DTYPE_I8, DTYPE_I8},
    {6, DTYPE_I32, DTYPE_I32},  {7, DTYPE_I64, DTYPE_I64},  {9, DTYPE_BOOL, DTYPE_BOOL},
    {10, DTYPE_F16, DTYPE_F32}, {11, DTYPE_F64, DTYPE_F64}, {16, DTYPE_BF16, DTYPE_F32},
};

static bool find_type(int32_t data_type, enum dtype *out_stored, enum dtype *out_computed) {
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (types[i].data_type == data_type) {
      *out_stored = types[i].stored;
      *out_computed = types[i].computed;
      return true;
    }
  return false;
}

bool tensor_dtype(int32_t data_type, enum dtype *out_dtype) {
  enum dtype stored;
  return find_type(data_type, &stored, out_dtype);
}

static const char *label(const OnnxSubset__Tensor *source) {
  return source->name != NULL ? source->name : "";
}

static enum status read_shape(struct importer *im, const OnnxSubset__Tensor *source, struct shape *out_shape) {
  if (source->n_dims > RANK_MAX)
    return importer_fail(im, "tensor '%.200s' has %zu dimensions, expected at most %d", label(source), source->n_dims,
                         RANK_MAX);
  *out_shape = (struct shape){.rank = (int)source->n_dims};
  int64_t elements = 1;
  for (size_t i = 0; i < source->n_dims; i++) {
    int64_t dim = source->dims[i];
    if (dim < 0 || __builtin_mul_overflow(elements, dim ? dim : 1, &elements) || elements > INT32_MAX)
      return importer_fail(im, "tensor '%.200s': dimension %zu is %lld", label(source), i, (long long)dim);
    out_shape->dim[i] = dim;
  }
  return STATUS_OK;
}

/* A file beside the model or below: a model that comes from elsewhere reads no other file of its user. */
static bool is_inside(const char *path) {
  if (!*path || *path == '/') return false;
  for (const char *part = path; part; part = strchr(part, '/')) {
    if (*part == '/') part++;
    size_t length = strcspn(part, "/");
    if (length == 0 || (length == 2 && !strncmp(part, "..", 2))) return false;
  }
  return true;
}

/* The folder of a file, for which links are followed: with its slash, in the arena; NULL when there is no such file. */
static const char *real_folder(struct importer *im, const char *path) {
  char *real = realpath(path, NULL);
  const char *folder = real ? arena_strndup(im->arena, real, (size_t)(strrchr(real, '/') + 1 - real)) : NULL;
  free(real);
  return folder;
}

/* Links may not lead out of the model's folder. Where the model itself is a link, as in the cache of a hub, its data may also
 * lie where it leads to. */
static bool leads_outside(struct importer *im, const char *path) {
  const char *slash = strrchr(im->file, '/');
  const char *beside = arena_printf(im->arena, "%.*s.", slash ? (int)(slash + 1 - im->file) : 0, im->file);
  char *folder = realpath(beside, NULL);
  const char *found = real_folder(im, path), *model = real_folder(im, im->file);
  size_t length = folder ? strlen(folder) : 0;
  bool inside = !found || (folder && !strncmp(found, folder, length) && (found[length] == '/' || length == 1)) ||
                (model && !strncmp(found, model, strlen(model)));
  free(folder);
  return !inside;
}

static enum status map_file(struct importer *im, const OnnxSubset__Tensor *source, const char *location,
                            struct span *out_span) {
  for (int i = 0; i < im->mapped_count; i++)
    if (strcmp(im->mapped_names[i], location) == 0) {
      *out_span = im->mapped[i];
      return STATUS_OK;
    }
  if (!is_inside(location))
    return importer_fail(im, "tensor '%.200s': location '%.200s' is not a file beside the model or below", label(source),
                         location);
  const char *slash = strrchr(im->file, '/');
  const char *path = arena_printf(im->arena, "%.*s%s", slash ? (int)(slash + 1 - im->file) : 0, im->file, location);
  if (leads_outside(im, path))
    return importer_fail(im, "tensor '%.200s': location '%.200s' is a link to a file outside of the model's folder",
                         label(source), location);
  TRY(weights_map(im->weights, path, out_span, im->diag));
  im->mapped_names[im->mapped_count] = location;
  im->mapped[im->mapped_count++] = *out_span;
  return STATUS_OK;
}

static bool parse_size(const char *text, uint64_t *out) {
  char *end;
  errno = 0;
  *out = strtoull(text, &end, 10);
  return *text >= '0' && *text <= '9' && !*end && !errno;
}

static enum status read_external(struct importer *im, const OnnxSubset__Tensor *source, uint64_t bytes, struct span *out_span) {
  const char *location = NULL;
  uint64_t offset = 0, length = bytes;
  for (size_t i = 0; i < source->n_external_data; i++) {
    const char *key = source->external_data[i]->key, *text = source->external_data[i]->value;
    if (key == NULL || text == NULL) continue;
    if (strcmp(key, "location") == 0) location = text;
    bool number = true;
    if (strcmp(key, "offset") == 0) number = parse_size(text, &offset);
    if (strcmp(key, "length") == 0) number = parse_size(text, &length);
    if (!number) return importer_fail(im, "tensor '%.200s': %s '%.64s' is not a number of bytes", label(source), key, text);
  }
  if (location == NULL) return importer_fail(im, "tensor '%.200s' is in another file, but no location is given", label(source));
  if (length != bytes)
    return importer_fail(im, "tensor '%.200s': %llu bytes of '%.200s', expected %llu", label(source),
                         (unsigned long long)length, location, (unsigned long long)bytes);
  struct span file;
  TRY(map_file(im, source, location, &file));
  if (offset > file.size || bytes > file.size - offset)
    return importer_fail(im, "tensor '%.200s': bytes %llu to %llu lie past the end of '%.200s', which has %zu", label(source),
                         (unsigned long long)offset, (unsigned long long)(offset + bytes), location, file.size);
  *out_span = (struct span){file.data + offset, (size_t)bytes};
  return STATUS_OK;
}

/* Elements of a typed field: as many as the shape says, each narrowed to what is stored. */
static enum status read_field(struct importer *im, const OnnxSubset__Tensor *source, enum dtype stored, size_t elements,
                              struct span *out_span) {
  size_t size = dtype_size(stored), count = 0;
  const void *field = NULL;
  switch (stored) {
  case DTYPE_F32:
    count = source->n_float_data;
    field = source->float_data;
    break;
  case DTYPE_F64:
    count = source->n_double_data;
    field = source->double_data;
    break;
  case DTYPE_I64:
    count = source->n_int64_data;
    field = source->int64_data;
    break;
  default:
    count = source->n_int32_data;
    field = source->int32_data;
  }
  if (count != elements)
    return importer_fail(im, "tensor '%.200s' has %zu elements, its shape says %zu", label(source), count, elements);
  if (size < 4 && count > 0) {
    char *narrow = arena_array(im->arena, count, size);
    /* The low bytes: the machine and the format are both little-endian. */
    for (size_t i = 0; i < count; i++) memcpy(narrow + i * size, &source->int32_data[i], size);
    field = narrow;
  }
  *out_span = (struct span){field, count * size};
  return STATUS_OK;
}

enum status tensor_read(struct importer *im, const OnnxSubset__Tensor *source, struct tensor *out_tensor) {
  enum dtype stored, computed;
  struct shape shape;
  if (!find_type(source->data_type, &stored, &computed))
    return importer_fail(im, "tensor '%.200s': data type %d is not supported", label(source), source->data_type);
  TRY(read_shape(im, source, &shape));
  size_t elements = (size_t)shape_elements(&shape), bytes = elements * dtype_size(stored);
  struct span span = {0};
  if (source->data_location == 1)
    TRY(read_external(im, source, bytes, &span));
  else if (source->has_raw_data)
    span = (struct span){source->raw_data.data, source->raw_data.len};
  else
    TRY(read_field(im, source, stored, elements, &span));
  if (span.size != bytes)
    return importer_fail(im, "tensor '%.200s' has %zu bytes, its shape and data type say %zu", label(source), span.size, bytes);
  const struct weight weight = {label(source), stored, shape, span.data};
  const void *data = elements ? weight_elements(&weight, computed, im->arena) : arena_alloc(im->arena, 1);
  *out_tensor = (struct tensor){computed, shape, data};
  return STATUS_OK;
}
