/* The image towers of CLIP and SigLIP: alone, within the model of both towers, or with a classifier. */
#include "huggingface/huggingface.h"
#include "huggingface/read.h"

#include <string.h>

static const struct model_class clip_classes[] = {{"CLIPModel", ANSWER_UNIT_EMBEDDING},
                                                  {"CLIPVisionModel", ANSWER_FEATURES},
                                                  {"CLIPVisionModelWithProjection", ANSWER_EMBEDDING},
                                                  {"CLIPForImageClassification", ANSWER_LOGITS},
                                                  {0}},
                                siglip_classes[] = {{"SiglipModel", ANSWER_UNIT_EMBEDDING},
                                                    {"SiglipVisionModel", ANSWER_FEATURES},
                                                    {"SiglipForImageClassification", ANSWER_LOGITS},
                                                    {0}};

static const struct processor clip_processor = {.filter = VITC_BICUBIC,
                                                .size = 224,
                                                .shortest = true,
                                                .crop = 224,
                                                .clip = true},
                              siglip_processor = {.filter = VITC_BICUBIC, .size = 224};

static const struct vit_config clip_defaults = {.patch_height = 32,
                                                .patch_width = 32,
                                                .activation = ACTIVATION_QUICK_GELU,
                                                .epsilon = 1e-5,
                                                .class_token = true,
                                                .embed_class = true,
                                                .no_patch_bias = true,
                                                .pre_norm = true,
                                                .pooled_norm = true},
                               siglip_defaults = {.patch_height = 16,
                                                  .patch_width = 16,
                                                  .activation = ACTIVATION_GELU_TANH,
                                                  .epsilon = 1e-6,
                                                  .norm = true,
                                                  .pool = POOL_MAP};

/* The tower's config: within that of both towers, or the file's own. */
static enum status vision_config(const struct config *config, const char *type, struct config *out_vision) {
  *out_vision = *config;
  out_vision->root = NULL;
  if (strcmp(type, "clip") != 0 && strcmp(type, "siglip") != 0) return STATUS_OK;
  return config_child(config, "vision_config", out_vision);
}

/* What the class makes of the tower. */
static enum status apply_class(const struct config *config, enum answer answer, bool clip, struct vit_config *vit) {
  vit->normalize = answer == ANSWER_UNIT_EMBEDDING;
  if (answer == ANSWER_LOGITS) { /* of the patches' mean, without what follows the tower */
    vit->pool = POOL_MEAN;
    vit->pooled_norm = false;
    return STATUS_OK;
  }
  vit->answer = "pooler_output";
  if (!clip || answer == ANSWER_FEATURES) return STATUS_OK;
  vit->embed = 512;
  return config_integer(config, "projection_dim", 1, CONFIG_DIM_MAX, &vit->embed);
}

static enum status read_config(const struct config *config, const char *type, bool clip, struct vit_config *vit) {
  bool whole = strcmp(type, clip ? "clip" : "siglip") == 0, head = true;
  enum answer answer = whole ? ANSWER_UNIT_EMBEDDING : ANSWER_FEATURES;
  struct config vision;
  *vit = clip ? clip_defaults : siglip_defaults;
  vit->arch = type;
  vit->family = &families[clip ? FAMILY_clip : FAMILY_siglip];
  vit->family_given = vit->shape_given = vit->norms_given = vit->pre_logits_given = true;
  vit->qkv_bias = vit->qkv_bias_given = true;
  vit->origin = config->file;
  vit->channels = 3;
  vit->dim = 768;
  vit->depth = vit->heads = 12;
  vit->mlp = 3072;
  vit->image_height = vit->image_width = 224;
  TRY(vision_config(config, type, &vision));
  TRY(read_dimensions(&vision, vit));
  TRY(read_activation(&vision, vit));
  TRY(config_flag(&vision, "vision_use_head", &head));
  TRY(read_class(config, clip ? clip_classes : siglip_classes, vit, &answer));
  TRY(apply_class(config, answer, clip, vit));
  if (answer != ANSWER_LOGITS && !head)
    return config_reject(&vision, "vision_use_head", "true, as nothing else pools the patches");
  if (answer == ANSWER_LOGITS) return STATUS_OK;
  vit->classes = 0;
  vit->classes_given = true;
  return STATUS_OK;
}

enum status huggingface_tower(struct import *import) {
  struct vit_config vit;
  const char *type = "";
  TRY(config_text(import->config, "model_type", &type));
  bool clip = strncmp(type, "clip", 4) == 0;
  TRY(read_config(import->config, type, clip, &vit));
  return import_vit(import, &vit, clip ? &clip_processor : &siglip_processor);
}
