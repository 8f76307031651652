#include "torch/pickle.h"

#include "torch/opcodes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct global globals[] = {
#define GLOBAL(name, kind, type, size, dtype) {name, GLOBAL_##kind, type, size, dtype},
#include "torch/globals.def"
#undef GLOBAL
};

enum { GLOBAL_NAME_MAX = 256, PROTOCOL_MAX = 5 };

struct machine {
  struct unpickler *unpickler;
  const char *part;
  struct span bytes;
  size_t at, op_at;
  struct object **stack, **memo;
  uint32_t *marks; /* stack depths */
  size_t depth, mark_count;
  size_t stack_capacity, memo_capacity, mark_capacity;
  bool stopped;
};

/* The status is spelled out so that compilers see that a failure is never success. */
#define fail(m, ...) (fail_at((m)->unpickler, (m)->part, (m)->op_at, __VA_ARGS__), STATUS_INPUT)

PRINTF_LIKE(4, 5)
static void fail_at(struct unpickler *unpickler, const char *part, size_t at, const char *format, ...) {
  char what[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  diag_fail(unpickler->diag, STATUS_INPUT, "%s: %s, byte %zu: %s", unpickler->file, part, at, what);
}

bool text_equal(struct span text, const char *expected) {
  size_t length = strlen(expected);
  return text.size == length && memcmp(text.data, expected, length) == 0;
}

struct object *object_get(const struct object *dict, const char *key) {
  if (dict->kind != OBJECT_DICT) return NULL;
  for (size_t i = dict->count; i >= 2; i -= 2)
    if (dict->items[i - 2]->kind == OBJECT_TEXT && text_equal(dict->items[i - 2]->text, key)) return dict->items[i - 1];
  return NULL;
}

enum status unpickler_spend(struct unpickler *unpickler, size_t bytes) {
  if (bytes > unpickler->budget) {
    diag_fail(unpickler->diag, STATUS_INPUT, "%s: the pickled objects take more than %d MiB of memory", unpickler->file,
              PICKLE_BUDGET >> 20);
    return STATUS_INPUT;
  }
  unpickler->budget -= bytes;
  return STATUS_OK;
}

/* ---- values */

/* Makes place for item `index` of an array on the heap, at most PICKLE_DEPTH_MAX of them; new items are zero. */
static enum status reserve(struct machine *m, void *array, size_t *capacity, size_t index, size_t size, const char *what) {
  void *items;
  if (index < *capacity) return STATUS_OK;
  if (index >= PICKLE_DEPTH_MAX) return fail(m, "more than %d %s", PICKLE_DEPTH_MAX, what);
  size_t wanted = *capacity ? *capacity : 256;
  while (wanted <= index) wanted *= 2;
  memcpy(&items, array, sizeof items);
  items = realloc(items, wanted * size);
  if (!items) {
    diag_fail(m->unpickler->diag, STATUS_SYSTEM, "%s: out of memory", m->unpickler->file);
    return STATUS_SYSTEM;
  }
  memset((char *)items + *capacity * size, 0, (wanted - *capacity) * size);
  memcpy(array, &items, sizeof items);
  *capacity = wanted;
  return STATUS_OK;
}

static enum status push(struct machine *m, struct object *object) {
  TRY(reserve(m, &m->stack, &m->stack_capacity, m->depth, sizeof *m->stack, "values on the stack"));
  m->stack[m->depth++] = object;
  return STATUS_OK;
}

static size_t stack_floor(const struct machine *m) {
  return m->mark_count ? m->marks[m->mark_count - 1] : 0;
}

static enum status pop(struct machine *m, struct object **out_object) {
  if (m->depth == stack_floor(m)) return fail(m, "takes a value from an empty stack");
  *out_object = m->stack[--m->depth];
  return STATUS_OK;
}

static enum status pop_mark(struct machine *m, size_t *out_from) {
  if (!m->mark_count) return fail(m, "asks for a mark where none is");
  *out_from = m->marks[--m->mark_count];
  return STATUS_OK;
}

static enum status create(struct machine *m, enum object_kind kind, struct object **out_object) {
  TRY(unpickler_spend(m->unpickler, sizeof **out_object));
  *out_object = arena_alloc(m->unpickler->arena, sizeof **out_object);
  (*out_object)->kind = kind;
  return STATUS_OK;
}

static enum status push_new(struct machine *m, enum object_kind kind) {
  struct object *object;
  TRY(create(m, kind, &object));
  return push(m, object);
}

static enum status push_integer(struct machine *m, enum object_kind kind, int64_t integer) {
  TRY(push_new(m, kind));
  m->stack[m->depth - 1]->integer = integer;
  return STATUS_OK;
}

static enum status extend(struct machine *m, struct object *container, struct object *const *items, size_t count) {
  size_t wanted = container->count + count;
  if (wanted > container->capacity) {
    size_t capacity = container->kind == OBJECT_TUPLE ? wanted : wanted + wanted / 2 + 4;
    if (capacity > UINT32_MAX) return fail(m, "more than %u items", UINT32_MAX);
    TRY(unpickler_spend(m->unpickler, capacity * sizeof *items));
    struct object **larger = arena_array(m->unpickler->arena, capacity, sizeof *items);
    if (container->count) memcpy(larger, container->items, container->count * sizeof *items);
    container->items = larger;
    container->capacity = (uint32_t)capacity;
  }
  if (count) memcpy(container->items + container->count, items, count * sizeof *items);
  container->count = (uint32_t)wanted;
  return STATUS_OK;
}

/* The values from stack index `from` up become one tuple. */
static enum status make_tuple(struct machine *m, size_t from) {
  struct object *tuple;
  TRY(create(m, OBJECT_TUPLE, &tuple));
  TRY(extend(m, tuple, m->stack + from, m->depth - from));
  m->depth = from;
  return push(m, tuple);
}

static enum status make_short_tuple(struct machine *m, size_t count) {
  if (m->depth - stack_floor(m) < count) return fail(m, "makes a tuple of %zu of fewer values", count);
  return make_tuple(m, m->depth - count);
}

/* APPEND and APPENDS, SETITEM and SETITEMS: the values from `from` up go into the container below them. */
static enum status add_items(struct machine *m, enum object_kind kind, size_t from) {
  const char *name = kind == OBJECT_LIST ? "list" : "dict";
  if (from == stack_floor(m) || m->stack[from - 1]->kind != kind) return fail(m, "adds items to what is not a %s", name);
  if (kind == OBJECT_DICT && (m->depth - from) % 2) return fail(m, "adds a key without a value to a dict");
  TRY(extend(m, m->stack[from - 1], m->stack + from, m->depth - from));
  m->depth = from;
  return STATUS_OK;
}

static enum status add_last(struct machine *m, enum object_kind kind, size_t count) {
  if (m->depth - stack_floor(m) < count) return fail(m, "takes a value from an empty stack");
  return add_items(m, kind, m->depth - count);
}

/* ---- globals and calls */

static enum status push_global(struct machine *m) {
  char name[GLOBAL_NAME_MAX];
  size_t length = 0;
  for (int lines = 0; lines < 2;) {
    if (m->at == m->bytes.size) return fail(m, "the pickle ends within a name");
    char c = (char)m->bytes.data[m->at++];
    if (c == '\n' && ++lines == 2) break;
    if (length + 1 == sizeof name) return fail(m, "a name of more than %d bytes", GLOBAL_NAME_MAX);
    name[length++] = c == '\n' ? '.' : c;
  }
  name[length] = 0;
  for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
    if (strlen(globals[i].name) != length || memcmp(globals[i].name, name, length) != 0) continue;
    TRY(push_new(m, OBJECT_GLOBAL));
    m->stack[m->depth - 1]->global = &globals[i];
    return STATUS_OK;
  }
  return fail(m, "names %s, which is neither a tensor nor plain data, so it is refused: expected a state dict", name);
}

