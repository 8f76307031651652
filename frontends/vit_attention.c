#include "vit.h"

#include <string.h>

/* The biases of queries and values with none for the keys between, as the source joins them. */
static enum status joined_bias(struct vit *vit, int64_t block, int64_t inner, const char *path, struct value **out_bias) {
  static const enum part parts[] = {PART_QUERY_BIAS, PART_VALUE_BIAS};
  struct shape shape = builder_shape(1, inner, 0, 0, 0);
  float *joined = arena_array(vit->b.graph->arena, (size_t)(3 * inner), sizeof *joined);
  for (int i = 0; i < 2; i++) {
    const void *data;
    TRY(tensors_take(vit->tensors, vit_key(vit, parts[i], block), &shape, ROLE_BIAS, vit->b.origin, &data));
    memcpy(joined + 2 * i * inner, data, (size_t)inner * sizeof *joined);
  }
  shape.dim[0] = 3 * inner;
  *out_bias = builder_table(&vit->b, builder_join(&vit->b, path, "bias"), shape, joined);
  return STATUS_OK;
}

static bool has_joined_bias(const struct vit *vit, int64_t block) {
  if (vit->tensors->random) return vit->config->qkv_bias && vit->config->family == &families[FAMILY_beit];
  return vit->config->qkv_bias && vit_find(vit->config, vit->tensors, PART_QUERY_BIAS, block, NULL);
}

/* One product whose columns are queries, keys, values. */
static enum status merged(struct vit *vit, int64_t block, struct value *x, struct value **out_parts) {
  static const char *const names[] = {"q", "k", "v"};
  const struct vit_config *config = vit->config;
  int64_t inner = config->heads * config->head_dim;
  const char *path = vit_module(vit, PART_QKV, block);
  bool joined = has_joined_bias(vit, block);
  TRY(builder_linear(&vit->b, path, config->dim, 3 * inner, config->qkv_bias && !joined, &x));
  if (joined) {
    struct value *bias;
    TRY(joined_bias(vit, block, inner, path, &bias));
    x = builder_binary(&vit->b, builder_join(&vit->b, path, "biased"), OP_add, x, bias);
  }
  builder_split(&vit->b, path, x, 2, names, 3, out_parts);
  return STATUS_OK;
}

static enum status separate(struct vit *vit, int64_t block, struct value *x, struct value **out_parts) {
  const struct vit_config *config = vit->config;
  for (int i = 0; i < 3; i++) {
    bool bias = config->qkv_bias && !(i == 1 && config->no_key_bias);
    out_parts[i] = x;
    TRY(builder_linear(&vit->b, vit_module(vit, (enum part)(PART_QUERY + i), block), config->dim,
                       config->heads * config->head_dim, bias, &out_parts[i]));
  }
  return STATUS_OK;
}

static int64_t token_count(const struct vit *vit) {
  return vit_prefix(vit->config) + vit->grid[0] * vit->grid[1];
}

/* LayerNorm over each head of x (N, T, heads * d). */
static enum status head_norm(struct vit *vit, enum part part, int64_t block, struct value **x) {
  const struct vit_config *config = vit->config;
  const char *path = vit_module(vit, part, block);
  int64_t tokens = token_count(vit), heads[] = {1, tokens, config->heads, config->head_dim};
  int64_t rows[] = {1, tokens, config->heads * config->head_dim};
  *x = builder_reshape(&vit->b, builder_join(&vit->b, path, "heads"), *x, heads, 4);
  TRY(builder_layer_norm(&vit->b, path, path, config->head_dim, x));
  *x = builder_reshape(&vit->b, builder_join(&vit->b, path, "rows"), *x, rows, 3);
  return STATUS_OK;
}

enum status vit_attention(struct vit *vit, int64_t block, struct value **x) {
  const struct vit_config *config = vit->config;
  struct builder *b = &vit->b;
  struct value *q_k_v[3], *biases;
  if (config->family->keys[PART_QKV])
    TRY(merged(vit, block, *x, q_k_v));
  else
    TRY(separate(vit, block, *x, q_k_v));
  if (config->qk_norm) {
    TRY(head_norm(vit, PART_QUERY_NORM, block, &q_k_v[0]));
    TRY(head_norm(vit, PART_KEY_NORM, block, &q_k_v[1]));
  }
  TRY(vit_relative_biases(vit, block, &biases));
  /* "blocks.0.norm1" has its attention beside it: "blocks.0.attention". */
  const char *path = vit_module(vit, PART_NORM1, block), *dot = strrchr(path, '.');
  path = arena_printf(b->graph->arena, "%.*s.attention", (int)(dot - path), path);
  builder_attention_map(b, block, path, q_k_v, biases, config->heads,
                        config->scale != 0 ? config->scale : builder_head_scale(config->head_dim));
  *x = builder_attention(b, path, q_k_v, biases, config->heads, config->scale);
  return builder_linear(b, vit_module(vit, PART_PROJECTION, block), config->heads * config->head_dim, config->dim, true, x);
}

