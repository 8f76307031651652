/* The model types with the names of BERT's modules: ViT, DeiT, MAE, MSN, I-JEPA, DINOv2, BEiT, data2vec. */
#include "huggingface/huggingface.h"
#include "huggingface/read.h"

#include <string.h>

static const struct model_class
    vit_classes[] = {{"ViTForImageClassification", ANSWER_LOGITS}, {"ViTModel", ANSWER_FEATURES}, {0}},
    deit_classes[] = {{"DeiTForImageClassification", ANSWER_LOGITS},
                      {"DeiTForImageClassificationWithTeacher", ANSWER_TWO_HEADS},
                      {"DeiTModel", ANSWER_FEATURES},
                      {0}},
    mae_classes[] = {{"ViTMAEModel", ANSWER_FEATURES}, {"ViTMAEForPreTraining", ANSWER_FEATURES}, {0}},
    dinov2_classes[] = {{"Dinov2ForImageClassification", ANSWER_LOGITS}, {"Dinov2Model", ANSWER_FEATURES}, {0}},
    registers_classes[] = {{"Dinov2WithRegistersForImageClassification", ANSWER_LOGITS},
                           {"Dinov2WithRegistersModel", ANSWER_FEATURES},
                           {0}},
    beit_classes[] = {{"BeitForImageClassification", ANSWER_LOGITS}, {"BeitModel", ANSWER_FEATURES}, {0}},
    msn_classes[] = {{"ViTMSNForImageClassification", ANSWER_LOGITS}, {"ViTMSNModel", ANSWER_FEATURES}, {0}},
    ijepa_classes[] = {{"IJepaForImageClassification", ANSWER_LOGITS}, {"IJepaModel", ANSWER_FEATURES}, {0}},
    data2vec_classes[] = {
        {"Data2VecVisionForImageClassification", ANSWER_LOGITS}, {"Data2VecVisionModel", ANSWER_FEATURES}, {0}};

static const struct processor vit_processor = {.filter = VITC_BILINEAR, .size = 224},
                              deit_processor = {.filter = VITC_BICUBIC, .size = 256, .crop = 224},
                              bit_processor = {.filter = VITC_BICUBIC,
                                               .size = 224,
                                               .shortest = true,
                                               .crop = 224,
                                               .clip = true},
                              beit_processor = {.filter = VITC_BICUBIC, .size = 224};

static enum status read_nothing(const struct config *config, struct vit_config *vit, enum answer answer);
static enum status read_vit(const struct config *config, struct vit_config *vit, enum answer answer);
static enum status read_dinov2(const struct config *config, struct vit_config *vit, enum answer answer);
static enum status read_beit(const struct config *config, struct vit_config *vit, enum answer answer);
static enum status read_msn(const struct config *config, struct vit_config *vit, enum answer answer);
static enum status read_ijepa(const struct config *config, struct vit_config *vit, enum answer answer);
static enum status read_data2vec(const struct config *config, struct vit_config *vit, enum answer answer);

/* What a model type is beyond its dimensions. */
static const struct kind {
  const char *type;
  int family;
  int64_t registers, patch;
  const struct model_class *classes;
  const struct processor *processor;
  enum status (*read)(const struct config *config, struct vit_config *vit, enum answer answer);
} kinds[] = {
    {"vit", FAMILY_transformers, 0, 16, vit_classes, &vit_processor, read_vit},
    {"deit", FAMILY_transformers, 0, 16, deit_classes, &deit_processor, read_vit},
    {"vit_mae", FAMILY_transformers, 0, 16, mae_classes, &vit_processor, read_nothing},
    {"dinov2", FAMILY_hf_dinov2, 0, 14, dinov2_classes, &bit_processor, read_dinov2},
    {"dinov2_with_registers", FAMILY_hf_dinov2_registers, 4, 16, registers_classes, &bit_processor, read_dinov2},
    {"beit", FAMILY_hf_beit, 0, 16, beit_classes, &beit_processor, read_beit},
    {"vit_msn", FAMILY_transformers, 0, 16, msn_classes, &vit_processor, read_msn},
    {"ijepa", FAMILY_transformers, 0, 16, ijepa_classes, &vit_processor, read_ijepa},
    {"data2vec-vision", FAMILY_hf_beit, 0, 16, data2vec_classes, &beit_processor, read_data2vec},
};

static enum status read_nothing(const struct config *config, struct vit_config *vit, enum answer answer) {
  (void)config;
  (void)answer;
  vit->pre_logits_given = true;
  return STATUS_OK;
}

static enum status read_vit(const struct config *config, struct vit_config *vit, enum answer answer) {
  const char *pooler = "tanh";
  vit->distilled = strcmp(vit->arch, "deit") == 0 || strncmp(vit->arch, "DeiT", 4) == 0;
  vit->two_heads = answer == ANSWER_TWO_HEADS;
  /* A classifier reads the token itself, whether or not the file has a pooler. */
  vit->pre_logits_given = answer != ANSWER_FEATURES;
  TRY(config_text(config, "pooler_act", &pooler));
  return strcmp(pooler, "tanh") == 0 ? STATUS_OK : config_reject(config, "pooler_act", "tanh");
}

