#include "vit.h"

static const struct weight *find_rank(const struct vit_config *config, const struct tensors *tensors, enum part part,
                                      const char *suffix, int rank) {
  const struct weight *weight = vit_find(config, tensors, part, 0, suffix);
  return weight && weight->shape.rank == rank ? weight : NULL;
}

static bool has(const struct vit_config *config, const struct tensors *tensors, enum part part, const char *suffix) {
  return vit_find(config, tensors, part, 0, suffix) != NULL;
}

static int64_t extent(const struct weight *weight, int axis) {
  return weight ? weight->shape.dim[axis < 0 ? weight->shape.rank + axis : axis] : 0;
}

/* The table's rows for each of the prefix tokens: some, all or none, as its length says for this grid. */
static bool fits_grid(struct vit_config *config, int64_t rows, int64_t patches) {
  int64_t all = vit_prefix(config), learned = all - config->registers;
  if (rows == patches + (config->embed_class ? config->embed_registers ? all : learned : 0)) return true;
  if (config->shape_given || (rows != patches && rows != patches + learned && rows != patches + all)) return false;
  config->embed_class = rows != patches;
  config->embed_registers = rows == patches + all && config->registers;
  return true;
}

/* Which grid the position table is of. When none fits, the config stays, and taking the table reports both shapes. */
static void follow_table(struct vit_config *config, const struct tensors *tensors, int64_t height, int64_t width) {
  const struct weight *table = vit_find(config, tensors, PART_POSITION, 0, NULL);
  int64_t grid[2];
  if (!table || table->shape.rank < 2) return;
  vit_source_grid(config, grid);
  int64_t rows = extent(table, -2), wanted = (height / config->patch_height) * (width / config->patch_width);
  if (fits_grid(config, rows, grid[0] * grid[1]) || !fits_grid(config, rows, wanted)) return;
  config->image_height = height;
  config->image_width = width;
}

/* What else a model of timm's or of an original checkpoint has. What its arch has and the tensors do not is missed later. */
static void follow_parts(struct vit_config *config, const struct tensors *tensors) {
  const struct weight *fc1 = find_rank(config, tensors, PART_FC1, "weight", 2);
  const struct weight *fc2 = find_rank(config, tensors, PART_FC2, "weight", 2);
  const struct weight *registers = find_rank(config, tensors, PART_REGISTERS, NULL, 3);
  config->gated = fc1 && fc2 && extent(fc1, 0) == 2 * extent(fc2, 1);
  if (config->gated) config->activation = ACTIVATION_SILU;
  if (config->gated && config->mlp == 2 * extent(fc2, 1)) config->mlp /= 2; /* timm counts both halves */
  if (registers) config->registers = extent(registers, 1);
  config->no_patch_bias = !has(config, tensors, PART_PATCH, "bias");
  config->pre_norm = config->pre_norm || has(config, tensors, PART_PRE_NORM, "weight");
  config->qk_norm = config->qk_norm || has(config, tensors, PART_QUERY_NORM, "weight");
  config->shared_relative = config->shared_relative || has(config, tensors, PART_SHARED_RELATIVE, NULL);
  config->relative = has(config, tensors, PART_RELATIVE, NULL) || (config->relative && !config->shared_relative);
  config->no_position = (config->relative || config->shared_relative) && !has(config, tensors, PART_POSITION, NULL);
  config->layer_scale = config->layer_scale || has(config, tensors, PART_SCALE1, NULL);
  config->embed = has(config, tensors, PART_EMBED, "weight") ? extent(vit_find(config, tensors, PART_EMBED, 0, "weight"), 0)
                                                             : extent(find_rank(config, tensors, PART_EMBED_FLAT, NULL, 2), 1);
  if (has(config, tensors, PART_PROBE, NULL)) config->pool = POOL_MAP;
}

/* Which of the norms there are; timm normalises after pooling when it pools by the mean. */
static void follow_norms(struct vit_config *config, const struct tensors *tensors) {
  config->pooled_norm = has(config, tensors, PART_POOLED_NORM, "weight");
  config->norm = has(config, tensors, PART_NORM, "weight") || !config->pooled_norm;
  if (!config->norm && !has(config, tensors, PART_PRE_NORM, "weight")) config->pool = POOL_MEAN;
}

void vit_follow_tensors(struct vit_config *config, const struct tensors *tensors, int64_t height, int64_t width) {
  if (!config->distilled && has(config, tensors, PART_DISTILLATION_TOKEN, NULL) && config->family == &families[FAMILY_timm])
    config->distilled = config->two_heads = true;
  if (!config->classes_given) config->classes = extent(find_rank(config, tensors, PART_HEAD, "weight", 2), 0);
  if (!config->pre_logits_given) {
    const struct weight *linear = find_rank(config, tensors, PART_PRE_LOGITS, "weight", 2);
    config->pre_logits = linear && !config->two_heads ? extent(linear, 0) : 0;
  }
  if (!config->qkv_bias_given) {
    enum part part = config->family->keys[PART_QKV] ? PART_QKV : PART_QUERY;
    config->qkv_bias = has(config, tensors, part, "bias") || has(config, tensors, PART_QUERY_BIAS, NULL);
  }
  if (!config->norms_given) follow_norms(config, tensors);
  if (!config->shape_given) follow_parts(config, tensors);
  follow_table(config, tensors, height, width);
}