/* x (N, T, D) times rows `first` to `first + rows` of a merged projection, as a product of its own. */
static enum status part_of_merged(struct vit *vit, const char *part, int64_t first, struct value **x) {
  static const int64_t swap[] = {1, 0};
  struct builder *b = &vit->b;
  int64_t dim = vit->config->dim;
  const char *path = tensors_module(vit->tensors, vit->config->family->keys[PART_POOL_QKV], 0, "weight");
  struct shape weight_shape = builder_shape(2, 3 * dim, dim, 0, 0), bias_shape = builder_shape(1, 3 * dim, 0, 0, 0);
  const void *weights, *biases;
  const char *name = arena_printf(b->graph->arena, "%s%s", path, part);
  TRY(tensors_take(vit->tensors, arena_printf(b->graph->arena, "%sweight", path), &weight_shape, ROLE_WEIGHT, b->origin,
                   &weights));
  TRY(tensors_take(vit->tensors, arena_printf(b->graph->arena, "%sbias", path), &bias_shape, ROLE_BIAS, b->origin, &biases));
  weight_shape.dim[0] = bias_shape.dim[0] = dim;
  struct value *weight = builder_table(b, builder_join(b, name, "weight"), weight_shape, (const float *)weights + first * dim);
  struct value *bias = builder_table(b, builder_join(b, name, "bias"), bias_shape, (const float *)biases + first);
  weight = builder_transpose(b, builder_join(b, name, "weight.T"), weight, swap, 2);
  *x = builder_binary(b, builder_join(b, name, "matmul"), OP_mat_mul, *x, weight);
  *x = builder_binary(b, name, OP_add, *x, bias);
  return STATUS_OK;
}

/* The probe is the same for all images: so are its queries. */
static enum status pool_projections(struct vit *vit, struct value *x, struct value *probe, struct value **out_parts) {
  static const char *const names[] = {"q", "k", "v"};
  int64_t dim = vit->config->dim;
  out_parts[0] = probe;
  out_parts[1] = out_parts[2] = x;
  if (vit->config->family->keys[PART_POOL_QKV]) {
    for (int i = 0; i < 3; i++) TRY(part_of_merged(vit, names[i], i * dim, &out_parts[i]));
    return STATUS_OK;
  }
  const char *path = vit_module(vit, PART_POOL_KEY_VALUE, 0);
  TRY(builder_linear(&vit->b, vit_module(vit, PART_POOL_QUERY, 0), dim, dim, vit->config->qkv_bias, &out_parts[0]));
  TRY(builder_linear(&vit->b, path, dim, 2 * dim, vit->config->qkv_bias, &x));
  builder_split(&vit->b, path, x, 2, &names[1], 2, &out_parts[1]);
  return STATUS_OK;
}

enum status vit_attention_pool(struct vit *vit, struct value **x) {
  const struct vit_config *config = vit->config;
  struct builder *b = &vit->b;
  struct value *q_k_v[3], *probe;
  const char *norm = vit_module(vit, PART_POOL_NORM, 0);
  TRY(builder_token(b, vit_key(vit, PART_PROBE, 0), builder_shape(3, 1, 1, config->dim, 0), 1, config->dim, &probe));
  TRY(pool_projections(vit, *x, probe, q_k_v));
  *x = builder_attention(b, "pool.attention", q_k_v, NULL, config->heads, 0);
  TRY(builder_linear(b, vit_module(vit, PART_POOL_PROJECTION, 0), config->dim, config->dim, true, x));
  struct value *residual = *x;
  TRY(builder_layer_norm(b, norm, norm, config->dim, x));
  TRY(builder_linear(b, vit_module(vit, PART_POOL_FC1, 0), config->dim, config->mlp, true, x));
  *x = builder_activation(b, "pool.activation", config->activation, *x);
  TRY(builder_linear(b, vit_module(vit, PART_POOL_FC2, 0), config->mlp, config->dim, true, x));
  *x = builder_binary(b, "pool.residual", OP_add, residual, *x);
  *x = builder_take(b, "pool", *x, 1, 0);
  return STATUS_OK;
}
