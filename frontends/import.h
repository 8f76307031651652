/* The ViT importers share one road: a frontend fills a struct vit_config (from an arch's name, a config.json or the tensors
 * themselves), and vit_import builds the graph, taking the tensors from the weights or drawing them.
 *
 * Invariant: what the config says is what the tensors must have. A tensor of another shape, or none, is an error that names
 * both sides; a tensor that nothing used is a warning. All text of a config is in the arena of the import. */
#ifndef VITC_FRONTENDS_IMPORT_H
#define VITC_FRONTENDS_IMPORT_H

#include "frontend.h"

enum part {
  PART_PATCH,
  PART_CLASS_TOKEN,
  PART_DISTILLATION_TOKEN,
  PART_POSITION,
  PART_NORM1,
  PART_QKV,
  PART_QUERY,
  PART_KEY,
  PART_VALUE,
  PART_PROJECTION,
  PART_SCALE1,
  PART_NORM2,
  PART_FC1,
  PART_FC2,
  PART_SCALE2,
  PART_NORM,
  PART_POOLED_NORM,
  PART_PRE_LOGITS,
  PART_HEAD,
  PART_DISTILLATION_HEAD,
  PART_COUNT
};

/* How a source resizes a position table: bicubic in all of them. */
enum resample {
  RESAMPLE_PLAIN,         /* a = -0.75, half-pixel centres, four taps */
  RESAMPLE_ANTIALIAS,     /* a = -0.5, the filter widened when the table shrinks */
  RESAMPLE_ALIGN_CORNERS, /* a = -0.75, corners on corners */
};

/* One row of families.def. */
struct family {
  const char *name;
  const char *prefixes;
  double epsilon;
  enum resample resample;
  const char *input;
  const char *keys[PART_COUNT];
};

enum {
#define FAMILY(id, ...) FAMILY_##id,
#include "families.def"
#undef FAMILY
  FAMILY_COUNT
};

extern const struct family families[FAMILY_COUNT];

/* How an arch's pictures were prepared where no file says it. */
enum arch_preprocess {
  PREPROCESS_UNKNOWN,
  PREPROCESS_AUGREG, /* timm's ViTs */
  PREPROCESS_DEIT,
  PREPROCESS_TORCHVISION,
  PREPROCESS_TORCHVISION_LARGE, /* vit_l_16 was validated at 242 */
  PREPROCESS_IN21K,             /* the vit_model.py style */
};

struct vit_config {
  const char *arch;   /* as messages and the graph's name have it */
  const char *origin; /* what a mismatch is blamed on: the arch's name or the path of config.json */
  const struct family *family;
  int64_t image_height, image_width; /* that the table of the source is for; 0: square, from the table */
  int64_t patch_height, patch_width;
  int64_t channels, dim, depth, heads, head_dim, mlp;
  int64_t classes;                      /* 0: features */
  int64_t pre_logits;                   /* width of the linear + tanh before the head, or of the pooler; 0: none */
  bool pre_logits_given, classes_given; /* false: the tensors decide */
  bool qkv_bias_given, norms_given;
  bool qkv_bias, class_token, distilled;
  bool two_heads;   /* the class and the distillation token each have a head, and the mean is the answer */
  bool embed_class; /* the position table has rows for the prefix tokens */
  bool layer_scale;
  bool mean_pool, pool_prefix; /* mean over the patches, with the prefix tokens too */
  bool norm, pooled_norm;      /* LayerNorm before, after pooling */
  double scale;                /* of q k^T; 0: 1/sqrt(head_dim) */
  double epsilon;              /* 0: the family's */
  bool gelu_tanh;              /* the tanh form of GELU */
  struct vitc_preprocess preprocess;
  double crop_pct;               /* not 0: resize and crop follow timm's rule from it */
  bool squash;                   /* with crop_pct: both edges are resized, aspect ignored */
  enum arch_preprocess defaults; /* when the struct above is unknown */
  int label_count;
  const char **labels;
};

/* Where the tensors of an import come from. */
struct tensors {
  struct weights *weights;
  const char *file; /* for messages; NULL when drawn */
  const struct family *family;
  const char *prefix; /* before every key */
  bool random;
  uint64_t seed;
  bool *used; /* by index into weights->tensors */
  struct arena *arena;
  struct diag *diag;
};

enum tensor_role { ROLE_WEIGHT, ROLE_BIAS, ROLE_GAIN, ROLE_TABLE, ROLE_LAYER_SCALE };

/* ---- import_arch.c */

/* The arch of a name or of a spec `vit:dim=...` (archs.def). */
MUST_USE enum status arch_parse(const char *name, struct arena *arena, struct vit_config *out_config, struct diag *diag);
/* Heads of the named size that has this width, depth and MLP in the family; 0 when there is none or they disagree. */
int64_t arch_heads(const struct family *family, int64_t dim, int64_t depth, int64_t mlp);
/* "224", "384x288" (height first) into two positive numbers. */
bool arch_parse_size(const char *text, int64_t *out_height, int64_t *out_width);

/* ---- import_tensors.c */

/* Finds the family and the prefix by the keys; false when no family has them. */
bool tensors_recognise(struct tensors *tensors);
/* Name of the tensor: `suffix` is "weight", "bias", or NULL for a token, table or scale. The first spelling when none is there.
 */
const char *tensors_key(const struct tensors *tensors, enum part part, int64_t block, const char *suffix);
const struct weight *tensors_find(const struct tensors *tensors, enum part part, int64_t block, const char *suffix);
/* The tensor as float32 elements, in the file or drawn. `origin` is what expects the shape. */
MUST_USE enum status tensors_take(struct tensors *tensors, const char *key, const struct shape *shape, enum tensor_role role,
                                  const char *origin, const void **out_data);
/* One line on stderr for what was not used, classifier heads by name. */
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

/* config->preprocess, or where it is unknown that of config->defaults, for a model whose images are height x width. */
void preprocess_finish(struct vit_config *config, int64_t height, int64_t width);

/* ---- import_build.c */

/* The graph of `config` for images of height x width, with `tensors` as constants. */
MUST_USE enum status vit_build(const struct vit_config *config, struct tensors *tensors, int64_t height, int64_t width,
                               struct graph *graph);

/* ---- import_follow.c */

/* Lets the tensors decide what the config left open: classes, biases, pre_logits, norms, the distillation token, and of which
 * of the two sizes (config's, or height x width) the position table is. */
void vit_follow_tensors(struct vit_config *config, const struct tensors *tensors, int64_t height, int64_t width);
/* A config from the tensors alone. Heads can only be told for the widths of archs.def. */
MUST_USE enum status vit_infer_config(struct vit_config *out_config, const struct tensors *tensors);

/* ---- import.c */

/* From config and indexed weights (or options->init_random) to the finished, verified graph. `file` is that of the weights.
 * A config without a family has everything else open too: it is inferred. */
MUST_USE enum status vit_import(struct vit_config *config, const char *file, const struct import_options *options,
                                struct arena *arena, struct weights *weights, struct graph *out_graph, struct diag *diag);

#endif
