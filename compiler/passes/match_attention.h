/* Attention as other programs write it: found in a graph, as queries, keys, values and what happens to their scores. */
#ifndef VITC_PASSES_MATCH_ATTENTION_H
#define VITC_PASSES_MATCH_ATTENTION_H

#include "ir/graph.h"

enum { MASKS_MAX = 2 };

/* softmax(scale * query @ key^T + sum of mask_scale[i] * masks[i]) @ value; every operand (windows, heads, rows, width), or
 * (heads, rows, width) where `at` has rank 3. */
struct attention_pattern {
  struct node *at; /* the node whose output is the result */
  struct value *query, *key, *value;
  bool key_transposed; /* (.., width, rows) */
  bool causal;
  double scale, softcap; /* scale 0: 1 / sqrt(width) */
  int mask_count;
  struct value *masks[MASKS_MAX];
  double mask_scale[MASKS_MAX];
};

/* The last MatMul of a decomposed one, whose masks broadcast to its scores, or an Attention of rank 4. */
bool match_attention(const struct graph *graph, struct node *node, struct attention_pattern *out_pattern);

/* Follows products and quotients by scalars up, and takes them into *scale. */
struct value *peel_scale(struct value *value, double *scale);

/* What Attention takes; 0 would mean the default. */
bool attention_scale_valid(double scale);

#endif
