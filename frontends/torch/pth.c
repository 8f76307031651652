#include "torch/pth.h"

#include "torch/pickle.h"
#include "torch/state_dict.h"
#include "torch/zip.h"

#include <stdlib.h>
#include <string.h>

/* Pickled by itself, 0x1950a86a20f9469cfc6c is what every legacy file begins with. */
static const uint8_t legacy_magic[] = {0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};
static const uint8_t zip_magic[] = {'P', 'K', 3, 4};

enum { LEGACY_PROTOCOL = 1001, KEY_MAX = 64 };

struct checkpoint {
  struct unpickler unpickler;
  struct span bytes;
  struct weights *weights;
};

/* The status is spelled out so that compilers see that a failure is never success. */
#define fail(c, ...) (diag_fail((c)->unpickler.diag, STATUS_INPUT, __VA_ARGS__), STATUS_INPUT)

static bool begins_with(struct span bytes, const uint8_t *magic, size_t size) {
  return bytes.size >= size && memcmp(bytes.data, magic, size) == 0;
}

static bool has_ending(const char *path) {
  static const char *const endings[] = {".pth", ".pt", ".bin", ".ckpt"};
  size_t length = strlen(path);
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
    size_t ending = strlen(endings[i]);
    if (length > ending && strcmp(path + length - ending, endings[i]) == 0) return true;
  }
  return false;
}

bool pth_probe(const char *path) {
  struct span bytes;
  struct diag ignored = {0};
  if (span_map_file(path, &bytes, &ignored) != STATUS_OK) return false;
  bool found = begins_with(bytes, zip_magic, sizeof zip_magic) || begins_with(bytes, legacy_magic, sizeof legacy_magic);
  bool safetensors = bytes.size > 8 && bytes.data[7] == 0 && bytes.data[8] == '{';
  span_unmap(&bytes);
  return found || (has_ending(path) && !safetensors);
}

static enum status check_size(const struct checkpoint *c, const struct storage *storage, uint64_t count) {
  if (count == storage->count) return STATUS_OK;
  return fail(c, "%s: storage \"%.*s\" has %llu elements of %s, expected %llu", c->unpickler.file, (int)storage->key.size,
              (const char *)storage->key.data, (unsigned long long)count, storage->type->type,
              (unsigned long long)storage->count);
}

static enum status check_keys(const struct checkpoint *c) {
  for (const struct storage *s = c->unpickler.storages; s; s = s->next)
    if (s->key.size == 0 || s->key.size > KEY_MAX)
      return fail(c, "%s: a storage's key of %zu bytes, expected at most %d", c->unpickler.file, s->key.size, KEY_MAX);
  return STATUS_OK;
}

/* ---- the zip form: PREFIX/data.pkl, PREFIX/byteorder, and PREFIX/data/KEY for each storage */

struct prefix {
  char name[ZIP_NAME_MAX + KEY_MAX + 16];
  size_t length;
};

/* The entry of this name in the archive's one folder. */
static const struct zip_entry *find(const struct zip *zip, struct prefix *prefix, const char *folder, struct span key) {
  size_t length = strlen(folder);
  memcpy(prefix->name + prefix->length, folder, length);
  memcpy(prefix->name + prefix->length + length, key.data, key.size);
  return zip_find(zip, (struct span){(const uint8_t *)prefix->name, prefix->length + length + key.size});
}

static struct span text_span(const char *text) {
  return (struct span){(const uint8_t *)text, strlen(text)};
}

static enum status find_pickle(const struct checkpoint *c, const struct zip *zip, struct prefix *prefix,
                               const struct zip_entry **out_entry) {
  static const char ending[] = "/data.pkl";
  *out_entry = NULL;
  for (size_t i = 0; i < zip->count; i++) {
    struct span name = zip->entries[i].name;
    const uint8_t *slash = memchr(name.data, '/', name.size);
    if (!slash || !text_equal((struct span){slash, name.size - (size_t)(slash - name.data)}, ending)) continue;
    if (*out_entry) return fail(c, "%s: two pickles, in two folders of the archive", c->unpickler.file);
    *out_entry = &zip->entries[i];
    prefix->length = (size_t)(slash - name.data);
    memcpy(prefix->name, name.data, prefix->length);
  }
  return *out_entry ? STATUS_OK : fail(c, "%s: no data.pkl in the archive: not of torch.save", c->unpickler.file);
}

