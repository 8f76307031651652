/* Requires: one input, float32 (N, 3, H, W); preprocessing that says how 8-bit pixels become it. Anything else is an error.
 * Ensures: the input is uint8 (N, H, W, 3), of the same name; what followed it reads Transpose(normalised pixels), with the
 * same bits as the runtime's normalisation. Breaks: nothing. */
#include "passes/passes.h"
#include "passes/rewrite.h"

static struct value *build_channels(struct graph *graph, const char *name, const double channel[3]) {
  float floats[3];
  for (int i = 0; i < 3; i++) floats[i] = (float)channel[i];
  return build_floats(graph, name, &(struct shape){.rank = 1, .dim = {3}}, floats);
}

static enum status check_input(const struct graph *graph) {
  if (graph->input_count != 1)
    return diag_fail(graph->diag, STATUS_INPUT, "%s: has %d inputs, an 8-bit input needs exactly one", graph->file,
                     graph->input_count);
  const struct value *image = graph->inputs[0];
  if (image->dtype != DTYPE_F32 || image->shape.rank != 4 || image->shape.dim[0] != 1 || image->shape.dim[1] != 3)
    return diag_fail(graph->diag, STATUS_INPUT, "%s: input '%s': an 8-bit input needs float32 (N, 3, H, W) to begin with",
                     graph->file, image->name);
  if (graph->preprocess.resize == VITC_RESIZE_UNKNOWN)
    return diag_fail(graph->diag, STATUS_INPUT, "%s: has no 'preprocess', which an 8-bit input needs for mean and std",
                     graph->file);
  if (graph->preprocess.arithmetic == VITC_ARITHMETIC_FLOAT && graph->preprocess.resize != VITC_RESIZE_NONE)
    return diag_fail(graph->diag, STATUS_INPUT, "%s: its pictures are resized as floats, which an 8-bit input cannot hold",
                     graph->file);
  if (graph->preprocess.crop_floor == VITC_CROP_PAD)
    return diag_fail(graph->diag, STATUS_INPUT,
                     "%s: its pictures are padded with zeros after normalisation, which an 8-bit input cannot hold",
                     graph->file);
  return STATUS_OK;
}

enum status pass_u8_input(struct graph *graph) {
  TRY(check_input(graph));
  const struct vitc_preprocess *preprocess = &graph->preprocess;
  struct value *image = graph->inputs[0];
  struct shape shape = {.rank = 4, .dim = {image->shape.dim[0], image->shape.dim[2], image->shape.dim[3], 3}};
  struct value *pixels = graph_add_value(graph, "pixels", DTYPE_U8, &shape, image->batched);
  graph_swap_names(graph, image, pixels);

  struct node *first = graph->first;
  struct value *x = build_cast(graph, first, pixels, DTYPE_F32, "pixels.float");
  /* Both arithmetics divide by 255 when that is the scale: v / 255 in float32 has the bits of the double product. */
  if (preprocess->rescale == 1.0 / 255)
    x = build_binary(graph, first, OP_div, x, build_scalar(graph, "pixels.max", 255), "pixels.unit");
  else
    x = build_binary(graph, first, OP_mul, x, build_scalar(graph, "pixels.rescale", (float)preprocess->rescale), "pixels.unit");
  x = build_binary(graph, first, OP_sub, x, build_channels(graph, "pixels.mean", preprocess->mean), "pixels.centred");
  x = build_binary(graph, first, OP_div, x, build_channels(graph, "pixels.std", preprocess->std), "pixels.normalized");
  x = build_transpose(graph, first, x, (const int64_t[]){0, 3, 1, 2}, "pixels.planes");
  graph->inputs[0] = pixels;
  graph_replace_uses(graph, image, x);
  graph_sweep_values(graph);
  return STATUS_OK;
}
