#include "eva/eva.h"

#include <string.h>

static const char *module(const struct eva *eva, enum eva_part part, int64_t block) {
  return tensors_module(eva->b.tensors, eva->config->keys->paths[part], block, "weight");
}

static const char *key(const struct eva *eva, enum eva_part part, int64_t block) {
  return tensors_spell(eva->b.tensors, eva->config->keys->paths[part], block, NULL);
}

int64_t eva_prefix(const struct eva_config *config) {
  return (config->class_token ? 1 : 0) + config->registers;
}

static enum status norm(struct eva *eva, enum eva_part part, int64_t block, int64_t dim, struct value **x) {
  const char *path = module(eva, part, block);
  return builder_layer_norm(&eva->b, path, path, dim, x);
}

/* Tokens that learned nothing of the image, patches and, where the model has them, their positions: (N, T, D). */
static enum status embeddings(struct eva *eva, struct value **x) {
  const struct eva_config *config = eva->config;
  struct builder *b = &eva->b;
  struct value *parts[3], *table = NULL;
  int64_t dim = config->dim, rows = config->embed_prefix ? eva_prefix(config) : 0;
  int prefix = 0;
  TRY(builder_patches(b, module(eva, EVA_PATCH, 0), config->channels, dim, config->patch, eva->grid, !config->pre_norm, x));
  if (config->class_token)
    TRY(builder_token(b, key(eva, EVA_CLASS_TOKEN, 0), builder_shape(3, 1, 1, dim, 0), 1, dim, &parts[prefix++]));
  if (config->registers)
    TRY(builder_token(b, key(eva, EVA_REGISTERS, 0), builder_shape(3, 1, config->registers, dim, 0), config->registers, dim,
                      &parts[prefix++]));
  if (config->positions) {
    const int64_t from[] = {config->image[0] / config->patch[0], config->image[1] / config->patch[1]};
    TRY(builder_positions(b, key(eva, EVA_POSITION, 0), 3, rows, from, eva->grid, dim, RESAMPLE_ANTIALIAS, &table));
  }
  if (table && !config->embed_prefix) *x = builder_binary(b, "patches", OP_add, *x, table);
  parts[prefix] = *x;
  if (prefix) *x = builder_concat(b, table && config->embed_prefix ? "tokens" : "embeddings", parts, prefix + 1, 1);
  if (table && config->embed_prefix) *x = builder_binary(b, "embeddings", OP_add, *x, table);
  return config->pre_norm ? norm(eva, EVA_PRE_NORM, 0, dim, x) : STATUS_OK;
}

/* One pair of caches for all blocks. */
static void rotary_caches(struct eva *eva) {
  const struct eva_config *config = eva->config;
  if (config->rope.grid == ROPE_NONE) return;
  int64_t prefix = eva_prefix(config), head_dim = config->dim / config->heads;
  struct shape shape = builder_shape(3, 1, prefix + eva->grid[0] * eva->grid[1], head_dim / 2, 0);
  size_t count = (size_t)shape_elements(&shape);
  float *cos = arena_array(eva->b.graph->arena, count, sizeof *cos),
        *sin = arena_array(eva->b.graph->arena, count, sizeof *sin);
  rope_caches(&config->rope, eva->grid, prefix, head_dim, cos, sin);
  eva->cos = builder_table(&eva->b, "rope.cos", shape, cos);
  eva->sin = builder_table(&eva->b, "rope.sin", shape, sin);
}

static struct value *rotate(struct eva *eva, struct value *x) {
  struct value *inputs[] = {x, eva->cos, eva->sin};
  struct node *node;
  if (!eva->cos) return x;
  x = builder_node(&eva->b, builder_join(&eva->b, x->name, "rotated"), OP_rotary_embedding, inputs, 3, &node);
  node_set_int(eva->b.graph, node, "num_heads", eva->config->heads);
  if (!eva->config->rope.halves) node_set_int(eva->b.graph, node, "interleaved", 1);
  return x;
}

