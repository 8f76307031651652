/* A convolution's window, from attributes and shapes. */
#ifndef VITC_OPS_CONV_H
#define VITC_OPS_CONV_H

#include "ops/op.h"

struct window {
  int64_t kernel[2], stride[2], dilation[2], pad_begin[2], pad_end[2], output[2];
  int64_t group;
};

MUST_USE enum status conv_window(struct graph *graph, const struct node *node, struct window *out_window);

/* Of a node that infer accepted. */
struct window conv_window_of(const struct node *node);

#endif
