/* The plain ViT and its families: a frontend fills a struct vit_config (from an arch's name, a config.json or the tensors
 * themselves), and vit_import builds the graph. What differs between families is in the config and in the family's key names.
 */
#ifndef VITC_FRONTENDS_VIT_H
#define VITC_FRONTENDS_VIT_H

#include "builder.h"

enum part {
  PART_PATCH,
  PART_CLASS_TOKEN,
  PART_DISTILLATION_TOKEN,
  PART_REGISTERS,
  PART_POSITION,
  PART_PRE_NORM,
  PART_NORM1,
  PART_QKV,
  PART_QUERY,
  PART_KEY,
  PART_VALUE,
  PART_QUERY_BIAS, /* of a merged projection whose keys have no bias */
  PART_VALUE_BIAS,
  PART_QUERY_NORM,
  PART_KEY_NORM,
  PART_RELATIVE,        /* a table of biases by relative position in every block */
  PART_SHARED_RELATIVE, /* one for all blocks */
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
  PART_EMBED,      /* the projection of an embedding, (out, in) without bias */
  PART_EMBED_FLAT, /* the same stored as (in, out) */
  PART_PROBE,      /* attention pooling: its query, */
  PART_POOL_QUERY, /* its projections, */
  PART_POOL_KEY_VALUE,
  PART_POOL_QKV, /* or all of them in one */
  PART_POOL_PROJECTION,
  PART_POOL_NORM,
  PART_POOL_FC1,
  PART_POOL_FC2,
  PART_FOREIGN, /* a tensor, in full, of blocks that are like these but for it */
  PART_COUNT
};

