/* Dense prediction transformers: the tokens after some blocks of a ViT become images of several resolutions (reassemble), which
 * are fused from the coarsest to the finest and read by a convolutional head. DPT and Depth Anything. */
#ifndef VITC_FRONTENDS_DPT_H
#define VITC_FRONTENDS_DPT_H

#include "vit.h"

enum { DPT_TAPS_MAX = 8 };

/* What becomes of the class token of a tap. */
enum readout {
  READOUT_IGNORE,
  READOUT_ADD,     /* to every patch */
  READOUT_PROJECT, /* beside every patch, and both through a linear layer and the activation */
};

enum dpt_head {
  DPT_HEAD_DEPTH,        /* of DPT */
  DPT_HEAD_SEGMENTATION, /* of DPT */
  DPT_HEAD_ANYTHING,     /* of Depth Anything: depth at the size of the patches' image */
};

struct dpt_config {
  struct vit_config vit;
  struct family family; /* of the backbone: what vit.family points to */
  int tap_count;
  int64_t taps[DPT_TAPS_MAX]; /* blocks before each; 0 is the embeddings */
  bool tap_norm;              /* the backbone's last norm is applied to each */
  enum readout readout;
  double factors[DPT_TAPS_MAX]; /* of the patches' grid */
  int64_t widths[DPT_TAPS_MAX];
  int64_t fusion;     /* width of what is fused */
  int64_t head_index; /* of the fused images, the first being the coarsest */
  bool batch_norm, residual_bias, add_projection;
  enum dpt_head head;
  int64_t head_width;
  bool sigmoid; /* metric depth */
  double max_depth;
  int64_t classes;
};

/* Images of one resolution: (N, width, size[0], size[1]). */
struct planes {
  struct value *value;
  int64_t width, size[2];
};

struct dpt {
  struct vit vit;
  const struct dpt_config *config;
};

/* ---- planes.c: steps on planes */

MUST_USE enum status dpt_conv(struct dpt *dpt, const char *path, int64_t out, int64_t kernel, int64_t stride, bool bias,
                              struct planes *x);
/* A convolution of 3 x 3 and, with `norm`, the BatchNormalization after it, folded into its weights. */
MUST_USE enum status dpt_conv_norm(struct dpt *dpt, const char *path, const char *norm, int64_t out, bool bias,
                                   struct planes *x);
/* A transposed convolution of kernel = stride. */
MUST_USE enum status dpt_enlarge(struct dpt *dpt, const char *path, int64_t stride, struct planes *x);
MUST_USE enum status dpt_resize(struct dpt *dpt, const char *name, const int64_t *size, bool align_corners, struct planes *x);
void dpt_activation(struct dpt *dpt, const char *name, enum op op, struct planes *x);

/* ---- neck.c */

/* The taps, (N, T, dim) each, to the fused planes that the head reads. */
MUST_USE enum status dpt_neck(struct dpt *dpt, struct value *const *taps, struct planes *out);

/* ---- head.c: offers the answer */
MUST_USE enum status dpt_answer(struct dpt *dpt, struct planes x);

#endif