/* The bias of the joint projection: nothing for the keys, whose bias would cancel in the softmax. */
static enum status joint_bias(struct eva *eva, int64_t block, struct value **out_bias) {
  static const enum eva_part parts[] = {EVA_QUERY_BIAS, EVA_QKV, EVA_VALUE_BIAS};
  struct builder *b = &eva->b;
  bool apart = eva->config->qkv == EVA_QKV_BIAS_APART;
  int64_t dim = eva->config->dim;
  const char *path = module(eva, EVA_QKV, block);
  struct shape part = builder_shape(1, dim, 0, 0, 0), whole = builder_shape(1, 3 * dim, 0, 0, 0);
  float *bias = arena_array(b->graph->arena, (size_t)(3 * dim), sizeof *bias);
  const void *data;
  if (!apart) {
    TRY(tensors_take(b->tensors, builder_join(b, path, "bias"), &whole, ROLE_BIAS, b->origin, &data));
    memcpy(bias, data, (size_t)(3 * dim) * sizeof *bias);
    memset(bias + dim, 0, (size_t)dim * sizeof *bias);
  }
  for (int i = 0; apart && i < 3; i += 2) {
    TRY(tensors_take(b->tensors, key(eva, parts[i], block), &part, ROLE_BIAS, b->origin, &data));
    memcpy(bias + i * dim, data, (size_t)dim * sizeof *bias);
  }
  *out_bias = builder_table(b, builder_join(b, path, "bias"), whole, bias);
  return STATUS_OK;
}

static enum status project(struct eva *eva, int64_t block, struct value *x, struct value **out_parts) {
  static const char *const names[] = {"q", "k", "v"};
  const struct eva_config *config = eva->config;
  struct builder *b = &eva->b;
  if (config->qkv == EVA_QKV_APART) {
    for (int i = 0; i < 3; i++) {
      out_parts[i] = x;
      const char *path = module(eva, (enum eva_part)(EVA_QUERY + i), block);
      TRY(builder_linear(b, path, config->dim, config->dim, config->bias[i], &out_parts[i]));
    }
    return STATUS_OK;
  }
  const char *path = module(eva, EVA_QKV, block);
  bool own_bias = config->qkv == EVA_QKV_JOINT && config->bias[0];
  TRY(builder_linear(b, path, config->dim, 3 * config->dim, own_bias, &x));
  if (config->bias[0] && !own_bias) {
    struct value *bias;
    TRY(joint_bias(eva, block, &bias));
    x = builder_binary(b, builder_join(b, path, "biased"), OP_add, x, bias);
  }
  builder_split(b, path, x, 2, names, 3, out_parts);
  return STATUS_OK;
}

static enum status attention(struct eva *eva, int64_t block, const char *path, struct value **x) {
  const struct eva_config *config = eva->config;
  struct value *q_k_v[3];
  TRY(project(eva, block, *x, q_k_v));
  for (int i = 0; i < 2; i++) q_k_v[i] = rotate(eva, q_k_v[i]);
  path = builder_join(&eva->b, path, "attention");
  builder_attention_map(&eva->b, block, path, q_k_v, NULL, config->heads, builder_head_scale(config->dim / config->heads));
  *x = builder_attention(&eva->b, path, q_k_v, NULL, config->heads, 0);
  if (config->attention_norm) TRY(norm(eva, EVA_ATTENTION_NORM, block, config->dim, x));
  return builder_linear(&eva->b, module(eva, EVA_PROJECTION, block), config->dim, config->dim, config->projection_bias, x);
}

