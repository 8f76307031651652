#include "ops/conv.h"

#include "ops/eval.h"

enum status infer_conv(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0], *w = node->inputs[1], *b = op_input(node, 2);
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] != NULL) TRY(op_check_dtype(graph, node, i, 1u << DTYPE_F32));
  for (int i = 0; i < 2; i++)
    if (node->inputs[i]->shape.rank != 4)
      return op_fail(graph, node, "input %d %s: expected rank 4", i, op_describe(graph, node->inputs[i]));
  TRY(op_unbatched(graph, node, 1, "weight"));
  int64_t group = node_int(node, "group"), channels = x->shape.dim[1], filters = w->shape.dim[0];
  if (group < 1 || channels % group != 0 || filters % group != 0)
    return op_fail(graph, node, "group %lld does not divide %lld channels and %lld filters", (long long)group,
                   (long long)channels, (long long)filters);
  if (w->shape.dim[1] != channels / group)
    return op_fail(graph, node, "weight %s: expected %lld channels on axis 1", op_describe(graph, w),
                   (long long)(channels / group));
  if (b != NULL) {
    TRY(op_unbatched(graph, node, 2, "bias"));
    if (b->shape.rank != 1 || b->shape.dim[0] != filters)
      return op_fail(graph, node, "bias %s: expected %lld elements", op_describe(graph, b), (long long)filters);
  }
  struct window window;
  TRY(conv_window(graph, node, &window));
  struct shape shape = {.rank = 4, .dim = {x->shape.dim[0], filters, window.output[0], window.output[1]}};
  return op_set_output(graph, node, 0, x->dtype, &shape, x->batched);
}

struct patches {
  const struct window *window;
  const struct shape *x;
  const float *image; /* first channel of the group */
  int64_t channels;   /* of the group */
};

/* One row: the inputs under the window at one output position, zeros in the padding; (channels, kH, kW). */
static void gather_patch(const struct patches *patches, int64_t position, float *row) {
  const struct window *window = patches->window;
  int64_t height = patches->x->dim[2], width = patches->x->dim[3];
  int64_t top = position / window->output[1] * window->stride[0] - window->pad_begin[0];
  int64_t left = position % window->output[1] * window->stride[1] - window->pad_begin[1];
  for (int64_t channel = 0; channel < patches->channels; channel++) {
    const float *plane = patches->image + channel * height * width;
    for (int64_t i = 0; i < window->kernel[0]; i++) {
      int64_t y = top + i * window->dilation[0];
      for (int64_t j = 0; j < window->kernel[1]; j++) {
        int64_t x = left + j * window->dilation[1];
        *row++ = y >= 0 && y < height && x >= 0 && x < width ? plane[y * width + x] : 0;
      }
    }
  }
}

/* Positions are taken a block at a time, so that patches that overlap do not multiply the memory of the image. */
enum { POSITIONS_MAX = 204 };

static void convolve_group(const struct patches *patches, const float *weight, const float *bias, int64_t filters, float *out) {
  const struct window *window = patches->window;
  int64_t positions = window->output[0] * window->output[1];
  int64_t inner = patches->channels * window->kernel[0] * window->kernel[1];
  int64_t block = positions < POSITIONS_MAX ? positions : POSITIONS_MAX;
  struct arena scratch;
  arena_init(&scratch);
  float *rows = arena_array(&scratch, (size_t)block * (size_t)inner, sizeof *rows);
  for (int64_t first = 0; first < positions; first += block) {
    int64_t count = positions - first < block ? positions - first : block;
    for (int64_t i = 0; i < count; i++) gather_patch(patches, first + i, rows + i * inner);
    struct product product = {
        .rows = count,
        .columns = filters,
        .inner = inner,
        .a = {rows, false, inner, 1},
        .b = {weight, false, 1, inner},
        .alpha = 1,
        .beta = 1,
        .addend = {bias, false, 0, 1},
        .out = out + first,
        .out_row_stride = 1,
        .out_column_stride = positions,
    };
    matrix_product(&product);
  }
  arena_deinit(&scratch);
}

void eval_conv(const struct node *node, const void *const *inputs, void *const *outputs) {
  const struct shape *x = &node->inputs[0]->shape, *w = &node->inputs[1]->shape;
  const float *bias = op_input(node, 2) != NULL ? inputs[2] : NULL;
  struct window window = conv_window_of(node);
  int64_t channels = x->dim[1] / window.group, filters = w->dim[0] / window.group;
  int64_t positions = window.output[0] * window.output[1], kernel = w->dim[1] * w->dim[2] * w->dim[3];
  for (int64_t image = 0; image < x->dim[0]; image++) {
    for (int64_t group = 0; group < window.group; group++) {
      int64_t first_channel = image * x->dim[1] + group * channels, first_filter = group * filters;
      struct patches patches = {&window, x, (const float *)inputs[0] + first_channel * x->dim[2] * x->dim[3], channels};
      convolve_group(&patches, (const float *)inputs[1] + first_filter * kernel, bias != NULL ? bias + first_filter : NULL,
                     filters, (float *)outputs[0] + (image * w->dim[0] + first_filter) * positions);
    }
  }
}
