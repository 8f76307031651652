/* Convolutions, with the BatchNormalization that follows folded into their weights, and transposed convolutions. */
#include "onnx/importer.h"

#include <math.h>
#include <string.h>

/* y = x * scale + shift for each channel. */
struct channels {
  int64_t count;
  double *scale, *shift;
};

/* Floats of a known rank-1 input of the node being read. */
static enum status channel_input(struct importer *im, size_t index, int64_t count, const float **out) {
  struct operand *operand;
  TRY(operand_required(im, index, &operand));
  const struct tensor *t = operand->tensor;
  if (!operand->known || operand_varies(operand) || t->dtype != DTYPE_F32 || t->shape.rank != 1 || t->shape.dim[0] != count)
    return importer_fail(im, "input %zu is not %lld known numbers", index, (long long)count);
  *out = t->data;
  return STATUS_OK;
}

/* Of the BatchNormalization being read. */
static enum status read_channels(struct importer *im, int64_t count, struct channels *out) {
  const float *scale, *bias, *mean, *variance;
  double epsilon;
  int64_t training;
  TRY(attributes_check(im, (const char *const[]){"epsilon", "momentum", "training_mode", NULL}));
  TRY(attribute_float(im, "epsilon", 1e-5, &epsilon));
  TRY(attribute_int(im, "training_mode", 0, &training));
  if (training != 0) return importer_fail(im, "is in training mode");
  TRY(channel_input(im, 1, count, &scale));
  TRY(channel_input(im, 2, count, &bias));
  TRY(channel_input(im, 3, count, &mean));
  TRY(channel_input(im, 4, count, &variance));
  *out = (struct channels){count, arena_array(im->arena, (size_t)count, sizeof(double)),
                           arena_array(im->arena, (size_t)count, sizeof(double))};
  for (int64_t i = 0; i < count; i++) {
    out->scale[i] = (double)scale[i] / sqrt((double)variance[i] + epsilon);
    out->shift[i] = (double)bias[i] - (double)mean[i] * out->scale[i];
    if (!isfinite(out->scale[i]) || !isfinite(out->shift[i]))
      return importer_fail(im, "channel %lld has the variance %g", (long long)i, (double)variance[i]);
  }
  return STATUS_OK;
}

/* The only node that reads the first output of the one being read, if it is a BatchNormalization of it. */
static const OnnxSubset__Node *following_normalization(struct importer *im) {
  const char *name = im->node->output[0];
  if (im->looks_left < im->source->n_node) return NULL;
  im->looks_left -= im->source->n_node;
  const OnnxSubset__Node *found = NULL;
  size_t uses = 0;
  for (size_t i = 0; i < im->source->n_output; i++) uses += strcmp(im->source->output[i]->name, name) == 0;
  for (size_t i = im->node_index + 1; i < im->source->n_node; i++) {
    const OnnxSubset__Node *node = im->source->node[i];
    for (size_t j = 0; j < node->n_input; j++) {
      if (strcmp(node->input[j], name) != 0) continue;
      uses++;
      if (j == 0 && strcmp(node->op_type, "BatchNormalization") == 0) found = node;
    }
  }
  return uses == 1 ? found : NULL;
}

/* Those of the BatchNormalization that follows, if its constants are there already; else scale is NULL. */
static enum status find_channels(struct importer *im, int64_t count, struct channels *out, const OnnxSubset__Node **out_node) {
  const OnnxSubset__Node *own = im->node, *next = following_normalization(im);
  *out = (struct channels){0};
  *out_node = NULL;
  for (size_t i = 1; next != NULL && i < next->n_input; i++) {
    const struct operand *operand = operand_find(im, next->input[i]);
    if (operand == NULL || (!operand->known && operand->initializer == NULL)) return STATUS_OK;
  }
  if (next == NULL) return STATUS_OK;
  im->node = next;
  TRY(read_channels(im, count, out));
  im->node = own;
  *out_node = next;
  return STATUS_OK;
}

