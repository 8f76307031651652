/* The road of every importer of checkpoints: a frontend finds a model in a source, its builder (vit.h, or another kind's of
 * models.def) takes the tensors from the weights, or draws them, and makes the graph with builder.h.
 *
 * Invariant: what a config says is what the tensors must have. A tensor of another shape, or none, is an error that names
 * both sides; a tensor that nothing used is a warning. All text of a config is in the arena of the import. */
#ifndef VITC_FRONTENDS_IMPORT_H
#define VITC_FRONTENDS_IMPORT_H

#include "frontend.h"

struct config; /* import_config.h */
struct family; /* vit.h */

/* An import on its way: what is known before a builder takes over. */
struct import {
  const char *source;          /* the folder or the file */
  const struct config *config; /* config.json of a folder; NULL for a state dict */
  const char *arch;            /* of --arch, else of timm's config.json; NULL: none is named */
  const struct import_options *options;
  struct arena *arena;
  struct weights *weights; /* indexed once `file` is set */
  const char *file;        /* of the weights, for messages */
  struct graph *out_graph;
  struct diag *diag;
};

/* One row of models.def. */
struct model_kind {
  const char *name;
  /* Whether a model with this arch (may be NULL), or a state dict with these tensors (NULL for a folder), is of the kind. */
  bool (*claims)(const char *arch, const struct weights *weights);
  /* A folder of timm or a state dict. */
  enum status (*import)(struct import *import);
};

#define MODEL(name, claims, importer)                           \
  bool claims(const char *arch, const struct weights *weights); \
  enum status importer(struct import *import);
#include "models.def"
#undef MODEL

/* Hands the model over to the first kind that claims it. */
MUST_USE enum status import_model(struct import *import);
/* Opens a folder's weights; those of a state dict are open already. */
MUST_USE enum status import_weights(struct import *import);

/* How a source resizes a position table: bicubic in most of them. */
enum resample {
  RESAMPLE_PLAIN,         /* a = -0.75, half-pixel centres, four taps */
  RESAMPLE_ANTIALIAS,     /* a = -0.5, the filter widened when the table shrinks */
  RESAMPLE_ALIGN_CORNERS, /* a = -0.75, corners on corners */
  RESAMPLE_OFFSET,        /* as plain, with the scale (to + 0.1) / from: the original DINOv2 */
  RESAMPLE_LINEAR,        /* two taps, half-pixel centres */
};

/* How an arch's pictures were prepared where no file says it. */
enum arch_preprocess {
  PREPROCESS_UNKNOWN,
  PREPROCESS_AUGREG, /* timm's ViTs */
  PREPROCESS_DEIT,
  PREPROCESS_TORCHVISION,
  PREPROCESS_TORCHVISION_LARGE, /* vit_l_16 was validated at 242 */
  PREPROCESS_IN21K,             /* the vit_model.py style */
  PREPROCESS_DINOV2,
  PREPROCESS_CLIP,
  PREPROCESS_SIGLIP,
  PREPROCESS_SBB,   /* timm's own sizes, and those with a margin of 5 % */
  PREPROCESS_WHOLE, /* without a margin */
  PREPROCESS_MIIL,  /* pixels from 0 to 1 */
  PREPROCESS_TIPS,
};

/* How pictures are prepared, as the source says it: for its own image size. */
struct picture {
  struct vitc_preprocess preprocess;
  double crop_pct;               /* not 0: resize and crop follow timm's rule from it */
  bool squash;                   /* with crop_pct: both edges are resized, aspect ignored */
  enum arch_preprocess defaults; /* when the struct above is unknown */
};

struct labels {
  int count;
  const char **names;
};

/* Where the tensors of an import come from. */
struct tensors {
  struct weights *weights;
  const char *file;   /* for messages; NULL when drawn */
  const char *prefix; /* before every key */
  bool random;
  uint64_t seed;
  bool *used; /* by index into weights->tensors; NULL when drawn */
  struct arena *arena;
  struct diag *diag;
};

