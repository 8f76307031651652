/* config.json of transformers' DPT and Depth Anything. */
#include "dpt/config.h"
#include "huggingface/read.h"

#include <stdio.h>
#include <string.h>

/* Numbers at `key`, at most DPT_TAPS_MAX. Absent: the defaults stay. */
static enum status read_list(const struct config *config, const char *key, double min, double max, int *count, double *out) {
  const cJSON *list = config_get(config, key), *item;
  if (!list) return STATUS_OK;
  if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) < 1 || cJSON_GetArraySize(list) > DPT_TAPS_MAX)
    return config_reject(config, key, "a list of 1 to 8 numbers");
  *count = 0;
  cJSON_ArrayForEach(item, list) {
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= min && item->valuedouble <= max))
      return config_reject(config, key, arena_printf(config->arena, "numbers from %g to %g", min, max));
    out[(*count)++] = item->valuedouble;
  }
  return STATUS_OK;
}

static enum status read_integers(const struct config *config, const char *key, double min, double max, int *count,
                                 int64_t *out) {
  double numbers[DPT_TAPS_MAX];
  if (!config_get(config, key)) return STATUS_OK;
  TRY(read_list(config, key, min, max, count, numbers));
  for (int i = 0; i < *count; i++) {
    out[i] = (int64_t)numbers[i];
    if ((double)out[i] != numbers[i]) return config_reject(config, key, "integers");
  }
  return STATUS_OK;
}

/* What the two have in common. The lists must be as long as the taps are many. */
static enum status read_neck(const struct config *config, struct dpt_config *dpt) {
  int factors = dpt->tap_count, widths = dpt->tap_count;
  int64_t index = -1;
  TRY(read_list(config, "reassemble_factors", 1.0 / 64, 16, &factors, dpt->factors));
  TRY(read_integers(config, "neck_hidden_sizes", 1, CONFIG_DIM_MAX, &widths, dpt->widths));
  TRY(config_integer(config, "fusion_hidden_size", 2, CONFIG_DIM_MAX, &dpt->fusion));
  TRY(config_integer(config, "head_in_index", -DPT_TAPS_MAX, DPT_TAPS_MAX, &index));
  if (factors != dpt->tap_count || widths != dpt->tap_count)
    return diag_fail(config->diag, STATUS_INPUT,
                     "%s: %d reassemble_factors and %d neck_hidden_sizes for %d taps of the backbone", config->file, factors,
                     widths, dpt->tap_count);
  for (int i = 0; i < factors; i++) {
    double whole = dpt->factors[i] >= 1 ? dpt->factors[i] : 1 / dpt->factors[i];
    if (whole != (double)(int64_t)whole)
      return config_reject(config, "reassemble_factors", "integers and reciprocals of integers");
  }
  dpt->head_index = index < 0 ? index + dpt->tap_count : index;
  if (dpt->head_index < 0 || dpt->head_index >= dpt->tap_count)
    return config_reject(config, "head_in_index", "the index of a tap");
  return STATUS_OK;
}

static enum status check_taps(const struct config *config, const char *key, const struct dpt_config *dpt) {
  for (int i = 0; i < dpt->tap_count; i++)
    if (dpt->taps[i] < 0 || dpt->taps[i] > dpt->vit.depth || (i > 0 && dpt->taps[i] <= dpt->taps[i - 1]))
      return config_reject(config, key, "stages of the backbone in their order");
  return STATUS_OK;
}

/* "stem", "stage1", ... of out_features, or out_indices. */
static enum status read_taps(const struct config *backbone, struct dpt_config *dpt) {
  const cJSON *features = config_get(backbone, "out_features"), *item;
  dpt->tap_count = 1;
  dpt->taps[0] = dpt->vit.depth;
  if (!features) {
    TRY(read_integers(backbone, "out_indices", -CONFIG_DEPTH_MAX, CONFIG_DEPTH_MAX, &dpt->tap_count, dpt->taps));
    for (int i = 0; i < dpt->tap_count; i++)
      if (dpt->taps[i] < 0) dpt->taps[i] += dpt->vit.depth + 1;
    return check_taps(backbone, "out_indices", dpt);
  }
  if (!cJSON_IsArray(features) || cJSON_GetArraySize(features) < 1 || cJSON_GetArraySize(features) > DPT_TAPS_MAX)
    return config_reject(backbone, "out_features", "a list of 1 to 8 stages");
  dpt->tap_count = 0;
  cJSON_ArrayForEach(item, features) {
    long long stage = -1;
    if (cJSON_IsString(item) && sscanf(item->valuestring, "stage%lld", &stage) != 1 && strcmp(item->valuestring, "stem") == 0)
      stage = 0;
    dpt->taps[dpt->tap_count++] = stage;
  }
  return check_taps(backbone, "out_features", dpt);
}

/* A backbone of its own kind: DINOv2 is the one of these that answers with its tokens. */
static enum status read_backbone(const struct config *config, struct dpt_config *dpt) {
  struct config backbone;
  bool reshape = true;
  const char *type = "";
  TRY(config_child(config, "backbone_config", &backbone));
  if (!backbone.json)
    return diag_fail(config->diag, STATUS_INPUT, "%s: no backbone_config: a backbone of another library is not supported",
                     config->file);
  TRY(config_text(&backbone, "model_type", &type));
  if (strcmp(type, "dinov2") != 0) return config_reject(&backbone, "model_type", "dinov2");
  TRY(read_encoder(&backbone, &dpt->vit));
  dpt->family = *dpt->vit.family;
  dpt->family.prefixes = "backbone.";
  dpt->tap_norm = true;
  TRY(config_flag(&backbone, "apply_layernorm", &dpt->tap_norm));
  TRY(config_flag(&backbone, "reshape_hidden_states", &reshape));
  if (reshape) return config_reject(&backbone, "reshape_hidden_states", "false, as the neck takes tokens");
  return read_taps(&backbone, dpt);
}

