/* The layout of packed operands: shared by the planner, which writes the weights, and the kernels, which read them. */
#ifndef VITC_PLAN_PACK_H
#define VITC_PLAN_PACK_H

#include "target/target.h"

#include <stdint.h>

/* K is held in words of 32 bits: one fp32, two bf16 or four s8 of consecutive k. In low precision it is padded with zeros to
 * whole cache lines of a row (32 bf16, 64 s8), which is what a step of an AMX tile multiplies. */
int64_t pack_words(enum precision precision, int64_t k);
int64_t pack_padded_k(enum precision precision, int64_t k);

/* Groups along K that have a scale each in int8; 0 in the other precisions. `group` 0: one group. */
int64_t pack_groups(enum precision precision, int64_t k, int64_t group);

/* Elements of the blocks that rows along K are transformed in by a Hadamard matrix in int8 (quantize.h). */
int64_t pack_hadamard(int64_t k);

/* Words from one panel of 16 columns of a packed B with k rows to the next. fp32: below 1,024 rows an odd number of cache
 * lines, so that the panels that one tile reads do not fall into the same sets of the first-level cache (ViT-B/16 took 3 to 5 %
 * longer without); above, panels follow without a gap, to keep large objects as small as their weights. int8: after the words
 * of a panel, for each group, 16 words of a column's scale and sum each. */
int64_t pack_panel_stride(enum precision precision, int64_t k, int64_t group);

/* The low pack_sum_bits of a word are the column's sum; the others the scale's bits from below the sign on, all of them that
 * are not zero (quantize_scale). */
int pack_sum_bits(int64_t k, int64_t group);
uint32_t pack_scale_and_sum(float scale, int32_t sum, int sum_bits);
float pack_scale_of(uint32_t word, int sum_bits);

/* The largest number of bf16; elements that a table in bf16 has room for after its last, so that a vector can be read from any.
 */
#define PACK_BF16_MAX 0x1.fep127
enum { PACK_TABLE_ROOM = 16 };

/* Words of one head's keys (keys, head_dim) and values (keys, v_dim) as attention reads them. fp32: the keys transposed into
 * panels of 16 keys; values are read where they are. bf16: panels of [head_dim / 2, padded with zeros to 16][16 keys] words,
 * two dimensions each; then, from word pack_values_at on, [keys / 2][v_dim] words, two keys each, rows of whole cache lines.
 * Keys are padded with zeros to multiples of 32. Room for either. */
int64_t pack_keys_words(enum precision precision, int64_t keys, int64_t head_dim, int64_t v_dim);
int64_t pack_values_at(int64_t keys, int64_t head_dim);

#endif
