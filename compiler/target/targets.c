#include "target/target.h"

const struct target_level target_levels[LEVEL_COUNT] = {
#define LEVEL(id, ...) {__VA_ARGS__},
#include "target/targets.def"
#undef LEVEL
};

const char *precision_name(enum precision precision) {
  static const char *const names[PRECISION_COUNT] = {"fp32", "bf16", "int8"};
  return names[precision];
}
