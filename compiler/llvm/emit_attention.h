/* One row tile of attention. Internal to compiler/llvm. */
#ifndef VITC_LLVM_EMIT_ATTENTION_H
#define VITC_LLVM_EMIT_ATTENTION_H

#include "llvm/kernels.h"

/* Words: of a key as it is packed, with zeros at its end, between the panels of packed keys, and between the rows of packed
 * values. */
int64_t attention_depth(const struct attention_desc *desc);
int64_t attention_panel_stride(const struct attention_desc *desc);
int64_t attention_value_stride(const struct attention_desc *desc);

/* Keys that fill no vector of their own are packed `split` elements of each side by side, lane key * split + i, so that a
 * vector of products takes `split` elements at once; 1: as all others. */
int attention_split(const struct target_level *level, const struct attention_desc *desc);

/* Of pair = (image * windows + window) * heads + head. */
struct attention_place {
  emit_value image, window, head; /* window is NULL when there is only one */
};
struct attention_place attention_place_of(struct emit *e, const struct attention_desc *desc, emit_value pair, int64_t heads);
emit_value attention_place_at(struct emit *e, emit_value pointer, const struct attention_place *place,
                              const struct attention_strides *strides);

/* The same, to be added to a pointer in units of what is there. */
emit_value attention_place_offset(struct emit *e, const struct attention_place *place, const struct attention_strides *strides);

/* mask + elements of the mask */
emit_value attention_mask_at(struct emit *e, const struct attention_desc *desc, emit_value mask, emit_value elements);

/* Starts a kernel's function: `pointers`, then three i64, then, where it takes one, the mask. */
emit_value attention_begin(struct emit *e, const struct attention_desc *desc, const char *what, int pointers, bool takes_mask);

/* The height of the tallest row tile. */
int attention_tile_height(const struct target_level *level, const struct attention_desc *desc);

/* Function: void (const void *q, const void *packed, const void *v, void *out[, const void *mask][, int64_t row]): `rows` rows
 * of one head; v is packed, too, with bf16. With has_mask, mask is that of the first row; with causal, row is its number. q is
 * read to its end before out is written. */
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
