/* The extents of an Attention node, the same for rank 3 (B, T, heads * d) and rank 4 (B, heads, T, d). */
#ifndef VITC_OPS_ATTENTION_H
#define VITC_OPS_ATTENTION_H

#include "ops/op.h"

struct attention {
  int64_t batch, q_heads, kv_heads, q_rows, kv_rows, d, d_v;
};

/* Of a node whose extents are known to agree. */
struct attention attention_extents(const struct node *node);

#endif