static enum status dict_of_pairs(struct machine *m, const struct object *arguments, struct object *dict) {
  if (arguments->count == 0) return STATUS_OK;
  const struct object *pairs = arguments->items[0];
  if (arguments->count != 1 || pairs->kind != OBJECT_LIST) return fail(m, "makes an OrderedDict of what is not a list");
  for (size_t i = 0; i < pairs->count; i++) {
    const struct object *pair = pairs->items[i];
    if ((pair->kind != OBJECT_LIST && pair->kind != OBJECT_TUPLE) || pair->count != 2)
      return fail(m, "makes an OrderedDict of what are not pairs");
    TRY(extend(m, dict, pair->items, 2));
  }
  return STATUS_OK;
}

/* REDUCE and NEWOBJ of an allowed global. */
static enum status call(struct machine *m) {
  struct object *arguments, *callee, *result = NULL;
  TRY(pop(m, &arguments));
  TRY(pop(m, &callee));
  if (callee->kind != OBJECT_GLOBAL || arguments->kind != OBJECT_TUPLE)
    return fail(m, "calls what is not an allowed name with a tuple of arguments");
  const struct object *first = arguments->count ? arguments->items[0] : NULL;
  switch (callee->global->kind) {
  case GLOBAL_DICT:
    TRY(create(m, OBJECT_DICT, &result));
    TRY(dict_of_pairs(m, arguments, result));
    break;
  case GLOBAL_TENSOR:
  case GLOBAL_TENSOR_OF_TYPE:
    TRY(create(m, OBJECT_TENSOR, &result));
    result->items = arguments->items;
    result->count = arguments->count;
    result->maker = callee->global;
    break;
  case GLOBAL_PARAMETER:
    if (!first || first->kind != OBJECT_TENSOR) return fail(m, "makes a parameter of what is not a tensor");
    result = arguments->items[0];
    break;
  case GLOBAL_SIZE:
    if (!first || first->kind != OBJECT_TUPLE) return fail(m, "makes a torch.Size of what is not a tuple");
    result = arguments->items[0];
    break;
  case GLOBAL_OPAQUE:
    TRY(create(m, OBJECT_OPAQUE, &result));
    break;
  case GLOBAL_STORAGE:
  case GLOBAL_DTYPE:
    return fail(m, "calls %s, which is no function", callee->global->name);
  }
  return push(m, result);
}

