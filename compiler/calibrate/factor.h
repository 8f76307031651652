/* The factorization of a symmetric positive matrix: C + damping = M @ D @ M^T, M unit lower triangular, D diagonal. */
#ifndef VITC_CALIBRATE_FACTOR_H
#define VITC_CALIBRATE_FACTOR_H

#include <stdint.h>

/* In place of C (k x k, row-major; only the lower triangle is read): M below the diagonal, D on it, nothing of use above.
 * Adds `damping` > 0 to the diagonal first; no element of D is less, as in exact arithmetic. */
void factor(double *matrix, int64_t k, double damping, int threads);

#endif
