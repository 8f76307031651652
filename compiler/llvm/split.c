#include "llvm/split.h"

/* units * part / parts, rounded down. */
static emit_value portion(struct emit *e, emit_value units, emit_value part, emit_value parts) {
  return LLVMBuildUDiv(e->builder, emit_mul(e, units, part), parts, "");
}

void split_evenly(struct emit *e, emit_value units, emit_value index, emit_value tasks, emit_value *out_begin,
                  emit_value *out_end) {
  *out_begin = portion(e, units, index, tasks);
  *out_end = portion(e, units, emit_add(e, index, emit_i64(e, 1)), tasks);
}

/* Units of a share that its last `left` tasks do. */
static emit_value remaining(struct emit *e, emit_value share, emit_value left) {
  return portion(e, share, emit_mul(e, left, left), emit_i64(e, TASKS_PER_THREAD * TASKS_PER_THREAD));
}

void split_shrinking(struct emit *e, emit_value units, emit_value index, emit_value threads, emit_value *out_begin,
                     emit_value *out_end) {
  emit_value each = emit_i64(e, TASKS_PER_THREAD), begin, end;
  emit_value thread = LLVMBuildUDiv(e->builder, index, each, "");
  split_evenly(e, units, thread, threads, &begin, &end);
  emit_value left = emit_sub(e, each, LLVMBuildURem(e->builder, index, each, "")), share = emit_sub(e, end, begin);
  emit_value alone = LLVMBuildICmp(e->builder, LLVMIntEQ, threads, emit_i64(e, 1), "");
  *out_begin = emit_sub(e, end, remaining(e, share, left));
  *out_end = emit_sub(e, end, remaining(e, share, emit_sub(e, left, emit_i64(e, 1))));
  *out_end = emit_select(e, alone, end, *out_end);
}
