/* preprocessor_config.json: how transformers' Pillow-backed image processors prepare a picture. */
#ifndef VITC_FRONTENDS_HUGGINGFACE_PROCESSOR_H
#define VITC_FRONTENDS_HUGGINGFACE_PROCESSOR_H

#include "import_config.h"

/* What a processor's class does where the file is silent. The one that is passed in is for files that do not name a class that
 * is known here. */
struct processor {
  enum vitc_filter filter;
  int64_t size; /* both edges, or with `shortest` the shorter one */
  bool shortest;
  int64_t crop;  /* edges of the centre crop; 0: none */
  bool imagenet; /* mean and deviation of ImageNet, else 0.5 */
  bool clip;     /* those of CLIP */
};

/* Into *out_preprocess, for a model whose images are size[0] x size[1]. A folder without the file leaves it unknown. */
MUST_USE enum status processor_read(const struct import *import, const struct processor *processor, const int64_t *size,
                                    struct vitc_preprocess *out_preprocess);

#endif
