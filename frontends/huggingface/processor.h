/* preprocessor_config.json, or "image_processor" of processor_config.json: how transformers' Pillow-backed image processors
 * prepare a picture. */
#ifndef VITC_FRONTENDS_HUGGINGFACE_PROCESSOR_H
#define VITC_FRONTENDS_HUGGINGFACE_PROCESSOR_H

#include "import_config.h"

/* What a processor's class does where the file is silent. The one that is passed in is for files that do not name a class that
 * is known here. */
struct processor {
  enum vitc_filter filter;
  int64_t size;          /* both edges, or with `shortest` or `longest` that one */
  bool shortest;         /* with a `limit`: as long as the longest edge is no more than that */
  bool longest;          /* always: it has no other sizes */
  bool aspect;           /* reads keep_aspect_ratio and ensure_multiple_of */
  int64_t limit, step;   /* with a limit: the edges are cut down to multiples of the step */
  int64_t crop;          /* edges of the centre crop; 0: none */
  int64_t pad;           /* edges of the padded image, zeros after normalisation; 0: none */
  bool imagenet;         /* mean and deviation of ImageNet, else 0.5 */
  bool clip;             /* those of CLIP */
  bool without_the_file; /* its own values also hold for a folder that has no file */
};

/* Into *out_preprocess, for a model whose images are size[0] x size[1]. Unknown without the file, and where `processor` is NULL
 * and the file's class is none of those known here. */
MUST_USE enum status processor_read(const struct import *import, const struct processor *processor, const int64_t *size,
                                    struct vitc_preprocess *out_preprocess);

/* Opens the file, and within it what a processor reads; neither has members where *out_found says no. config_close(out_file)
 * also after a failure. */
MUST_USE enum status processor_open(const struct import *import, struct config *out_file, struct config *out_processor,
                                    bool *out_found);

/* That of the class of this name: "Sam", "Yolos". */
const struct processor *processor_of(const char *name);

#endif
