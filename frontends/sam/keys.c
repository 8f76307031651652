#include "sam/sam.h"

const struct sam_family sam_families[SAM_FAMILY_COUNT] = {
#define SAM_FAMILY(id, name, prefixes, input, output, resample, class_rows, ...) \
  [SAM_FAMILY_##id] = {name, prefixes, input, output, resample, class_rows, {__VA_ARGS__}},
#include "sam/keys.def"
#undef SAM_FAMILY
};

const char *sam_module(const struct sam *sam, enum sam_part part, int64_t block) {
  return tensors_module(sam->tensors, sam->config->family->keys[part], block, "weight");
}

const char *sam_key(const struct sam *sam, enum sam_part part, int64_t block) {
  return tensors_spell(sam->tensors, sam->config->family->keys[part], block, NULL);
}