static enum status bind_entries(struct checkpoint *c, const struct zip *zip, struct prefix *prefix) {
  TRY(check_keys(c));
  for (struct storage *s = c->unpickler.storages; s; s = s->next) {
    const struct zip_entry *entry = find(zip, prefix, "/data/", s->key);
    if (!entry)
      return fail(c, "%s: no entry data/%.*s, a storage that the pickle names", c->unpickler.file, (int)s->key.size,
                  (const char *)s->key.data);
    if (entry->data.size != s->count * s->type->size)
      return fail(c, "%s: storage \"%.*s\" has %zu bytes, expected %llu elements of %s", c->unpickler.file, (int)s->key.size,
                  (const char *)s->key.data, entry->data.size, (unsigned long long)s->count, s->type->type);
    s->data = entry->data;
  }
  return STATUS_OK;
}

static enum status read_zip(struct checkpoint *c, struct object **out_root) {
  struct zip zip;
  struct prefix prefix;
  const struct zip_entry *pickle;
  size_t size;
  TRY(zip_open(c->unpickler.file, c->bytes, c->unpickler.arena, &zip, c->unpickler.diag));
  TRY(find_pickle(c, &zip, &prefix, &pickle));
  const struct zip_entry *order = find(&zip, &prefix, "/", text_span("byteorder"));
  if (order && !text_equal(order->data, "little"))
    return fail(c, "%s: byteorder is not \"little\": not supported", c->unpickler.file);
  TRY(unpickle(&c->unpickler, "data.pkl", pickle->data, &size, out_root));
  if (size != pickle->data.size)
    return fail(c, "%s: data.pkl has %zu bytes after its end", c->unpickler.file, pickle->data.size - size);
  return bind_entries(c, &zip, &prefix);
}

/* ---- the legacy form: pickles of the magic, the protocol, the machine, the objects and the keys, then the storages */

static int compare_keys(const void *a, const void *b) {
  const struct storage *x = *(struct storage *const *)a, *y = *(struct storage *const *)b;
  int order = memcmp(x->key.data, y->key.data, x->key.size < y->key.size ? x->key.size : y->key.size);
  return order || x->key.size == y->key.size ? order : x->key.size < y->key.size ? -1 : 1;
}

