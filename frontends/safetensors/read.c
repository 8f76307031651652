/* The rules are those of the reference implementation (tensor.rs): a file that it refuses is refused here. */
#include "safetensors/safetensors.h"

#include "json/text.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 100000000 };

struct reader {
  const char *file;
  struct weights *weights;
  struct span tensors; /* the bytes after the header */
  struct diag *diag;
};

/* A tensor as its header entry has it. */
struct entry {
  const char *name;
  const struct spelling *spelling;
  struct shape shape;
  uint64_t begin, end;
};

static const struct spelling {
  const char *name;
  size_t size;
  enum dtype dtype;
} spellings[] = {
    {"F64", 8, DTYPE_F64}, {"F32", 4, DTYPE_F32}, {"F16", 2, DTYPE_F16}, {"BF16", 2, DTYPE_BF16}, {"I64", 8, DTYPE_I64},
    {"I32", 4, DTYPE_I32}, {"I16", 2, DTYPE_I32}, {"I8", 1, DTYPE_I8},   {"U8", 1, DTYPE_U8},     {"BOOL", 1, DTYPE_BOOL},
};

static const struct spelling *find_spelling(const char *name) {
  for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++)
    if (!strcmp(spellings[i].name, name)) return &spellings[i];
  return NULL;
}

#define fail(reader, ...) diag_fail((reader)->diag, STATUS_INPUT, __VA_ARGS__)

/* Shape and size of the tensor's bytes. */
static enum status read_shape(const struct reader *r, const cJSON *array, struct entry *entry, uint64_t *out_bytes) {
  if (!cJSON_IsArray(array)) return fail(r, "%s: tensor \"%s\": expected a shape, an array", r->file, entry->name);
  uint64_t bytes = entry->spelling->size;
  bool overflow = false;
  const cJSON *item;
  cJSON_ArrayForEach(item, array) {
    int64_t dim;
    if (entry->shape.rank == RANK_MAX)
      return fail(r, "%s: tensor \"%s\": more than %d dimensions", r->file, entry->name, RANK_MAX);
    if (!json_integer(item, &dim) || dim < 0)
      return fail(r, "%s: tensor \"%s\": shape[%d] is not an integer of at least 0", r->file, entry->name, entry->shape.rank);
    entry->shape.dim[entry->shape.rank++] = dim;
    overflow |= __builtin_mul_overflow(bytes, (uint64_t)dim, &bytes);
  }
  if (overflow) return fail(r, "%s: tensor \"%s\": its shape has more bytes than 64 bits can count", r->file, entry->name);
  *out_bytes = bytes;
  return STATUS_OK;
}

static enum status read_offsets(const struct reader *r, const cJSON *array, struct entry *entry) {
  int64_t begin, end;
  if (cJSON_GetArraySize(array) != 2 || !json_integer(cJSON_GetArrayItem(array, 0), &begin) ||
      !json_integer(cJSON_GetArrayItem(array, 1), &end) || begin < 0 || end < begin)
    return fail(r, "%s: tensor \"%s\": expected data_offsets [begin, end] with 0 <= begin <= end", r->file, entry->name);
  entry->begin = (uint64_t)begin;
  entry->end = (uint64_t)end;
  return STATUS_OK;
}

static enum status read_entry(const struct reader *r, const cJSON *item, struct entry *entry) {
  *entry = (struct entry){.name = item->string};
  if (!*entry->name) return fail(r, "%s: a tensor without a name", r->file);
  if (!cJSON_IsObject(item))
    return fail(r, "%s: tensor \"%s\": expected an object, found %s", r->file, entry->name, json_kind(item));
  const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype");
  if (!cJSON_IsString(dtype)) return fail(r, "%s: tensor \"%s\": expected a dtype, a string", r->file, entry->name);
  entry->spelling = find_spelling(dtype->valuestring);
  if (!entry->spelling)
    return fail(r, "%s: tensor \"%s\": unknown dtype \"%s\": expected F64, F32, F16, BF16, I64, I32, I16, I8, U8 or BOOL",
                r->file, entry->name, dtype->valuestring);
  uint64_t bytes = 0;
  TRY(read_shape(r, cJSON_GetObjectItemCaseSensitive(item, "shape"), entry, &bytes));
  TRY(read_offsets(r, cJSON_GetObjectItemCaseSensitive(item, "data_offsets"), entry));
  if (bytes != entry->end - entry->begin)
    return fail(r, "%s: tensor \"%s\": dtype and shape make %llu bytes, data_offsets make %llu", r->file, entry->name,
                (unsigned long long)bytes, (unsigned long long)(entry->end - entry->begin));
  return STATUS_OK;
}

