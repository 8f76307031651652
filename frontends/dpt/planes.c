#include "dpt/dpt.h"
#include "lower.h"

#include <math.h>
#include <string.h>

static const double BATCH_NORM_EPSILON = 1e-5;

static struct lowering lowering_of(struct dpt *dpt) {
  return (struct lowering){dpt->vit.b.graph, true, NULL, NULL};
}

enum status dpt_conv(struct dpt *dpt, const char *path, int64_t out, int64_t kernel, int64_t stride, bool bias,
                     struct planes *x) {
  const struct convolution convolution = {.in = x->width,
                                          .out = out,
                                          .kernel = {kernel, kernel},
                                          .stride = {stride, stride},
                                          .padding = {kernel / 2, kernel / 2},
                                          .bias = bias};
  TRY(builder_conv(&dpt->vit.b, path, &convolution, &x->value));
  x->width = out;
  for (int i = 0; i < 2; i++) x->size[i] = (x->size[i] + kernel / 2 * 2 - kernel) / stride + 1;
  return STATUS_OK;
}

static enum status take(struct dpt *dpt, const char *path, const char *kind, enum tensor_role role, struct shape shape,
                        const float **out) {
  struct vit *vit = &dpt->vit;
  const void *data;
  TRY(tensors_take(vit->tensors, builder_join(&vit->b, path, kind), &shape, role, vit->b.origin, &data));
  *out = data;
  return STATUS_OK;
}

/* y = x * scale + shift for each channel. */
struct channels {
  double *scale, *shift;
};

static enum status take_channels(struct dpt *dpt, const char *path, int64_t count, struct channels *out) {
  static const char *const kinds[] = {"weight", "bias", "running_mean", "running_var"};
  static const enum tensor_role roles[] = {ROLE_GAIN, ROLE_BIAS, ROLE_BIAS, ROLE_GAIN};
  struct arena *arena = dpt->vit.b.graph->arena;
  const float *values[4];
  for (int i = 0; i < 4; i++) TRY(take(dpt, path, kinds[i], roles[i], builder_shape(1, count, 0, 0, 0), &values[i]));
  out->scale = arena_array(arena, (size_t)count, sizeof *out->scale);
  out->shift = arena_array(arena, (size_t)count, sizeof *out->shift);
  for (int64_t i = 0; i < count; i++) {
    double variance = (double)values[3][i] + BATCH_NORM_EPSILON;
    if (!(variance > 0))
      return diag_fail(dpt->vit.tensors->diag, STATUS_INPUT, "%s: %s.running_var: channel %lld has the variance %g",
                       dpt->vit.tensors->file, path, (long long)i, (double)values[3][i]);
    out->scale[i] = (double)values[0][i] / sqrt(variance);
    out->shift[i] = (double)values[1][i] - (double)values[2][i] * out->scale[i];
  }
  return STATUS_OK;
}

enum status dpt_conv_norm(struct dpt *dpt, const char *path, const char *norm, int64_t out, bool bias, struct planes *x) {
  if (norm == NULL) return dpt_conv(dpt, path, out, 3, 1, bias, x);
  struct builder *b = &dpt->vit.b;
  struct shape shape = builder_shape(4, out, x->width, 3, 3), row = builder_shape(1, out, 0, 0, 0);
  const float *weight, *addend = NULL;
  struct channels channels;
  struct node *node;
  TRY(take(dpt, path, "weight", ROLE_WEIGHT, shape, &weight));
  if (bias) TRY(take(dpt, path, "bias", ROLE_BIAS, row, &addend));
  TRY(take_channels(dpt, norm, out, &channels));
  int64_t elements = shape_elements(&shape), each = elements / out;
  float *scaled = arena_array(b->graph->arena, (size_t)elements, sizeof *scaled);
  float *shifted = arena_array(b->graph->arena, (size_t)out, sizeof *shifted);
  for (int64_t i = 0; i < elements; i++) scaled[i] = (float)((double)weight[i] * channels.scale[i / each]);
  for (int64_t i = 0; i < out; i++)
    shifted[i] = (float)((addend != NULL ? (double)addend[i] : 0) * channels.scale[i] + channels.shift[i]);
  struct value *inputs[] = {x->value, builder_table(b, builder_join(b, path, "scaled"), shape, scaled),
                            builder_table(b, builder_join(b, path, "shifted"), row, shifted)};
  static const int64_t kernel[] = {3, 3}, pads[] = {1, 1, 1, 1};
  x->value = builder_node(b, path, OP_conv, inputs, 3, &node);
  node_set_ints(b->graph, node, "kernel_shape", kernel, 2);
  node_set_ints(b->graph, node, "pads", pads, 4);
  x->width = out;
  return STATUS_OK;
}

enum status dpt_enlarge(struct dpt *dpt, const char *path, int64_t stride, struct planes *x) {
  struct transposed transposed = {.inputs = x->width, .outputs = x->width};
  for (int i = 0; i < 2; i++) transposed.axis[i] = (struct transposed_axis){x->size[i], stride, stride, 0, x->size[i] * stride};
  if (stride * stride > PHASES_MAX)
    return diag_fail(dpt->vit.tensors->diag, STATUS_INPUT, "%s: reassemble_factors: %lld is more than is supported",
                     dpt->vit.b.origin, (long long)stride);
  TRY(take(dpt, path, "weight", ROLE_WEIGHT, builder_shape(4, x->width, x->width, stride, stride), &transposed.weight));
  TRY(take(dpt, path, "bias", ROLE_BIAS, builder_shape(1, x->width, 0, 0, 0), &transposed.bias));
  struct lowering lowering = lowering_of(dpt);
  for (int i = 0; i < 2; i++) x->size[i] *= stride;
  return lower_transposed(&lowering, path, &transposed, x->value, &x->value);
}

enum status dpt_resize(struct dpt *dpt, const char *name, const int64_t *size, bool align_corners, struct planes *x) {
  struct sampling sampling = {
      .mode = "linear", .coordinates = align_corners ? "align_corners" : "half_pixel", .nearest = "", .narrow = true};
  if (x->size[0] == size[0] && x->size[1] == size[1]) return STATUS_OK;
  for (int i = 0; i < 2; i++) {
    sampling.in[i] = x->size[i];
    sampling.out[i] = x->size[i] = size[i];
    sampling.scale[i] = (double)sampling.out[i] / (double)sampling.in[i];
  }
  struct lowering lowering = lowering_of(dpt);
  return lower_resize(&lowering, name, &sampling, x->value, &x->value);
}

void dpt_activation(struct dpt *dpt, const char *name, enum op op, struct planes *x) {
  x->value = builder_unary(&dpt->vit.b, name, op, x->value);
}
