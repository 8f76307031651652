/* The extents of a RotaryEmbedding node, the same for rank 3 (B, T, heads * d) and rank 4 (B, heads, T, d). */
#ifndef VITC_OPS_ROTARY_EMBEDDING_H
#define VITC_OPS_ROTARY_EMBEDDING_H

#include "ops/op.h"

struct rotary {
  int64_t batch, tokens, heads, width;
  int64_t rotated; /* the first elements of a head that turn, an even number; the others stay */
  bool interleaved;
};

/* Of a node whose extents are known to agree. */
struct rotary rotary_extents(const struct node *node);

#endif
