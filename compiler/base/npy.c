#include "base/npy.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC_BYTES = 6, HEADER_BYTES_MAX = 65536, DATA_ALIGNMENT = 64 };

static const char magic[MAGIC_BYTES + 1] = "\x93NUMPY";

static const struct {
  const char *descr, *name;
  size_t size;
} dtypes[NPY_DTYPE_COUNT] = {
    [NPY_F32] = {"<f4", "float32", 4}, [NPY_F64] = {"<f8", "float64", 8}, [NPY_U8] = {"|u1", "uint8", 1},
    [NPY_I8] = {"|i1", "int8", 1},     [NPY_I32] = {"<i4", "int32", 4},   [NPY_I64] = {"<i8", "int64", 8},
    [NPY_BOOL] = {"|b1", "bool", 1},
};

size_t npy_dtype_size(enum npy_dtype dtype) {
  return dtypes[dtype].size;
}

const char *npy_dtype_name(enum npy_dtype dtype) {
  return dtypes[dtype].name;
}

/* The header is the text of a Python dict: {'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }. */
struct header {
  const char *file;
  const uint8_t *text;
  size_t size, at;
  struct diag *diag;
  bool has_descr, has_order, has_shape;
};

#define fail(header, ...) diag_fail((header)->diag, STATUS_INPUT, __VA_ARGS__)

static int next_char(struct header *h) {
  while (h->at < h->size && strchr(" \t\n", h->text[h->at]) && h->text[h->at]) h->at++;
  return h->at < h->size ? h->text[h->at] : -1;
}

static bool accept(struct header *h, char c) {
  if (next_char(h) != c) return false;
  h->at++;
  return true;
}

static bool accept_word(struct header *h, const char *word) {
  size_t length = strlen(word);
  next_char(h);
  if (h->size - h->at < length || memcmp(h->text + h->at, word, length) != 0) return false;
  h->at += length;
  return true;
}

/* A quoted string of less than `size` characters. */
static bool accept_string(struct header *h, char *out_text, size_t size) {
  int quote = next_char(h);
  if (quote != '\'' && quote != '"') return false;
  h->at++;
  for (size_t i = 0; i + 1 < size && h->at < h->size; i++) {
    char c = (char)h->text[h->at++];
    if (c == quote) {
      out_text[i] = 0;
      return true;
    }
    if (c == 0) return false;
    out_text[i] = c;
  }
  return false;
}

static bool accept_integer(struct header *h, int64_t *out_integer) {
  int c = next_char(h);
  if (c < '0' || c > '9') return false;
  int64_t integer = 0;
  for (; h->at < h->size && h->text[h->at] >= '0' && h->text[h->at] <= '9'; h->at++)
    if (__builtin_mul_overflow(integer, 10, &integer) || __builtin_add_overflow(integer, h->text[h->at] - '0', &integer))
      return false;
  *out_integer = integer;
  return true;
}

static enum status read_descr(struct header *h, struct npy *npy) {
  char descr[32];
  if (!accept_string(h, descr, sizeof descr)) return fail(h, "%s: header: descr: expected a dtype such as '<f4'", h->file);
  if (descr[0] == '>') return fail(h, "%s: header: descr: '%s' is big-endian, expected little-endian", h->file, descr);
  for (int i = 0; i < NPY_DTYPE_COUNT; i++) {
    /* The byte order of a single byte does not matter. */
    bool same = dtypes[i].size == 1 ? !strcmp(descr + (strspn(descr, "|<=") == 1), dtypes[i].descr + 1)
                                    : !strcmp(descr, dtypes[i].descr);
    if (!same) continue;
    npy->dtype = (enum npy_dtype)i;
    h->has_descr = true;
    return STATUS_OK;
  }
  return fail(h, "%s: header: descr: unknown dtype '%s', expected <f4, <f8, |u1, |i1, <i4, <i8 or |b1", h->file, descr);
}

static enum status read_order(struct header *h) {
  if (accept_word(h, "True")) return fail(h, "%s: the array is in Fortran order, expected C order", h->file);
  if (!accept_word(h, "False")) return fail(h, "%s: header: fortran_order: expected False", h->file);
  h->has_order = true;
  return STATUS_OK;
}

static enum status read_shape(struct header *h, struct npy *npy) {
  if (!accept(h, '(')) return fail(h, "%s: header: shape: expected a tuple", h->file);
  npy->rank = 0;
  npy->elements = 1;
  bool comma = true;
  while (!accept(h, ')')) {
    int64_t dim;
    if (!comma || !accept_integer(h, &dim)) return fail(h, "%s: header: shape: expected a tuple of integers", h->file);
    if (npy->rank == NPY_RANK_MAX) return fail(h, "%s: more than %d dimensions", h->file, NPY_RANK_MAX);
    npy->dim[npy->rank++] = dim;
    comma = accept(h, ',');
    if (__builtin_mul_overflow(npy->elements, dim, &npy->elements))
      return fail(h, "%s: header: shape: more elements than 63 bits can count", h->file);
  }
  h->has_shape = true;
  return STATUS_OK;
}

