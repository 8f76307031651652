#include "vit.h"

#include <string.h>

const char *vit_module(const struct vit *vit, enum part part, int64_t block) {
  return tensors_module(vit->tensors, vit->config->family->keys[part], block, "weight");
}

const char *vit_key(const struct vit *vit, enum part part, int64_t block) {
  return tensors_spell(vit->tensors, vit->config->family->keys[part], block, NULL);
}

int64_t vit_prefix(const struct vit_config *config) {
  return (config->class_token ? 1 : 0) + (config->distilled ? 1 : 0);
}

static enum status position_table(struct vit *vit, int64_t prefix, struct value **out_table) {
  const struct vit_config *config = vit->config;
  int64_t from[] = {config->image_height / config->patch_height, config->image_width / config->patch_width};
  return builder_positions(&vit->b, vit_key(vit, PART_POSITION, 0), 3, prefix, from, vit->grid, config->dim,
                           config->family->resample, out_table);
}

enum status vit_embeddings(struct vit *vit, struct value **x) {
  const struct vit_config *config = vit->config;
  struct builder *b = &vit->b;
  const int64_t patch[] = {config->patch_height, config->patch_width};
  struct shape stored = builder_shape(3, 1, 1, config->dim, 0);
  struct value *parts[3], *table;
  int prefix = 0;
  TRY(builder_patches(b, vit_module(vit, PART_PATCH, 0), config->channels, config->dim, patch, vit->grid, true, x));
  if (config->class_token) TRY(builder_token(b, vit_key(vit, PART_CLASS_TOKEN, 0), stored, 1, config->dim, &parts[prefix++]));
  if (config->distilled)
    TRY(builder_token(b, vit_key(vit, PART_DISTILLATION_TOKEN, 0), stored, 1, config->dim, &parts[prefix++]));
  TRY(position_table(vit, config->embed_class ? prefix : 0, &table));
  if (!config->embed_class) *x = builder_binary(b, "patches", OP_add, *x, table);
  parts[prefix] = *x;
  if (prefix) *x = builder_concat(b, config->embed_class ? "tokens" : "embeddings", parts, prefix + 1, 1);
  if (config->embed_class) *x = builder_binary(b, "embeddings", OP_add, *x, table);
  return STATUS_OK;
}

/* "blocks.0.norm1" is of the block "blocks.0". */
static const char *block_path(const struct vit *vit, int64_t block) {
  const char *path = vit_module(vit, PART_NORM1, block), *dot = strrchr(path, '.');
  return arena_strndup(vit->b.graph->arena, path, (size_t)(dot - path));
}

static enum status attention(struct vit *vit, int64_t block, struct value **x) {
  static const char *const names[] = {"q", "k", "v"};
  const struct vit_config *config = vit->config;
  int64_t inner = config->heads * config->head_dim;
  struct builder *b = &vit->b;
  struct value *q_k_v[3];
  if (config->family->keys[PART_QKV]) {
    const char *path = vit_module(vit, PART_QKV, block);
    TRY(builder_linear(b, path, config->dim, 3 * inner, config->qkv_bias, x));
    builder_split(b, path, *x, 2, names, 3, q_k_v);
  } else {
    for (int i = 0; i < 3; i++) {
      q_k_v[i] = *x;
      TRY(builder_linear(b, vit_module(vit, (enum part)(PART_QUERY + i), block), config->dim, inner, config->qkv_bias,
                         &q_k_v[i]));
    }
  }
  *x = builder_attention(b, builder_join(b, block_path(vit, block), "attention"), q_k_v, NULL, config->heads, config->scale);
  return builder_linear(b, vit_module(vit, PART_PROJECTION, block), inner, config->dim, true, x);
}

static enum status layer_scale(struct vit *vit, enum part part, int64_t block, struct value **x) {
  if (!vit->config->layer_scale) return STATUS_OK;
  const char *key = vit_key(vit, part, block);
  return builder_scale(&vit->b, key, builder_join(&vit->b, key, "mul"), vit->config->dim, x);
}

static enum status norm(struct vit *vit, enum part part, int64_t block, struct value **x) {
  const char *path = vit_module(vit, part, block);
  return builder_layer_norm(&vit->b, path, path, vit->config->dim, x);
}

enum status vit_block(struct vit *vit, int64_t index, struct value **x) {
  const struct vit_config *config = vit->config;
  struct builder *b = &vit->b;
  const char *path = block_path(vit, index);
  struct value *residual = *x;
  TRY(norm(vit, PART_NORM1, index, x));
  TRY(attention(vit, index, x));
  TRY(layer_scale(vit, PART_SCALE1, index, x));
  *x = residual = builder_binary(b, builder_join(b, path, "residual1"), OP_add, residual, *x);
  TRY(norm(vit, PART_NORM2, index, x));
  TRY(builder_linear(b, vit_module(vit, PART_FC1, index), config->dim, config->mlp, true, x));
  *x = builder_activation(b, builder_join(b, path, "gelu"), config->activation, *x);
  TRY(builder_linear(b, vit_module(vit, PART_FC2, index), config->mlp, config->dim, true, x));
  TRY(layer_scale(vit, PART_SCALE2, index, x));
  *x = builder_binary(b, builder_join(b, path, "residual2"), OP_add, residual, *x);
  return STATUS_OK;
}
