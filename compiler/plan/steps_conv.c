/* Conv: the windows of a block of output rows become rows of a matrix, which is multiplied by the weights as a GEMM, and the
 * result is turned to channels first. Grouped convolutions are computed directly. */
#include "ops/conv.h"
#include "plan/step.h"
#include "plan/view.h"

/* The block of windows (1 MiB) stays in the second-level cache; very large images get larger blocks, so that the code stays
 * small. */
enum { BLOCK_FLOATS = 256 * 1024, BLOCKS_MAX = 32 };

struct conv {
  const struct node *node;
  struct window window;
  struct view x, out; /* x: padded */
  struct view windows, product;
  struct view weight, bias;
  int64_t channels, filters, taps; /* taps: rows of the packed weights */
  int64_t block_rows;
};

static const float zero;

/* x with its padding: zeros, then the image inside. */
static enum status pad(struct planner *p, struct conv *c) {
  const struct window *w = &c->window;
  if (w->pad_begin[0] == 0 && w->pad_begin[1] == 0 && w->pad_end[0] == 0 && w->pad_end[1] == 0) return STATUS_OK;
  struct shape shape = c->x.shape;
  for (int i = 0; i < 2; i++) shape.dim[2 + i] += w->pad_begin[i] + w->pad_end[i];
  struct view padded = place_temporary(p, "padded image", &shape, c->node->inputs[0]->batched);
  static const struct shape scalar = {0};
  static const struct value zero_value = {.name = "zero", .dtype = DTYPE_F32, .data = &zero};
  struct view nothing = {.memory = MEMORY_WEIGHTS, .shape = scalar, .dtype = DTYPE_F32};
  nothing.index = pack_constant(p, &zero_value);
  TRY(steps_copy(p, &nothing, &padded, c->node));
  struct view inside = padded;
  for (int i = 0; i < 2; i++) inside = view_slice(&inside, 2 + i, w->pad_begin[i], 1, c->x.shape.dim[2 + i]);
  TRY(steps_copy(p, &c->x, &inside, c->node));
  c->x = padded;
  return STATUS_OK;
}

/* A view of `rows` rows of windows over the image from output row `first` on: (1, rows, columns, channel, y, x). */
static struct view windows_of(const struct conv *c, int64_t first, int64_t rows) {
  const struct window *w = &c->window;
  struct view view = c->x;
  const int64_t *from = c->x.stride;
  view.offset += first * w->stride[0] * from[2];
  view.shape = (struct shape){6, {1, rows, w->output[1], c->channels, w->kernel[0], w->kernel[1]}};
  const int64_t strides[] = {from[0], w->stride[0] * from[2],   w->stride[1] * from[3],
                             from[1], w->dilation[0] * from[2], w->dilation[1] * from[3]};
  for (int i = 0; i < 6; i++) view.stride[i] = strides[i];
  return view;
}

/* The same axes over the matrix of windows. */
static struct view window_rows(const struct conv *c, int64_t rows) {
  const struct window *w = &c->window;
  struct view view = c->windows;
  int64_t row = c->windows.stride[1], kernel = w->kernel[0] * w->kernel[1];
  view.shape = (struct shape){6, {1, rows, w->output[1], c->channels, w->kernel[0], w->kernel[1]}};
  const int64_t strides[] = {0, w->output[1] * row, row, kernel, w->kernel[1], 1};
  for (int i = 0; i < 6; i++) view.stride[i] = strides[i];
  return view;
}

static enum status multiply(struct planner *p, const struct conv *c, int64_t rows) {
  struct view windows = c->windows, product = c->product;
  windows.shape.dim[1] = product.shape.dim[1] = rows * c->window.output[1];
  struct step *step = steps_new(p, STEP_GEMM, c->node);
  step_set_out(step, &product);
  step_add_input(step, &windows);
  step_add_input(step, &c->weight);
  if (c->bias.memory == MEMORY_NONE) return STATUS_OK;
  struct view bias = view_broadcast(&c->bias, &product.shape);
  step->stages[step->stage_count++] = (struct step_stage){.op = OP_add, .operand = step_add_input(step, &bias)};
  return STATUS_OK;
}

