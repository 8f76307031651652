/* A value seen as a strided window of an earlier one: what is left of any chain of Reshape, Transpose, Split, Slice, Gather (of
 * one index), Squeeze and Unsqueeze. Element (i0, i1, ...) is element offset + sum(i * stride) of base, row-major, of one
 * image. */
#ifndef VITC_PASSES_WINDOW_H
#define VITC_PASSES_WINDOW_H

#include "ir/graph.h"

struct window {
  struct value *base;
  struct shape shape;
  int64_t stride[RANK_MAX];
  int64_t offset;
};

/* Follows at most `depth` nodes, fewer where one of them is no window. */
void window_of(struct value *value, int depth, struct window *out_window);

#endif
