/* A value seen as a strided window of an earlier one: what is left of any chain of Reshape, Transpose, Split, Slice, Gather (of
 * one index), Squeeze and Unsqueeze. Element (i0, i1, ...) is element offset + sum(i * stride) of base, row-major, of one
 * image. */
#ifndef VITC_PASSES_VIEW_H
#define VITC_PASSES_VIEW_H

#include "ir/graph.h"

struct view {
  struct value *base;
  struct shape shape;
  int64_t stride[RANK_MAX];
  int64_t offset;
};

/* Follows at most `depth` nodes, fewer where one of them is no window. */
void view_of(struct value *value, int depth, struct view *out_view);

#endif