static int64_t square_root(int64_t x) {
  int64_t root = 0;
  while ((root + 1) * (root + 1) <= x) root++;
  return root;
}

/* Image size of a table for a square grid, with rows for the prefix tokens or without. */
static enum status infer_image(struct vit_config *config, const struct tensors *tensors) {
  const struct weight *table = vit_find(config, tensors, PART_POSITION, 0, NULL);
  const struct weight *relative = vit_find(config, tensors, PART_RELATIVE, 0, NULL);
  if (!relative) relative = vit_find(config, tensors, PART_SHARED_RELATIVE, 0, NULL);
  int64_t all = vit_prefix(config), side = 0;
  int64_t rows = table && table->shape.rank >= 2 ? extent(table, -2) : 0;
  if (!table && relative && extent(relative, 0) < (int64_t)1 << 28) {
    /* (2 side - 1)^2 distances, and three for the class token */
    side = (square_root(extent(relative, 0) - 3) + 1) / 2;
  } else if (rows > 0 && rows < (int64_t)1 << 28) {
    const int64_t prefixes[] = {all - config->registers, all, 0};
    for (int i = 0; i < 3 && side == 0; i++) {
      int64_t root = square_root(rows - prefixes[i]);
      if (root * root == rows - prefixes[i]) side = root;
    }
  }
  if (side < 1)
    return diag_fail(tensors->diag, STATUS_INPUT, "%s: %s is %s, which is no table for a square grid: give --arch",
                     tensors->file, tensors_spell(tensors, config->family->keys[PART_POSITION], 0, NULL),
                     table ? shape_text(tensors->arena, &table->shape) : "missing");
  config->image_height = side * config->patch_height;
  config->image_width = side * config->patch_width;
  return STATUS_OK;
}

/* OpenAI's towers have QuickGELU and most others of the same keys GELU; SigLIP's differ by size. */
static enum status check_activation(const struct vit_config *config, const struct tensors *tensors) {
  bool tower = config->family == &families[FAMILY_open_clip] || config->family == &families[FAMILY_clip];
  if (config->family == &families[FAMILY_siglip] || (!tower && !has(config, tensors, PART_PROBE, NULL))) return STATUS_OK;
  return diag_fail(
      tensors->diag, STATUS_INPUT,
      "%s: cannot tell GELU from its approximations by the tensors: give --arch, such as vit_base_patch16_clip_224, "
      "vit_base_patch16_clip_quickgelu_224 (OpenAI's weights) or vit_base_patch16_siglip_224",
      tensors->file);
}

enum status vit_infer_config(struct vit_config *out_config, const struct family *family, const struct tensors *tensors) {
  struct vit_config *config = out_config;
  *config = (struct vit_config){.family = family, .embed_class = true, .origin = "the rest of the file"};
  const struct weight *patch = find_rank(config, tensors, PART_PATCH, "weight", 4);
  const struct weight *fc1 = find_rank(config, tensors, PART_FC1, "weight", 2);
  if (!patch || !fc1 || shape_elements(&patch->shape) == 0)
    return diag_fail(tensors->diag, STATUS_INPUT, "%s: expected %s of rank 4 and %s of rank 2", tensors->file,
                     tensors_spell(tensors, family->keys[PART_PATCH], 0, "weight"),
                     tensors_spell(tensors, family->keys[PART_FC1], 0, "weight"));
  config->patch_height = patch->shape.dim[2];
  config->patch_width = patch->shape.dim[3];
  config->channels = patch->shape.dim[1];
  config->dim = patch->shape.dim[0];
  config->mlp = extent(vit_find(config, tensors, PART_FC2, 0, "weight"), 1);
  TRY(check_activation(config, tensors));
  if (config->family == &families[FAMILY_siglip]) config->activation = ACTIVATION_GELU_TANH;
  config->class_token = has(config, tensors, PART_CLASS_TOKEN, NULL);
  if (!config->class_token) config->pool = POOL_MEAN;
  config->distilled = has(config, tensors, PART_DISTILLATION_TOKEN, NULL);
  config->two_heads = config->distilled && has(config, tensors, PART_DISTILLATION_HEAD, "weight");
  config->registers = extent(find_rank(config, tensors, PART_REGISTERS, NULL, 3), 1);
  while (vit_find(config, tensors, PART_NORM1, config->depth, "weight")) config->depth++;
  config->heads = has(config, tensors, PART_RELATIVE, NULL) ? extent(find_rank(config, tensors, PART_RELATIVE, NULL, 2), 1)
                                                            : arch_heads(config);
  if (config->heads == 0 || config->dim % config->heads != 0)
    return diag_fail(
        tensors->diag, STATUS_INPUT,
        "%s: cannot tell the number of heads: give --arch, by name or as vit:dim=%lld,depth=%lld,heads=N,mlp=%lld%s",
        tensors->file, (long long)config->dim, (long long)config->depth, (long long)config->mlp,
        config->class_token ? "" : ",class_token=0,pool=mean");
  config->head_dim = config->dim / config->heads;
  config->arch = arena_printf(tensors->arena, "ViT %lld wide", (long long)config->dim);
  return infer_image(config, tensors);
}
