/* Views: how movement ops look at memory that another value owns. Every function that can fail returns false when the result
 * has no strides; the caller then copies. */
#ifndef VITC_PLAN_VIEW_H
#define VITC_PLAN_VIEW_H

#include "plan/plan.h"

/* Row-major strides without gaps. */
void view_dense(struct view *view);
/* Row-major with the last axis padded to `row_stride` elements. */
void view_padded(struct view *view, int64_t row_stride);

bool view_reshape(const struct view *from, const struct shape *shape, struct view *out_view);
struct view view_permute(const struct view *from, const int64_t *perm);
struct view view_slice(const struct view *from, int axis, int64_t start, int64_t step, int64_t count);
struct view view_drop_axis(const struct view *from, int axis, int64_t index);
/* Numpy's broadcasting to `shape`: missing leading axes and axes of 1 get stride 0. */
struct view view_broadcast(const struct view *from, const struct shape *shape);

/* Known to share no element: columns of one matrix that do not meet. False when it cannot be told. */
bool view_disjoint(const struct view *a, const struct view *b);

bool view_same_layout(const struct view *a, const struct view *b); /* same memory, element for element */

#endif
