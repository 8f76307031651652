/* Second moments: the matrix C (k x k, row-major) of the sums over rows x of x[i] * x[j], in double.
 *
 * Every element is one sum over the rows in their order, so it has the same bits for every number of threads. */
#ifndef VITC_CALIBRATE_MOMENTS_H
#define VITC_CALIBRATE_MOMENTS_H

#include <stdint.h>

/* Sets C from `rows` rows of k floats. */
void moments_of(const float *x, int64_t rows, int64_t k, int threads, double *moments);

/* The moments of (x / balance) @ H (quantize.h) from those of x; balance NULL: all 1. */
void moments_transform(const double *moments, int64_t k, const float *balance, int64_t block, double *out);

/* H^T @ (balance * columns) in place, `count` columns of k rows. */
void transform_columns(double *columns, int64_t k, int64_t count, const float *balance, int64_t block);

#endif
