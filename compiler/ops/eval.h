/* What the eval functions share: elements of any dtype as doubles, strided views, matrix products in double. */
#ifndef VITC_OPS_EVAL_H
#define VITC_OPS_EVAL_H

#include "ops/op.h"

/* One element as a double, and back with one rounding (to nearest even; integers are truncated and kept in range). */
double element_load(enum dtype dtype, const void *data, int64_t at);
void element_store(enum dtype dtype, void *data, int64_t at, double element);

/* Row-major strides, in elements. */
void shape_strides(const struct shape *shape, int64_t out_strides[RANK_MAX]);

/* Strides with which `from` is read to fill a broadcast result: 0 along repeated axes. */
void broadcast_strides(const struct shape *from, const struct shape *result, int64_t out_strides[RANK_MAX]);

/* A walk over all but the last axis of a shape, with offsets of up to OPERANDS_MAX strided operands. */
enum { OPERANDS_MAX = 3 };
struct walk {
  const struct shape *shape;
  const int64_t *strides[OPERANDS_MAX];
  int operand_count;
  int64_t index[RANK_MAX], offset[OPERANDS_MAX];
};
void walk_init(struct walk *walk, const struct shape *shape, const int64_t *const *strides, int operand_count);
bool walk_next(struct walk *walk); /* false after the last row */

/* Fills `out` row-major with elements in[offset + sum(index * strides)]. */
void copy_strided(void *out, const void *in, const struct shape *shape, const int64_t *strides, int64_t offset,
                  size_t element_size);

/* A matrix of floats or doubles anywhere in memory; strides in elements. */
struct matrix {
  const void *data;
  bool wide; /* double */
  int64_t row_stride, column_stride;
};

/* out[i, j] = alpha * sum over k of a[i, k] * b[k, j] + beta * addend[i, j], carried in double and rounded once. The sum runs
 * over k in order, so an element does not depend on which rows and columns are computed with it. */
struct product {
  int64_t rows, columns, inner;
  struct matrix a, b;
  double alpha, beta;
  struct matrix addend; /* data NULL: none */
  void *out;
  bool out_wide;
  int64_t out_row_stride, out_column_stride;
};
void matrix_product(const struct product *product);

#endif
