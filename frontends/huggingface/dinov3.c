/* model_type dinov3_vit. */
#include "eva/eva.h"
#include "huggingface/huggingface.h"
#include "huggingface/processor.h"

#include <string.h>

static const struct config_field fields[] = {
    CONFIG_FIELD(eva_config, "hidden_size", CONFIG_COUNT, dim, 1, CONFIG_DIM_MAX),
    CONFIG_FIELD(eva_config, "num_hidden_layers", CONFIG_COUNT, depth, 0, CONFIG_DEPTH_MAX),
    CONFIG_FIELD(eva_config, "num_attention_heads", CONFIG_COUNT, heads, 1, CONFIG_HEADS_MAX),
    CONFIG_FIELD(eva_config, "intermediate_size", CONFIG_COUNT, mlp, 1, CONFIG_MLP_MAX),
    CONFIG_FIELD(eva_config, "image_size", CONFIG_SIZE, image, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD(eva_config, "patch_size", CONFIG_SIZE, patch, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD(eva_config, "num_channels", CONFIG_COUNT, channels, 1, CONFIG_CHANNELS_MAX),
    CONFIG_FIELD(eva_config, "num_register_tokens", CONFIG_COUNT, registers, 0, 1024),
    CONFIG_FIELD(eva_config, "layer_norm_eps", CONFIG_REAL, epsilon, 0, 0),
    CONFIG_FIELD(eva_config, "rope_theta", CONFIG_REAL, rope.temperature, 0, 0),
    CONFIG_FIELD(eva_config, "query_bias", CONFIG_FLAG, bias[0], 0, 0),
    CONFIG_FIELD(eva_config, "key_bias", CONFIG_FLAG, bias[1], 0, 0),
    CONFIG_FIELD(eva_config, "value_bias", CONFIG_FLAG, bias[2], 0, 0),
    CONFIG_FIELD(eva_config, "proj_bias", CONFIG_FLAG, projection_bias, 0, 0),
    CONFIG_FIELD(eva_config, "mlp_bias", CONFIG_FLAG, mlp_bias, 0, 0),
};

static enum status read_activation(const struct config *config, enum activation *out_activation) {
  static const struct {
    const char *name;
    enum activation activation;
  } known[] = {{"gelu", ACTIVATION_GELU},
               {"silu", ACTIVATION_SILU},
               {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH},
               {"quick_gelu", ACTIVATION_QUICK_GELU},
               {"relu", ACTIVATION_RELU}};
  const char *name = "gelu";
  TRY(config_text(config, "hidden_act", &name));
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    *out_activation = known[i].activation;
    if (strcmp(known[i].name, name) == 0) return STATUS_OK;
  }
  return config_reject(config, "hidden_act", "gelu, silu, gelu_pytorch_tanh, quick_gelu or relu");
}

static enum status read_config(const struct config *config, struct eva_config *out) {
  const cJSON *list = config_get(config, "architectures"), *first = list ? cJSON_GetArrayItem(list, 0) : NULL;
  bool gated = false;
  *out = (struct eva_config){.arch = "dinov3_vit",
                             .origin = config->file,
                             .keys = &eva_keys_transformers,
                             .image = {224, 224},
                             .patch = {16, 16},
                             .channels = 3,
                             .dim = 384,
                             .depth = 12,
                             .heads = 6,
                             .mlp = 1536,
                             .class_token = true,
                             .qkv = EVA_QKV_APART,
                             .bias = {true, false, true},
                             .projection_bias = true,
                             .mlp_bias = true,
                             .layer_scale = true,
                             .rope = {.grid = ROPE_CENTRED_FREQUENCIES, .temperature = 100, .halves = true},
                             .norm = true,
                             .epsilon = 1e-5,
                             .pooled = "pooler_output"};
  if (first && (!cJSON_IsString(first) || strcmp(first->valuestring, "DINOv3ViTModel") != 0))
    return config_reject(config, "architectures", "DINOv3ViTModel");
  TRY(config_read(config, fields, sizeof fields / sizeof *fields, false, out));
  TRY(config_flag(config, "use_gated_mlp", &gated));
  TRY(read_activation(config, &out->activation));
  out->form = gated ? EVA_MLP_GATED : EVA_MLP_PLAIN;
  if (out->dim % out->heads == 0) return STATUS_OK;
  return diag_fail(config->diag, STATUS_INPUT, "%s: hidden_size %lld does not divide into num_attention_heads %lld",
                   config->file, (long long)out->dim, (long long)out->heads);
}

enum status huggingface_dinov3(struct import *import) {
  static const struct processor processor = {.filter = VITC_BILINEAR, .size = 224, .imagenet = true};
  struct eva_config config;
  TRY(read_config(import->config, &config));
  if (config.channels == 3) TRY(processor_read(import, &processor, config.image, &config.picture.preprocess));
  struct vitc_preprocess *preprocess = &config.picture.preprocess;
  preprocess->arithmetic = VITC_ARITHMETIC_FLOAT; /* its processor rescales first */
  if (preprocess->filter != VITC_BILINEAR && preprocess->filter != VITC_BICUBIC && preprocess->resize != VITC_RESIZE_UNKNOWN)
    return diag_fail(import->diag, STATUS_INPUT,
                     "%s/preprocessor_config.json: resample: expected 2 or 3, as floats are resized bilinear or bicubic",
                     import->source);
  TRY(import_weights(import));
  return eva_import(import, &config);
}