static enum status set_output(struct importer *im, struct value *value, const OnnxSubset__Node *normalization) {
  TRY(operand_set_value(im, 0, value, 0));
  if (*im->node->output[0]) operand_find(im, im->node->output[0])->normalization = normalization;
  return STATUS_OK;
}

static const float *known_floats(const struct operand *operand, int rank) {
  if (operand == NULL || !operand->known || operand_varies(operand)) return NULL;
  const struct tensor *t = operand->tensor;
  return t->dtype == DTYPE_F32 && t->shape.rank == rank && shape_elements(&t->shape) > 0 ? t->data : NULL;
}

/* The bias of `count` channels, scaled and shifted. */
static float *make_bias(struct importer *im, const float *bias, const struct channels *channels, int64_t count) {
  float *made = arena_array(im->arena, (size_t)count, sizeof *made);
  for (int64_t i = 0; i < count; i++) {
    double b = bias != NULL ? (double)bias[i] : 0;
    made[i] = (float)(channels->scale != NULL ? b * channels->scale[i] + channels->shift[i] : b);
  }
  return made;
}

enum status import_conv(struct importer *im, enum op op) {
  struct operand *x, *w, *b;
  struct value *values[3];
  struct channels channels;
  const OnnxSubset__Node *next;
  TRY(operand_required(im, 0, &x));
  TRY(operand_required(im, 1, &w));
  TRY(operand_input(im, 2, &b));
  const float *weight = known_floats(w, 4), *bias = known_floats(b, 1);
  if (weight == NULL || (b != NULL && bias == NULL)) return import_in_front(im, op);
  struct shape shape = w->tensor[0].shape, row = {.rank = 1, .dim = {shape.dim[0]}};
  if (bias != NULL && b->tensor[0].shape.dim[0] != row.dim[0]) return import_in_front(im, op);
  TRY(find_channels(im, row.dim[0], &channels, &next));
  if (next == NULL) return import_in_front(im, op);
  TRY(operand_front(im, x));
  TRY(operand_value(im, x, false, &values[0]));
  int64_t elements = shape_elements(&shape), each = elements / row.dim[0];
  float *scaled = arena_array(im->arena, (size_t)elements, sizeof *scaled);
  for (int64_t i = 0; i < elements; i++) scaled[i] = (float)((double)weight[i] * channels.scale[i / each]);
  values[1] = importer_floats(im, arena_printf(im->arena, "%s.scaled", w->name), &shape, scaled);
  const char *name = arena_printf(im->arena, "%s.bias", node_output_name(im, 0));
  values[2] = importer_floats(im, name, &row, make_bias(im, bias, &channels, row.dim[0]));
  struct node *node = node_add(im, op, values, 3, node_output_name(im, 0));
  TRY(attributes_copy(im, node, NULL));
  TRY(node_ready(im, node));
  return set_output(im, node->outputs[0], next);
}

enum status import_batch_normalization(struct importer *im, enum op op) {
  (void)op;
  struct operand *x;
  struct value *value;
  struct channels channels;
  TRY(operand_required(im, 0, &x));
  if (x->normalization == im->node) return operand_set_same(im, 0, x);
  TRY(operand_front(im, x));
  TRY(operand_value(im, x, false, &value));
  if (value->shape.rank < 2) return importer_fail(im, "expected at least rank 2");
  int64_t count = value->shape.dim[1];
  TRY(read_channels(im, count, &channels));
  struct shape shape = {.rank = value->shape.rank - 1, .dim = {count, 1, 1, 1, 1, 1, 1}};
  const char *name = node_output_name(im, 0);
  for (int i = 0; i < 2; i++) {
    float *floats = arena_array(im->arena, (size_t)count, sizeof *floats);
    for (int64_t j = 0; j < count; j++) floats[j] = (float)(i == 0 ? channels.scale[j] : channels.shift[j]);
    const char *constant = arena_printf(im->arena, "%s.%s", name, i == 0 ? "scale" : "shift");
    struct value *inputs[] = {value, importer_floats(im, constant, &shape, floats)};
    TRY(node_make(im, i == 0 ? OP_mul : OP_add, inputs, 2, i == 0 ? arena_printf(im->arena, "%s.scaled", name) : name, &value));
  }
  return operand_set_value(im, 0, value, 0);
}

