#include "dpt/dpt.h"

/* Depth is a map without a channel axis. */
static void offer_depth(struct dpt *dpt, const struct planes *x) {
  const int64_t dims[] = {1, x->size[0], x->size[1]};
  builder_offer(&dpt->vit.b, "predicted_depth", builder_reshape(&dpt->vit.b, "predicted_depth", x->value, dims, 3));
}

static enum status depth_head(struct dpt *dpt, struct planes x) {
  int64_t width = x.width;
  if (dpt->config->add_projection) {
    TRY(dpt_conv(dpt, "head.projection", x.width, 3, 1, true, &x));
    dpt_activation(dpt, "head.projection.relu", OP_relu, &x);
  }
  TRY(dpt_conv(dpt, "head.head.0", width / 2, 3, 1, true, &x));
  const int64_t twice[] = {2 * x.size[0], 2 * x.size[1]};
  TRY(dpt_resize(dpt, "head.head.1", twice, true, &x));
  TRY(dpt_conv(dpt, "head.head.2", dpt->config->head_width, 3, 1, true, &x));
  dpt_activation(dpt, "head.head.3", OP_relu, &x);
  TRY(dpt_conv(dpt, "head.head.4", 1, 1, 1, true, &x));
  dpt_activation(dpt, "head.head.5", OP_relu, &x);
  offer_depth(dpt, &x);
  return STATUS_OK;
}

/* The classifier of 1 x 1 stands before the resize in the source, too. */
static enum status segmentation_head(struct dpt *dpt, struct planes x) {
  TRY(dpt_conv_norm(dpt, "head.head.0", "head.head.1", x.width, false, &x));
  dpt_activation(dpt, "head.head.2", OP_relu, &x);
  TRY(dpt_conv(dpt, "head.head.4", dpt->config->classes, 1, 1, true, &x));
  const int64_t twice[] = {2 * x.size[0], 2 * x.size[1]};
  TRY(dpt_resize(dpt, "logits", twice, true, &x));
  builder_offer(&dpt->vit.b, "logits", x.value);
  return STATUS_OK;
}

static enum status anything_head(struct dpt *dpt, struct planes x) {
  const struct vit_config *vit = &dpt->config->vit;
  struct builder *b = &dpt->vit.b;
  const int64_t image[] = {dpt->vit.grid[0] * vit->patch_height, dpt->vit.grid[1] * vit->patch_width};
  TRY(dpt_conv(dpt, "head.conv1", x.width / 2, 3, 1, true, &x));
  TRY(dpt_resize(dpt, "head.resized", image, true, &x));
  TRY(dpt_conv(dpt, "head.conv2", dpt->config->head_width, 3, 1, true, &x));
  dpt_activation(dpt, "head.activation1", OP_relu, &x);
  TRY(dpt_conv(dpt, "head.conv3", 1, 1, 1, true, &x));
  dpt_activation(dpt, "head.activation2", dpt->config->sigmoid ? OP_sigmoid : OP_relu, &x);
  if (dpt->config->max_depth != 1) {
    struct value *limit = builder_scalar(b, "head.max_depth", (float)dpt->config->max_depth);
    x.value = builder_binary(b, "head.scaled", OP_mul, x.value, limit);
  }
  offer_depth(dpt, &x);
  return STATUS_OK;
}

enum status dpt_answer(struct dpt *dpt, struct planes x) {
  switch (dpt->config->head) {
  case DPT_HEAD_DEPTH:
    return depth_head(dpt, x);
  case DPT_HEAD_SEGMENTATION:
    return segmentation_head(dpt, x);
  case DPT_HEAD_ANYTHING:
    break;
  }
  return anything_head(dpt, x);
}
