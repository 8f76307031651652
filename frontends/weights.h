/* A source of weights: named tensors, of one or several mapped files or made in memory.
 *
 * Invariants: after weights_index the tensors are sorted by name (bytewise) and no name occurs twice; weights_find needs that.
 * A tensor's data are row-major little-endian elements of its dtype, as they lie in their file: perhaps misaligned, perhaps
 * with NaN or infinity. weight_elements makes them usable, weights_check_finite checks them.
 *
 * Ownership: names and data that are not mapped live in the `arena` of struct weights; the mapped files live until
 * weights_close. A graph borrows them, so it must not outlive its weights. */
#ifndef VITC_FRONTENDS_WEIGHTS_H
#define VITC_FRONTENDS_WEIGHTS_H

#include "base/arena.h"
#include "base/diag.h"
#include "base/span.h"
#include "ir/graph.h"

struct weight {
  const char *name;
  enum dtype dtype;
  struct shape shape;
  const void *data;
};

enum { WEIGHTS_FILES_MAX = 256 };

struct weights {
  struct arena arena;
  struct weight *tensors;
  size_t count, capacity;
  struct span files[WEIGHTS_FILES_MAX]; /* mapped; shards of one model */
  int file_count;
};

void weights_init(struct weights *weights);
void weights_close(struct weights *weights); /* also after a failure, or on a zeroed struct */

/* Adds the tensors of one file to initialised weights, without weights_index: once for each shard. The file is of safetensors
 * or of torch.save (torch/pth.h), by its content. */
MUST_USE enum status weights_read(const char *path, struct weights *weights, struct diag *diag);

/* Opens one such file: weights_init, weights_read and weights_index. */
MUST_USE enum status weights_open(const char *path, struct weights *out_weights, struct diag *diag);

/* Maps a file that stays mapped until weights_close. */
MUST_USE enum status weights_map(struct weights *weights, const char *path, struct span *out_span, struct diag *diag);

/* Adds a tensor. The name is copied into the weights' arena, the data are borrowed. */
struct weight *weights_add(struct weights *weights, const char *name, enum dtype dtype, const struct shape *shape,
                           const void *data);

/* Sorts by name. A name that occurs twice is an error of `file`. */
MUST_USE enum status weights_index(struct weights *weights, const char *file, struct diag *diag);

const struct weight *weights_find(const struct weights *weights, const char *name); /* NULL: none of this name */

/* The name that `name` was most likely meant to be, or NULL when none is near. */
const char *weights_nearest(const struct weights *weights, const char *name);

/* Elements of the weight as `to`, aligned for it: the weight's own data where they already are that, else a copy in `arena`.
 * Any dtype becomes float32 (rounded to nearest even) or float64; integers become other integers where every value fits. NULL
 * when it cannot be done: a float to an integer, or a value that does not fit. */
const void *weight_elements(const struct weight *weight, enum dtype to, struct arena *arena);

/* The dtype that a weight has in a graph: float32 for every float, else its own. */
enum dtype weight_graph_dtype(const struct weight *weight);

/* Elements first .. first + count - 1 in weight_graph_dtype: where they lie (perhaps misaligned) when they are of that dtype,
 * else in `buffer`, which has room for them. */
const void *weight_block(const struct weight *weight, size_t first, size_t count, void *buffer);

/* An element that no model should hold is an error that names file, tensor and index: NaN, infinity, a float64 past float32's
 * range, a bool other than 0 and 1. */
MUST_USE enum status weights_check_finite(const struct weight *weight, const char *file, struct diag *diag);
MUST_USE enum status weights_check_range(const struct weight *weight, size_t first, size_t count, const char *file,
                                         struct diag *diag);

#endif