enum status import_global_average_pool(struct importer *im, enum op op) {
  (void)op;
  static const int64_t axes[] = {2, 3};
  struct operand *x;
  struct value *value;
  TRY(operand_required(im, 0, &x));
  TRY(operand_front(im, x));
  TRY(operand_value(im, x, false, &value));
  if (value->shape.rank != 4) return importer_fail(im, "expected rank 4");
  struct node *node = node_add(im, OP_reduce_mean, &value, 1, node_output_name(im, 0));
  TRY(attributes_check(im, NULL));
  node_set_ints(im->graph, node, "axes", axes, 2);
  TRY(node_ready(im, node));
  return operand_set_value(im, 0, node->outputs[0], 0);
}

/* ---- transposed convolutions */

static enum status ints_attribute(struct importer *im, const char *name, size_t count, int64_t otherwise, int64_t max,
                                  int64_t *out) {
  const OnnxSubset__Attribute *attribute = attribute_find(im, name);
  for (size_t i = 0; i < count; i++) out[i] = otherwise;
  if (attribute == NULL) return STATUS_OK;
  if (attribute->n_ints != count) return importer_fail(im, "attribute '%s': expected %zu integers", name, count);
  for (size_t i = 0; i < count; i++) {
    out[i] = attribute->ints[i];
    if (out[i] < 0 || out[i] > max) return importer_fail(im, "attribute '%s': %lld", name, (long long)out[i]);
  }
  return STATUS_OK;
}

static enum status read_axes(struct importer *im, const struct shape *x, const struct shape *w, struct transposed_axis out[2]) {
  static const char *const read[] = {"auto_pad",       "dilations", "group",   "kernel_shape",
                                     "output_padding", "pads",      "strides", NULL};
  int64_t strides[2], pads[4], dilations[2], more[2], kernel[2];
  const char *auto_pad;
  TRY(attributes_check(im, read));
  TRY(attribute_string(im, "auto_pad", "NOTSET", &auto_pad));
  TRY(ints_attribute(im, "strides", 2, 1, 64, strides));
  TRY(ints_attribute(im, "pads", 4, 0, 4096, pads));
  TRY(ints_attribute(im, "dilations", 2, 1, 64, dilations));
  TRY(ints_attribute(im, "output_padding", 2, 0, 64, more));
  TRY(ints_attribute(im, "kernel_shape", 2, 0, 4096, kernel));
  if (strcmp(auto_pad, "NOTSET") != 0 || dilations[0] != 1 || dilations[1] != 1)
    return importer_fail(im, "auto_pad and dilations are not supported");
  for (int i = 0; i < 2; i++) {
    int64_t s = strides[i], in = x->dim[2 + i], k = w->dim[2 + i], o = s * (in - 1) + more[i] + k - pads[i] - pads[i + 2];
    if ((kernel[i] != 0 && kernel[i] != k) || s < 1 || o < 1 || o > INT32_MAX || k > 4096)
      return importer_fail(im, "a kernel of %lld by stride %lld on %lld", (long long)k, (long long)s, (long long)in);
    out[i] = (struct transposed_axis){in, k, s, pads[i], o};
    if (!transposed_supported(&out[i]))
      return importer_fail(im, "a kernel of %lld by stride %lld with padding %lld is not supported", (long long)k, (long long)s,
                           (long long)pads[i]);
  }
  return STATUS_OK;
}

