#include "plan/view.h"

#include <assert.h>
#include <string.h>

void view_padded(struct view *view, int64_t row_stride) {
  int rank = view->shape.rank;
  int64_t stride = 1;
  for (int i = rank - 1; i >= 0; i--) {
    view->stride[i] = stride;
    stride = i == rank - 1 ? row_stride : stride * view->shape.dim[i];
  }
  view->image_stride = rank == 0 ? 1 : stride;
}

void view_dense(struct view *view) {
  view_padded(view, view->shape.rank > 0 ? view->shape.dim[view->shape.rank - 1] : 1);
}

/* Axes of 1 carry no layout: both shapes are matched without them, then each run of axes whose products agree must be
 * contiguous in itself. */
bool view_reshape(const struct view *from, const struct shape *shape, struct view *out_view) {
  int64_t old_dim[RANK_MAX], old_stride[RANK_MAX];
  int old_rank = 0;
  for (int i = 0; i < from->shape.rank; i++) {
    if (from->shape.dim[i] == 1) continue;
    old_dim[old_rank] = from->shape.dim[i];
    old_stride[old_rank++] = from->stride[i];
  }
  *out_view = *from;
  out_view->shape = *shape;
  for (int i = 0; i < shape->rank; i++) out_view->stride[i] = 0;
  int o = 0, n = 0;
  while (n < shape->rank) {
    if (shape->dim[n] == 1) {
      n++;
      continue;
    }
    if (o == old_rank) return false;
    int o_end = o + 1, n_end = n + 1;
    int64_t old_product = old_dim[o], new_product = shape->dim[n];
    while (old_product != new_product) {
      if (new_product < old_product) {
        if (n_end == shape->rank) return false;
        new_product *= shape->dim[n_end++];
      } else {
        if (o_end == old_rank) return false;
        old_product *= old_dim[o_end++];
      }
    }
    for (int i = o; i + 1 < o_end; i++)
      if (old_stride[i] != old_stride[i + 1] * old_dim[i + 1]) return false;
    int64_t stride = old_stride[o_end - 1];
    for (int i = n_end - 1; i >= n; i--) {
      out_view->stride[i] = stride;
      stride *= shape->dim[i];
    }
    o = o_end;
    n = n_end;
  }
  return o == old_rank;
}

struct view view_permute(const struct view *from, const int64_t *perm) {
  struct view view = *from;
  for (int i = 0; i < from->shape.rank; i++) {
    view.shape.dim[i] = from->shape.dim[perm[i]];
    view.stride[i] = from->stride[perm[i]];
  }
  return view;
}

struct view view_slice(const struct view *from, int axis, int64_t start, int64_t step, int64_t count) {
  struct view view = *from;
  view.offset += start * from->stride[axis];
  view.stride[axis] = step * from->stride[axis];
  view.shape.dim[axis] = count;
  return view;
}

struct view view_drop_axis(const struct view *from, int axis, int64_t index) {
  struct view view = *from;
  view.offset += index * from->stride[axis];
  view.shape.rank--;
  for (int i = axis; i < view.shape.rank; i++) {
    view.shape.dim[i] = from->shape.dim[i + 1];
    view.stride[i] = from->stride[i + 1];
  }
  return view;
}

struct view view_broadcast(const struct view *from, const struct shape *shape) {
  struct view view = *from;
  int missing = shape->rank - from->shape.rank;
  assert(missing >= 0);
  view.shape = *shape;
  for (int i = 0; i < shape->rank; i++) {
    bool repeats = i < missing || from->shape.dim[i - missing] == 1;
    view.stride[i] = repeats ? 0 : from->stride[i - missing];
  }
  return view;
}

bool view_same_layout(const struct view *a, const struct view *b) {
  if (a->memory != b->memory || a->index != b->index || a->offset != b->offset || a->dtype != b->dtype) return false;
  if (a->image_stride != b->image_stride || !shape_equal(&a->shape, &b->shape)) return false;
  for (int i = 0; i < a->shape.rank; i++)
    if (a->shape.dim[i] > 1 && a->stride[i] != b->stride[i]) return false;
  return true;
}

bool view_disjoint(const struct view *a, const struct view *b) {
  int64_t a_rows, a_columns, a_stride, b_rows, b_columns, b_stride;
  if (a->memory != b->memory || a->index != b->index) return true;
  if (!view_matrix(a, &a_rows, &a_columns, &a_stride) || !view_matrix(b, &b_rows, &b_columns, &b_stride)) return false;
  if (a_stride != b_stride || a->image_stride != b->image_stride || a->image_stride % a_stride != 0) return false;
  int64_t a_begin = a->offset % a_stride, b_begin = b->offset % b_stride;
  if (a_begin + a_columns > a_stride || b_begin + b_columns > b_stride) return false;
  return a_begin + a_columns <= b_begin || b_begin + b_columns <= a_begin;
}

bool view_matrix(const struct view *view, int64_t *out_rows, int64_t *out_columns, int64_t *out_row_stride) {
  int rank = view->shape.rank;
  if (rank == 0) {
    *out_rows = *out_columns = *out_row_stride = 1;
    return true;
  }
  int64_t columns = view->shape.dim[rank - 1], rows = 1, row_stride = 0;
  if (columns > 1 && view->stride[rank - 1] != 1) return false;
  for (int i = rank - 2; i >= 0; i--) {
    if (view->shape.dim[i] == 1) continue;
    if (rows == 1)
      row_stride = view->stride[i];
    else if (view->stride[i] != row_stride * rows)
      return false;
    rows *= view->shape.dim[i];
  }
  *out_rows = rows;
  *out_columns = columns;
  *out_row_stride = rows == 1 ? columns : row_stride;
  return true;
}