/* The ViT of DPT's own, whose names are those of ViT, and whose positions are resized bilinearly. */
static enum status read_own_vit(const struct config *config, struct dpt_config *dpt) {
  static const int64_t taps[] = {2, 5, 8, 11};
  dpt->family = families[FAMILY_transformers];
  dpt->family.prefixes = "dpt.";
  dpt->family.resample = RESAMPLE_LINEAR;
  dpt->vit = (struct vit_config){.origin = config->file,
                                 .dim = 768,
                                 .depth = 12,
                                 .heads = 12,
                                 .mlp = 3072,
                                 .channels = 3,
                                 .image_height = 384,
                                 .image_width = 384,
                                 .patch_height = 16,
                                 .patch_width = 16,
                                 .class_token = true,
                                 .embed_class = true,
                                 .qkv_bias = true,
                                 .epsilon = 1e-12};
  TRY(read_dimensions(config, &dpt->vit));
  TRY(read_activation(config, &dpt->vit));
  dpt->tap_count = 4;
  memcpy(dpt->taps, taps, sizeof taps);
  TRY(read_integers(config, "backbone_out_indices", 0, CONFIG_DEPTH_MAX, &dpt->tap_count, dpt->taps));
  for (int i = 0; i < dpt->tap_count; i++) dpt->taps[i]++; /* hidden states after the first */
  return check_taps(config, "backbone_out_indices", dpt);
}

static enum status read_readout(const struct config *config, struct dpt_config *dpt) {
  static const char *const names[] = {"ignore", "add", "project"};
  const char *name = "project";
  TRY(config_text(config, "readout_type", &name));
  for (int i = 0; i < 3; i++)
    if (strcmp(names[i], name) == 0) {
      dpt->readout = (enum readout)i;
      return STATUS_OK;
    }
  return config_reject(config, "readout_type", "ignore, add or project");
}

static enum status read_class_of(const struct config *config, struct dpt_config *dpt) {
  const cJSON *list = config_get(config, "architectures"), *first = list ? cJSON_GetArrayItem(list, 0) : NULL;
  const char *name = cJSON_IsString(first) ? first->valuestring : "DPTForDepthEstimation";
  dpt->vit.arch = arena_strdup(config->arena, name);
  dpt->head = DPT_HEAD_DEPTH;
  if (strcmp(name, "DPTForDepthEstimation") == 0) return STATUS_OK;
  if (strcmp(name, "DPTForSemanticSegmentation") != 0)
    return diag_fail(config->diag, STATUS_INPUT,
                     "%s: architectures: %s is not supported, expected DPTForDepthEstimation or DPTForSemanticSegmentation",
                     config->file, dpt->vit.arch);
  dpt->head = DPT_HEAD_SEGMENTATION;
  struct labels labels = {0};
  TRY(config_labels(config, "id2label", &labels));
  dpt->classes = labels.count;
  return dpt->classes > 0 ? STATUS_OK : config_reject(config, "id2label", "the classes");
}

enum status dpt_read(const struct config *config, struct dpt_config *dpt) {
  static const double factors[] = {4, 2, 1, 0.5};
  static const int64_t widths[] = {96, 192, 384, 768};
  bool hybrid = false;
  *dpt = (struct dpt_config){.fusion = 256, .head_width = 32, .max_depth = 1};
  memcpy(dpt->factors, factors, sizeof factors);
  memcpy(dpt->widths, widths, sizeof widths);
  TRY(config_flag(config, "is_hybrid", &hybrid));
  if (hybrid)
    return diag_fail(config->diag, STATUS_INPUT,
                     "%s: is_hybrid: DPT-Hybrid, whose patches come from a ResNet (BiT), is not supported", config->file);
  TRY(config_get(config, "backbone_config") ? read_backbone(config, dpt) : read_own_vit(config, dpt));
  TRY(read_neck(config, dpt));
  TRY(read_readout(config, dpt));
  TRY(config_flag(config, "use_batch_norm_in_fusion_residual", &dpt->batch_norm));
  dpt->residual_bias = !dpt->batch_norm;
  TRY(config_flag(config, "use_bias_in_fusion_residual", &dpt->residual_bias));
  TRY(config_flag(config, "add_projection", &dpt->add_projection));
  return read_class_of(config, dpt);
}

enum status dpt_read_anything(const struct config *config, struct dpt_config *dpt) {
  static const double factors[] = {4, 2, 1, 0.5};
  static const int64_t widths[] = {48, 96, 192, 384};
  const char *type = "relative";
  *dpt = (struct dpt_config){.fusion = 64, .head_width = 32, .max_depth = 1, .residual_bias = true, .head = DPT_HEAD_ANYTHING};
  memcpy(dpt->factors, factors, sizeof factors);
  memcpy(dpt->widths, widths, sizeof widths);
  TRY(read_backbone(config, dpt));
  TRY(read_neck(config, dpt));
  dpt->vit.arch = "Depth Anything";
  TRY(config_integer(config, "head_hidden_size", 1, CONFIG_DIM_MAX, &dpt->head_width));
  TRY(config_real(config, "max_depth", 1e-6, 1e6, &dpt->max_depth));
  TRY(config_text(config, "depth_estimation_type", &type));
  dpt->sigmoid = strcmp(type, "metric") == 0;
  if (!dpt->sigmoid && strcmp(type, "relative") != 0)
    return config_reject(config, "depth_estimation_type", "relative or metric");
  return STATUS_OK;
}
