/* EVA, EVA-02, DINOv3 and their like: ViTs with rotary positions, registers, gated MLPs and norms inside of attention and MLP,
 * each optional. timm has them all in one class; DINOv3 is also known by its original names and by transformers'. A frontend
 * fills a struct eva_config, and eva_import builds the graph. */
#ifndef VITC_FRONTENDS_EVA_H
#define VITC_FRONTENDS_EVA_H

#include "builder.h"
#include "eva/rope.h"

enum eva_part {
  EVA_PATCH,
  EVA_CLASS_TOKEN,
  EVA_REGISTERS,
  EVA_POSITION,
  EVA_PRE_NORM,
  EVA_NORM1,
  EVA_QKV,
  EVA_QUERY_BIAS, /* of the joint projection, which then has no bias of its own; keys have none */
  EVA_VALUE_BIAS,
  EVA_QUERY,
  EVA_KEY,
  EVA_VALUE,
  EVA_ATTENTION_NORM,
  EVA_PROJECTION,
  EVA_SCALE1,
  EVA_NORM2,
  EVA_FC1,
  EVA_GATE,
  EVA_UP,
  EVA_MLP_NORM,
  EVA_FC2,
  EVA_SCALE2,
  EVA_NORM,
  EVA_POOLED_NORM,
  EVA_HEAD,
  EVA_MASK_TOKEN, /* of pretraining */
  EVA_PART_COUNT
};

/* How one source names its tensors: paths as import.h's spellings, NULL for what it never has. */
struct eva_keys {
  const char *name;
  const char *prefixes;
  const char *input;
  const char *paths[EVA_PART_COUNT];
};

extern const struct eva_keys eva_keys_timm, eva_keys_original, eva_keys_transformers;

enum eva_qkv {
  EVA_QKV_JOINT,         /* one projection, with a bias of its own */
  EVA_QKV_JOINT_NO_KEYS, /* the same, but the part of the bias that is the keys' is not used (original DINOv3) */
  EVA_QKV_BIAS_APART,    /* one projection, biases of queries and values beside it */
  EVA_QKV_APART,         /* three projections */
};

enum eva_mlp {
  EVA_MLP_PLAIN,
  EVA_MLP_PACKED, /* act(first half of fc1) times the second half */
  EVA_MLP_GATED,  /* act(gate) times up */
};

struct eva_config {
  const char *arch;   /* as messages and the graph's name have it */
  const char *origin; /* what a mismatch is blamed on: the arch's name or the path of config.json */
  const struct eva_keys *keys;
  int64_t image[2], patch[2]; /* height, width; image: that of the position table */
  int64_t channels, dim, depth, heads, mlp;
  int64_t classes; /* 0: features */
  int64_t registers;
  bool class_token, positions, embed_prefix; /* embed_prefix: the position table has rows for the prefix tokens */
  bool pre_norm, post_norm;                  /* before the blocks; in a block after attention and MLP, not before */
  enum eva_qkv qkv;
  bool bias[3], projection_bias, mlp_bias; /* bias: of queries, keys, values */
  bool attention_norm, mlp_norm, layer_scale;
  enum eva_mlp form;
  enum activation activation;
  struct rope rope;
  bool norm, pooled_norm, mean_pool;
  double epsilon;
  const char *pooled; /* name of the pooled output */
  struct picture picture;
  struct labels labels;
};

/* timm's arguments, from which a config's forms of projection and MLP and its norms follow. */
struct eva_arguments {
  double ratio;  /* width of the MLP over that of the model */
  int64_t align; /* to a multiple of this; 0: as it is */
  bool swiglu, scale_mlp, fused, qkv_bias;
  bool key_bias;           /* as plain projections have it (attn_type rope) */
  int fc_norm, final_norm; /* -1: as the pooling has it */
};

/* ---- eva_import.c */

/* From config and import->weights, already open, (or drawn) to the finished graph. */
MUST_USE enum status eva_import(struct import *import, struct eva_config *config);

/* ---- eva_arch.c */

/* The arch of one of timm's names, with or without a tag; false: none of these. */
bool eva_arch(const char *name, struct arena *arena, struct eva_config *out_config, struct eva_arguments *out_arguments);
/* What follows from the arguments. */
void eva_settle(struct eva_config *config, const struct eva_arguments *arguments);
/* A config from the tensors of a state dict without a name. */
MUST_USE enum status eva_infer(struct tensors *tensors, struct eva_config *out_config);
/* Lets tensors of a state dict decide what the arch's name leaves open: keys, image size, classes. */
MUST_USE enum status eva_follow(struct eva_config *config, struct tensors *tensors);

/* ---- eva_timm.c */

/* config.json of a timm folder, in the arch import->arch. */
MUST_USE enum status eva_read_timm(const struct import *import, struct eva_config *out_config);

/* ---- eva_build.c */

struct eva {
  struct builder b;
  const struct eva_config *config;
  int64_t grid[2];         /* patches of the image: rows, columns */
  struct value *cos, *sin; /* NULL without rotary positions */
};

int64_t eva_prefix(const struct eva_config *config); /* tokens before the patches */
/* The whole model on x (N, C, H, W); offers the outputs. */
MUST_USE enum status eva_build(struct eva *eva, struct value *x);

#endif
