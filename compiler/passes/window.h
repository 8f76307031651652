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
  double scale;
};

/* Follows at most `depth` nodes, fewer where one of them is no window; scalings only when `scaled`. */
void window_of(struct value *value, int depth, bool scaled, struct window *out_window);

/* What a Mul or Div by a scalar scales, and by how much; NULL for anything else. */
struct value *scaled_value(const struct node *node, double *out_scale);

#endif
