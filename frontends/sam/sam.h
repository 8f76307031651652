/* ViTs without a class token whose attention is within windows, with decomposed relative positions: the image encoder of
 * Segment Anything (of transformers, of timm, and under its own names) and ViTDet.
 *
 * A block's tokens are a grid. Where the block has a window, the grid is padded with zeros to whole windows, and tokens see
 * only those of their own window, the padding with them. Otherwise the whole grid is one window. */
#ifndef VITC_FRONTENDS_SAM_H
#define VITC_FRONTENDS_SAM_H

#include "builder.h"

enum sam_part {
  SAM_PATCH,
  SAM_POSITION,
  SAM_NORM1,
  SAM_QKV,
  SAM_RELATIVE_HEIGHT,
  SAM_RELATIVE_WIDTH,
  SAM_PROJECTION,
  SAM_NORM2,
  SAM_FC1,
  SAM_FC2,
  SAM_RESIDUAL, /* the first convolution of the bottleneck after a block */
  SAM_NECK_CONV1,
  SAM_NECK_NORM1, /* the only part of a neck that is no more than a norm */
  SAM_NECK_CONV2,
  SAM_NECK_NORM2,
  SAM_HEAD,
  SAM_PART_COUNT
};

/* One row of keys.def. */
struct sam_family {
  const char *name;
  const char *prefixes;
  const char *input, *output;
  enum resample resample; /* of the absolute positions */
  int64_t class_rows;     /* of the position table, in front, for a class token that the model no longer has */
  const char *keys[SAM_PART_COUNT];
};

enum {
#define SAM_FAMILY(id, ...) SAM_FAMILY_##id,
#include "sam/keys.def"
#undef SAM_FAMILY
  SAM_FAMILY_COUNT
};

extern const struct sam_family sam_families[SAM_FAMILY_COUNT];

enum sam_neck { SAM_NECK_NONE, SAM_NECK_NORM, SAM_NECK_CONVOLUTIONS };

enum { SAM_DEPTH_MAX = 256 };

struct sam_config {
  const char *arch, *origin;
  const struct sam_family *family;
  int64_t channels, dim, depth, heads, mlp;
  int64_t image[2], patch[2];
  int64_t position_image[2]; /* that the absolute positions are for */
  int64_t window;
  bool windowed[SAM_DEPTH_MAX], residual[SAM_DEPTH_MAX]; /* by block */
  bool qkv_bias, absolute, relative;
  double epsilon; /* of the blocks' LayerNorm; that of necks and bottlenecks is fixed */
  enum activation activation;
  enum sam_neck neck;
  int64_t neck_width;
  bool pool;                      /* the answer is the mean of the grid, through the head where there are classes */
  int64_t classes;                /* 0: none */
  bool stages[SAM_DEPTH_MAX + 1]; /* answers: the grid before the first block, and after each */
  bool has_stages;
  struct picture picture;
  struct labels labels;
};

/* An encoder being built. */
struct sam {
  struct builder b;
  struct tensors *tensors;
  const struct sam_config *config;
  int64_t grid[2]; /* tokens: rows, columns */
};

/* ---- keys.c */

const char *sam_module(const struct sam *sam, enum sam_part part, int64_t block);
const char *sam_key(const struct sam *sam, enum sam_part part, int64_t block);

/* ---- attention.c: x (N, T, dim) to the same, with both projections */
MUST_USE enum status sam_attention(struct sam *sam, int64_t block, struct value **x);

/* ---- build.c */

/* From config and indexed weights (or options->init_random) to the finished graph. */
MUST_USE enum status sam_import(struct sam_config *config, struct import *import);

/* ---- state.c: state dicts, and folders of timm */

bool sam_claims(const char *arch, const struct weights *weights);
enum status sam_import_model(struct import *import);

#endif