enum tensor_role { ROLE_WEIGHT, ROLE_BIAS, ROLE_GAIN, ROLE_TABLE, ROLE_LAYER_SCALE };

/* "224", "384x288" (height first) into two positive numbers. */
bool arch_parse_size(const char *text, int64_t *out_height, int64_t *out_width);

/* ---- import_tensors.c
 *
 * `spellings` is a module's path: '#' is the number of the block, '|' separates spellings of which a file has one, '^' marks
 * a key that stays without the prefix. `suffix` is "weight" or "bias", or NULL for a token, table or scale, whose key is the
 * path itself. The tensor is PATH.weight, or PATHweight where the path ends in '_'. */

void tensors_init(struct tensors *tensors, const char *file, const struct import_options *options, struct arena *arena,
                  struct weights *weights, struct diag *diag);
/* Sets the prefix to the first of `prefixes` ('|' between) under which the tensor is there; false: none, and no prefix is set.
 */
bool tensors_find_prefix(struct tensors *tensors, const char *prefixes, const char *spellings, const char *suffix);
/* Name of the tensor; of the first spelling when none is there. */
const char *tensors_spell(const struct tensors *tensors, const char *spellings, int64_t block, const char *suffix);
/* The module's path: the tensor's name without `suffix` and its dot, though with a '_' before it. */
const char *tensors_module(const struct tensors *tensors, const char *spellings, int64_t block, const char *suffix);
const struct weight *tensors_find(const struct tensors *tensors, const char *spellings, int64_t block, const char *suffix);
/* The tensor as float32 elements, in the file or drawn. `origin` is what expects the shape. */
MUST_USE enum status tensors_take(struct tensors *tensors, const char *key, const struct shape *shape, enum tensor_role role,
                                  const char *origin, const void **out_data);
/* The tensor as a constant of the graph, deferred (graph.h) when it is of a file: nobody may read its elements before
 * json_write, which checks and converts them on their way to the blob, so that a large model is never in memory. */
MUST_USE enum status tensors_constant(struct tensors *tensors, struct graph *graph, const char *key, const struct shape *shape,
                                      enum tensor_role role, const char *origin, struct value **out_value);
/* What a source stores and this model does not need: not to be warned of. */
void tensors_pass_over(struct tensors *tensors, const char *key);
/* Each tensor on stderr, and whether it was used. */
void tensors_list(const struct tensors *tensors);
/* One line on stderr for what was not used. */
void tensors_warn_unused(const struct tensors *tensors);
const char *shape_text(struct arena *arena, const struct shape *shape); /* "[768, 3, 16, 16]" */

/* ---- import_random.c */

/* Fills `count` elements. Bits depend only on seed, key, role and fan_in: no libm beyond sqrt, no platform's generator. */
void random_tensor(float *out, int64_t count, uint64_t seed, const char *key, enum tensor_role role, int64_t fan_in);

/* The frontend of --init random. */
bool random_probe(const char *source, const struct import_options *options);
enum status random_import(const char *source, const struct import_options *options, struct arena *arena,
                          struct weights *weights, struct graph *out_graph, struct diag *diag);

/* ---- import_position.c */

/* (prefix + in_height*in_width, dim) to (prefix + out_height*out_width, dim): the first rows are copied, the grid resampled. */
void position_resample(const float *table, int64_t prefix, int64_t in_height, int64_t in_width, int64_t dim, float *out_table,
                       int64_t out_height, int64_t out_width, enum resample resample);
const char *resample_text(enum resample resample);

/* ---- import_preprocess.c */

/* picture->preprocess, or where it is unknown that of picture->defaults, for images of size[0] x size[1] where the source's are
 * from[0] x from[1]. */
void preprocess_finish(struct picture *picture, const int64_t *from, const int64_t *size);

#endif
