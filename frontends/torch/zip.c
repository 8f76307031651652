#include "torch/zip.h"

#include <stdlib.h>
#include <string.h>

/* Records of APPNOTE.TXT: signatures and lengths without what varies. */
enum {
  LOCAL_BYTES = 30,
  CENTRAL_BYTES = 46,
  END_BYTES = 22,
  END64_BYTES = 56,
  LOCATOR_BYTES = 20,
  COMMENT_MAX = 65535,
  ZIP64_FIELD = 1,
  FLAG_ENCRYPTED = 1,
  FLAG_SIZES_BEHIND = 8,
};
#define LOCAL_SIGNATURE 0x04034b50u
#define CENTRAL_SIGNATURE 0x02014b50u
#define END_SIGNATURE 0x06054b50u
#define END64_SIGNATURE 0x06064b50u
#define LOCATOR_SIGNATURE 0x07064b50u

struct directory {
  uint64_t count, begin, size;
};

struct archive {
  const char *file;
  struct span bytes;
  struct diag *diag;
};

/* The status is spelled out so that compilers see that a failure is never success. */
#define fail(archive, ...) (diag_fail((archive)->diag, STATUS_INPUT, __VA_ARGS__), STATUS_INPUT)

static uint64_t number(const uint8_t *at, int size) {
  uint64_t value = 0;
  for (int i = size; i > 0; i--) value = value << 8 | at[i - 1];
  return value;
}

/* The end record is last but for its comment, which must fill the rest of the file. */
static enum status find_end(const struct archive *a, size_t *out_at) {
  size_t size = a->bytes.size;
  for (size_t comment = 0; comment <= COMMENT_MAX && size >= END_BYTES + comment; comment++) {
    const uint8_t *at = a->bytes.data + size - END_BYTES - comment;
    if (number(at, 4) == END_SIGNATURE && number(at + 20, 2) == comment) {
      *out_at = size - END_BYTES - comment;
      return STATUS_OK;
    }
  }
  return fail(a, "%s: a zip archive without its end: cut short?", a->file);
}

/* *end becomes the offset where the directory must end. */
static enum status read_end64(const struct archive *a, size_t *end, struct directory *directory) {
  const uint8_t *locator = a->bytes.data + *end - LOCATOR_BYTES;
  uint64_t at = number(locator + 8, 8);
  if (at > *end - LOCATOR_BYTES || *end - LOCATOR_BYTES - at < END64_BYTES || number(a->bytes.data + at, 4) != END64_SIGNATURE)
    return fail(a, "%s: zip: no zip64 end record at byte %llu, where its locator points", a->file, (unsigned long long)at);
  const uint8_t *record = a->bytes.data + at;
  if (number(record + 16, 4) != 0 || number(record + 20, 4) != 0 || number(record + 24, 8) != number(record + 32, 8))
    return fail(a, "%s: zip: an archive of several parts", a->file);
  *directory = (struct directory){number(record + 32, 8), number(record + 48, 8), number(record + 40, 8)};
  *end = (size_t)at;
  return STATUS_OK;
}

static enum status find_directory(const struct archive *a, struct directory *directory) {
  size_t end;
  TRY(find_end(a, &end));
  const uint8_t *record = a->bytes.data + end;
  if (end >= LOCATOR_BYTES && number(record - LOCATOR_BYTES, 4) == LOCATOR_SIGNATURE) {
    TRY(read_end64(a, &end, directory));
  } else {
    if (number(record + 4, 2) != 0 || number(record + 6, 2) != 0 || number(record + 8, 2) != number(record + 10, 2))
      return fail(a, "%s: zip: an archive of several parts", a->file);
    *directory = (struct directory){number(record + 10, 2), number(record + 16, 4), number(record + 12, 4)};
  }
  if (directory->begin > end || directory->size != end - directory->begin)
    return fail(a, "%s: zip: a directory of %llu bytes at byte %llu, expected it to end at byte %zu", a->file,
                (unsigned long long)directory->size, (unsigned long long)directory->begin, end);
  if (directory->count > ZIP_ENTRIES_MAX || directory->count > directory->size / CENTRAL_BYTES)
    return fail(a, "%s: zip: %llu entries in a directory of %llu bytes, expected at most %d", a->file,
                (unsigned long long)directory->count, (unsigned long long)directory->size, ZIP_ENTRIES_MAX);
  return STATUS_OK;
}