static enum status read_dinov2(const struct config *config, struct vit_config *vit, enum answer answer) {
  double ratio = 4;
  TRY(config_flag(config, "use_swiglu_ffn", &vit->gated));
  TRY(config_real(config, "mlp_ratio", 0.001, 1000, &ratio));
  if (vit->registers) TRY(config_integer(config, "num_register_tokens", 0, CONFIG_DIM_MAX, &vit->registers));
  vit->mlp = (int64_t)((double)vit->dim * ratio);
  if (vit->gated) vit->mlp = (vit->mlp * 2 / 3 + 7) / 8 * 8;
  if (vit->gated) vit->activation = ACTIVATION_SILU;
  if (vit->mlp == 0) return config_reject(config, "mlp_ratio", "a ratio that leaves the MLP a width");
  vit->layer_scale = true;
  vit->pre_logits_given = true;
  vit->answer = "pooler_output";
  if (answer == ANSWER_LOGITS) vit->pool = POOL_TOKEN_AND_MEAN;
  if (answer == ANSWER_LOGITS) vit->answer = NULL;
  return STATUS_OK;
}

static enum status read_beit(const struct config *config, struct vit_config *vit, enum answer answer) {
  bool positions = false, mean = true;
  double scale = 0.1;
  TRY(config_flag(config, "use_absolute_position_embeddings", &positions));
  TRY(config_flag(config, "use_relative_position_bias", &vit->relative));
  TRY(config_flag(config, "use_shared_relative_position_bias", &vit->shared_relative));
  TRY(config_flag(config, "use_mean_pooling", &mean));
  TRY(config_real(config, "layer_scale_init_value", 0, 1e6, &scale));
  if ((vit->relative || vit->shared_relative) && vit->image_height != vit->image_width)
    return config_reject(config, "image_size", "a square: transformers mixes up the sides of other tables");
  vit->no_position = !positions;
  vit->layer_scale = scale > 0;
  vit->no_key_bias = true;
  vit->pre_logits_given = true;
  vit->pool = mean ? POOL_MEAN : POOL_TOKEN;
  vit->norm = !mean;
  vit->pooled_norm = mean;
  vit->answer = answer == ANSWER_FEATURES ? "pooler_output" : NULL;
  return STATUS_OK;
}

static enum status read_msn(const struct config *config, struct vit_config *vit, enum answer answer) {
  if (vit->epsilon == 0) vit->epsilon = 1e-6;
  return read_nothing(config, vit, answer);
}

/* Without a class token: the mean over the patches is what its classifier reads. */
static enum status read_ijepa(const struct config *config, struct vit_config *vit, enum answer answer) {
  vit->class_token = vit->embed_class = false;
  vit->pool = POOL_MEAN;
  return read_nothing(config, vit, answer);
}

/* As BEiT, but that only the classifier has a pooler. */
static enum status read_data2vec(const struct config *config, struct vit_config *vit, enum answer answer) {
  TRY(read_beit(config, vit, answer));
  if (answer == ANSWER_LOGITS) return STATUS_OK;
  vit->pool = POOL_TOKEN;
  vit->pooled_norm = false;
  vit->answer = NULL;
  return STATUS_OK;
}

/* What does not depend on the class that saved the model. */
static enum status read_shape(const struct config *config, const struct kind *kind, struct vit_config *vit) {
  *vit = (struct vit_config){.arch = kind->type,
                             .family = &families[kind->family],
                             .family_given = true,
                             .shape_given = true,
                             .origin = config->file,
                             .dim = 768,
                             .depth = 12,
                             .heads = 12,
                             .mlp = 3072,
                             .channels = 3,
                             .image_height = 224,
                             .image_width = 224,
                             .patch_height = kind->patch,
                             .patch_width = kind->patch,
                             .registers = kind->registers,
                             .class_token = true,
                             .embed_class = true,
                             .qkv_bias = true,
                             .qkv_bias_given = true,
                             .norm = true,
                             .norms_given = true};
  TRY(read_dimensions(config, vit));
  return read_activation(config, vit);
}

static enum status find_kind(const struct config *config, const struct kind **out_kind) {
  const char *type = "";
  TRY(config_text(config, "model_type", &type));
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    *out_kind = &kinds[i];
    if (strcmp(kinds[i].type, type) == 0) return STATUS_OK;
  }
  return config_reject(config, "model_type", "a ViT, such as vit, deit, dinov2 or beit");
}

enum status read_encoder(const struct config *config, struct vit_config *vit) {
  const struct kind *kind;
  TRY(find_kind(config, &kind));
  TRY(read_shape(config, kind, vit));
  return kind->read(config, vit, ANSWER_FEATURES);
}

static enum status read_config(const struct config *config, const struct kind *kind, struct vit_config *vit) {
  enum answer answer = ANSWER_LOGITS;
  TRY(read_shape(config, kind, vit));
  TRY(read_class(config, kind->classes, vit, &answer));
  /* A classifier of two classes with their default names is saved without id2label; its tensors tell. */
  bool named = config_get(config, "architectures") != NULL;
  if (!named && !vit->classes_given && answer == ANSWER_LOGITS) answer = ANSWER_FEATURES;
  return kind->read(config, vit, answer);
}

enum status huggingface_vit(struct import *import) {
  struct vit_config vit;
  const struct kind *kind;
  TRY(find_kind(import->config, &kind));
  TRY(read_config(import->config, kind, &vit));
  return import_vit(import, &vit, kind->processor);
}
