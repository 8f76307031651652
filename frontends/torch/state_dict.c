#include "torch/state_dict.h"

#include <stdlib.h>
#include <string.h>

enum { NESTING_MAX = 8, NAME_MAX_BYTES = 1024 };

static const char *const wrappers[] = {"state_dict", "model", "model_state_dict", "module"};
static const char *const prefixes[] = {"_orig_mod.", "module."};

/* A tensor's arguments, checked. */
struct view {
  const struct storage *storage;
  const struct global *type;
  struct shape shape;
  int64_t stride[RANK_MAX]; /* in elements */
  uint64_t offset, elements;
};

struct builder {
  struct unpickler *unpickler;
  struct weights *weights;
  size_t copy_bytes; /* that may still be copied */
};

/* The status is spelled out so that compilers see that a failure is never success. */
#define fail(unpickler, ...) (diag_fail((unpickler)->diag, STATUS_INPUT, __VA_ARGS__), STATUS_INPUT)

/* ---- which dict */

static bool is_named_tensor(const struct object *dict, size_t i) {
  return dict->items[i]->kind == OBJECT_TEXT && dict->items[i + 1]->kind == OBJECT_TENSOR;
}

static size_t count_tensors(const struct object *dict) {
  size_t count = 0;
  for (size_t i = 0; dict->kind == OBJECT_DICT && i < dict->count; i += 2) count += is_named_tensor(dict, i);
  return count;
}

static const struct object *unwrap(const struct object *dict) {
  for (int level = 0; level < NESTING_MAX; level++) {
    const struct object *inner = NULL;
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers && !inner; i++) {
      inner = object_get(dict, wrappers[i]);
      if (inner && inner->kind != OBJECT_DICT) inner = NULL;
    }
    if (!inner) break;
    dict = inner;
  }
  return dict;
}

/* A dict of thousands of entries that are all the same large dict would be counted thousands of times: each is looked at only
 * as far as its first tensor, and `looks` bounds the sum. */
static bool has_tensor(const struct object *dict, size_t *looks) {
  for (size_t i = 0; dict->kind == OBJECT_DICT && i < dict->count && *looks; i += 2) {
    --*looks;
    if (is_named_tensor(dict, i)) return true;
  }
  return false;
}

static enum status choose(struct unpickler *unpickler, const struct object *root, const struct object **out_dict) {
  enum { LOOKS = 1 << 24 };
  const struct object *dict = unwrap(root), *found = NULL;
  struct span name = {NULL, 0};
  size_t looks = LOOKS;
  if (dict->kind != OBJECT_DICT) return fail(unpickler, "%s: holds no dict of tensors: expected a state dict", unpickler->file);
  *out_dict = dict;
  if (count_tensors(dict)) return STATUS_OK;
  for (size_t i = 0; i < dict->count; i += 2) {
    if (dict->items[i]->kind != OBJECT_TEXT || !has_tensor(dict->items[i + 1], &looks)) continue;
    struct span other = dict->items[i]->text;
    if (found)
      return fail(unpickler, "%s: holds several state dicts, \"%.*s\" and \"%.*s\": expected one", unpickler->file,
                  (int)(name.size < 200 ? name.size : 200), (const char *)name.data, (int)(other.size < 200 ? other.size : 200),
                  (const char *)other.data);
    found = dict->items[i + 1];
    name = other;
  }
  if (!found) return fail(unpickler, "%s: holds no dict of tensors: expected a state dict", unpickler->file);
  *out_dict = found;
  return STATUS_OK;
}

static bool all_begin_with(const struct object *dict, size_t skip, const char *prefix) {
  size_t length = strlen(prefix);
  for (size_t i = 0; i < dict->count; i += 2) {
    if (!is_named_tensor(dict, i)) continue;
    struct span name = dict->items[i]->text;
    if (name.size <= skip + length || memcmp(name.data + skip, prefix, length) != 0) return false;
  }
  return true;
}

static size_t common_prefix(const struct object *dict) {
  size_t skip = 0;
  for (size_t round = 0; round < 2; round++)
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
      if (all_begin_with(dict, skip, prefixes[i])) skip += strlen(prefixes[i]);
  return skip;
}

/* ---- names */

