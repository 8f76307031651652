#include "timm/timm.h"

#include "import_config.h"
#include "vit.h"

#include <string.h>
#include <sys/stat.h>

/* Constructor arguments of timm's VisionTransformer. */
static const struct config_field model_args[] = {
    CONFIG_FIELD(vit_config, "img_size", CONFIG_SIZE, image_height, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD(vit_config, "patch_size", CONFIG_SIZE, patch_height, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD(vit_config, "in_chans", CONFIG_COUNT, channels, 1, CONFIG_CHANNELS_MAX),
    CONFIG_FIELD(vit_config, "num_classes", CONFIG_COUNT, classes, 0, CONFIG_CLASSES_MAX),
    CONFIG_FIELD(vit_config, "embed_dim", CONFIG_COUNT, dim, 1, CONFIG_DIM_MAX),
    CONFIG_FIELD(vit_config, "depth", CONFIG_COUNT, depth, 0, CONFIG_DEPTH_MAX),
    CONFIG_FIELD(vit_config, "num_heads", CONFIG_COUNT, heads, 1, CONFIG_HEADS_MAX),
    CONFIG_FIELD(vit_config, "qkv_bias", CONFIG_FLAG, qkv_bias, 0, 0),
    CONFIG_FIELD(vit_config, "qk_scale", CONFIG_REAL, scale, 0, 0),
    CONFIG_FIELD(vit_config, "class_token", CONFIG_FLAG, class_token, 0, 0),
    CONFIG_FIELD(vit_config, "pool_include_prefix", CONFIG_FLAG, pool_prefix, 0, 0),
    {.key = "mlp_ratio", .kind = CONFIG_IGNORED}, /* the rest of these is read by read_model_args */
    {.key = "global_pool", .kind = CONFIG_IGNORED},
    {.key = "init_values", .kind = CONFIG_IGNORED},
    {.key = "no_embed_class", .kind = CONFIG_IGNORED},
    {.key = "fc_norm", .kind = CONFIG_IGNORED},
    {.key = "act_layer", .kind = CONFIG_IGNORED},
    {.key = "norm_layer", .kind = CONFIG_IGNORED},
    {.key = "pos_embed", .kind = CONFIG_IGNORED},
    CONFIG_FIELD(vit_config, "reg_tokens", CONFIG_COUNT, registers, 0, CONFIG_DIM_MAX),
    CONFIG_FIELD(vit_config, "qk_norm", CONFIG_FLAG, qk_norm, 0, 0),
    CONFIG_FIELD(vit_config, "pre_norm", CONFIG_FLAG, pre_norm, 0, 0),
    CONFIG_FIELD(vit_config, "use_rel_pos_bias", CONFIG_FLAG, relative, 0, 0),
    CONFIG_FIELD(vit_config, "use_shared_rel_pos_bias", CONFIG_FLAG, shared_relative, 0, 0),
    {.key = "mlp_layer", .kind = CONFIG_IGNORED}, /* as these, told by the tensors */
    {.key = "use_abs_pos_emb", .kind = CONFIG_IGNORED},
    {.key = "use_fc_norm", .kind = CONFIG_IGNORED},
    {.key = "head_init_scale", .kind = CONFIG_IGNORED},
    {.key = "swiglu_mlp", .kind = CONFIG_ABSENT},
    {.key = "scale_mlp", .kind = CONFIG_ABSENT},
    {.key = "scale_attn_norm", .kind = CONFIG_ABSENT},
    {.key = "scale_mlp_norm", .kind = CONFIG_ABSENT},
    {.key = "representation_size", .kind = CONFIG_ABSENT},
    {.key = "embed_norm_layer", .kind = CONFIG_ABSENT},
    {.key = "proj_bias", .kind = CONFIG_PRESENT},
    {.key = "final_norm", .kind = CONFIG_IGNORED},
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

static enum status read_pool(const struct config *config, const char *pool, struct vit_config *vit) {
  static const char *const pools[] = {[POOL_TOKEN] = "token", [POOL_MEAN] = "avg", [POOL_MAP] = "map"};
  if (!pool) return STATUS_OK;
  for (int i = 0; i < 3; i++)
    if (strcmp(pool, pools[i]) == 0) {
      vit->pool = (enum pooling)i;
      return STATUS_OK;
    }
  return diag_fail(config->diag, STATUS_INPUT, "%s: global_pool is %s, expected token, avg or map", config->file, pool);
}

static enum status read_model_args(const struct config *config, struct vit_config *vit) {
  static const char *const activations[] = {"gelu", "gelu_tanh", "quick_gelu", "silu", "relu", NULL},
                           *const norms[] = {"layernorm", NULL}, *const positions[] = {"learn", NULL};
  int activation = (int)vit->activation, norm = 0, position = 0;
  bool no_embed_class = false, final_norm = vit->norm || vit->pooled_norm;
  int64_t dim = vit->dim, heads = vit->heads;
  double ratio = (double)vit->mlp / (double)dim;
  const char *pool = NULL;
  TRY(config_read(config, model_args, sizeof model_args / sizeof *model_args, true, vit));
  TRY(config_text(config, "global_pool", &pool));
  TRY(read_pool(config, pool, vit));
  TRY(choose(config, "act_layer", activations, &activation));
  TRY(choose(config, "norm_layer", norms, &norm));
  TRY(choose(config, "pos_embed", positions, &position));
  TRY(config_flag(config, "no_embed_class", &no_embed_class));
  TRY(config_real(config, "mlp_ratio", 0.001, 1000, &ratio));
  vit->activation = (enum activation)activation;
  if (no_embed_class) vit->embed_class = false;
  vit->qkv_bias_given = config_get(config, "qkv_bias") != NULL;
  vit->layer_scale = vit->layer_scale || config_get(config, "init_values");
  if (config_get(config, "mlp_ratio") || vit->dim != dim) vit->mlp = (int64_t)((double)vit->dim * ratio);
  if (config_get(config, "fc_norm")) {
    vit->norms_given = true;
    TRY(config_flag(config, "fc_norm", &vit->pooled_norm));
    vit->norm = !vit->pooled_norm;
  }
  TRY(config_flag(config, "final_norm", &final_norm));
  if (!final_norm) vit->norms_given = true;
  if (!final_norm) vit->norm = vit->pooled_norm = false;
  if (vit->mlp == 0) return config_reject(config, "mlp_ratio", "a ratio that leaves the MLP a width");
  if (vit->dim == dim && vit->heads == heads) return STATUS_OK;
  if (vit->dim % vit->heads != 0)
    return diag_fail(config->diag, STATUS_INPUT, "%s: %sembed_dim %lld does not divide into num_heads %lld", config->file,
                     config->where, (long long)vit->dim, (long long)vit->heads);
  vit->head_dim = vit->dim / vit->heads;
  return STATUS_OK;
}

/* [channels, height, width], which model_args may override later. */
static enum status read_input_size(const struct config *config, struct timm_pretrained *out) {
  double sizes[3];
  if (!config_get(config, "input_size")) return STATUS_OK;
  TRY(config_rgb(config, "input_size", 1, CONFIG_IMAGE_MAX, sizes));
  out->channels = (int64_t)sizes[0];
  out->height = (int64_t)sizes[1];
  out->width = (int64_t)sizes[2];
  return STATUS_OK;
}

static enum status read_picture(const struct config *config, struct timm_pretrained *out) {
  static const char *const filters[] = {"nearest", "bilinear", "bicubic", "lanczos", NULL}, *const modes[] = {"center",
                                                                                                              "squash", NULL};
  static const double mean[] = {0.485, 0.456, 0.406}, std[] = {0.229, 0.224, 0.225};
  int filter = VITC_BICUBIC, mode = 0;
  struct vitc_preprocess *preprocess = &out->picture.preprocess;
  /* timm's defaults where the file is silent */
  out->picture.crop_pct = 0.875;
  memcpy(preprocess->mean, mean, sizeof mean);
  memcpy(preprocess->std, std, sizeof std);
  TRY(config_real(config, "crop_pct", 0.01, 10, &out->picture.crop_pct));
  TRY(choose(config, "interpolation", filters, &filter));
  TRY(choose(config, "crop_mode", modes, &mode));
  if (out->channels != 3) return STATUS_OK; /* pictures have three */
  TRY(config_rgb(config, "mean", -1000, 1000, preprocess->mean));
  TRY(config_rgb(config, "std", 1e-6, 1000, preprocess->std));
  out->picture.squash = mode == 1;
  preprocess->resize = VITC_RESIZE_SHORTEST;
  preprocess->filter = (uint32_t)filter;
  preprocess->arithmetic = VITC_ARITHMETIC_TORCHVISION;
  preprocess->rescale = 1.0 / 255;
  return STATUS_OK;
}

/* label_names by class, and label_descriptions by those names where there are some. */
static enum status read_labels(const struct config *config, struct labels *labels) {
  struct config descriptions;
  TRY(config_labels(config, config_get(config, "label_names") ? "label_names" : "id2label", labels));
  TRY(config_child(config, "label_descriptions", &descriptions));
  for (int i = 0; i < labels->count; i++) TRY(config_text(&descriptions, labels->names[i], &labels->names[i]));
  return STATUS_OK;
}

enum status timm_read_pretrained(const struct config *config, struct timm_pretrained *out) {
  struct config pretrained;
  TRY(config_child(config, "pretrained_cfg", &pretrained));
  if (!pretrained.json) pretrained = *config; /* the older form: one object for all */
  TRY(read_input_size(&pretrained, out));
  TRY(read_picture(&pretrained, out));
  TRY(config_integer(&pretrained, "num_classes", 0, CONFIG_CLASSES_MAX, &out->classes));
  TRY(config_integer(config, "num_classes", 0, CONFIG_CLASSES_MAX, &out->classes));
  TRY(config_text(&pretrained, "global_pool", &out->pool));
  TRY(config_text(config, "global_pool", &out->pool));
  return read_labels(config, &out->labels);
}

enum status timm_read_vit(const struct import *import, struct vit_config *out_config) {
  const struct config *config = import->config;
  struct vit_config *vit = out_config;
  struct config args;
  struct diag arch_diag = {0};
  if (arch_parse(import->arch, config->arena, vit, &arch_diag) != STATUS_OK)
    return diag_fail(config->diag, import->options->arch ? STATUS_USAGE : STATUS_INPUT, "%s: architecture: %s", config->file,
                     arch_diag.message);
  struct timm_pretrained pretrained = {
      .channels = vit->channels, .height = vit->image_height, .width = vit->image_width, .classes = vit->classes};
  TRY(timm_read_pretrained(config, &pretrained));
  vit->origin = config->file;
  vit->channels = pretrained.channels;
  vit->image_height = pretrained.height;
  vit->image_width = pretrained.width;
  vit->classes = pretrained.classes;
  vit->classes_given = true;
  vit->picture = pretrained.picture;
  vit->labels = pretrained.labels;
  vit->pre_logits = 0; /* in21k names of the hub are without; vit_follow_tensors finds it where it is */
  TRY(read_pool(config, pretrained.pool, vit));
  TRY(config_child(config, "model_args", &args));
  return read_model_args(&args, vit);
}

/* Any folder that is not of transformers, so that one without a config.json gets to hear of it. */
bool timm_probe(const char *source, const struct import_options *options) {
  (void)options;
  struct stat info;
  return source && stat(source, &info) == 0 && S_ISDIR(info.st_mode);
}

enum status timm_import(const char *source, const struct import_options *options, struct arena *arena, struct weights *weights,
                        struct graph *out_graph, struct diag *diag) {
  struct config config;
  struct import import = {.source = source,
                          .config = &config,
                          .arch = options->arch,
                          .options = options,
                          .arena = arena,
                          .weights = weights,
                          .out_graph = out_graph,
                          .diag = diag};
  enum status status = config_open(source, "config.json", arena, &config, diag);
  if (status == STATUS_OK && !import.arch) status = config_text(&config, "architecture", &import.arch);
  if (status == STATUS_OK && !import.arch) status = config_reject(&config, "architecture", "the name of a timm model");
  if (status == STATUS_OK) status = import_model(&import);
  config_close(&config);
  return status;
}
