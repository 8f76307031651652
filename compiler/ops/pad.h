/* How far a Pad widens each axis of its input. */
#ifndef VITC_OPS_PAD_H
#define VITC_OPS_PAD_H

#include "ops/op.h"

struct padding {
  int64_t begin[RANK_MAX], end[RANK_MAX];
};

/* Of a node that infer accepted. */
struct padding pad_extents(const struct node *node);

#endif
