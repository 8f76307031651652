#include "eva/eva.h"
#include "import_config.h"
#include "timm/timm.h"

#include <string.h>

struct fields {
  struct eva_config config;
  struct eva_arguments arguments;
};

/* Constructor arguments of timm's Eva. */
static const struct config_field model_args[] = {
    CONFIG_FIELD(fields, "img_size", CONFIG_SIZE, config.image, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD(fields, "patch_size", CONFIG_SIZE, config.patch, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD(fields, "in_chans", CONFIG_COUNT, config.channels, 1, CONFIG_CHANNELS_MAX),
    CONFIG_FIELD(fields, "num_classes", CONFIG_COUNT, config.classes, 0, CONFIG_CLASSES_MAX),
    CONFIG_FIELD(fields, "embed_dim", CONFIG_COUNT, config.dim, 1, CONFIG_DIM_MAX),
    CONFIG_FIELD(fields, "depth", CONFIG_COUNT, config.depth, 0, CONFIG_DEPTH_MAX),
    CONFIG_FIELD(fields, "num_heads", CONFIG_COUNT, config.heads, 1, CONFIG_HEADS_MAX),
    CONFIG_FIELD(fields, "num_reg_tokens", CONFIG_COUNT, config.registers, 0, 1024),
    CONFIG_FIELD(fields, "class_token", CONFIG_FLAG, config.class_token, 0, 0),
    CONFIG_FIELD(fields, "use_abs_pos_emb", CONFIG_FLAG, config.positions, 0, 0),
    CONFIG_FIELD(fields, "scale_attn_inner", CONFIG_FLAG, config.attention_norm, 0, 0),
    CONFIG_FIELD(fields, "use_post_norm", CONFIG_FLAG, config.post_norm, 0, 0),
    CONFIG_FIELD(fields, "use_pre_transformer_norm", CONFIG_FLAG, config.pre_norm, 0, 0),
    CONFIG_FIELD(fields, "rope_temperature", CONFIG_REAL, config.rope.temperature, 0, 0),
    CONFIG_FIELD(fields, "rope_rotate_half", CONFIG_FLAG, config.rope.halves, 0, 0),
    CONFIG_FIELD(fields, "ref_feat_shape", CONFIG_SIZE, config.rope.reference, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD(fields, "mlp_ratio", CONFIG_REAL, arguments.ratio, 0, 0),
    CONFIG_FIELD(fields, "swiglu_align_to", CONFIG_COUNT, arguments.align, 0, 4096),
    CONFIG_FIELD(fields, "swiglu_mlp", CONFIG_FLAG, arguments.swiglu, 0, 0),
    CONFIG_FIELD(fields, "scale_mlp", CONFIG_FLAG, arguments.scale_mlp, 0, 0),
    CONFIG_FIELD(fields, "qkv_fused", CONFIG_FLAG, arguments.fused, 0, 0),
    CONFIG_FIELD(fields, "qkv_bias", CONFIG_FLAG, arguments.qkv_bias, 0, 0),
    {.key = "global_pool", .kind = CONFIG_IGNORED}, /* the rest of these is read by read_choices */
    {.key = "attn_type", .kind = CONFIG_IGNORED},
    {.key = "init_values", .kind = CONFIG_IGNORED},
    {.key = "no_embed_class", .kind = CONFIG_IGNORED},
    {.key = "norm_layer", .kind = CONFIG_IGNORED},
    {.key = "use_rot_pos_emb", .kind = CONFIG_IGNORED},
    {.key = "rope_type", .kind = CONFIG_IGNORED},
    {.key = "rope_grid_offset", .kind = CONFIG_IGNORED},
    {.key = "rope_grid_indexing", .kind = CONFIG_IGNORED},
    {.key = "use_fc_norm", .kind = CONFIG_IGNORED},
    {.key = "use_post_transformer_norm", .kind = CONFIG_IGNORED},
    {.key = "num_kv_heads", .kind = CONFIG_ABSENT},
    {.key = "qk_norm", .kind = CONFIG_ABSENT},
    {.key = "attn_only_layer_scale", .kind = CONFIG_ABSENT},
    {.key = "attn_pool_num_heads", .kind = CONFIG_ABSENT},
    {.key = "attn_pool_mlp_ratio", .kind = CONFIG_ABSENT},
    {.key = "dynamic_img_pad", .kind = CONFIG_ABSENT},
    {.key = "dynamic_img_size", .kind = CONFIG_IGNORED},
    {.key = "rope_shift_coords", .kind = CONFIG_IGNORED},
    {.key = "rope_jitter_coords", .kind = CONFIG_IGNORED},
    {.key = "rope_rescale_coords", .kind = CONFIG_IGNORED},
    {.key = "drop_rate", .kind = CONFIG_IGNORED},
    {.key = "pos_drop_rate", .kind = CONFIG_IGNORED},
    {.key = "patch_drop_rate", .kind = CONFIG_IGNORED},
    {.key = "proj_drop_rate", .kind = CONFIG_IGNORED},
    {.key = "attn_drop_rate", .kind = CONFIG_IGNORED},
    {.key = "drop_path_rate", .kind = CONFIG_IGNORED},
    {.key = "head_init_scale", .kind = CONFIG_IGNORED},
};

/* Sets *out where the key is there: to whether it is `second`, else it must be `first`. */
static enum status read_choice(const struct config *config, const char *key, const char *first, const char *second, bool *out) {
  const char *text = NULL;
  TRY(config_text(config, key, &text));
  if (!text) return STATUS_OK;
  *out = strcmp(text, second) == 0;
  if (*out || strcmp(text, first) == 0) return STATUS_OK;
  return config_reject(config, key, arena_printf(config->arena, "%s or %s", first, second));
}

static enum status read_tristate(const struct config *config, const char *key, int *out) {
  bool flag = *out != 0;
  if (!config_get(config, key)) return STATUS_OK;
  TRY(config_flag(config, key, &flag));
  *out = flag;
  return STATUS_OK;
}

static enum status read_rope(const struct config *config, struct rope *rope) {
  bool centred = rope->grid == ROPE_CENTRED_PERIODS, used = rope->grid != ROPE_NONE;
  if (!used) rope->temperature = rope->temperature != 0 ? rope->temperature : 10000;
  TRY(config_flag(config, "use_rot_pos_emb", &used));
  TRY(read_choice(config, "rope_type", "cat", "dinov3", &centred));
  TRY(read_choice(config, "rope_grid_indexing", "ij", "xy", &rope->columns_first));
  TRY(config_real(config, "rope_grid_offset", -1000, 1000, &rope->offset));
  rope->grid = !used ? ROPE_NONE : centred ? ROPE_CENTRED_PERIODS : ROPE_INDEX;
  return STATUS_OK;
}

static enum status read_choices(const struct config *config, struct fields *fields) {
  struct eva_config *eva = &fields->config;
  bool no_embed_class = !eva->embed_prefix, named_norm = false;
  TRY(read_choice(config, "global_pool", "token", "avg", &eva->mean_pool));
  TRY(read_choice(config, "attn_type", "eva", "rope", &fields->arguments.key_bias));
  TRY(read_choice(config, "norm_layer", "layernorm", "layernorm", &named_norm));
  TRY(config_flag(config, "no_embed_class", &no_embed_class));
  TRY(read_tristate(config, "use_fc_norm", &fields->arguments.fc_norm));
  TRY(read_tristate(config, "use_post_transformer_norm", &fields->arguments.final_norm));
  eva->embed_prefix = !no_embed_class;
  if (config_get(config, "init_values")) eva->layer_scale = true;
  return read_rope(config, &eva->rope);
}

static enum status check(const struct config *config, const struct eva_config *eva) {
  if (eva->dim % eva->heads != 0)
    return diag_fail(config->diag, STATUS_INPUT, "%s: %sembed_dim %lld does not divide into num_heads %lld", config->file,
                     config->where, (long long)eva->dim, (long long)eva->heads);
  if (!eva->mean_pool && !eva->class_token)
    return diag_fail(config->diag, STATUS_INPUT, "%s: %sclass_token is false, but the pooling is by it", config->file,
                     config->where);
  return STATUS_OK;
}

enum status eva_read_timm(const struct import *import, struct eva_config *out_config) {
  const struct config *config = import->config;
  struct fields fields;
  struct eva_config *eva = &fields.config;
  struct config args;
  bool known = eva_arch(import->arch, import->arena, eva, &fields.arguments);
  if (!known) return config_reject(config, "architecture", "an arch of EVA or DINOv3");
  struct timm_pretrained pretrained = {
      .channels = eva->channels, .height = eva->image[0], .width = eva->image[1], .classes = eva->classes};
  TRY(timm_read_pretrained(config, &pretrained));
  eva->origin = config->file;
  eva->channels = pretrained.channels;
  eva->image[0] = pretrained.height;
  eva->image[1] = pretrained.width;
  eva->classes = pretrained.classes;
  eva->picture = pretrained.picture;
  eva->labels = pretrained.labels;
  TRY(read_choice(config, "global_pool", "token", "avg", &eva->mean_pool));
  TRY(config_child(config, "model_args", &args));
  TRY(config_read(&args, model_args, sizeof model_args / sizeof *model_args, true, &fields));
  TRY(read_choices(&args, &fields));
  TRY(check(config, eva));
  eva_settle(eva, &fields.arguments);
  *out_config = *eva;
  return STATUS_OK;
}
