/* The layout of packed operands: shared by the planner, which writes the weights, and the kernels, which read them. */
#ifndef VITC_PLAN_PACK_H
#define VITC_PLAN_PACK_H

#include <stdint.h>

/* Elements from one panel of 16 columns of a packed B with k rows to the next. Below 1,024 rows an odd number of cache lines,
 * so that the panels that one tile reads do not fall into the same sets of the first-level cache (ViT-B/16 took 3 to 5 % longer
 * without); above, panels follow without a gap, to keep large objects as small as their weights. */
int64_t pack_panel_stride(int64_t k);

/* Elements of one head's keys (keys, head_dim) transposed into panels of 16 keys, each an odd number of
 * cache lines. */
int64_t pack_keys_floats(int64_t keys, int64_t head_dim);

#endif
