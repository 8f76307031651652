#include "vit.h"

const struct weight *vit_find(const struct vit_config *config, const struct tensors *tensors, enum part part, int64_t block,
                              const char *suffix) {
  const char *spellings = config->family->keys[part];
  return spellings ? tensors_find(tensors, spellings, block, suffix) : NULL;
}

/* Its mark stands under the same prefix as the patch embedding. */
static bool has_keys(struct tensors *tensors, const struct family *family) {
  return tensors_find_prefix(tensors, family->prefixes, family->keys[PART_PATCH], "weight") &&
         (!*family->mark || tensors_find(tensors, family->mark, 0, NULL));
}

const struct family *vit_recognise(struct tensors *tensors) {
  for (int i = 0; i < FAMILY_COUNT; i++)
    if (has_keys(tensors, &families[i])) return &families[i];
  return NULL;
}