/* ("storage", type, key, location, elements), in the legacy form with a sixth item that is None. */
static enum status push_storage(struct machine *m) {
  struct object *id;
  TRY(pop(m, &id));
  if (id->kind != OBJECT_TUPLE || id->count < 5 || id->count > 6 || id->items[0]->kind != OBJECT_TEXT ||
      !text_equal(id->items[0]->text, "storage") || id->items[1]->kind != OBJECT_GLOBAL ||
      id->items[1]->global->kind != GLOBAL_STORAGE || id->items[2]->kind != OBJECT_TEXT || id->items[4]->kind != OBJECT_INTEGER)
    return fail(m, "a persistent id that is not (\"storage\", type, key, location, elements)");
  if (id->count == 6 && id->items[5]->kind != OBJECT_OPAQUE)
    return fail(m, "a view of a storage, as PyTorch before 0.4 wrote it: not supported");
  struct storage *storage;
  TRY(unpickler_spend(m->unpickler, sizeof *storage));
  storage = arena_alloc(m->unpickler->arena, sizeof *storage);
  *storage = (struct storage){.key = id->items[2]->text, .type = id->items[1]->global, .next = m->unpickler->storages};
  uint64_t bytes;
  if (id->items[4]->integer < 0 || __builtin_mul_overflow((uint64_t)id->items[4]->integer, storage->type->size, &bytes))
    return fail(m, "a storage of %lld elements", (long long)id->items[4]->integer);
  storage->count = (uint64_t)id->items[4]->integer;
  m->unpickler->storages = storage;
  m->unpickler->storage_count++;
  TRY(push_new(m, OBJECT_STORAGE));
  m->stack[m->depth - 1]->storage = storage;
  return STATUS_OK;
}