/* Each group's channels by themselves, then joined. */
static enum status lower_groups(struct importer *im, const struct transposed *all, int64_t groups, struct value **value) {
  enum { GROUPS_MAX = 64 };
  const char *name = node_output_name(im, 0);
  struct value *parts[GROUPS_MAX], *x = *value;
  if (groups > GROUPS_MAX) return importer_fail(im, "has %lld groups, at most %d are supported", (long long)groups, GROUPS_MAX);
  struct lowering lowering = importer_lowering(im, x);
  int64_t inputs = all->inputs / groups, taps = all->axis[0].kernel * all->axis[1].kernel;
  for (int64_t g = 0; g < groups; g++) {
    struct transposed part = *all;
    int64_t start = g * inputs, end = start + inputs;
    part.inputs = inputs;
    part.weight += start * all->outputs * taps;
    if (all->bias != NULL) part.bias += g * all->outputs;
    if (all->scale != NULL) part.scale += g * all->outputs;
    struct value *bounds[] = {x, importer_ints(im, &start, 1, false), importer_ints(im, &end, 1, false),
                              importer_ints(im, &(int64_t){1}, 1, false)};
    TRY(node_make(im, OP_slice, bounds, 4, arena_printf(im->arena, "%s.group", name), &parts[g]));
    TRY(lower_transposed(&lowering, arena_printf(im->arena, "%s.part", name), &part, parts[g], &parts[g]));
  }
  struct node *node = node_add(im, OP_concat, parts, (int)groups, name);
  node_set_int(im->graph, node, "axis", 1);
  *value = node->outputs[0];
  return node_ready(im, node);
}

enum status import_conv_transpose(struct importer *im, enum op op) {
  (void)op;
  struct operand *x, *w, *b;
  struct value *value;
  struct channels channels;
  const OnnxSubset__Node *next;
  int64_t groups;
  TRY(operand_required(im, 0, &x));
  TRY(operand_required(im, 1, &w));
  TRY(operand_input(im, 2, &b));
  TRY(operand_front(im, x));
  TRY(operand_value(im, x, false, &value));
  struct transposed t = {.weight = known_floats(w, 4)};
  if (t.weight == NULL || value->shape.rank != 4 || value->dtype != DTYPE_F32)
    return importer_fail(im, "is only supported on floats of rank 4 with known weights");
  const struct shape *shape = &w->tensor[0].shape;
  t.inputs = shape->dim[0];
  t.outputs = shape->dim[1];
  TRY(attribute_int(im, "group", 1, &groups));
  if (groups < 1 || t.inputs % groups != 0)
    return importer_fail(im, "%lld groups do not divide the channels", (long long)groups);
  if (value->shape.dim[1] != t.inputs)
    return importer_fail(im, "the weights are for %lld channels, the input has %lld", (long long)t.inputs,
                         (long long)value->shape.dim[1]);
  const float *bias = known_floats(b, 1);
  if (b != NULL && (bias == NULL || b->tensor[0].shape.dim[0] != t.outputs * groups))
    return importer_fail(im, "expected a known bias of %lld", (long long)(t.outputs * groups));
  TRY(read_axes(im, &value->shape, shape, t.axis));
  TRY(find_channels(im, t.outputs * groups, &channels, &next));
  t.scale = channels.scale;
  if (bias != NULL || channels.scale != NULL) t.bias = make_bias(im, bias, &channels, t.outputs * groups);
  int64_t phases = t.axis[0].stride * t.axis[1].stride;
  if (phases > PHASES_MAX) return importer_fail(im, "has %lld phases, at most %d are supported", (long long)phases, PHASES_MAX);
  if (groups > 1) {
    TRY(lower_groups(im, &t, groups, &value));
  } else {
    struct lowering lowering = importer_lowering(im, value);
    TRY(lower_transposed(&lowering, node_output_name(im, 0), &t, value, &value));
  }
  return set_output(im, value, next);
}