/* Well-formed UTF-8 (Unicode 15, table 3-7) without NUL. */
static bool is_text(struct span text) {
  for (size_t i = 0; i < text.size;) {
    uint8_t lead = text.data[i];
    size_t more = lead < 0x80 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    if (lead == 0 || (lead >= 0x80 && lead < 0xC2) || lead > 0xF4 || more > text.size - i - 1) return false;
    for (size_t k = 1; k <= more; k++) {
      uint8_t low = k == 1 && lead == 0xE0 ? 0xA0 : k == 1 && lead == 0xF0 ? 0x90 : 0x80;
      uint8_t high = k == 1 && lead == 0xED ? 0x9F : k == 1 && lead == 0xF4 ? 0x8F : 0xBF;
      if (text.data[i + k] < low || text.data[i + k] > high) return false;
    }
    i += more + 1;
  }
  return true;
}

static enum status read_name(struct unpickler *unpickler, struct span key, size_t skip, const char **out_name) {
  struct span text = {key.data + skip, key.size - skip};
  if (text.size == 0) return fail(unpickler, "%s: a tensor without a name", unpickler->file);
  if (text.size > NAME_MAX_BYTES)
    return fail(unpickler, "%s: a tensor's name of %zu bytes, expected at most %d", unpickler->file, text.size, NAME_MAX_BYTES);
  if (!is_text(text)) return fail(unpickler, "%s: a tensor's name is not valid UTF-8", unpickler->file);
  TRY(unpickler_spend(unpickler, text.size + 3 * sizeof(struct weight)));
  *out_name = arena_strndup(unpickler->arena, (const char *)text.data, text.size);
  return STATUS_OK;
}

/* ---- tensors */

static bool is_sizes(const struct object *object) {
  if (object->kind != OBJECT_TUPLE && object->kind != OBJECT_LIST) return false;
  for (size_t i = 0; i < object->count; i++)
    if (object->items[i]->kind != OBJECT_INTEGER) return false;
  return true;
}

static enum status read_arguments(struct unpickler *unpickler, const char *name, const struct object *tensor,
                                  const struct object **out_sizes, const struct object **out_strides, struct view *view) {
  struct object *const *arguments = tensor->items;
  if (tensor->count < 4 || arguments[0]->kind != OBJECT_STORAGE || arguments[1]->kind != OBJECT_INTEGER ||
      !is_sizes(arguments[2]) || !is_sizes(arguments[3]) || arguments[2]->count != arguments[3]->count)
    return fail(unpickler, "%s: tensor \"%s\": expected to be made of (storage, offset, sizes, strides)", unpickler->file,
                name);
  *out_sizes = arguments[2];
  *out_strides = arguments[3];
  view->storage = arguments[0]->storage;
  view->type = view->storage->type;
  if (tensor->maker->kind == GLOBAL_TENSOR_OF_TYPE) {
    if (tensor->count < 7 || arguments[6]->kind != OBJECT_GLOBAL || arguments[6]->global->kind != GLOBAL_DTYPE)
      return fail(unpickler, "%s: tensor \"%s\": expected a dtype as its seventh argument", unpickler->file, name);
    view->type = arguments[6]->global;
  }
  if (view->type->dtype == DTYPE_COUNT)
    return fail(unpickler, "%s: tensor \"%s\" is of %s, which no model here computes with", unpickler->file, name,
                view->type->type);
  if (arguments[1]->integer < 0)
    return fail(unpickler, "%s: tensor \"%s\": offset %lld", unpickler->file, name, (long long)arguments[1]->integer);
  view->offset = (uint64_t)arguments[1]->integer;
  return STATUS_OK;
}

