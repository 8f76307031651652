/* Rounding of the columns of B to s8 so that x @ B changes least for the x that C is the second moments of (GPTQ's error
 * feedback). For the error e = b - scale * q of a column, e^T C e is the sum over j of D[j] * (e[j] + sum over i > j of
 * M[i, j] * e[i])^2, C = M @ D @ M^T (factor.h): from the last row to the first, q[j] is what brings its own term nearest to 0,
 * given the errors below it. With a diagonal C that is plain rounding.
 *
 * A smaller scale makes smaller errors, and larger ones where q meets its bounds; errors below make up for some of that. Of a
 * few scales each column gets the one with the least e^T C e; the full range is one of them. */
#ifndef VITC_CALIBRATE_FEEDBACK_H
#define VITC_CALIBRATE_FEEDBACK_H

#include <stdint.h>

enum { FEEDBACK_SCALES = 4, FEEDBACK_COLUMNS = 64 };

/* Doubles that feedback_round needs for itself. */
int64_t feedback_room(int64_t k);

/* columns: k x count, count <= FEEDBACK_COLUMNS, all finite. Sets q (k x count, |q| <= 127) and the `count` scales; a column of
 * zeros has scale 0. */
void feedback_round(const double *factor, int64_t k, const double *columns, int64_t count, double *room, int8_t *q,
                    float *scale);

#endif
