/* The state of one row tile of attention while it is built. Internal to compiler/llvm. */
#ifndef VITC_LLVM_EMIT_ATTENTION_TILE_H
#define VITC_LLVM_EMIT_ATTENTION_TILE_H

#include "llvm/emit_attention.h"

enum { ATTENTION_ROWS_MAX = 16 }; /* rows of a tile, which no level has more of than lanes */

struct attention_tile {
  const struct attention_desc *desc;
  int rows;
  bool amx;                         /* the products are AMX's */
  bool adjusts;                     /* the scores are exponents in natural units by the time that their maximum is known */
  int64_t score_stride, sum_stride; /* elements */
  int64_t q_stride;                 /* words between queries; AMX's may be copies */
  double score_scale;               /* scale * log2(e) */
  emit_value q, packed, v, out;     /* packed and v: of the block's first key */
  emit_value mask, row;             /* or NULL; less the block's first key, too */
  emit_value row_vectors;           /* on the stack, as what follows: a vector of scores or sums of each row */
  emit_value scores, maximum, denominator, factor, sums; /* the last four per row */
  bool continues, last;                                  /* earlier keys were seen; these are the last ones */
  int64_t keys;                                          /* of the block */
};

/* pointer + row * stride words */
emit_value attention_row(struct emit *e, emit_value pointer, emit_value row, int64_t stride);
/* Stores `lanes` results of a row of out from `column` on. */
void attention_store(struct emit *e, const struct attention_desc *desc, emit_value value, emit_value row, int64_t column,
                     int lanes);

/* ---- emit_attention_softmax.c: the largest exponent of each row; with earlier keys, t->factor is what their sums
 * must be multiplied by. Then scores become powers of two below 1, not yet divided by their sum: t->denominator is the sum, or
 * after the last keys its inverse. */
void emit_attention_maxima(struct emit *e, const struct attention_tile *t);
void emit_attention_powers(struct emit *e, const struct attention_tile *t);

/* ---- emit_attention_amx.c: the two products on AMX's tiles, with bf16. Sums stay in t->sums. */
bool attention_uses_amx(const struct target_level *level, const struct attention_desc *desc);
void emit_attention_amx_begin(struct emit *e, struct attention_tile *t);
void emit_attention_amx_scores(struct emit *e, const struct attention_tile *t);
void emit_attention_amx_values(struct emit *e, const struct attention_tile *t);

/* ---- emit_attention_stream.c: whole rows of attention on AMX, where no mask nor the like keeps the scores from it. The
 * function is as emit_attention_tile's, which `exact` is, but that emit_attention_stream_begin has been run before; and after
 * it emit_amx_release. */
bool attention_streams(const struct target_level *level, const struct attention_desc *desc);
void emit_attention_stream_begin(struct emit *e);
emit_value emit_attention_stream(struct emit *e, const struct attention_desc *desc, int rows, emit_value exact);

#endif
