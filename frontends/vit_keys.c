#include "vit.h"

const struct weight *vit_find(const struct vit_config *config, const struct tensors *tensors, enum part part, int64_t block,
                              const char *suffix) {
  const char *spellings = config->family->keys[part];
  return spellings ? tensors_find(tensors, spellings, block, suffix) : NULL;
}

const struct family *vit_recognise(struct tensors *tensors) {
  for (int i = 0; i < FAMILY_COUNT; i++)
    if (tensors_find_prefix(tensors, families[i].prefixes, families[i].keys[PART_PATCH], "weight")) return &families[i];
  return NULL;
}
