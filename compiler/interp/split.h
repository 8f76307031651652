/* Which parts of a node's work are independent: rows of MatMul, of LayerNormalization, elements of Gelu, and so on. */
#ifndef VITC_INTERP_SPLIT_H
#define VITC_INTERP_SPLIT_H

#include "ir/ops.h"

enum { SPLIT_INPUTS_MAX = 4 };

/* Row r of an operand starts r * row_bytes after its beginning; row_bytes 0: each part reads all of it. */
struct split_operand {
  int axis; /* of the rows; the axes before it are taken as 1 */
  size_t row_bytes;
};

struct split {
  int64_t rows; /* 1: the node is one piece */
  struct split_operand inputs[SPLIT_INPUTS_MAX], output;
};

struct split split_of(const struct node *node);

/* Evaluates rows [first, first + count) of one image. */
void split_eval(const struct node *node, const struct split *split, int64_t first, int64_t count, const void *const *inputs,
                void *output);

#endif
