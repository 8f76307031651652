/* model_type vit and deit. */
#include "huggingface/huggingface.h"
#include "huggingface/processor.h"
#include "vit.h"

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

static enum status read_activations(const struct config *config, struct vit_config *vit) {
  static const char *const exact[] = {"gelu", "gelu_python"}, *const tanh[] = {"gelu_new", "gelu_pytorch_tanh", "gelu_fast"};
  const char *hidden = "gelu", *pooler = "tanh";
  bool known = false, tanh_form = false;
  TRY(config_text(config, "hidden_act", &hidden));
  for (size_t i = 0; i < sizeof exact / sizeof *exact; i++) known = known || strcmp(hidden, exact[i]) == 0;
  for (size_t i = 0; i < sizeof tanh / sizeof *tanh; i++) tanh_form = tanh_form || strcmp(hidden, tanh[i]) == 0;
  if (tanh_form) vit->activation = ACTIVATION_GELU_TANH;
  if (!known && !tanh_form) return config_reject(config, "hidden_act", "gelu, gelu_new or gelu_pytorch_tanh");
  TRY(config_text(config, "pooler_act", &pooler));
  return strcmp(pooler, "tanh") == 0 ? STATUS_OK : config_reject(config, "pooler_act", "tanh");
}

static bool ends_with(const char *text, const char *ending) {
  size_t length = strlen(text), ending_length = strlen(ending);
  return length >= ending_length && strcmp(text + length - ending_length, ending) == 0;
}

/* The class that saved the model decides what the output is. */
static enum status read_class(const struct config *config, struct vit_config *vit) {
  const cJSON *list = config_get(config, "architectures"), *first = list ? cJSON_GetArrayItem(list, 0) : NULL;
  if (!list) return STATUS_OK;
  if (!cJSON_IsArray(list) || !cJSON_IsString(first))
    return config_reject(config, "architectures", "the name of a model class");
  const char *name = first->valuestring;
  vit->arch = arena_strdup(config->arena, name);
  if (ends_with(name, "ForImageClassificationWithTeacher") && vit->distilled) {
    vit->two_heads = true;
  } else if (strcmp(name, "ViTModel") == 0 || strcmp(name, "DeiTModel") == 0) {
    vit->classes = 0;
    vit->classes_given = true;
    vit->labels.count = 0;
    return STATUS_OK;
  } else if (strcmp(name, "ViTForImageClassification") != 0 && strcmp(name, "DeiTForImageClassification") != 0) {
    return diag_fail(config->diag, STATUS_INPUT,
                     "%s: architectures: %s is not supported, expected ViTForImageClassification, ViTModel, "
                     "DeiTForImageClassification, DeiTForImageClassificationWithTeacher or DeiTModel",
                     config->file, name);
  }
  vit->pre_logits_given = true; /* a classifier reads the token itself, whether or not the file has a pooler */
  return STATUS_OK;
}

static enum status read_config(const struct config *config, struct vit_config *vit) {
  const char *type = NULL;
  *vit = (struct vit_config){.family = &families[FAMILY_transformers],
                             .origin = config->file,
                             .dim = 768,
                             .depth = 12,
                             .heads = 12,
                             .mlp = 3072,
                             .channels = 3,
                             .image_height = 224,
                             .image_width = 224,
                             .patch_height = 16,
                             .patch_width = 16,
                             .class_token = true,
                             .embed_class = true,
                             .qkv_bias = true,
                             .qkv_bias_given = true,
                             .norm = true,
                             .norms_given = true};
  TRY(config_text(config, "model_type", &type));
  vit->arch = type;
  vit->distilled = strcmp(type, "deit") == 0;
  TRY(config_read(config, fields, sizeof fields / sizeof *fields, false, vit));
  TRY(read_activations(config, vit));
  TRY(config_labels(config, "id2label", &vit->labels));
  vit->classes = vit->labels.count;
  vit->classes_given = vit->labels.count > 0;
  TRY(read_class(config, vit));
  if (vit->head_dim == 0 && vit->dim % vit->heads != 0)
    return diag_fail(config->diag, STATUS_INPUT, "%s: hidden_size %lld does not divide into num_attention_heads %lld",
                     config->file, (long long)vit->dim, (long long)vit->heads);
  if (vit->head_dim == 0) vit->head_dim = vit->dim / vit->heads;
  return STATUS_OK;
}

/* --arch is not needed here, so that it can only confirm: its dimensions must be those of config.json. */
static enum status check_arch(const struct vit_config *vit, const struct import_options *options, struct arena *arena,
                              struct diag *diag) {
  struct vit_config arch;
  if (!options->arch) return STATUS_OK;
  TRY(arch_parse(options->arch, arena, &arch, diag));
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
      return diag_fail(diag, STATUS_INPUT, "%s: %s is %lld, but --arch %s has %lld", vit->origin, pairs[i].key,
                       (long long)pairs[i].config, options->arch, (long long)pairs[i].arch);
  return STATUS_OK;
}

/* The two classes' defaults: ViT 224 bilinear, DeiT 256 bicubic and a crop of 224. */
static const struct processor vit_processor = {.filter = VITC_BILINEAR, .size = 224},
                              deit_processor = {.filter = VITC_BICUBIC, .size = 256, .crop = 224};

enum status huggingface_vit(struct import *import) {
  struct vit_config vit;
  TRY(read_config(import->config, &vit));
  TRY(check_arch(&vit, import->options, import->arena, import->diag));
  const int64_t size[] = {vit.image_height, vit.image_width};
  if (vit.channels == 3)
    TRY(processor_read(import, vit.distilled ? &deit_processor : &vit_processor, size, &vit.picture.preprocess));
  TRY(import_weights(import));
  return vit_import(&vit, import->file, import->options, import->arena, import->weights, import->out_graph, import->diag);
}
