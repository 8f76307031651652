#include "vit.h"

#include <string.h>

const char *vit_module(const struct vit *vit, enum part part, int64_t block) {
  return tensors_module(vit->tensors, vit->config->family->keys[part], block, "weight");
}

const char *vit_key(const struct vit *vit, enum part part, int64_t block) {
  return tensors_spell(vit->tensors, vit->config->family->keys[part], block, NULL);
}

int64_t vit_prefix(const struct vit_config *config) {
  return (config->class_token ? 1 : 0) + (config->distilled ? 1 : 0) + config->registers;
}

void vit_source_grid(const struct vit_config *config, int64_t *out_grid) {
  out_grid[0] = config->image_height / config->patch_height;
  out_grid[1] = config->image_width / config->patch_width;
}

enum resample vit_resample(const struct vit_config *config) {
  return config->linear_table ? RESAMPLE_LINEAR : config->family->resample;
}

/* Rows of the position table before those of the patches. */
static int64_t prefix_rows(const struct vit_config *config) {
  if (!config->embed_class) return 0;
  return vit_prefix(config) - (config->embed_registers ? 0 : config->registers);
}

/* What tokens and tables are stored as differs by framework: (1, count, D), (count, D) or (D). */
static struct shape stored_shape(const struct vit *vit, enum part part, int64_t count) {
  const struct weight *weight = vit_find(vit->config, vit->tensors, part, 0, NULL);
  int64_t dim = vit->config->dim;
  if (weight && weight->shape.rank == 1 && count == 1) return builder_shape(1, dim, 0, 0, 0);
  if (weight && weight->shape.rank == 2) return builder_shape(2, count, dim, 0, 0);
  return builder_shape(3, 1, count, dim, 0);
}

static enum status token(struct vit *vit, enum part part, int64_t count, struct value **out_tokens) {
  return builder_token(&vit->b, vit_key(vit, part, 0), stored_shape(vit, part, count), count, vit->config->dim, out_tokens);
}

static enum status position_table(struct vit *vit, struct value **out_table) {
  const struct vit_config *config = vit->config;
  int64_t from[2], rows = prefix_rows(config);
  vit_source_grid(config, from);
  int rank = stored_shape(vit, PART_POSITION, rows + from[0] * from[1]).rank;
  return builder_positions(&vit->b, vit_key(vit, PART_POSITION, 0), rank, rows, from, vit->grid, config->dim,
                           vit_resample(config), out_table);
}

/* A table for some of the prefix tokens: its first rows go to these, the rest to the patches. */
static void add_positions(struct vit *vit, const struct value *table, int64_t rows, struct value **prefix,
                          struct value **patches) {
  struct builder *b = &vit->b;
  int64_t dim = vit->config->dim;
  const float *data = table->data;
  struct value *first = builder_table(b, builder_join(b, table->name, "prefix"), builder_shape(3, 1, rows, dim, 0), data);
  struct value *rest = builder_table(b, builder_join(b, table->name, "patches"),
                                     builder_shape(3, 1, table->shape.dim[1] - rows, dim, 0), data + rows * dim);
  *prefix = builder_binary(b, "prefix", OP_add, *prefix, first);
  *patches = builder_binary(b, "patches", OP_add, *patches, rest);
}

enum status vit_embeddings(struct vit *vit, struct value **x) {
  const struct vit_config *config = vit->config;
  struct builder *b = &vit->b;
  const int64_t patch[] = {config->patch_height, config->patch_width};
  struct value *parts[4], *table = NULL;
  int64_t rows = config->no_position ? 0 : prefix_rows(config);
  int count = 0;
  TRY(builder_patches(b, vit_module(vit, PART_PATCH, 0), config->channels, config->dim, patch, vit->grid,
                      !config->no_patch_bias, x));
  if (config->class_token) TRY(token(vit, PART_CLASS_TOKEN, 1, &parts[count++]));
  if (config->distilled) TRY(token(vit, PART_DISTILLATION_TOKEN, 1, &parts[count++]));
  if (!config->no_position) TRY(position_table(vit, &table));
  if (table && rows == 0)
    *x = builder_binary(b, "patches", OP_add, *x, table);
  else if (table && rows < vit_prefix(config))
    add_positions(vit, table, rows, &parts[0], x);
  bool whole = table && rows == vit_prefix(config) && rows > 0;
  if (config->registers) TRY(token(vit, PART_REGISTERS, config->registers, &parts[count++]));
  parts[count] = *x;
  if (count) *x = builder_concat(b, whole ? "tokens" : "embeddings", parts, count + 1, 1);
  if (whole) *x = builder_binary(b, "embeddings", OP_add, *x, table);
  if (!config->pre_norm) return STATUS_OK;
  const char *path = vit_module(vit, PART_PRE_NORM, 0);
  return builder_layer_norm(b, path, path, config->dim, x);
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

/* fc2(f(fc1 x)), or with a gate fc2(f(a) b) where fc1 makes a and b side by side. */
static enum status mlp(struct vit *vit, int64_t block, const char *path, struct value **x) {
  static const char *const names[] = {"gate", "value"};
  const struct vit_config *config = vit->config;
  struct builder *b = &vit->b;
  const char *fc1 = vit_module(vit, PART_FC1, block);
  const char *name = builder_join(b, path, config->gated ? "silu" : "gelu");
  TRY(builder_linear(b, fc1, config->dim, config->gated ? 2 * config->mlp : config->mlp, true, x));
  if (config->gated) {
    struct value *halves[2];
    builder_split(b, fc1, *x, 2, names, 2, halves);
    *x = builder_activation(b, name, config->activation, halves[0]);
    *x = builder_binary(b, builder_join(b, path, "gated"), OP_mul, *x, halves[1]);
  } else {
    *x = builder_activation(b, name, config->activation, *x);
  }
  return builder_linear(b, vit_module(vit, PART_FC2, block), config->mlp, config->dim, true, x);
}

enum status vit_block(struct vit *vit, int64_t index, struct value **x) {
  struct builder *b = &vit->b;
  struct value *residual = *x;
  const char *path = vit_module(vit, PART_NORM1, index), *dot = strrchr(path, '.');
  path = arena_strndup(b->graph->arena, path, (size_t)(dot - path));
  TRY(norm(vit, PART_NORM1, index, x));
  TRY(vit_attention(vit, index, x));
  TRY(layer_scale(vit, PART_SCALE1, index, x));
  *x = residual = builder_binary(b, builder_join(b, path, "residual1"), OP_add, residual, *x);
  TRY(norm(vit, PART_NORM2, index, x));
  TRY(mlp(vit, index, path, x));
  TRY(layer_scale(vit, PART_SCALE2, index, x));
  *x = builder_binary(b, builder_join(b, path, "residual2"), OP_add, residual, *x);
  return STATUS_OK;
}
