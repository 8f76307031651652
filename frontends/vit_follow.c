#include "vit.h"

static const struct weight *find_rank(const struct vit_config *config, const struct tensors *tensors, enum part part,
                                      const char *suffix, int rank) {
  const struct weight *weight = vit_find(config, tensors, part, 0, suffix);
  return weight && weight->shape.rank == rank ? weight : NULL;
}

static bool has(const struct vit_config *config, const struct tensors *tensors, enum part part, const char *suffix) {
  return vit_find(config, tensors, part, 0, suffix) != NULL;
}

/* Which grid the position table is of. When none fits, the config stays, and taking the table reports both shapes. */
static void follow_table(struct vit_config *config, const struct tensors *tensors, int64_t height, int64_t width) {
  const struct weight *table = find_rank(config, tensors, PART_POSITION, NULL, 3);
  if (!table) return;
  int64_t rows = table->shape.dim[1], prefix = vit_prefix(config);
  int64_t patches = (config->image_height / config->patch_height) * (config->image_width / config->patch_width);
  int64_t wanted = (height / config->patch_height) * (width / config->patch_width);
  if (config->embed_class && prefix && rows == patches) config->embed_class = false;
  if (config->embed_class) rows -= prefix;
  if (rows == patches || rows != wanted) return;
  config->image_height = height;
  config->image_width = width;
}

void vit_follow_tensors(struct vit_config *config, const struct tensors *tensors, int64_t height, int64_t width) {
  if (!config->distilled && has(config, tensors, PART_DISTILLATION_TOKEN, NULL) && config->family == &families[FAMILY_timm])
    config->distilled = config->two_heads = true;
  if (!config->classes_given) {
    const struct weight *head = find_rank(config, tensors, PART_HEAD, "weight", 2);
    config->classes = head ? head->shape.dim[0] : 0;
  }
  if (!config->pre_logits_given) {
    const struct weight *linear = find_rank(config, tensors, PART_PRE_LOGITS, "weight", 2);
    config->pre_logits = linear && !config->two_heads ? linear->shape.dim[0] : 0;
  }
  if (!config->qkv_bias_given) {
    enum part part = config->family->keys[PART_QKV] ? PART_QKV : PART_QUERY;
    config->qkv_bias = has(config, tensors, part, "bias");
  }
  if (!config->norms_given) {
    config->pooled_norm = has(config, tensors, PART_POOLED_NORM, "weight");
    config->norm = has(config, tensors, PART_NORM, "weight") || !config->pooled_norm;
    /* timm normalises after pooling when it pools by the mean. */
    if (!config->norm) config->mean_pool = true;
  }
  config->layer_scale = config->layer_scale || has(config, tensors, PART_SCALE1, NULL);
  follow_table(config, tensors, height, width);
}

static int64_t square_root(int64_t x) {
  int64_t root = 0;
  while ((root + 1) * (root + 1) <= x) root++;
  return root;
}

/* Image size of a table for a square grid; with a row for the prefix tokens, or without. */
static enum status infer_image(struct vit_config *config, const struct tensors *tensors) {
  const struct weight *table = find_rank(config, tensors, PART_POSITION, NULL, 3);
  int64_t rows = table ? table->shape.dim[1] : 0, prefix = vit_prefix(config);
  if (rows <= prefix || rows > (int64_t)1 << 28)
    return diag_fail(tensors->diag, STATUS_INPUT, "%s: %s is %s, expected [1, tokens, %lld]", tensors->file,
                     tensors_spell(tensors, config->family->keys[PART_POSITION], 0, NULL),
                     table ? shape_text(tensors->arena, &table->shape) : "missing", (long long)config->dim);
  int64_t side = square_root(rows - prefix);
  if (side * side != rows - prefix) {
    side = square_root(rows);
    config->embed_class = false;
  }
  if (side * side != rows - (config->embed_class ? prefix : 0))
    return diag_fail(tensors->diag, STATUS_INPUT, "%s: %s has %lld rows, which is no square grid: give --arch", tensors->file,
                     tensors_spell(tensors, config->family->keys[PART_POSITION], 0, NULL), (long long)rows);
  config->image_height = side * config->patch_height;
  config->image_width = side * config->patch_width;
  return STATUS_OK;
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
  config->mlp = fc1->shape.dim[0];
  config->class_token = has(config, tensors, PART_CLASS_TOKEN, NULL);
  config->distilled = has(config, tensors, PART_DISTILLATION_TOKEN, NULL);
  config->two_heads = config->distilled && has(config, tensors, PART_DISTILLATION_HEAD, "weight");
  while (vit_find(config, tensors, PART_NORM1, config->depth, "weight")) config->depth++;
  config->heads = arch_heads(family, config->dim, config->depth, config->mlp);
  if (config->heads == 0)
    return diag_fail(tensors->diag, STATUS_INPUT,
                     "%s: cannot tell the number of heads of a model of width %lld, depth %lld, MLP %lld: give --arch",
                     tensors->file, (long long)config->dim, (long long)config->depth, (long long)config->mlp);
  config->head_dim = config->dim / config->heads;
  config->arch = arena_printf(tensors->arena, "ViT %lld wide", (long long)config->dim);
  return infer_image(config, tensors);
}
