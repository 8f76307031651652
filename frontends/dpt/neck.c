#include "dpt/dpt.h"

static const char *numbered(const struct dpt *dpt, const char *format, int64_t number) {
  const char *dot = builder_join(&dpt->vit.b, format, arena_printf(dpt->vit.b.graph->arena, "%lld", (long long)number));
  return dot;
}

/* ---- reassemble */

/* The patches of a tap with what the class token says: (N, P, dim). */
static enum status read_out(struct dpt *dpt, int tap, struct value **x) {
  struct builder *b = &dpt->vit.b;
  const struct vit_config *vit = &dpt->config->vit;
  int64_t prefix = vit_prefix(vit), patches = dpt->vit.grid[0] * dpt->vit.grid[1], dim = vit->dim;
  const char *path = builder_join(b, numbered(dpt, "neck.reassemble_stage.readout_projects", tap), "0");
  const char *name = numbered(dpt, "taps", tap);
  struct value *token =
      dpt->config->readout == READOUT_IGNORE ? NULL : builder_slice(b, builder_join(b, name, "class_token"), *x, 1, 0, 1);
  *x = builder_slice(b, builder_join(b, name, "patches"), *x, 1, prefix, prefix + patches);
  if (!token) return STATUS_OK;
  if (dpt->config->readout == READOUT_ADD) {
    *x = builder_binary(b, builder_join(b, name, "readout"), OP_add, *x, token);
    return STATUS_OK;
  }
  const int64_t everywhere[] = {1, patches, dim};
  struct value *inputs[] = {token, builder_integers(b, builder_join(b, name, "readout.shape"), 1, everywhere, 3, true)};
  struct value *parts[] = {*x, builder_node(b, builder_join(b, name, "readout"), OP_expand, inputs, 2, NULL)};
  *x = builder_concat(b, builder_join(b, name, "both"), parts, 2, 2);
  TRY(builder_linear(b, path, 2 * dim, dim, true, x));
  *x = builder_activation(b, builder_join(b, path, "act"), vit->activation, *x);
  return STATUS_OK;
}

static enum status reassemble(struct dpt *dpt, int tap, struct value *x, struct planes *out) {
  static const int64_t perm[] = {0, 2, 1};
  struct builder *b = &dpt->vit.b;
  const struct dpt_config *config = dpt->config;
  const int64_t *grid = dpt->vit.grid, dims[] = {1, config->vit.dim, grid[0], grid[1]};
  const char *path = numbered(dpt, "neck.reassemble_stage.layers", tap), *name = numbered(dpt, "taps", tap);
  double factor = config->factors[tap];
  TRY(read_out(dpt, tap, &x));
  x = builder_transpose(b, builder_join(b, name, "channels"), x, perm, 3);
  *out = (struct planes){builder_reshape(b, builder_join(b, name, "planes"), x, dims, 4), config->vit.dim, {grid[0], grid[1]}};
  TRY(dpt_conv(dpt, builder_join(b, path, "projection"), config->widths[tap], 1, 1, true, out));
  if (factor > 1) TRY(dpt_enlarge(dpt, builder_join(b, path, "resize"), (int64_t)factor, out));
  if (factor < 1) TRY(dpt_conv(dpt, builder_join(b, path, "resize"), out->width, 3, (int64_t)(1 / factor), true, out));
  return dpt_conv(dpt, numbered(dpt, "neck.convs", tap), config->fusion, 3, 1, false, out);
}

/* ---- fusion */

/* x plus two convolutions of it. */
static enum status residual_unit(struct dpt *dpt, const char *path, struct planes *x) {
  struct builder *b = &dpt->vit.b;
  struct value *residual = x->value;
  for (int i = 1; i <= 2; i++) {
    const char *relu = builder_join(b, path, i == 1 ? "activation1" : "activation2");
    const char *conv = builder_join(b, path, i == 1 ? "convolution1" : "convolution2");
    const char *norm = dpt->config->batch_norm ? builder_join(b, path, i == 1 ? "batch_norm1" : "batch_norm2") : NULL;
    dpt_activation(dpt, relu, OP_relu, x);
    TRY(dpt_conv_norm(dpt, conv, norm, dpt->config->fusion, dpt->config->residual_bias, x));
  }
  x->value = builder_binary(b, builder_join(b, path, "add"), OP_add, residual, x->value);
  return STATUS_OK;
}

/* The first fusion has nothing to join, but its unit for that is stored. */
static void pass_over_unit(struct dpt *dpt, const char *path) {
  static const char *const parts[] = {"convolution1", "convolution2", "batch_norm1", "batch_norm2"};
  static const char *const kinds[] = {"weight", "bias", "running_mean", "running_var"};
  struct builder *b = &dpt->vit.b;
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) tensors_pass_over(dpt->vit.tensors, builder_join(b, builder_join(b, path, parts[i]), kinds[j]));
}

/* `fused` (of no value at first) with the next finer image, resized to `size`. The projection of 1 x 1 goes before the resize:
 * the two commute, as a sampled point's weights add up to 1, and there are fewer points. */
static enum status fuse(struct dpt *dpt, int layer, const struct planes *finer, const int64_t *size, struct planes *fused) {
  struct builder *b = &dpt->vit.b;
  const char *path = numbered(dpt, "neck.fusion_stage.layers", layer), *unit1 = builder_join(b, path, "residual_layer1");
  struct planes joined = *finer;
  if (!fused->value) {
    pass_over_unit(dpt, unit1);
  } else {
    TRY(dpt_resize(dpt, builder_join(b, path, "finer"), fused->size, false, &joined));
    TRY(residual_unit(dpt, unit1, &joined));
    joined.value = builder_binary(b, builder_join(b, path, "joined"), OP_add, fused->value, joined.value);
  }
  TRY(residual_unit(dpt, builder_join(b, path, "residual_layer2"), &joined));
  TRY(dpt_conv(dpt, builder_join(b, path, "projection"), dpt->config->fusion, 1, 1, true, &joined));
  const int64_t twice[] = {2 * joined.size[0], 2 * joined.size[1]};
  *fused = joined;
  return dpt_resize(dpt, builder_join(b, path, "resized"), size ? size : twice, true, fused);
}

enum status dpt_neck(struct dpt *dpt, struct value *const *taps, struct planes *out) {
  const struct dpt_config *config = dpt->config;
  struct planes images[DPT_TAPS_MAX], fused[DPT_TAPS_MAX] = {{NULL, 0, {0, 0}}};
  int count = config->tap_count;
  for (int i = 0; i < count; i++) TRY(reassemble(dpt, i, taps[i], &images[i]));
  for (int i = 0; i < count; i++) {
    /* Depth Anything goes to the size of the next image; DPT doubles, and resizes the next image where that is not its size. */
    bool to_next = config->head == DPT_HEAD_ANYTHING && i + 1 < count;
    if (i > 0) fused[i] = fused[i - 1];
    TRY(fuse(dpt, i, &images[count - 1 - i], to_next ? images[count - 2 - i].size : NULL, &fused[i]));
  }
  *out = fused[config->head_index];
  return STATUS_OK;
}
