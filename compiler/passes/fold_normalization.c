/* Requires: Mul, Add, Sub or Div by constants, the same for all pixels of a channel, on the way to a Conv without padding and
 *           with constant weights; a Transpose from rows of pixels to planes may stand among them.
 * Ensures: the Conv reads what they read (through the Transpose); its weights and bias, computed in double and rounded once, do
 *          their work.
 * Breaks: nothing; results differ in rounding. */
#include "passes/passes.h"
#include "passes/rewrite.h"

#include <string.h>

enum { CHANNELS_MAX = 64 };

/* conv's input = scale[c] * source + offset[c] */
struct affine {
  struct value *source;
  bool planes_from_rows; /* source is (N, H, W, C) */
  bool found;
  int channels;
  double scale[CHANNELS_MAX], offset[CHANNELS_MAX];
};

static bool conv_unpadded(const struct node *conv) {
  const struct attr *pads = node_attr(conv, "pads");
  const char *auto_pad = node_string(conv, "auto_pad");
  if (strcmp(auto_pad, "NOTSET") != 0 && strcmp(auto_pad, "VALID") != 0) return false;
  for (size_t i = 0; pads != NULL && i < pads->count; i++)
    if (pads->ints[i] != 0) return false;
  return true;
}

/* Elements of a constant that differs at most along `axis` of rank 4. */
static bool channel_constant(const struct value *constant, int axis, int channels, double *out_channels) {
  const float *floats = constant_floats(constant);
  if (floats == NULL || constant->shape.rank > 4) return false;
  for (int i = 0; i < constant->shape.rank; i++)
    if (i + 4 - constant->shape.rank != axis && constant->shape.dim[i] != 1) return false;
  int64_t count = shape_elements(&constant->shape);
  if (count != 1 && count != channels) return false;
  for (int c = 0; c < channels; c++) out_channels[c] = (double)floats[count == 1 ? 0 : c];
  return true;
}

/* scale * (x op constant) + offset, or scale * (constant op x) + offset, as an affine of x. */
static bool absorb(struct affine *affine, const struct node *node, int axis) {
  double channel[CHANNELS_MAX];
  struct value *constant;
  int index;
  if (node->op != OP_mul && node->op != OP_div && node->op != OP_add && node->op != OP_sub) return false;
  struct value *x = operand_beside_constant(node, &constant, &index);
  if (x == NULL || x->shape.rank != 4 || !channel_constant(constant, axis, affine->channels, channel)) return false;
  if (node->op == OP_div && index != 0) return false;
  for (int c = 0; c < affine->channels; c++) {
    if (node->op == OP_mul) affine->scale[c] *= channel[c];
    if (node->op == OP_div) affine->scale[c] /= channel[c];
    if (node->op == OP_add) affine->offset[c] += affine->scale[c] * channel[c];
    if (node->op == OP_sub) affine->offset[c] += affine->scale[c] * (index == 0 ? -channel[c] : channel[c]);
    if (node->op == OP_sub && index != 0) affine->scale[c] = -affine->scale[c];
  }
  affine->source = x;
  affine->found = true;
  return true;
}

static void find_affine(const struct graph *graph, const struct node *conv, struct affine *affine) {
  *affine = (struct affine){.source = conv->inputs[0], .channels = (int)conv->inputs[0]->shape.dim[1]};
  for (int c = 0; c < affine->channels; c++) affine->scale[c] = 1;
  const struct node *user = conv;
  for (;;) {
    const struct node *node = affine->source->producer;
    if (node == NULL || !node_plain(node) || graph_single_user(graph, affine->source) != user) return;
    user = node;
    int axis = affine->planes_from_rows ? 3 : 1;
    if (node->op == OP_transpose && axis == 1 && transpose_is(node, 4, (const int64_t[]){0, 3, 1, 2})) {
      affine->planes_from_rows = true;
      affine->source = node->inputs[0];
    } else if (!absorb(affine, node, axis)) {
      return;
    }
  }
}

static void fold_into_weights(struct graph *graph, struct node *conv, const struct affine *affine) {
  const struct value *weight = conv->inputs[1], *bias = conv->input_count > 2 ? conv->inputs[2] : NULL;
  const float *from = constant_floats(weight), *bias_from = bias != NULL ? constant_floats(bias) : NULL;
  int64_t filters = weight->shape.dim[0], pixels = weight->shape.dim[2] * weight->shape.dim[3], at = 0;
  float *scaled = arena_array(graph->arena, (size_t)shape_elements(&weight->shape), sizeof *scaled);
  float *moved = arena_array(graph->arena, (size_t)filters, sizeof *moved);
  for (int64_t m = 0; m < filters; m++) {
    double sum = bias_from != NULL ? (double)bias_from[m] : 0;
    for (int c = 0; c < affine->channels; c++)
      for (int64_t i = 0; i < pixels; i++, at++) {
        scaled[at] = (float)((double)from[at] * affine->scale[c]);
        sum += (double)from[at] * affine->offset[c];
      }
    moved[m] = (float)sum;
  }
  const char *weight_name = arena_printf(graph->arena, "%s.normalized", weight->name);
  const char *bias_name = arena_printf(graph->arena, "%s.bias.normalized", conv->outputs[0]->name);
  struct value *x = affine->source;
  if (affine->planes_from_rows)
    x = build_transpose(graph, conv, x, (const int64_t[]){0, 3, 1, 2}, arena_printf(graph->arena, "%s.planes", x->name));
  struct value *inputs[] = {
      x, graph_add_constant(graph, weight_name, DTYPE_F32, &weight->shape, scaled),
      graph_add_constant(graph, bias_name, DTYPE_F32, &(struct shape){.rank = 1, .dim = {filters}}, moved)};
  struct node *folded = build_node(graph, conv, OP_conv, inputs, 3, conv->outputs[0]->name);
  folded->attrs = conv->attrs;
  folded->attr_count = conv->attr_count;
  replace_value(graph, conv->outputs[0], finish_node(graph, folded));
}

static bool conv_foldable(const struct node *conv) {
  if (conv->op != OP_conv || !node_plain(conv) || !conv_unpadded(conv) || node_int(conv, "group") != 1) return false;
  if (conv->inputs[0]->shape.rank != 4 || conv->inputs[0]->shape.dim[1] > CHANNELS_MAX) return false;
  if (constant_floats(conv->inputs[1]) == NULL) return false;
  return conv->input_count < 3 || conv->inputs[2] == NULL || constant_floats(conv->inputs[2]) != NULL;
}

enum status pass_fold_normalization(struct graph *graph) {
  for (struct node *node = graph->first; node != NULL; node = node->next) {
    if (!conv_foldable(node)) continue;
    struct affine affine;
    find_affine(graph, node, &affine);
    if (affine.found) fold_into_weights(graph, node, &affine);
  }
  sweep_dead(graph);
  return STATUS_OK;
}