/* One row of families.def. */
struct family {
  const char *name;
  const char *prefixes;
  const char *mark; /* spellings of a tensor that only this family has; "": recognised by the patch embedding alone */
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

enum pooling {
  POOL_TOKEN,          /* the class token */
  POOL_MEAN,           /* the mean over the patches */
  POOL_MAP,            /* attention of a learned probe, and an MLP */
  POOL_TOKEN_AND_MEAN, /* both of the first, joined */
};

struct vit_config {
  const char *arch;   /* as messages and the graph's name have it */
  const char *origin; /* what a mismatch is blamed on: the arch's name or the path of config.json */
  const struct family *family;
  bool family_given;                 /* false: an arch's; the keys may be another family's */
  int64_t image_height, image_width; /* that the table of the source is for; 0: square, from the table */
  int64_t patch_height, patch_width;
  int64_t channels, dim, depth, heads, head_dim, mlp;
  int64_t registers;
  int64_t classes;                      /* 0: features */
  int64_t pre_logits;                   /* width of the linear + tanh before the head, or of the pooler; 0: none */
  int64_t embed;                        /* width of the projected embedding; 0: none */
  bool pre_logits_given, classes_given; /* false: the tensors decide */
  bool qkv_bias_given, norms_given;
  bool shape_given; /* config.json says everything; false: the tensors decide what else there is */
  bool qkv_bias, class_token, distilled;
  bool no_key_bias; /* though queries and values have one */
  bool no_patch_bias, no_position;
  bool linear_table;    /* the position table is resized bilinearly, whatever the family's others are */
  bool two_heads;       /* the class and the distillation token each have a head, and the mean is the answer */
  bool embed_class;     /* the position table has rows for the class and the distillation token */
  bool embed_registers; /* and for the registers */
  bool layer_scale, gated, qk_norm, relative, shared_relative;
  enum pooling pool;
  bool pool_prefix;                 /* a mean or attention over the prefix tokens, too */
  bool pre_norm, norm, pooled_norm; /* LayerNorm before the blocks, before pooling, after it */
  bool normalize;                   /* the embedding is of length 1 */
  double scale;                     /* of q k^T; 0: 1/sqrt(head_dim) */
  double epsilon;                   /* 0: the family's */
  enum activation activation;
  const char *answer; /* what the source calls the pooled features; NULL: "features" */
  struct picture picture;
  struct labels labels;
};

/* A ViT being built. */
struct vit {
  struct builder b;
  struct tensors *tensors;
  const struct vit_config *config;
  int64_t grid[2];             /* patches of the image: rows, columns */
  struct value *shared_biases; /* of attention, by relative position; NULL until the first block */
};

/* ---- vit.c */

/* From config and indexed weights (or options->init_random) to the finished, verified graph. `file` is that of the weights.
 * A config without a family has everything else open too: it is inferred. */
MUST_USE enum status vit_import(struct vit_config *config, const char *file, const struct import_options *options,
                                struct arena *arena, struct weights *weights, struct graph *out_graph, struct diag *diag);

/* ---- vit_arch.c */

/* The arch of a name or of a spec `vit:dim=...` (archs.def). */
MUST_USE enum status arch_parse(const char *name, struct arena *arena, struct vit_config *out_config, struct diag *diag);
/* Heads of the size that has this width, depth and MLP; 0 when there is none or they disagree. Rows of their own must have the
 * same prefix tokens. */
int64_t arch_heads(const struct vit_config *config);

/* ---- vit_named.c: archs with a row of their own */

/* Sets what the row says of a config of defaults; false: there is none of this name. */
bool arch_parse_named(const char *name, struct vit_config *config);
/* Why an arch of timm is not supported; NULL: it isn't one of those. */
const char *arch_refused(const char *name);
/* Name of row i, NULL past the last; *out_sized: a resolution follows it. */
const char *arch_named_at(size_t i, bool *out_sized);
/* As arch_heads, among these rows; -1 when they disagree. */
int64_t arch_named_heads(const struct vit_config *config);

/* ---- vit_keys.c */

/* Finds the family and the prefix by the keys; NULL when no family has them. */
const struct family *vit_recognise(struct tensors *tensors);
const struct weight *vit_find(const struct vit_config *config, const struct tensors *tensors, enum part part, int64_t block,
                              const char *suffix);

/* ---- vit_follow.c */

/* Lets the tensors decide what the config left open: classes, biases, pre_logits, norms, the distillation token, and of which
 * of the two sizes (config's, or height x width) the position table is. */
void vit_follow_tensors(struct vit_config *config, const struct tensors *tensors, int64_t height, int64_t width);
/* A config from the tensors alone. Heads can only be told for the widths of archs.def. */
MUST_USE enum status vit_infer_config(struct vit_config *out_config, const struct family *family,
                                      const struct tensors *tensors);

/* ---- vit_build.c: for builders whose model has a ViT in it, too */

/* Paths of a part's module and its key, as builder.h takes them. */
const char *vit_module(const struct vit *vit, enum part part, int64_t block);
const char *vit_key(const struct vit *vit, enum part part, int64_t block);
/* The image (N, C, H, W) to prefix tokens and patches with their positions: (N, T, D). */
MUST_USE enum status vit_embeddings(struct vit *vit, struct value **x);
/* One transformer block on x (N, T, D). */
MUST_USE enum status vit_block(struct vit *vit, int64_t index, struct value **x);
int64_t vit_prefix(const struct vit_config *config); /* tokens before the patches */
/* How the source's own code resizes the position table. */
enum resample vit_resample(const struct vit_config *config);
/* Patches of the source's own image: rows, columns. */
void vit_source_grid(const struct vit_config *config, int64_t *out_grid);

/* ---- vit_relative.c */

/* The biases of the block's attention by relative position (1, heads, T, T); NULL when the model has none. */
MUST_USE enum status vit_relative_biases(struct vit *vit, int64_t block, struct value **out_biases);

/* ---- vit_attention.c */

MUST_USE enum status vit_attention(struct vit *vit, int64_t block, struct value **x);
/* (N, T, D) to (N, D) by the attention of a learned probe. */
MUST_USE enum status vit_attention_pool(struct vit *vit, struct value **x);

/* ---- vit_head.c */

/* What follows the blocks; offers the outputs. */
MUST_USE enum status vit_head(struct vit *vit, struct value *x);

#endif
