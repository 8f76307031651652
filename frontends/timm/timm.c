#include "timm/timm.h"

#include "import_config.h"

#include <string.h>
#include <sys/stat.h>

/* Constructor arguments of timm's VisionTransformer. */
static const struct config_field model_args[] = {
    CONFIG_FIELD("img_size", CONFIG_SIZE, image_height, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD("patch_size", CONFIG_SIZE, patch_height, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD("in_chans", CONFIG_COUNT, channels, 1, CONFIG_CHANNELS_MAX),
    CONFIG_FIELD("num_classes", CONFIG_COUNT, classes, 0, CONFIG_CLASSES_MAX),
    CONFIG_FIELD("embed_dim", CONFIG_COUNT, dim, 1, CONFIG_DIM_MAX),
    CONFIG_FIELD("depth", CONFIG_COUNT, depth, 0, CONFIG_DEPTH_MAX),
    CONFIG_FIELD("num_heads", CONFIG_COUNT, heads, 1, CONFIG_HEADS_MAX),
    CONFIG_FIELD("qkv_bias", CONFIG_FLAG, qkv_bias, 0, 0),
    CONFIG_FIELD("qk_scale", CONFIG_REAL, scale, 0, 0),
    CONFIG_FIELD("class_token", CONFIG_FLAG, class_token, 0, 0),
    CONFIG_FIELD("pool_include_prefix", CONFIG_FLAG, pool_prefix, 0, 0),
    {.key = "mlp_ratio", .kind = CONFIG_IGNORED}, /* the rest of these is read by read_model_args */
    {.key = "global_pool", .kind = CONFIG_IGNORED},
    {.key = "init_values", .kind = CONFIG_IGNORED},
    {.key = "no_embed_class", .kind = CONFIG_IGNORED},
    {.key = "fc_norm", .kind = CONFIG_IGNORED},
    {.key = "act_layer", .kind = CONFIG_IGNORED},
    {.key = "norm_layer", .kind = CONFIG_IGNORED},
    {.key = "pos_embed", .kind = CONFIG_IGNORED},
    {.key = "qk_norm", .kind = CONFIG_ABSENT},
    {.key = "scale_attn_norm", .kind = CONFIG_ABSENT},
    {.key = "scale_mlp_norm", .kind = CONFIG_ABSENT},
    {.key = "reg_tokens", .kind = CONFIG_ABSENT},
    {.key = "pre_norm", .kind = CONFIG_ABSENT},
    {.key = "representation_size", .kind = CONFIG_ABSENT},
    {.key = "embed_norm_layer", .kind = CONFIG_ABSENT},
    {.key = "proj_bias", .kind = CONFIG_PRESENT},
    {.key = "final_norm", .kind = CONFIG_PRESENT},
    {.key = "dynamic_img_size", .kind = CONFIG_IGNORED},
    {.key = "dynamic_img_pad", .kind = CONFIG_ABSENT},
    {.key = "strict_img_size", .kind = CONFIG_IGNORED},
    {.key = "drop_rate", .kind = CONFIG_IGNORED},
    {.key = "pos_drop_rate", .kind = CONFIG_IGNORED},
    {.key = "patch_drop_rate", .kind = CONFIG_IGNORED},
    {.key = "proj_drop_rate", .kind = CONFIG_IGNORED},
    {.key = "attn_drop_rate", .kind = CONFIG_IGNORED},
    {.key = "drop_path_rate", .kind = CONFIG_IGNORED},
    {.key = "weight_init", .kind = CONFIG_IGNORED},
    {.key = "fix_init", .kind = CONFIG_IGNORED},
};

static enum status choose(const struct config *config, const char *key, const char *const *choices, int *out_index) {
  const char *text = NULL, *expected = "";
  TRY(config_text(config, key, &text));
  if (!text) return STATUS_OK;
  for (int i = 0; choices[i]; i++) {
    expected = arena_printf(config->arena, "%s%s%s", expected, i ? " or " : "", choices[i]);
    if (strcmp(text, choices[i]) == 0) {
      *out_index = i;
      return STATUS_OK;
    }
  }
  return config_reject(config, key, expected);
}

static enum status read_pool(const struct config *config, struct vit_config *vit) {
  static const char *const pools[] = {"token", "avg", NULL};
  int pool = vit->mean_pool;
  TRY(choose(config, "global_pool", pools, &pool));
  vit->mean_pool = pool == 1;
  return STATUS_OK;
}

static enum status read_model_args(const struct config *config, struct vit_config *vit) {
  static const char *const activations[] = {"gelu", "gelu_tanh", NULL}, *const norms[] = {"layernorm", NULL},
                           *const positions[] = {"learn", NULL};
  int activation = 0, norm = 0, position = 0;
  bool no_embed_class = false;
  int64_t dim = vit->dim, heads = vit->heads;
  double ratio = (double)vit->mlp / (double)dim;
  TRY(config_read(config, model_args, sizeof model_args / sizeof *model_args, true, vit));
  TRY(read_pool(config, vit));
  TRY(choose(config, "act_layer", activations, &activation));
  TRY(choose(config, "norm_layer", norms, &norm));
  TRY(choose(config, "pos_embed", positions, &position));
  TRY(config_flag(config, "no_embed_class", &no_embed_class));
  TRY(config_real(config, "mlp_ratio", 0.001, 1000, &ratio));
  vit->gelu_tanh = activation == 1;
  vit->embed_class = !no_embed_class;
  vit->qkv_bias_given = config_get(config, "qkv_bias") != NULL;
  vit->layer_scale = config_get(config, "init_values") != NULL;
  if (config_get(config, "mlp_ratio") || vit->dim != dim) vit->mlp = (int64_t)((double)vit->dim * ratio);
  if (config_get(config, "fc_norm")) {
    vit->norms_given = true;
    TRY(config_flag(config, "fc_norm", &vit->pooled_norm));
    vit->norm = !vit->pooled_norm;
  }
  if (vit->mlp == 0) return config_reject(config, "mlp_ratio", "a ratio that leaves the MLP a width");
  if (vit->dim == dim && vit->heads == heads) return STATUS_OK;
  if (vit->dim % vit->heads != 0)
    return diag_fail(config->diag, STATUS_INPUT, "%s: %sembed_dim %lld does not divide into num_heads %lld", config->file,
                     config->where, (long long)vit->dim, (long long)vit->heads);
  vit->head_dim = vit->dim / vit->heads;
  return STATUS_OK;
}

/* [channels, height, width], which model_args may override later. */
static enum status read_input_size(const struct config *config, struct vit_config *vit) {
  const cJSON *item = config_get(config, "input_size");
  double sizes[3];
  if (!item) return STATUS_OK;
  TRY(config_rgb(config, "input_size", 1, CONFIG_IMAGE_MAX, sizes));
  vit->channels = (int64_t)sizes[0];
  vit->image_height = (int64_t)sizes[1];
  vit->image_width = (int64_t)sizes[2];
  return STATUS_OK;
}

static enum status read_pretrained(const struct config *config, struct vit_config *vit) {
  static const char *const filters[] = {"nearest", "bilinear", "bicubic", "lanczos", NULL}, *const modes[] = {"center",
                                                                                                              "squash", NULL};
  static const double mean[] = {0.485, 0.456, 0.406}, std[] = {0.229, 0.224, 0.225};
  int filter = VITC_BICUBIC, mode = 0;
  struct vitc_preprocess *preprocess = &vit->preprocess;
  TRY(read_input_size(config, vit));
  TRY(config_integer(config, "num_classes", 0, CONFIG_CLASSES_MAX, &vit->classes));
  TRY(read_pool(config, vit));
  /* timm's defaults where the file is silent */
  vit->crop_pct = 0.875;
  memcpy(preprocess->mean, mean, sizeof mean);
  memcpy(preprocess->std, std, sizeof std);
  TRY(config_real(config, "crop_pct", 0.01, 10, &vit->crop_pct));
  TRY(choose(config, "interpolation", filters, &filter));
  TRY(choose(config, "crop_mode", modes, &mode));
  if (vit->channels != 3) return STATUS_OK; /* pictures have three */
  TRY(config_rgb(config, "mean", -1000, 1000, preprocess->mean));
  TRY(config_rgb(config, "std", 1e-6, 1000, preprocess->std));
  vit->squash = mode == 1;
  preprocess->resize = VITC_RESIZE_SHORTEST;
  preprocess->filter = (uint32_t)filter;
  preprocess->arithmetic = VITC_ARITHMETIC_TORCHVISION;
  preprocess->rescale = 1.0 / 255;
  return STATUS_OK;
}

/* label_names by class, and label_descriptions by those names where there are some. */
static enum status read_labels(const struct config *config, struct vit_config *vit) {
  struct config descriptions;
  TRY(config_labels(config, config_get(config, "label_names") ? "label_names" : "id2label", vit));
  TRY(config_child(config, "label_descriptions", &descriptions));
  for (int i = 0; i < vit->label_count; i++) TRY(config_text(&descriptions, vit->labels[i], &vit->labels[i]));
  return STATUS_OK;
}

static enum status read_config(const struct config *config, const struct import_options *options, struct vit_config *vit) {
  struct config pretrained, args;
  struct diag arch_diag = {0};
  const char *arch = NULL;
  TRY(config_text(config, "architecture", &arch));
  if (options->arch) arch = options->arch;
  if (!arch) return config_reject(config, "architecture", "the name of a timm model");
  if (arch_parse(arch, config->arena, vit, &arch_diag) != STATUS_OK)
    return diag_fail(config->diag, options->arch ? STATUS_USAGE : STATUS_INPUT, "%s: architecture: %s", config->file,
                     arch_diag.message);
  vit->origin = config->file;
  vit->classes_given = true;
  vit->pre_logits = 0; /* in21k names of the hub are without; vit_follow_tensors finds it where it is */
  TRY(config_child(config, "pretrained_cfg", &pretrained));
  if (!pretrained.json) pretrained = *config; /* the older form: one object for all */
  TRY(read_pretrained(&pretrained, vit));
  TRY(config_integer(config, "num_classes", 0, CONFIG_CLASSES_MAX, &vit->classes));
  TRY(read_pool(config, vit));
  TRY(config_child(config, "model_args", &args));
  TRY(read_model_args(&args, vit));
  return read_labels(config, vit);
}

/* Any folder that is not of transformers, so that one without a config.json gets to hear of it. */
bool timm_probe(const char *source, const struct import_options *options) {
  (void)options;
  struct stat info;
  return source && stat(source, &info) == 0 && S_ISDIR(info.st_mode);
}

enum status timm_import(const char *source, const struct import_options *options, struct arena *arena, struct weights *weights,
                        struct graph *out_graph, struct diag *diag) {
  struct vit_config vit;
  struct config config;
  const char *file;
  enum status status = config_open(source, "config.json", arena, &config, diag);
  if (status == STATUS_OK) status = read_config(&config, options, &vit);
  config_close(&config);
  TRY(status);
  TRY(config_weights(source, weights, arena, &file, diag));
  return vit_import(&vit, file, options, arena, weights, out_graph, diag);
}
