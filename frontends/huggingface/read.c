#include "huggingface/read.h"

#include "huggingface/activation.h"

#include <string.h>

static const struct config_field fields[] = {
    CONFIG_FIELD(vit_config, "hidden_size", CONFIG_COUNT, dim, 1, CONFIG_DIM_MAX),
    CONFIG_FIELD(vit_config, "num_hidden_layers", CONFIG_COUNT, depth, 0, CONFIG_DEPTH_MAX),
    CONFIG_FIELD(vit_config, "num_attention_heads", CONFIG_COUNT, heads, 1, CONFIG_HEADS_MAX),
    CONFIG_FIELD(vit_config, "head_dim", CONFIG_COUNT, head_dim, 1, CONFIG_DIM_MAX),
    CONFIG_FIELD(vit_config, "intermediate_size", CONFIG_COUNT, mlp, 1, CONFIG_MLP_MAX),
    CONFIG_FIELD(vit_config, "image_size", CONFIG_SIZE, image_height, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD(vit_config, "patch_size", CONFIG_SIZE, patch_height, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD(vit_config, "num_channels", CONFIG_COUNT, channels, 1, CONFIG_CHANNELS_MAX),
    CONFIG_FIELD(vit_config, "layer_norm_eps", CONFIG_REAL, epsilon, 0, 0),
    CONFIG_FIELD(vit_config, "qkv_bias", CONFIG_FLAG, qkv_bias, 0, 0),
};

enum status read_dimensions(const struct config *config, struct vit_config *vit) {
  TRY(config_read(config, fields, sizeof fields / sizeof *fields, false, vit));
  if (vit->head_dim != 0) return STATUS_OK;
  if (vit->dim % vit->heads != 0)
    return diag_fail(config->diag, STATUS_INPUT, "%s: %shidden_size %lld does not divide into num_attention_heads %lld",
                     config->file, config->where, (long long)vit->dim, (long long)vit->heads);
  vit->head_dim = vit->dim / vit->heads;
  return STATUS_OK;
}

enum status read_activation(const struct config *config, struct vit_config *vit) {
  return config_get(config, "hidden_act") ? activation_read(config, &vit->activation) : STATUS_OK;
}

static enum status find_class(const struct config *config, const struct model_class *classes, const char *name,
                              enum answer *out_answer) {
  const char *expected = "";
  for (const struct model_class *row = classes; row->name; row++) {
    if (strcmp(row->name, name) == 0) {
      *out_answer = row->answer;
      return STATUS_OK;
    }
    expected = arena_printf(config->arena, "%s%s%s", expected, row == classes ? "" : row[1].name ? ", " : " or ", row->name);
  }
  return diag_fail(config->diag, STATUS_INPUT, "%s: architectures: %s is not supported, expected %s", config->file, name,
                   expected);
}

enum status read_class(const struct config *config, const struct model_class *classes, struct vit_config *vit,
                       enum answer *answer) {
  const cJSON *list = config_get(config, "architectures"), *first = list ? cJSON_GetArrayItem(list, 0) : NULL;
  TRY(config_labels(config, "id2label", &vit->labels));
  vit->classes = vit->labels.count;
  vit->classes_given = vit->classes > 0;
  if (!list) return STATUS_OK;
  if (!cJSON_IsArray(list) || !cJSON_IsString(first))
    return config_reject(config, "architectures", "the name of a model class");
  vit->arch = arena_strdup(config->arena, first->valuestring);
  TRY(find_class(config, classes, vit->arch, answer));
  if (*answer == ANSWER_LOGITS || *answer == ANSWER_TWO_HEADS) return STATUS_OK;
  vit->classes = 0;
  vit->classes_given = true;
  vit->labels.count = 0;
  return STATUS_OK;
}

/* --arch is not needed here, so that it can only confirm: its dimensions must be those of config.json. */
static enum status check_arch(const struct vit_config *vit, const struct import *import) {
  const struct import_options *options = import->options;
  struct vit_config arch;
  if (!options->arch) return STATUS_OK;
  TRY(arch_parse(options->arch, import->arena, &arch, import->diag));
  const struct {
    const char *key;
    int64_t config, arch;
  } pairs[] = {{"hidden_size", vit->dim, arch.dim},
               {"num_hidden_layers", vit->depth, arch.depth},
               {"num_attention_heads", vit->heads, arch.heads},
               {"intermediate_size", vit->mlp, arch.mlp},
               {"patch_size", vit->patch_height, arch.patch_height}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
    if (pairs[i].config != pairs[i].arch)
      return diag_fail(import->diag, STATUS_INPUT, "%s: %s is %lld, but --arch %s has %lld", vit->origin, pairs[i].key,
                       (long long)pairs[i].config, options->arch, (long long)pairs[i].arch);
  return STATUS_OK;
}

enum status import_vit(struct import *import, struct vit_config *vit, const struct processor *processor) {
  const int64_t size[] = {vit->image_height, vit->image_width};
  TRY(check_arch(vit, import));
  if (vit->channels == 3) TRY(processor_read(import, processor, size, &vit->picture.preprocess));
  TRY(import_weights(import));
  return vit_import(vit, import->file, import->options, import->arena, import->weights, import->out_graph, import->diag);
}
