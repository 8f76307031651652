/* From a source to a model: a graph, and the weights that it borrows its constants from.
 *
 * Every function here leaves *out_weights and *out_graph in a state that weights_close may be called on, also when it fails.
 * The graph lives in `arena` and borrows constant data of the weights: close the weights after the last use of the graph. A
 * graph that is handed out has passed infer_graph and verify_graph. One of frontend_import may have deferred constants
 * (graph.h): it is for json_write. */
#ifndef VITC_FRONTENDS_FRONTEND_H
#define VITC_FRONTENDS_FRONTEND_H

#include "weights.h"

/* What `vitc import` was told. Zero-initialise and set num_classes to -1 for "everything as the source has it". */
struct import_options {
  const char *name;              /* of the graph, a C identifier; NULL: from the source's file name or the arch */
  const char *arch;              /* NULL: told from the source */
  int image_height, image_width; /* 0: as the source */
  int num_classes;               /* -1: as the source; 0: features */
  bool init_random;              /* weights drawn from `seed` instead of read */
  uint64_t seed;
  const char *const *outputs; /* names of what the graph gives, where the source has several answers; none: its first */
  int output_count;
  bool verbose;      /* progress and choices to stderr */
  bool list_tensors; /* and every tensor that is used */
};

/* One row of frontends.def. */
struct frontend {
  const char *name;
  const char *description; /* of what it reads, for messages: "a vitc model (NAME.json)" */
  /* Whether this frontend is the one for `source` (NULL: none given), by its name and first bytes; never an error. */
  bool (*probe)(const char *source, const struct import_options *options);
  enum status (*import)(const char *source, const struct import_options *options, struct arena *arena, struct weights *weights,
                        struct graph *out_graph, struct diag *diag);
};

const struct frontend *frontend_at(int index); /* NULL past the last */

/* A model on disk: NAME.json with its blob. */
MUST_USE enum status frontend_load(const char *path, struct arena *arena, struct weights *out_weights, struct graph *out_graph,
                                   struct diag *diag);

/* Any source: the first frontend whose probe accepts it. */
MUST_USE enum status frontend_import(const char *source, const struct import_options *options, struct arena *arena,
                                     struct weights *out_weights, struct graph *out_graph, struct diag *diag);

/* A C identifier from a file's name: "models/vit-b16.json" gives "vit_b16". */
const char *frontend_identifier(struct arena *arena, const char *path);

/* The member of `count` names that is nearest to `name` by edit distance, or NULL when none is near enough for a hint.
 * names(context, i) gives the i-th. */
const char *frontend_nearest(const char *name, const char *(*names)(const void *context, size_t i), const void *context,
                             size_t count);

#endif
