#include "target/target.h"

const struct target_level target_levels[LEVEL_COUNT] = {
#define LEVEL(id, ...) {__VA_ARGS__},
#include "target/targets.def"
#undef LEVEL
};