/* The attributes of an OrderedDict, which a state dict has for its versions: nothing that a model needs. */
static enum status build(struct machine *m) {
  struct object *state, *object;
  TRY(pop(m, &state));
  TRY(pop(m, &object));
  if (object->kind != OBJECT_DICT || state->kind != OBJECT_DICT) return fail(m, "sets attributes of what is not a dict");
  return push(m, object);
}

/* ---- operands */

static enum status take(struct machine *m, size_t size, const uint8_t **out_bytes) {
  if (size > m->bytes.size - m->at) return fail(m, "the pickle ends within an operand of %zu bytes", size);
  *out_bytes = m->bytes.data + m->at;
  m->at += size;
  return STATUS_OK;
}

/* Little-endian, of at most 8 bytes. */
static enum status take_number(struct machine *m, size_t size, uint64_t *out_number) {
  const uint8_t *bytes;
  TRY(take(m, size, &bytes));
  *out_number = 0;
  for (size_t i = size; i > 0; i--) *out_number = *out_number << 8 | bytes[i - 1];
  return STATUS_OK;
}

static int64_t sign_extend(uint64_t number, size_t size) {
  unsigned shift = (unsigned)(64 - 8 * size);
  return (int64_t)(number << shift) >> shift;
}

static enum status push_number(struct machine *m, size_t size) {
  uint64_t number;
  TRY(take_number(m, size, &number));
  return push_integer(m, OBJECT_INTEGER, size == 4 ? sign_extend(number, 4) : (int64_t)number);
}

static enum status push_long(struct machine *m) {
  const uint8_t *bytes;
  uint64_t size, number;
  TRY(take_number(m, 1, &size));
  if (size > 8) {
    TRY(take(m, size, &bytes));
    return push_new(m, OBJECT_OPAQUE);
  }
  TRY(take_number(m, size, &number));
  return push_integer(m, OBJECT_INTEGER, size ? sign_extend(number, size) : 0);
}

static enum status push_text(struct machine *m, size_t size_bytes) {
  const uint8_t *text;
  uint64_t size;
  TRY(take_number(m, size_bytes, &size));
  TRY(take(m, size, &text));
  TRY(push_new(m, OBJECT_TEXT));
  m->stack[m->depth - 1]->text = (struct span){text, size};
  return STATUS_OK;
}

static enum status push_float(struct machine *m) {
  const uint8_t *bytes;
  TRY(take(m, 8, &bytes));
  return push_new(m, OBJECT_OPAQUE);
}

static enum status get_memo(struct machine *m, size_t size) {
  uint64_t index;
  TRY(take_number(m, size, &index));
  if (index >= m->memo_capacity || !m->memo[index])
    return fail(m, "asks for memo %llu, where nothing was put", (unsigned long long)index);
  return push(m, m->memo[index]);
}

static enum status put_memo(struct machine *m, size_t size) {
  uint64_t index;
  TRY(take_number(m, size, &index));
  if (m->depth == stack_floor(m)) return fail(m, "takes a value from an empty stack");
  TRY(reserve(m, &m->memo, &m->memo_capacity, index, sizeof *m->memo, "memos"));
  m->memo[index] = m->stack[m->depth - 1];
  return STATUS_OK;
}

static enum status put_mark(struct machine *m) {
  TRY(reserve(m, &m->marks, &m->mark_capacity, m->mark_count, sizeof *m->marks, "marks"));
  m->marks[m->mark_count++] = (uint32_t)m->depth;
  return STATUS_OK;
}

static enum status check_protocol(struct machine *m) {
  uint64_t protocol;
  TRY(take_number(m, 1, &protocol));
  return protocol <= PROTOCOL_MAX ? STATUS_OK : fail(m, "pickle protocol %d, expected 2", (int)protocol);
}

/* ---- the machine */