/* Output rows [first, first + rows), channels first. */
static enum status turn(struct planner *p, const struct conv *c, int64_t first, int64_t rows) {
  struct view from = c->product, to = view_slice(&c->out, 2, first, 1, rows);
  int64_t row = c->product.stride[1];
  from.shape = (struct shape){4, {1, c->filters, rows, c->window.output[1]}};
  const int64_t strides[] = {0, 1, c->window.output[1] * row, row};
  for (int i = 0; i < 4; i++) from.stride[i] = strides[i];
  return steps_copy(p, &from, &to, c->node);
}

static void choose_block(struct conv *c) {
  int64_t height = c->window.output[0], row = c->window.output[1] * c->taps;
  c->block_rows = BLOCK_FLOATS / row > 0 ? BLOCK_FLOATS / row : 1;
  int64_t least = (height + BLOCKS_MAX - 1) / BLOCKS_MAX;
  if (c->block_rows < least) c->block_rows = least;
  if (c->block_rows > height) c->block_rows = height;
}

static enum status products(struct planner *p, struct conv *c) {
  const struct value *result = c->node->outputs[0];
  TRY(pad(p, c));
  choose_block(c);
  int64_t pixels = c->block_rows * c->window.output[1];
  struct shape windows = {3, {1, pixels, c->taps}}, product = {3, {1, pixels, c->filters}};
  c->windows = place_temporary_rows(p, "windows", &windows, result->batched);
  c->product = place_temporary_rows(p, "product", &product, result->batched);
  for (int64_t first = 0; first < c->window.output[0]; first += c->block_rows) {
    int64_t left = c->window.output[0] - first, rows = left < c->block_rows ? left : c->block_rows;
    struct view from = windows_of(c, first, rows), to = window_rows(c, rows);
    TRY(steps_copy(p, &from, &to, c->node));
    TRY(multiply(p, c, rows));
    TRY(turn(p, c, first, rows));
  }
  return STATUS_OK;
}

static enum status direct(struct planner *p, const struct conv *c) {
  struct step *step = steps_new(p, STEP_CONV, c->node);
  step_set_out(step, &c->out);
  step_add_input(step, &c->x);
  step_add_input(step, &c->weight);
  if (c->bias.memory != MEMORY_NONE) step_add_input(step, &c->bias);
  return STATUS_OK;
}

enum status conv_steps(struct planner *p, const struct node *node) {
  if (node->inputs[0]->shape.rank != 4) return plan_refuse(p, node, "compiled convolutions are two-dimensional");
  if (node->inputs[0]->shape.dim[0] != 1)
    return plan_refuse(p, node, "compiled convolutions need an input of shape (N, C, H, W)");
  const struct value *weight = node->inputs[1];
  if (weight->data == NULL || weight->dtype != DTYPE_F32)
    return plan_refuse(p, node, "the convolution's weight must be a float32 constant");
  TRY(place_value(p, node->outputs[0], NULL));
  struct conv c = {.node = node, .window = conv_window_of(node)};
  c.x = place_of(p, node->inputs[0]);
  c.out = place_of(p, node->outputs[0]);
  c.channels = c.x.shape.dim[1];
  c.filters = c.out.shape.dim[1];
  c.taps = shape_elements(&weight->shape) / weight->shape.dim[0];
  c.weight = (struct view){.memory = MEMORY_WEIGHTS, .dtype = DTYPE_F32};
  c.weight.index = pack_panels(p, weight, true, c.window.group, PRECISION_FP32, false, NULL);
  if (node->input_count > 2 && node->inputs[2] != NULL) c.bias = place_of(p, node->inputs[2]);
  TRY(c.window.group == 1 && node->outputs[0]->batched == node->inputs[0]->batched ? products(p, &c) : direct(p, &c));
  return step_epilogue(p, node, &c.out, 0);
}
