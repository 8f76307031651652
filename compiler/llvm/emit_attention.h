/* One row tile of attention. Internal to compiler/llvm. */
#ifndef VITC_LLVM_EMIT_ATTENTION_H
#define VITC_LLVM_EMIT_ATTENTION_H

#include "llvm/kernels.h"

/* Elements between the panels of packed keys. */
int64_t attention_panel_stride(const struct attention_desc *desc);

/* The height of the tallest row tile. */
int attention_tile_height(const struct target_level *level, const struct attention_desc *desc);

/* Function: void (const float *q, const float *packed, const float *v, float *out): `rows` rows of one head. q is read to its
 * end before out is written. */
emit_value emit_attention_tile(struct emit *e, const struct attention_desc *desc, int rows);

#endif