static enum status read_dict(struct header *h, struct npy *npy) {
  if (!accept(h, '{')) return fail(h, "%s: header: expected '{'", h->file);
  while (!accept(h, '}')) {
    char key[32];
    if (!accept_string(h, key, sizeof key) || !accept(h, ':')) return fail(h, "%s: header: expected a key and ':'", h->file);
    bool descr = !strcmp(key, "descr"), order = !strcmp(key, "fortran_order"), shape = !strcmp(key, "shape");
    if ((descr && h->has_descr) || (order && h->has_order) || (shape && h->has_shape))
      return fail(h, "%s: header: key '%s' occurs twice", h->file, key);
    if (descr)
      TRY(read_descr(h, npy));
    else if (order)
      TRY(read_order(h));
    else if (shape)
      TRY(read_shape(h, npy));
    else
      return fail(h, "%s: header: unknown key '%s'", h->file, key);
    if (!accept(h, ',') && next_char(h) != '}') return fail(h, "%s: header: expected ',' or '}'", h->file);
  }
  if (next_char(h) != -1) return fail(h, "%s: header: expected nothing after '}'", h->file);
  if (!h->has_descr || !h->has_order || !h->has_shape)
    return fail(h, "%s: header: expected the keys descr, fortran_order and shape", h->file);
  return STATUS_OK;
}

/* Finds the header's text and what follows it. */
static enum status split_file(struct header *h, struct span file, struct span *out_data) {
  if (file.size < 10 || memcmp(file.data, magic, MAGIC_BYTES) != 0) return fail(h, "%s: not a .npy file", h->file);
  unsigned major = file.data[6], minor = file.data[7];
  if (major < 1 || major > 3 || minor != 0)
    return fail(h, "%s: .npy version %u.%u, expected 1.0, 2.0 or 3.0", h->file, major, minor);
  size_t start = major == 1 ? 10 : 12, length = 0;
  if (file.size < start) return fail(h, "%s: cut short in its header", h->file);
  for (size_t i = start; i > 8; i--) length = length << 8 | file.data[i - 1];
  if (length > HEADER_BYTES_MAX)
    return fail(h, "%s: a header of %zu bytes, expected at most %d", h->file, length, HEADER_BYTES_MAX);
  if (length > file.size - start) return fail(h, "%s: cut short in its header", h->file);
  h->text = file.data + start;
  h->size = length;
  *out_data = (struct span){file.data + start + length, file.size - start - length};
  return STATUS_OK;
}

static enum status read_file(struct header *h, struct npy *npy) {
  struct span data = {NULL, 0};
  TRY(split_file(h, npy->file, &data));
  TRY(read_dict(h, npy));
  uint64_t bytes;
  if (__builtin_mul_overflow((uint64_t)npy->elements, (uint64_t)dtypes[npy->dtype].size, &bytes) || bytes != data.size)
    return fail(h, "%s: %lld elements of %s, and %zu bytes of data", h->file, (long long)npy->elements, dtypes[npy->dtype].name,
                data.size);
  if (bytes == 0) return STATUS_OK;
  npy->data = data.data;
  if ((uintptr_t)data.data % dtypes[npy->dtype].size == 0) return STATUS_OK;
  npy->copy = malloc(data.size);
  if (!npy->copy) return diag_fail(h->diag, STATUS_SYSTEM, "%s: out of memory", h->file);
  memcpy(npy->copy, data.data, data.size);
  npy->data = npy->copy;
  return STATUS_OK;
}

enum status npy_open(const char *path, struct npy *out_npy, struct diag *diag) {
  struct header header = {.file = path, .diag = diag};
  *out_npy = (struct npy){0};
  TRY(span_map_file(path, &out_npy->file, diag));
  enum status status = read_file(&header, out_npy);
  if (status != STATUS_OK) npy_close(out_npy);
  return status;
}

void npy_close(struct npy *npy) {
  span_unmap(&npy->file);
  free(npy->copy);
  *npy = (struct npy){0};
}

enum status npy_write(const char *path, enum npy_dtype dtype, int rank, const int64_t *dim, const void *data,
                      struct diag *diag) {
  char text[512];
  size_t used = (size_t)snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", dtypes[dtype].descr);
  size_t elements = 1;
  assert(rank >= 0 && rank <= NPY_RANK_MAX);
  for (int i = 0; i < rank; i++) {
    used += (size_t)snprintf(text + used, sizeof text - used, "%lld%s", (long long)dim[i], i + 1 < rank ? ", " : "");
    elements *= (size_t)dim[i];
  }
  used += (size_t)snprintf(text + used, sizeof text - used, "%s), }", rank == 1 ? "," : "");
  while ((MAGIC_BYTES + 4 + used + 1) % DATA_ALIGNMENT != 0) text[used++] = ' ';
  text[used++] = '\n';
  struct output output;
  TRY(output_open(&output, path, diag));
  fwrite(magic, 1, MAGIC_BYTES, output.stream);
  const uint8_t version_and_length[4] = {1, 0, (uint8_t)(used & 255), (uint8_t)(used >> 8)};
  fwrite(version_and_length, 1, sizeof version_and_length, output.stream);
  fwrite(text, 1, used, output.stream);
  fwrite(data, dtypes[dtype].size, elements, output.stream);
  return output_commit(&output, diag);
}
