/* What happens to the scores of attention between q k^T and the softmax: softcap, mask, causality. */
#include "llvm/emit_attention.h"

#include <math.h>

bool attention_adjusts(const struct attention_desc *desc) {
  return desc->has_mask || desc->causal || desc->softcap > 0;
}

/* Minus infinity where the key comes after the query. */
static emit_value hide_later(struct emit *e, const struct attention_score *at, emit_value scores) {
  emit_value lanes[64];
  for (int i = 0; i < e->level->lanes; i++) lanes[i] = emit_i32(e, i);
  emit_value numbers = LLVMConstVector(lanes, (unsigned)e->level->lanes);
  emit_value last = LLVMBuildTrunc(e->builder, emit_sub(e, at->row, at->column), e->i32, "");
  emit_value seen = LLVMBuildICmp(e->builder, LLVMIntSLE, numbers, emit_splat(e, last), "");
  return emit_select(e, seen, scores, emit_splat_const(e, -INFINITY));
}

emit_value attention_mask_at(struct emit *e, const struct attention_desc *desc, emit_value mask, emit_value elements) {
  return desc->mask_bf16 ? emit_bytes(e, mask, emit_mul(e, elements, emit_i64(e, 2))) : emit_at(e, mask, elements);
}

static emit_value load_mask(struct emit *e, const struct attention_desc *desc, const struct attention_score *at) {
  emit_value pointer = attention_mask_at(e, desc, at->mask, at->column);
  if (!desc->mask_bf16) return emit_load_vector(e, pointer, at->lanes);
  emit_value mask = emit_load_bf16(e, pointer);
  if (at->lanes == e->level->lanes) return mask;
  return emit_select(e, emit_lane_mask(e, at->lanes), mask, emit_splat_const(e, 0));
}

emit_value emit_attention_adjust(struct emit *e, const struct attention_desc *desc, const struct attention_score *at,
                                 emit_value products) {
  emit_value scale = emit_splat_const(e, (double)desc->scale), scores;
  emit_value mask = desc->has_mask ? load_mask(e, desc, at) : NULL;
  if (desc->softcap > 0) {
    double cap = (double)desc->softcap;
    emit_value part = emit_fmul(e, products, emit_splat_const(e, (double)desc->scale / cap));
    scores = emit_fmul(e, emit_math_tanh(e, part), emit_splat_const(e, cap));
    if (mask != NULL) scores = emit_fadd(e, scores, mask);
  } else {
    scores = mask != NULL ? emit_fma(e, products, scale, mask) : emit_fmul(e, products, scale);
  }
  return desc->causal ? hide_later(e, at, scores) : scores;
}
