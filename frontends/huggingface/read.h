/* What the readers of config.json share: names of activations and of model classes, and the fields that every ViT has. */
#ifndef VITC_FRONTENDS_HUGGINGFACE_READ_H
#define VITC_FRONTENDS_HUGGINGFACE_READ_H

#include "huggingface/processor.h"
#include "vit.h"

/* What a model class answers. */
enum answer {
  ANSWER_FEATURES,  /* pooled, as config says */
  ANSWER_LOGITS,    /* of the head */
  ANSWER_TWO_HEADS, /* the mean of two heads */
  ANSWER_EMBEDDING, /* projected */
  ANSWER_UNIT_EMBEDDING,
};

/* One row per class; a NULL name ends the table. */
struct model_class {
  const char *name;
  enum answer answer;
};

/* The dimensions: hidden_size, image_size and so on. `vit` has the class's defaults. Sets head_dim. */
MUST_USE enum status read_dimensions(const struct config *config, struct vit_config *vit);
/* hidden_act; absent leaves vit->activation. */
MUST_USE enum status read_activation(const struct config *config, struct vit_config *vit);
/* id2label, and the class that saved the model (architectures), of those in the table; without one `*answer` stays. A
 * classifier's head is as wide as its labels. */
MUST_USE enum status read_class(const struct config *config, const struct model_class *classes, struct vit_config *vit,
                                enum answer *answer);
/* The ViT that a config of a model type of vit.c describes, without what its classes answer: a part of another model. */
MUST_USE enum status read_encoder(const struct config *config, struct vit_config *vit);
/* Reads preprocessor_config.json and the weights, and builds. */
MUST_USE enum status import_vit(struct import *import, struct vit_config *vit, const struct processor *processor);

#endif