/* The values of a directory record that do not fit 32 bits are in its zip64 field, in this order. */
static enum status read_zip64(const struct archive *a, struct span extra, const char *name, int length, uint64_t *values[3]) {
  for (size_t at = 0; at + 4 <= extra.size;) {
    size_t id = number(extra.data + at, 2), size = number(extra.data + at + 2, 2), used = 0;
    if (size > extra.size - at - 4) break;
    for (int i = 0; i < 3 && id == ZIP64_FIELD; i++) {
      if (*values[i] != UINT32_MAX) continue;
      if (used + 8 > size) return fail(a, "%s: zip: entry \"%.*s\": its zip64 field is too short", a->file, length, name);
      *values[i] = number(extra.data + at + 4 + used, 8);
      used += 8;
    }
    at += 4 + size;
  }
  return STATUS_OK;
}

/* The header before an entry's data must agree with the directory's record. */
static enum status locate(const struct archive *a, const struct directory *directory, uint64_t begin, uint64_t size,
                          struct zip_entry *entry) {
  int length = (int)entry->name.size;
  const char *name = (const char *)entry->name.data;
  if (begin > directory->begin || directory->begin - begin < LOCAL_BYTES || number(a->bytes.data + begin, 4) != LOCAL_SIGNATURE)
    return fail(a, "%s: zip: entry \"%.*s\": no header at byte %llu", a->file, length, name, (unsigned long long)begin);
  const uint8_t *header = a->bytes.data + begin;
  uint64_t flags = number(header + 6, 2), name_size = number(header + 26, 2), extra_size = number(header + 28, 2);
  uint64_t space = directory->begin - begin - LOCAL_BYTES;
  if (name_size + extra_size > space || name_size != entry->name.size ||
      memcmp(header + LOCAL_BYTES, name, entry->name.size) != 0)
    return fail(a, "%s: zip: entry \"%.*s\": the header at byte %llu has another name", a->file, length, name,
                (unsigned long long)begin);
  bool behind = (flags & FLAG_SIZES_BEHIND) != 0;
  uint64_t small = size < UINT32_MAX ? size : UINT32_MAX, stored = number(header + 18, 4);
  if (number(header + 8, 2) != 0 || (stored != small && stored != UINT32_MAX && !(behind && stored == 0)) ||
      number(header + 22, 4) != stored)
    return fail(a, "%s: zip: entry \"%.*s\": the header at byte %llu has another size", a->file, length, name,
                (unsigned long long)begin);
  if (size > space - name_size - extra_size)
    return fail(a, "%s: zip: entry \"%.*s\": %llu bytes, but %llu are left in the file", a->file, length, name,
                (unsigned long long)size, (unsigned long long)(space - name_size - extra_size));
  entry->begin = (size_t)begin;
  entry->data = (struct span){header + LOCAL_BYTES + name_size + extra_size, (size_t)size};
  return STATUS_OK;
}

