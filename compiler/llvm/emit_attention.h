/* One row tile of attention. Internal to compiler/llvm. */
#ifndef VITC_LLVM_EMIT_ATTENTION_H
#define VITC_LLVM_EMIT_ATTENTION_H

#include "llvm/kernels.h"

/* Elements between the panels of packed keys. */
int64_t attention_panel_stride(const struct attention_desc *desc);

/* The height of the tallest row tile. */
int attention_tile_height(const struct target_level *level, const struct attention_desc *desc);

/* Function: void (const float *q, const float *packed, const float *v, float *out[, const float *mask][, int64_t row]): `rows`
 * rows of one head. With has_mask, mask is that of the first row; with causal, row is its number. q is read to its end before
 * out is written. */
emit_value emit_attention_tile(struct emit *e, const struct attention_desc *desc, int rows);

/* Whether scores change in another way than by the scale before their softmax. */
bool attention_adjusts(const struct attention_desc *desc);

/* Where a vector of scores stands: its mask, its query's number less that of the block's first key (i64), its first column. */
struct attention_score {
  emit_value mask, row, column;
  int lanes;
};

/* The exponents, in natural units, of a vector of raw products. */
emit_value emit_attention_adjust(struct emit *e, const struct attention_desc *desc, const struct attention_score *at,
                                 emit_value products);

#endif