/* Every element lies in the storage; shape and strides are copied. */
static enum status read_view(struct unpickler *unpickler, const char *name, const struct object *tensor, struct view *view) {
  const struct object *sizes, *strides;
  *view = (struct view){.elements = 1};
  TRY(read_arguments(unpickler, name, tensor, &sizes, &strides, view));
  if (sizes->count > RANK_MAX)
    return fail(unpickler, "%s: tensor \"%s\": %u dimensions, expected at most %d", unpickler->file, name, sizes->count,
                RANK_MAX);
  uint64_t last = view->offset, step, bytes;
  bool empty = false, overflow = false;
  view->shape.rank = (int)sizes->count;
  for (size_t i = 0; i < sizes->count; i++) {
    int64_t dim = view->shape.dim[i] = sizes->items[i]->integer, stride = view->stride[i] = strides->items[i]->integer;
    if (dim < 0 || stride < 0)
      return fail(unpickler, "%s: tensor \"%s\": size %lld and stride %lld of dimension %zu, expected at least 0",
                  unpickler->file, name, (long long)dim, (long long)stride, i);
    empty |= dim == 0;
    overflow |= __builtin_mul_overflow(view->elements, (uint64_t)dim, &view->elements);
    overflow |= dim && (__builtin_mul_overflow((uint64_t)dim - 1, (uint64_t)stride, &step) ||
                        __builtin_add_overflow(last, step, &last));
  }
  overflow |= __builtin_mul_overflow(view->elements, view->type->size, &bytes) || bytes > INT64_MAX;
  if (overflow) return fail(unpickler, "%s: tensor \"%s\": more bytes than 64 bits can count", unpickler->file, name);
  if (!empty && last >= view->storage->data.size / view->type->size)
    return fail(unpickler, "%s: tensor \"%s\": its last element is %llu of a storage of %zu", unpickler->file, name,
                (unsigned long long)last, view->storage->data.size / view->type->size);
  return STATUS_OK;
}

static bool is_contiguous(const struct view *view) {
  uint64_t expected = 1;
  for (int i = view->shape.rank - 1; i >= 0; i--) {
    if (view->shape.dim[i] != 1 && (uint64_t)view->stride[i] != expected) return false;
    expected *= (uint64_t)view->shape.dim[i];
  }
  return true;
}

/* Row-major elements of the view; int16 as int32. */
static void gather(const struct view *view, const uint8_t *first, uint8_t *to) {
  int64_t at[RANK_MAX] = {0}, from = 0;
  size_t size = view->type->size, step = dtype_size(view->type->dtype);
  for (uint64_t i = 0; i < view->elements; i++, to += step) {
    const uint8_t *element = first + (size_t)from * size;
    if (step == size) {
      memcpy(to, element, size);
    } else {
      int16_t narrow;
      memcpy(&narrow, element, sizeof narrow);
      memcpy(to, &(int32_t){narrow}, sizeof(int32_t));
    }
    for (int axis = view->shape.rank - 1; axis >= 0; axis--) {
      from += view->stride[axis];
      if (++at[axis] < view->shape.dim[axis]) break;
      from -= view->stride[axis] * view->shape.dim[axis];
      at[axis] = 0;
    }
  }
}

static enum status add_tensor(struct builder *b, const char *name, const struct object *tensor) {
  static const uint64_t nothing = 0;
  struct view view;
  TRY(read_view(b->unpickler, name, tensor, &view));
  const void *data = &nothing;
  size_t step = dtype_size(view.type->dtype);
  if (view.elements) {
    const uint8_t *first = view.storage->data.data + (size_t)view.offset * view.type->size;
    data = first;
    if (!is_contiguous(&view) || step != view.type->size) {
      if (view.elements > b->copy_bytes / step)
        return fail(b->unpickler, "%s: tensor \"%s\": copies of strided tensors take more memory than the file has bytes",
                    b->unpickler->file, name);
      uint8_t *copy = arena_array(&b->weights->arena, (size_t)view.elements, step);
      gather(&view, first, copy);
      b->copy_bytes -= (size_t)view.elements * step;
      data = copy;
    }
  }
  weights_add(b->weights, name, view.type->dtype, &view.shape, data);
  return STATUS_OK;
}

enum status state_dict_add(struct unpickler *unpickler, const struct object *root, size_t copy_bytes, struct weights *weights) {
  struct builder builder = {unpickler, weights, copy_bytes};
  const struct object *dict;
  TRY(choose(unpickler, root, &dict));
  size_t skip = common_prefix(dict);
  for (size_t i = 0; i < dict->count; i += 2) {
    const char *name;
    if (!is_named_tensor(dict, i)) continue;
    TRY(read_name(unpickler, dict->items[i]->text, skip, &name));
    TRY(add_tensor(&builder, name, dict->items[i + 1]));
  }
  return STATUS_OK;
}