/* *at is the record's offset, and then that of the next. */
static enum status read_record(const struct archive *a, const struct directory *directory, size_t *at,
                               struct zip_entry *entry) {
  size_t left = (size_t)(directory->begin + directory->size) - *at;
  const uint8_t *record = a->bytes.data + *at;
  if (left < CENTRAL_BYTES || number(record, 4) != CENTRAL_SIGNATURE)
    return fail(a, "%s: zip: no entry of the directory at byte %zu", a->file, *at);
  size_t name_size = number(record + 28, 2), extra_size = number(record + 30, 2), comment_size = number(record + 32, 2);
  if (name_size + extra_size + comment_size > left - CENTRAL_BYTES || name_size == 0 || name_size > ZIP_NAME_MAX)
    return fail(a, "%s: zip: the directory's entry at byte %zu has a name of %zu bytes", a->file, *at, name_size);
  entry->name = (struct span){record + CENTRAL_BYTES, name_size};
  const char *name = (const char *)entry->name.data;
  uint64_t method = number(record + 10, 2), packed = number(record + 20, 4), size = number(record + 24, 4),
           begin = number(record + 42, 4);
  if (number(record + 8, 2) & FLAG_ENCRYPTED)
    return fail(a, "%s: zip: entry \"%.*s\" is encrypted", a->file, (int)name_size, name);
  if (method != 0)
    return fail(a, "%s: zip: entry \"%.*s\" is compressed (method %d), expected it stored, as torch.save does", a->file,
                (int)name_size, name, (int)method);
  struct span extra = {record + CENTRAL_BYTES + name_size, extra_size};
  TRY(read_zip64(a, extra, name, (int)name_size, (uint64_t *[]){&size, &packed, &begin}));
  if (packed != size)
    return fail(a, "%s: zip: entry \"%.*s\" is stored, but has two sizes, %llu and %llu", a->file, (int)name_size, name,
                (unsigned long long)packed, (unsigned long long)size);
  *at += CENTRAL_BYTES + name_size + extra_size + comment_size;
  return locate(a, directory, begin, size, entry);
}

static int compare_begins(const void *a, const void *b) {
  const struct zip_entry *x = a, *y = b;
  return x->begin == y->begin ? 0 : x->begin < y->begin ? -1 : 1;
}

static int compare_names(const void *a, const void *b) {
  const struct zip_entry *x = a, *y = b;
  int order = memcmp(x->name.data, y->name.data, x->name.size < y->name.size ? x->name.size : y->name.size);
  return order || x->name.size == y->name.size ? order : x->name.size < y->name.size ? -1 : 1;
}

enum status zip_open(const char *file, struct span bytes, struct arena *arena, struct zip *out_zip, struct diag *diag) {
  const struct archive archive = {file, bytes, diag};
  struct directory directory;
  TRY(find_directory(&archive, &directory));
  size_t at = (size_t)directory.begin, count = (size_t)directory.count;
  struct zip_entry *entries = arena_array(arena, count, sizeof *entries);
  for (size_t i = 0; i < count; i++) TRY(read_record(&archive, &directory, &at, &entries[i]));
  if (at != directory.begin + directory.size)
    return fail(&archive, "%s: zip: the directory has %llu bytes after its %zu entries", file,
                (unsigned long long)(directory.begin + directory.size - at), count);
  qsort(entries, count, sizeof *entries, compare_begins);
  for (size_t i = 1; i < count; i++)
    if (entries[i - 1].data.data + entries[i - 1].data.size > bytes.data + entries[i].begin)
      return fail(&archive, "%s: zip: entries \"%.*s\" and \"%.*s\" overlap", file, (int)entries[i - 1].name.size,
                  (const char *)entries[i - 1].name.data, (int)entries[i].name.size, (const char *)entries[i].name.data);
  qsort(entries, count, sizeof *entries, compare_names);
  for (size_t i = 1; i < count; i++)
    if (compare_names(&entries[i - 1], &entries[i]) == 0)
      return fail(&archive, "%s: zip: entry \"%.*s\" occurs twice", file, (int)entries[i].name.size,
                  (const char *)entries[i].name.data);
  *out_zip = (struct zip){entries, count};
  return STATUS_OK;
}

const struct zip_entry *zip_find(const struct zip *zip, struct span name) {
  const struct zip_entry key = {.name = name};
  if (!zip->count) return NULL;
  return bsearch(&key, zip->entries, zip->count, sizeof *zip->entries, compare_names);
}
