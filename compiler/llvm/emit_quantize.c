#include "llvm/emit_quantize.h"

#include <assert.h>

int64_t operand_tables(const struct target_level *level, int64_t k) {
  return pack_padded_k(PRECISION_INT8, k) / (level->dot_int8 ? 4 : 2);
}

void emit_quantize_row(struct emit *e, const struct rows_desc *desc, emit_value x, emit_value y) {
  (void)e, (void)desc, (void)x, (void)y;
  assert(false && "int8 rows");
}
