/* Pickles as data: the opcodes that torch.save writes, run on a stack machine whose values are the objects below. Nothing is
 * imported or called; a global is a row of an allowlist, and a name that is not on it is an error that gives the name.
 *
 * Invariants: memory is bounded (PICKLE_BYTES_MAX, PICKLE_DEPTH_MAX and the budget of struct unpickler) and so is time, linear
 * in the pickle. The machine does not recurse; objects may nest to any depth, be shared and hold themselves, so whoever walks
 * them must bound the walk.
 *
 * Ownership: objects live in the arena of struct unpickler; texts and keys are borrowed from the pickle's bytes. */
#ifndef VITC_FRONTENDS_TORCH_PICKLE_H
#define VITC_FRONTENDS_TORCH_PICKLE_H

#include "base/arena.h"
#include "base/diag.h"
#include "base/span.h"
#include "ir/graph.h"

enum {
  PICKLE_BYTES_MAX = 32 << 20, /* of one pickle */
  PICKLE_DEPTH_MAX = 1 << 20,  /* of the stack, of its marks, and of the memo */
  PICKLE_BUDGET = 32 << 20,    /* bytes of objects of one checkpoint */
};

enum global_kind {
  GLOBAL_DICT,
  GLOBAL_TENSOR,         /* (storage, offset, size, stride, ...) */
  GLOBAL_TENSOR_OF_TYPE, /* the same, with the dtype as argument 6 */
  GLOBAL_PARAMETER,      /* (tensor, ...): the tensor */
  GLOBAL_SIZE,
  GLOBAL_STORAGE,
  GLOBAL_DTYPE,
  GLOBAL_OPAQUE, /* a call whose result no model needs: torch.device, set */
};

/* One row of globals.def. */
struct global {
  const char *name; /* module and name: "torch.FloatStorage" */
  enum global_kind kind;
  const char *type; /* of a storage or dtype: "float32" */
  size_t size;      /* bytes of one element */
  enum dtype dtype; /* DTYPE_COUNT: none that a model can have */
};

/* The elements that tensors view. `data` is empty until the container has been asked for the key. */
struct storage {
  struct span key;
  const struct global *type;
  uint64_t count; /* elements; count * type->size does not overflow */
  struct span data;
  struct storage *next;
};

enum object_kind {
  OBJECT_OPAQUE, /* None, floats, integers of more than 64 bits, sets, devices */
  OBJECT_BOOL,
  OBJECT_INTEGER,
  OBJECT_TEXT, /* any bytes: UTF-8 is checked where the text is used */
  OBJECT_GLOBAL,
  OBJECT_TUPLE,
  OBJECT_LIST,
  OBJECT_DICT,
  OBJECT_STORAGE,
  OBJECT_TENSOR,
};

struct object {
  enum object_kind kind;
  uint32_t count, capacity; /* of items */
  union {
    int64_t integer; /* also of a bool */
    struct span text;
    const struct global *global;
    struct storage *storage;
    struct object **items; /* of a tuple or list; a dict's keys and values in turn; a tensor's arguments */
  };
  const struct global *maker; /* of a tensor */
};

struct unpickler {
  const char *file; /* for messages */
  struct arena *arena;
  struct diag *diag;
  size_t budget;            /* bytes that may still be allocated */
  struct storage *storages; /* all that were met, the last one first */
  size_t storage_count;
};

/* Runs the pickle at the start of `bytes`, which may go on after it. `part` says in messages which pickle of the file it is. */
MUST_USE enum status unpickle(struct unpickler *unpickler, const char *part, struct span bytes, size_t *out_size,
                              struct object **out_root);

/* Takes `bytes` from the budget. */
MUST_USE enum status unpickler_spend(struct unpickler *unpickler, size_t bytes);

/* The value of a text key, or NULL: not a dict, or without it. Of a key that occurs twice, the last, as in Python. */
struct object *object_get(const struct object *dict, const char *key);

bool text_equal(struct span text, const char *expected);

#endif