/* The storage of this key that is first in the sorted array. */
static size_t first_of_key(struct storage *const *sorted, size_t count, struct span key) {
  const struct storage wanted = {.key = key}, *pointer = &wanted;
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (compare_keys(&sorted[middle], &pointer) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* One storage at *at: its count in 8 bytes, its elements. All objects of the key get it. */
static enum status bind_storage(struct checkpoint *c, struct storage *const *sorted, struct span key, size_t *at) {
  size_t first = first_of_key(sorted, c->unpickler.storage_count, key), left = c->bytes.size - *at;
  const struct storage wanted = {.key = key}, *pointer = &wanted;
  int length = (int)(key.size < KEY_MAX ? key.size : KEY_MAX);
  if (first == c->unpickler.storage_count || compare_keys(&sorted[first], &pointer) != 0)
    return fail(c, "%s: a key \"%.*s\", which no tensor names", c->unpickler.file, length, (const char *)key.data);
  if (sorted[first]->data.data)
    return fail(c, "%s: the key \"%.*s\" occurs twice", c->unpickler.file, length, (const char *)key.data);
  if (left < 8) return fail(c, "%s: ends within the storages: cut short?", c->unpickler.file);
  uint64_t count = 0;
  for (size_t i = 8; i > 0; i--) count = count << 8 | c->bytes.data[*at + i - 1];
  TRY(check_size(c, sorted[first], count));
  size_t bytes = (size_t)count * sorted[first]->type->size;
  if (bytes > left - 8)
    return fail(c, "%s: storage \"%.*s\" has %zu bytes, but %zu are left: cut short?", c->unpickler.file, length,
                (const char *)key.data, bytes, left - 8);
  struct span data = {c->bytes.data + *at + 8, bytes};
  *at += 8 + bytes;
  for (size_t i = first; i < c->unpickler.storage_count && compare_keys(&sorted[i], &pointer) == 0; i++) {
    if (sorted[i]->type != sorted[first]->type)
      return fail(c, "%s: storage \"%.*s\" is of %s and of %s", c->unpickler.file, length, (const char *)key.data,
                  sorted[first]->type->type, sorted[i]->type->type);
    TRY(check_size(c, sorted[i], count));
    sorted[i]->data = data;
  }
  return STATUS_OK;
}

static enum status bind_storages(struct checkpoint *c, const struct object *keys, size_t at) {
  TRY(check_keys(c));
  TRY(unpickler_spend(&c->unpickler, c->unpickler.storage_count * sizeof(struct storage *)));
  struct storage **sorted = arena_array(c->unpickler.arena, c->unpickler.storage_count, sizeof *sorted);
  size_t count = 0;
  for (struct storage *s = c->unpickler.storages; s; s = s->next) sorted[count++] = s;
  qsort(sorted, count, sizeof *sorted, compare_keys);
  for (size_t i = 0; i < keys->count; i++) {
    if (keys->items[i]->kind != OBJECT_TEXT) return fail(c, "%s: a storage's key that is no text", c->unpickler.file);
    TRY(bind_storage(c, sorted, keys->items[i]->text, &at));
  }
  if (at != c->bytes.size) return fail(c, "%s: %zu bytes after the last storage", c->unpickler.file, c->bytes.size - at);
  for (size_t i = 0; i < count; i++)
    if (!sorted[i]->data.data)
      return fail(c, "%s: no storage of key \"%.*s\", which a tensor names", c->unpickler.file, (int)sorted[i]->key.size,
                  (const char *)sorted[i]->key.data);
  return STATUS_OK;
}

static enum status read_legacy(struct checkpoint *c, struct object **out_root) {
  static const char *const parts[] = {"protocol pickle", "system pickle", "object pickle", "keys pickle"};
  struct object *objects[4];
  size_t at = sizeof legacy_magic, size;
  for (int i = 0; i < 4; i++) {
    TRY(unpickle(&c->unpickler, parts[i], (struct span){c->bytes.data + at, c->bytes.size - at}, &size, &objects[i]));
    at += size;
  }
  if (objects[0]->kind != OBJECT_INTEGER || objects[0]->integer != LEGACY_PROTOCOL)
    return fail(c, "%s: a protocol of torch.save that is not %d", c->unpickler.file, LEGACY_PROTOCOL);
  const struct object *little = object_get(objects[1], "little_endian");
  if (little && (little->kind != OBJECT_BOOL || !little->integer))
    return fail(c, "%s: written on a big-endian machine: not supported", c->unpickler.file);
  if (objects[3]->kind != OBJECT_LIST) return fail(c, "%s: expected a list of the storages' keys", c->unpickler.file);
  *out_root = objects[2];
  return bind_storages(c, objects[3], at);
}

static enum status read_file(struct checkpoint *c) {
  struct object *root = NULL;
  if (begins_with(c->bytes, zip_magic, sizeof zip_magic))
    TRY(read_zip(c, &root));
  else if (begins_with(c->bytes, legacy_magic, sizeof legacy_magic))
    TRY(read_legacy(c, &root));
  else
    return fail(c, "%s: not a checkpoint of torch.save, neither its zip form nor the one before", c->unpickler.file);
  return state_dict_add(&c->unpickler, root, c->bytes.size + PTH_COPY_SLACK, c->weights);
}

enum status pth_read(const char *path, struct weights *weights, struct diag *diag) {
  struct arena objects;
  struct checkpoint checkpoint = {.weights = weights};
  TRY(weights_map(weights, path, &checkpoint.bytes, diag));
  arena_init(&objects);
  checkpoint.unpickler = (struct unpickler){.file = path, .arena = &objects, .diag = diag, .budget = PICKLE_BUDGET};
  enum status status = read_file(&checkpoint);
  arena_deinit(&objects);
  return status;
}