static enum status mlp(struct eva *eva, int64_t block, const char *path, struct value **x) {
  static const char *const names[] = {"gate", "up"};
  const struct eva_config *config = eva->config;
  struct builder *b = &eva->b;
  struct value *parts[2] = {*x, *x};
  const char *act = builder_join(b, path, "act");
  switch (config->form) {
  case EVA_MLP_PLAIN:
    TRY(builder_linear(b, module(eva, EVA_FC1, block), config->dim, config->mlp, config->mlp_bias, x));
    *x = builder_activation(b, act, config->activation, *x);
    break;
  case EVA_MLP_PACKED:
    TRY(builder_linear(b, module(eva, EVA_FC1, block), config->dim, 2 * config->mlp, config->mlp_bias, x));
    builder_split(b, module(eva, EVA_FC1, block), *x, 2, names, 2, parts);
    break;
  case EVA_MLP_GATED:
    TRY(builder_linear(b, module(eva, EVA_GATE, block), config->dim, config->mlp, config->mlp_bias, &parts[0]));
    TRY(builder_linear(b, module(eva, EVA_UP, block), config->dim, config->mlp, config->mlp_bias, &parts[1]));
    break;
  }
  if (config->form != EVA_MLP_PLAIN) {
    struct value *gate = builder_activation(b, act, config->activation, parts[0]);
    *x = builder_binary(b, builder_join(b, path, "gated"), OP_mul, gate, parts[1]);
  }
  if (config->mlp_norm) TRY(norm(eva, EVA_MLP_NORM, block, config->mlp, x));
  return builder_linear(b, module(eva, EVA_FC2, block), config->mlp, config->dim, config->mlp_bias, x);
}

static enum status scale(struct eva *eva, enum eva_part part, int64_t block, struct value **x) {
  if (!eva->config->layer_scale) return STATUS_OK;
  const char *name = key(eva, part, block);
  return builder_scale(&eva->b, name, builder_join(&eva->b, name, "mul"), eva->config->dim, x);
}

static enum status add_block(struct eva *eva, int64_t index, struct value **x) {
  bool post = eva->config->post_norm;
  int64_t dim = eva->config->dim;
  const char *path = module(eva, EVA_NORM1, index), *dot = strrchr(path, '.');
  path = arena_strndup(eva->b.graph->arena, path, (size_t)(dot - path));
  struct value *residual = *x;
  if (!post) TRY(norm(eva, EVA_NORM1, index, dim, x));
  TRY(attention(eva, index, path, x));
  if (post) TRY(norm(eva, EVA_NORM1, index, dim, x));
  TRY(scale(eva, EVA_SCALE1, index, x));
  *x = residual = builder_binary(&eva->b, builder_join(&eva->b, path, "residual1"), OP_add, residual, *x);
  if (!post) TRY(norm(eva, EVA_NORM2, index, dim, x));
  TRY(mlp(eva, index, path, x));
  if (post) TRY(norm(eva, EVA_NORM2, index, dim, x));
  TRY(scale(eva, EVA_SCALE2, index, x));
  *x = builder_binary(&eva->b, builder_join(&eva->b, path, "residual2"), OP_add, residual, *x);
  return STATUS_OK;
}

static enum status head(struct eva *eva, struct value *x) {
  const struct eva_config *config = eva->config;
  struct builder *b = &eva->b;
  int64_t prefix = eva_prefix(config), patches = eva->grid[0] * eva->grid[1];
  if (config->norm) TRY(norm(eva, EVA_NORM, 0, config->dim, &x));
  struct value *tokens = x, *logits;
  if (config->mean_pool) {
    if (prefix) x = builder_slice(b, "pool.patches", x, 1, prefix, prefix + patches);
    x = builder_mean(b, "pool", x, 1);
  } else {
    x = builder_take(b, "pool", x, 1, 0);
  }
  if (config->pooled_norm) TRY(norm(eva, EVA_POOLED_NORM, 0, config->dim, &x));
  logits = x;
  if (config->classes) {
    TRY(builder_gemm(b, module(eva, EVA_HEAD, 0), "logits", config->dim, config->classes, true, &logits));
    builder_offer(b, "logits", logits);
  }
  builder_offer(b, config->pooled, x);
  builder_offer(b, "tokens", tokens);
  return STATUS_OK;
}

enum status eva_build(struct eva *eva, struct value *x) {
  TRY(embeddings(eva, &x));
  rotary_caches(eva); /* of sizes that the tensors have confirmed */
  for (int64_t i = 0; i < eva->config->depth; i++) TRY(add_block(eva, i, &x));
  return head(eva, x);
}
