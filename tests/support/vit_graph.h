/* Small Vision Transformers as loaded graphs, in the forms that importers and other programs write, with random weights. */
#ifndef VITC_TESTS_VIT_GRAPH_H
#define VITC_TESTS_VIT_GRAPH_H

#include "ir/graph.h"

enum attention_form {
  ATTENTION_OP,      /* rank 3 */
  ATTENTION_RANK_4,  /* the op between Reshapes and Transposes */
  ATTENTION_POST,    /* MatMul, Mul by the scale, Softmax, MatMul; the key by one Transpose */
  ATTENTION_PRE,     /* query and key times the scale's root; the key by two Transposes */
  ATTENTION_DIVIDED, /* scores divided by the root of the head's width */
  ATTENTION_QUERY,   /* query times the scale, before its heads are cut */
};

enum qkv_form {
  QKV_SPLIT,    /* one MatMul, Split of the columns */
  QKV_SEPARATE, /* three MatMuls */
  QKV_GATHER,   /* one MatMul, (N, T, 3, H, d) transposed to (N, 3, H, T, d), Gather of one index each */
  QKV_SPLIT_5D, /* the same, with Split and Squeeze */
};

enum rotary_form { ROTARY_NONE, ROTARY_HALVES, ROTARY_INTERLEAVED };

enum pooling { POOL_TOKEN, POOL_MEAN, POOL_DISTILLED, POOL_NONE };

struct vit_form {
  int height, width, patch, dim, heads, hidden, depth, classes;
  enum attention_form attention;
  enum qkv_form qkv;
  enum pooling pooling;
  enum rotary_form rotary; /* of query and key, as they are when they reach the scores; not with ATTENTION_POST */
  bool no_qkv_bias;
  bool no_key_bias;    /* with QKV_SEPARATE */
  bool plain_weights;  /* B as (K, columns), without Transpose */
  bool decomposed_ops; /* Gelu by Erf, LayerNormalization by ReduceMean */
  bool layer_scale;
  bool input_normalized; /* Sub and Div of the image in the graph */
  uint32_t seed;
};

/* Inferred and verified; a message ends the program. The preprocessing is set, so that the input can be made 8-bit. */
void make_vit_graph(struct graph *graph, struct arena *arena, struct diag *diag, const struct vit_form *form);

#endif
