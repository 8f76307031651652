#include "vit.h"

/* The mean of the answers for the class and for the distillation token. */
static enum status two_heads(struct vit *vit, struct value *x) {
  const struct vit_config *config = vit->config;
  struct builder *b = &vit->b;
  struct value *two = builder_scalar(b, "two", 2);
  struct value *class_token = builder_take(b, "pool", x, 1, 0), *distillation = builder_take(b, "pool_distillation", x, 1, 1);
  struct value *features = builder_binary(b, "pool_sum", OP_add, class_token, distillation);
  features = builder_binary(b, "pool_mean", OP_div, features, two);
  if (config->classes) {
    const char *head = vit_module(vit, PART_HEAD, 0), *other = vit_module(vit, PART_DISTILLATION_HEAD, 0);
    TRY(builder_gemm(b, head, head, config->dim, config->classes, true, &class_token));
    TRY(builder_gemm(b, other, other, config->dim, config->classes, true, &distillation));
    x = builder_binary(b, "sum", OP_add, class_token, distillation);
    builder_offer(b, "logits", builder_binary(b, "mean", OP_div, x, two));
  }
  builder_offer(b, "features", features);
  return STATUS_OK;
}

/* The tokens that are pooled: those of the patches, unless the prefix is, too. */
static struct value *pooled_tokens(struct vit *vit, struct value *x) {
  const struct vit_config *config = vit->config;
  int64_t prefix = vit_prefix(config), patches = vit->grid[0] * vit->grid[1];
  return prefix && !config->pool_prefix ? builder_slice(&vit->b, "pool.patches", x, 1, prefix, prefix + patches) : x;
}

static struct value *mean(struct vit *vit, struct value *x) {
  return builder_mean(&vit->b, "pool", pooled_tokens(vit, x), 1);
}

/* (N, T, D) to (N, D); both poolings at once give (N, 2 D). */
static enum status pool(struct vit *vit, struct value **x, int64_t *width) {
  struct builder *b = &vit->b;
  struct value *both[2];
  switch (vit->config->pool) {
  case POOL_TOKEN:
    *x = builder_take(b, "pool", *x, 1, 0);
    break;
  case POOL_MEAN:
    *x = mean(vit, *x);
    break;
  case POOL_MAP:
    *x = pooled_tokens(vit, *x);
    return vit_attention_pool(vit, x);
  case POOL_TOKEN_AND_MEAN:
    both[0] = builder_take(b, "pool_token", *x, 1, 0);
    both[1] = mean(vit, *x);
    *x = builder_concat(b, "pool_both", both, 2, 1);
    *width *= 2;
    break;
  }
  return STATUS_OK;
}

/* x / |x| */
static struct value *unit_length(struct builder *b, struct value *x, int64_t width) {
  static const int64_t axis = 1;
  struct node *node;
  struct value *square = builder_binary(b, "embed.square", OP_mul, x, x);
  struct value *average = builder_node(b, "embed.mean", OP_reduce_mean, &square, 1, &node);
  node_set_ints(b->graph, node, "axes", &axis, 1);
  node_set_int(b->graph, node, "keepdims", 1);
  struct value *sum = builder_binary(b, "embed.sum", OP_mul, average, builder_scalar(b, "embed.width", (float)width));
  return builder_binary(b, "embed.unit", OP_div, x, builder_unary(b, "embed.length", OP_sqrt, sum));
}

/* The embedding that images and texts share. */
static enum status embed(struct vit *vit, int64_t width, struct value **x) {
  const struct vit_config *config = vit->config;
  struct builder *b = &vit->b;
  struct value *inputs[2] = {*x};
  struct node *node;
  if (config->embed && vit_find(config, vit->tensors, PART_EMBED_FLAT, 0, NULL)) {
    TRY(builder_constant(b, vit_key(vit, PART_EMBED_FLAT, 0), ROLE_WEIGHT, builder_shape(2, width, config->embed, 0, 0),
                         &inputs[1]));
    *x = builder_node(b, "embed", OP_gemm, inputs, 2, &node);
  } else if (config->embed) {
    TRY(builder_gemm(b, vit_module(vit, PART_EMBED, 0), "embed", width, config->embed, false, x));
  }
  if (config->normalize) *x = unit_length(b, *x, config->embed ? config->embed : width);
  return STATUS_OK;
}

/* By the source's names first, then by those that any ViT has. */
static void offer_features(struct vit *vit, struct value *features, struct value *tokens) {
  const struct vit_config *config = vit->config;
  const char *answer = config->answer;
  if (config->pre_logits && config->family == &families[FAMILY_transformers]) answer = "pooler_output";
  if (answer) builder_offer(&vit->b, answer, features);
  builder_offer(&vit->b, "features", features);
  builder_offer(&vit->b, "tokens", tokens);
}

enum status vit_head(struct vit *vit, struct value *x) {
  const struct vit_config *config = vit->config;
  struct builder *b = &vit->b;
  const char *path = config->norm ? vit_module(vit, PART_NORM, 0) : NULL;
  int64_t width = config->dim;
  if (config->norm) TRY(builder_layer_norm(b, path, path, config->dim, &x));
  struct value *tokens = x;
  if (config->two_heads) {
    TRY(two_heads(vit, x));
    builder_offer(b, "tokens", tokens);
    return STATUS_OK;
  }
  TRY(pool(vit, &x, &width));
  if (config->pooled_norm) {
    path = vit_module(vit, PART_POOLED_NORM, 0);
    TRY(builder_layer_norm(b, path, path, config->dim, &x));
  }
  if (config->pre_logits) {
    path = vit_module(vit, PART_PRE_LOGITS, 0);
    TRY(builder_gemm(b, path, path, width, config->pre_logits, true, &x));
    x = builder_unary(b, builder_join(b, path, "tanh"), OP_tanh, x);
    width = config->pre_logits;
  }
  if (config->embed || config->normalize) {
    struct value *embedding = x;
    TRY(embed(vit, width, &embedding));
    builder_offer(b, "image_embeds", embedding);
  }
  if (config->classes) {
    struct value *logits = x;
    path = vit_module(vit, PART_HEAD, 0);
    TRY(builder_gemm(b, path, path, width, config->classes, true, &logits));
    builder_offer(b, "logits", logits);
  }
  offer_features(vit, x, tokens);
  return STATUS_OK;
}
