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

/* (N, T, D) to (N, D). */
static struct value *pool(struct vit *vit, struct value *x) {
  const struct vit_config *config = vit->config;
  int64_t prefix = vit_prefix(config), patches = vit->grid[0] * vit->grid[1];
  if (!config->mean_pool) return builder_take(&vit->b, "pool", x, 1, 0);
  if (prefix && !config->pool_prefix) x = builder_slice(&vit->b, "pool.patches", x, 1, prefix, prefix + patches);
  return builder_mean(&vit->b, "pool", x, 1);
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
  x = pool(vit, x);
  if (config->pooled_norm) {
    path = vit_module(vit, PART_POOLED_NORM, 0);
    TRY(builder_layer_norm(b, path, path, config->dim, &x));
  }
  const char *features = "features";
  if (config->pre_logits) {
    path = vit_module(vit, PART_PRE_LOGITS, 0);
    TRY(builder_gemm(b, path, path, width, config->pre_logits, true, &x));
    x = builder_unary(b, builder_join(b, path, "tanh"), OP_tanh, x);
    width = config->pre_logits;
    if (!config->classes && config->family == &families[FAMILY_transformers]) features = "pooler_output";
  }
  if (config->classes) {
    struct value *logits = x;
    path = vit_module(vit, PART_HEAD, 0);
    TRY(builder_gemm(b, path, path, width, config->classes, true, &logits));
    builder_offer(b, "logits", logits);
  }
  builder_offer(b, features, x);
  builder_offer(b, "tokens", tokens);
  return STATUS_OK;
}
