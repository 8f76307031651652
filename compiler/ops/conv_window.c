#include "ops/conv.h"

#include <assert.h>
#include <string.h>

/* Keeps (kernel - 1) * dilation and the sums with it far from overflow. */
enum { WINDOW_MAX = 1 << 20 };

static enum status window_ints(struct graph *graph, const struct node *node, const char *name, size_t count, int64_t min,
                               int64_t fallback, int64_t *out_ints) {
  const struct attr *attr = node_attr(node, name);
  if (attr != NULL && attr->count != count)
    return op_fail(graph, node, "attribute '%s' has %zu elements, expected %zu", name, attr->count, count);
  for (size_t i = 0; i < count; i++) {
    out_ints[i] = attr != NULL ? attr->ints[i] : fallback;
    if (out_ints[i] < min || out_ints[i] > WINDOW_MAX)
      return op_fail(graph, node, "attribute '%s': %lld is out of range", name, (long long)out_ints[i]);
  }
  return STATUS_OK;
}

static enum status auto_pads(struct graph *graph, const struct node *node, struct window *window) {
  const char *mode = node_string(node, "auto_pad");
  if (strcmp(mode, "NOTSET") == 0) return STATUS_OK;
  if (node_attr(node, "pads") != NULL) return op_fail(graph, node, "has both 'pads' and auto_pad '%s'", mode);
  if (strcmp(mode, "VALID") == 0) return STATUS_OK;
  bool lower = strcmp(mode, "SAME_LOWER") == 0;
  if (!lower && strcmp(mode, "SAME_UPPER") != 0)
    return op_fail(graph, node, "attribute 'auto_pad' is '%s', expected NOTSET, SAME_UPPER, SAME_LOWER or VALID", mode);
  for (int i = 0; i < 2; i++) {
    int64_t input = node->inputs[0]->shape.dim[2 + i], stride = window->stride[i];
    int64_t output = (input - 1) / stride + 1;
    int64_t total = (output - 1) * stride + (window->kernel[i] - 1) * window->dilation[i] + 1 - input;
    if (total < 0) total = 0;
    window->pad_begin[i] = lower ? total - total / 2 : total / 2;
    window->pad_end[i] = total - window->pad_begin[i];
  }
  return STATUS_OK;
}

enum status conv_window(struct graph *graph, const struct node *node, struct window *out_window) {
  const struct shape *x = &node->inputs[0]->shape, *w = &node->inputs[1]->shape;
  int64_t kernel[2], pads[4];
  TRY(window_ints(graph, node, "strides", 2, 1, 1, out_window->stride));
  TRY(window_ints(graph, node, "dilations", 2, 1, 1, out_window->dilation));
  TRY(window_ints(graph, node, "pads", 4, 0, 0, pads));
  for (int i = 0; i < 2; i++) {
    out_window->kernel[i] = w->dim[2 + i];
    out_window->pad_begin[i] = pads[i];
    out_window->pad_end[i] = pads[2 + i];
    if (w->dim[2 + i] > WINDOW_MAX) return op_fail(graph, node, "kernel extent %lld is too large", (long long)w->dim[2 + i]);
  }
  if (node_attr(node, "kernel_shape") != NULL) {
    TRY(window_ints(graph, node, "kernel_shape", 2, 1, 1, kernel));
    if (kernel[0] != w->dim[2] || kernel[1] != w->dim[3])
      return op_fail(graph, node, "kernel_shape is %lld x %lld, the weight's is %lld x %lld", (long long)kernel[0],
                     (long long)kernel[1], (long long)w->dim[2], (long long)w->dim[3]);
  }
  TRY(auto_pads(graph, node, out_window));
  out_window->group = node_int(node, "group");
  for (int i = 0; i < 2; i++) {
    int64_t padded = x->dim[2 + i] + out_window->pad_begin[i] + out_window->pad_end[i];
    int64_t extent = (out_window->kernel[i] - 1) * out_window->dilation[i] + 1;
    if (padded < extent)
      return op_fail(graph, node, "kernel of %lld does not fit an input of %lld along axis %d", (long long)extent,
                     (long long)padded, 2 + i);
    out_window->output[i] = (padded - extent) / out_window->stride[i] + 1;
  }
  return STATUS_OK;
}

struct window conv_window_of(const struct node *node) {
  struct window window = {.group = 1};
  enum status status = conv_window(NULL, node, &window);
  assert(status == STATUS_OK);
  (void)status;
  return window;
}
