/* Folders of transformers: model_type sam, sam_vision_model and vitdet. */
#include "huggingface/activation.h"
#include "huggingface/huggingface.h"
#include "huggingface/processor.h"
#include "import_config.h"
#include "sam/sam.h"

#include <stdio.h>
#include <string.h>

static const struct config_field sam_fields[] = {
    CONFIG_FIELD(sam_config, "hidden_size", CONFIG_COUNT, dim, 1, CONFIG_DIM_MAX),
    CONFIG_FIELD(sam_config, "num_hidden_layers", CONFIG_COUNT, depth, 0, SAM_DEPTH_MAX),
    CONFIG_FIELD(sam_config, "num_attention_heads", CONFIG_COUNT, heads, 1, CONFIG_HEADS_MAX),
    CONFIG_FIELD(sam_config, "num_channels", CONFIG_COUNT, channels, 1, CONFIG_CHANNELS_MAX),
    CONFIG_FIELD(sam_config, "image_size", CONFIG_SIZE, image, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD(sam_config, "patch_size", CONFIG_SIZE, patch, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD(sam_config, "layer_norm_eps", CONFIG_REAL, epsilon, 0, 0),
    CONFIG_FIELD(sam_config, "qkv_bias", CONFIG_FLAG, qkv_bias, 0, 0),
    CONFIG_FIELD(sam_config, "use_abs_pos", CONFIG_FLAG, absolute, 0, 0),
    CONFIG_FIELD(sam_config, "use_rel_pos", CONFIG_FLAG, relative, 0, 0),
    CONFIG_FIELD(sam_config, "output_channels", CONFIG_COUNT, neck_width, 1, CONFIG_DIM_MAX),
};

static const struct config_field vitdet_fields[] = {
    CONFIG_FIELD(sam_config, "hidden_size", CONFIG_COUNT, dim, 1, CONFIG_DIM_MAX),
    CONFIG_FIELD(sam_config, "num_hidden_layers", CONFIG_COUNT, depth, 0, SAM_DEPTH_MAX),
    CONFIG_FIELD(sam_config, "num_attention_heads", CONFIG_COUNT, heads, 1, CONFIG_HEADS_MAX),
    CONFIG_FIELD(sam_config, "num_channels", CONFIG_COUNT, channels, 1, CONFIG_CHANNELS_MAX),
    CONFIG_FIELD(sam_config, "image_size", CONFIG_SIZE, image, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD(sam_config, "pretrain_image_size", CONFIG_SIZE, position_image, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD(sam_config, "patch_size", CONFIG_SIZE, patch, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD(sam_config, "layer_norm_eps", CONFIG_REAL, epsilon, 0, 0),
    CONFIG_FIELD(sam_config, "qkv_bias", CONFIG_FLAG, qkv_bias, 0, 0),
    CONFIG_FIELD(sam_config, "use_absolute_position_embeddings", CONFIG_FLAG, absolute, 0, 0),
    CONFIG_FIELD(sam_config, "use_relative_position_embeddings", CONFIG_FLAG, relative, 0, 0),
};

/* Sets the flags of the blocks that the list at `key` names. */
static enum status read_blocks(const struct config *config, const char *key, int64_t depth, bool value, bool *out) {
  const cJSON *list = config_get(config, key), *item;
  if (!list) return STATUS_OK;
  if (!cJSON_IsArray(list)) return config_reject(config, key, "a list of blocks");
  cJSON_ArrayForEach(item, list) {
    double index = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(index >= 0 && index < (double)SAM_DEPTH_MAX) || index != (double)(int64_t)index)
      return config_reject(config, key, "a list of blocks");
    if ((int64_t)index < depth) out[(int64_t)index] = value;
  }
  return STATUS_OK;
}

static enum status read_mlp(const struct config *config, struct sam_config *sam) {
  double ratio = 4;
  TRY(config_real(config, "mlp_ratio", 0.001, 1000, &ratio));
  sam->mlp = (int64_t)((double)sam->dim * ratio);
  TRY(config_integer(config, "mlp_dim", 1, CONFIG_MLP_MAX, &sam->mlp));
  return sam->mlp > 0 ? STATUS_OK : config_reject(config, "mlp_ratio", "a ratio that leaves the MLP a width");
}

static enum status read_sam(const struct config *config, struct sam_config *sam) {
  static const int64_t globals[] = {2, 5, 8, 11};
  *sam = (struct sam_config){.arch = "SAM's vision encoder",
                             .origin = config->file,
                             .family = &sam_families[SAM_FAMILY_transformers],
                             .channels = 3,
                             .dim = 768,
                             .depth = 12,
                             .heads = 12,
                             .image = {1024, 1024},
                             .patch = {16, 16},
                             .window = 14,
                             .qkv_bias = true,
                             .absolute = true,
                             .relative = true,
                             .epsilon = 1e-6,
                             .neck = SAM_NECK_CONVOLUTIONS,
                             .neck_width = 256};
  TRY(config_read(config, sam_fields, sizeof sam_fields / sizeof *sam_fields, false, sam));
  TRY(config_integer(config, "window_size", 0, CONFIG_IMAGE_MAX, &sam->window));
  TRY(activation_read(config, &sam->activation));
  TRY(read_mlp(config, sam));
  for (int64_t i = 0; i < sam->depth; i++) sam->windowed[i] = sam->window > 0;
  if (!config_get(config, "global_attn_indexes"))
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) sam->windowed[globals[i]] = false;
  for (int i = 0; i < 2; i++) sam->position_image[i] = sam->image[i];
  return read_blocks(config, "global_attn_indexes", sam->depth, false, sam->windowed);
}

enum status huggingface_sam(struct import *import) {
  struct config vision = *import->config;
  struct sam_config sam;
  if (config_get(import->config, "vision_config")) TRY(config_child(import->config, "vision_config", &vision));
  TRY(read_sam(&vision, &sam));
  if (sam.channels == 3) TRY(processor_read(import, processor_of("Sam"), sam.image, &sam.picture.preprocess));
  TRY(import_weights(import));
  return sam_import(&sam, import);
}

/* "stem", "stage1", ... of out_features, or the same as indices. */
static enum status read_stages(const struct config *config, struct sam_config *sam) {
  const cJSON *features = config_get(config, "out_features"), *indices = config_get(config, "out_indices"), *item;
  const cJSON *list = features ? features : indices;
  if (!list) {
    sam->stages[sam->depth] = true;
    return STATUS_OK;
  }
  cJSON_ArrayForEach(item, list) {
    long long stage = -1;
    if (cJSON_IsNumber(item)) stage = item->valueint + (item->valueint < 0 ? sam->depth + 1 : 0);
    if (cJSON_IsString(item) && sscanf(item->valuestring, "stage%lld", &stage) != 1 && strcmp(item->valuestring, "stem") == 0)
      stage = 0;
    if (stage < 0 || stage > sam->depth)
      return config_reject(config, features ? "out_features" : "out_indices", "stages of the model");
    sam->stages[stage] = true;
  }
  return STATUS_OK;
}

static enum status read_vitdet(const struct config *config, struct sam_config *sam) {
  const cJSON *classes = config_get(config, "architectures"), *first = cJSON_GetArrayItem(classes, 0);
  *sam = (struct sam_config){.arch = "ViTDet",
                             .origin = config->file,
                             .family = &sam_families[SAM_FAMILY_vitdet],
                             .channels = 3,
                             .dim = 768,
                             .depth = 12,
                             .heads = 12,
                             .image = {224, 224},
                             .patch = {16, 16},
                             .position_image = {224, 224},
                             .qkv_bias = true,
                             .absolute = true,
                             .epsilon = 1e-6};
  TRY(config_read(config, vitdet_fields, sizeof vitdet_fields / sizeof *vitdet_fields, false, sam));
  TRY(config_integer(config, "window_size", 0, CONFIG_IMAGE_MAX, &sam->window));
  TRY(activation_read(config, &sam->activation));
  TRY(read_mlp(config, sam));
  if (sam->window > 0) TRY(read_blocks(config, "window_block_indices", sam->depth, true, sam->windowed));
  TRY(read_blocks(config, "residual_block_indices", sam->depth, true, sam->residual));
  sam->has_stages = cJSON_IsString(first) && strcmp(first->valuestring, "VitDetBackbone") == 0;
  return sam->has_stages ? read_stages(config, sam) : STATUS_OK;
}

enum status huggingface_vitdet(struct import *import) {
  struct sam_config sam;
  TRY(read_vitdet(import->config, &sam));
  if (sam.channels == 3) TRY(processor_read(import, NULL, sam.image, &sam.picture.preprocess));
  TRY(import_weights(import));
  return sam_import(&sam, import);
}