static enum status step_container(struct machine *m, enum opcode op) {
  size_t from;
  switch (op) {
  case PICKLE_TUPLE:
    TRY(pop_mark(m, &from));
    return make_tuple(m, from);
  case PICKLE_APPENDS:
    TRY(pop_mark(m, &from));
    return add_items(m, OBJECT_LIST, from);
  case PICKLE_SETITEMS:
    TRY(pop_mark(m, &from));
    return add_items(m, OBJECT_DICT, from);
  case PICKLE_APPEND:
    return add_last(m, OBJECT_LIST, 1);
  case PICKLE_SETITEM:
    return add_last(m, OBJECT_DICT, 2);
  case PICKLE_TUPLE1:
  case PICKLE_TUPLE2:
  case PICKLE_TUPLE3:
    return make_short_tuple(m, (size_t)op - PICKLE_TUPLE1 + 1);
  case PICKLE_EMPTY_TUPLE:
    return push_new(m, OBJECT_TUPLE);
  case PICKLE_EMPTY_LIST:
    return push_new(m, OBJECT_LIST);
  case PICKLE_EMPTY_DICT:
    return push_new(m, OBJECT_DICT);
  default:
    return fail(m, "opcode 0x%02x, which torch.save does not write", op);
  }
}

static enum status step(struct machine *m, enum opcode op) {
  switch (op) {
  case PICKLE_PROTO:
    return check_protocol(m);
  case PICKLE_STOP:
    m->stopped = true;
    return STATUS_OK;
  case PICKLE_MARK:
    return put_mark(m);
  case PICKLE_NONE:
  case PICKLE_EMPTY_SET:
    return push_new(m, OBJECT_OPAQUE);
  case PICKLE_NEWTRUE:
  case PICKLE_NEWFALSE:
    return push_integer(m, OBJECT_BOOL, op == PICKLE_NEWTRUE);
  case PICKLE_BININT:
    return push_number(m, 4);
  case PICKLE_BININT1:
    return push_number(m, 1);
  case PICKLE_BININT2:
    return push_number(m, 2);
  case PICKLE_LONG1:
    return push_long(m);
  case PICKLE_BINFLOAT:
    return push_float(m);
  case PICKLE_BINUNICODE:
    return push_text(m, 4);
  case PICKLE_SHORT_BINSTRING:
    return push_text(m, 1);
  case PICKLE_BINGET:
    return get_memo(m, 1);
  case PICKLE_LONG_BINGET:
    return get_memo(m, 4);
  case PICKLE_BINPUT:
    return put_memo(m, 1);
  case PICKLE_LONG_BINPUT:
    return put_memo(m, 4);
  case PICKLE_GLOBAL:
    return push_global(m);
  case PICKLE_REDUCE:
  case PICKLE_NEWOBJ:
    return call(m);
  case PICKLE_BINPERSID:
    return push_storage(m);
  case PICKLE_BUILD:
    return build(m);
  default:
    return step_container(m, op);
  }
}

static enum status run(struct machine *m, struct object **out_root) {
  TRY(reserve(m, &m->stack, &m->stack_capacity, 0, sizeof *m->stack, "values on the stack"));
  while (!m->stopped) {
    m->op_at = m->at;
    if (m->at == m->bytes.size) return fail(m, "the pickle ends without a STOP");
    if (m->at >= PICKLE_BYTES_MAX) return fail(m, "a pickle of more than %d MiB", PICKLE_BYTES_MAX >> 20);
    TRY(step(m, m->bytes.data[m->at++]));
  }
  TRY(pop(m, out_root));
  return m->depth == 0 && m->mark_count == 0 ? STATUS_OK : fail(m, "stops with %zu values too many", m->depth + m->mark_count);
}

enum status unpickle(struct unpickler *unpickler, const char *part, struct span bytes, size_t *out_size,
                     struct object **out_root) {
  struct machine m = {.unpickler = unpickler, .part = part, .bytes = bytes};
  enum status status = run(&m, out_root);
  free(m.stack);
  free(m.marks);
  free(m.memo);
  *out_size = m.at;
  return status;
}