static enum status check_metadata(const struct reader *r, const cJSON *metadata) {
  if (!cJSON_IsObject(metadata)) return fail(r, "%s: __metadata__: expected an object of strings", r->file);
  const cJSON *item;
  cJSON_ArrayForEach(item, metadata) {
    if (!cJSON_IsString(item))
      return fail(r, "%s: __metadata__: \"%s\" is %s, expected a string", r->file, item->string, json_kind(item));
  }
  return STATUS_OK;
}

static int compare_offsets(const void *a, const void *b) {
  const struct entry *x = a, *y = b;
  if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
  if (x->end != y->end) return x->end < y->end ? -1 : 1;
  return strcmp(x->name, y->name);
}

/* The tensors tile the bytes after the header: no gap, no overlap, no rest. */
static enum status check_tiling(const struct reader *r, const struct entry *entries, size_t count) {
  uint64_t end = 0;
  for (size_t i = 0; i < count; i++) {
    if (entries[i].begin != end)
      return fail(r, "%s: tensor \"%s\": begins at byte %llu, expected %llu, where the one before it ends", r->file,
                  entries[i].name, (unsigned long long)entries[i].begin, (unsigned long long)end);
    end = entries[i].end;
  }
  if (end != r->tensors.size)
    return fail(r, "%s: the tensors have %llu bytes, the file has %llu after its header", r->file, (unsigned long long)end,
                (unsigned long long)r->tensors.size);
  return STATUS_OK;
}

/* The IR has no 16-bit integers. */
static const void *widen(const struct reader *r, const struct entry *entry) {
  size_t count = (size_t)(entry->end - entry->begin) / 2;
  int32_t *wide = arena_array(&r->weights->arena, count, sizeof *wide);
  for (size_t i = 0; i < count; i++) {
    int16_t narrow;
    memcpy(&narrow, r->tensors.data + entry->begin + i * sizeof narrow, sizeof narrow);
    wide[i] = narrow;
  }
  return wide;
}

static enum status read_tensors(const struct reader *r, const cJSON *header, struct entry *entries) {
  size_t count = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, header) {
    if (!strcmp(item->string, "__metadata__"))
      TRY(check_metadata(r, item));
    else
      TRY(read_entry(r, item, &entries[count++]));
  }
  qsort(entries, count, sizeof *entries, compare_offsets);
  TRY(check_tiling(r, entries, count));
  for (size_t i = 0; i < count; i++) {
    const struct entry *entry = &entries[i];
    bool narrow = entry->spelling->dtype == DTYPE_I32 && entry->spelling->size == 2;
    weights_add(r->weights, entry->name, entry->spelling->dtype, &entry->shape,
                narrow ? widen(r, entry) : r->tensors.data + entry->begin);
  }
  return STATUS_OK;
}

static enum status read_header(const struct reader *r, struct span text) {
  if (text.size == 0 || text.data[0] != '{') return fail(r, "%s: the header does not begin with '{'", r->file);
  cJSON *header;
  TRY(json_parse(r->file, "header, ", text, &header, r->diag));
  size_t count = 1;
  const cJSON *item;
  cJSON_ArrayForEach(item, header) count++;
  struct entry *entries = malloc(count * sizeof *entries);
  enum status status =
      entries ? read_tensors(r, header, entries) : diag_fail(r->diag, STATUS_SYSTEM, "%s: out of memory", r->file);
  free(entries);
  cJSON_Delete(header);
  return status;
}

enum status safetensors_read(const char *path, struct weights *weights, struct diag *diag) {
  struct reader reader = {.file = path, .weights = weights, .diag = diag};
  struct span file;
  TRY(weights_map(weights, path, &file, diag));
  if (file.size < 8) return fail(&reader, "%s: %zu bytes, too short for a safetensors file", path, file.size);
  uint64_t length = 0;
  for (int i = 7; i >= 0; i--) length = length << 8 | file.data[i];
  if (length > HEADER_MAX)
    return fail(&reader, "%s: a header of %llu bytes, expected at most %d (not a safetensors file?)", path,
                (unsigned long long)length, HEADER_MAX);
  if (length > file.size - 8)
    return fail(&reader, "%s: a header of %llu bytes in a file of %zu: cut short?", path, (unsigned long long)length,
                file.size);
  reader.tensors = (struct span){file.data + 8 + length, file.size - 8 - (size_t)length};
  return read_header(&reader, (struct span){file.data + 8, (size_t)length});
}
