#include "target/target.h"

#include <string.h>

const struct target_level target_levels[LEVEL_COUNT] = {
#define LEVEL(id, ...) {__VA_ARGS__},
#include "target/targets.def"
#undef LEVEL
};

const char *precision_name(enum precision precision) {
  static const char *const names[PRECISION_COUNT] = {"fp32", "bf16", "int8"};
  return names[precision];
}

bool precision_named(const char *name, enum precision *out_precision) {
  for (int i = 0; i < PRECISION_COUNT; i++) {
    *out_precision = (enum precision)i;
    if (strcmp(precision_name(*out_precision), name) == 0) return true;
  }
  return false;
}

const char *arithmetic_name(enum arithmetic arithmetic) {
  static const char *const names[ARITHMETIC_COUNT] = {"fp32", "bf16", "int16", "int8"};
  return names[arithmetic];
}

enum arithmetic target_arithmetic(const struct target_level *level, enum precision precision) {
  if (precision == PRECISION_INT8) return level->dot_int8 ? ARITHMETIC_INT8 : ARITHMETIC_INT16;
  return precision == PRECISION_BF16 && level->dot_bf16 ? ARITHMETIC_BF16 : ARITHMETIC_FP32;
}

static bool same_code(const struct target_level *a, const struct target_level *b, unsigned uses) {
  if (strcmp(a->cpu, b->cpu) != 0 || strcmp(a->tune, b->tune) != 0) return false;
  if (a->lanes != b->lanes || a->registers != b->registers || a->masks != b->masks || a->mr != b->mr || a->nv != b->nv)
    return false;
  if ((uses & TARGET_USES_DOT_BF16) != 0 && a->dot_bf16 != b->dot_bf16) return false;
  if ((uses & TARGET_USES_DOT_INT8) != 0 && a->dot_int8 != b->dot_int8) return false;
  return (uses & TARGET_USES_TILES) == 0 || a->tiles == b->tiles;
}

int target_twin(unsigned level_mask, int level, unsigned uses) {
  const struct target_level *of = &target_levels[level];
  for (int i = 0; i < level; i++) {
    const struct target_level *other = &target_levels[i];
    if ((level_mask >> i & 1) != 0 && (other->requires & ~of->requires) == 0 && same_code(other, of, uses)) return i;
  }
  return level;
}
