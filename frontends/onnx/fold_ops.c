/* Ops that the graph does not have, for they occur in shape arithmetic and in the making of masks and tables. */
#include "onnx/importer.h"
#include "ops/eval.h"

#include <math.h>
#include <string.h>

enum { BROADCAST_MAX = 3 };

static enum status broadcast_shape(struct importer *im, const struct tensor *inputs, size_t count, struct shape *out) {
  *out = (struct shape){0};
  for (size_t i = 0; i < count; i++) {
    if (inputs[i].data == NULL) return importer_fail(im, "input %zu is missing", i);
    if (inputs[i].shape.rank > out->rank) out->rank = inputs[i].shape.rank;
  }
  for (int axis = 0; axis < out->rank; axis++) {
    out->dim[axis] = 1;
    for (size_t i = 0; i < count; i++) {
      int from = axis - (out->rank - inputs[i].shape.rank);
      int64_t dim = from >= 0 ? inputs[i].shape.dim[from] : 1;
      if (dim != 1 && out->dim[axis] != 1 && dim != out->dim[axis]) return importer_fail(im, "input %zu does not broadcast", i);
      if (dim != 1) out->dim[axis] = dim;
    }
  }
  return STATUS_OK;
}

/* Where each input's element lies for element `i` of the result. */
static void locate(const struct shape *shape, int64_t strides[BROADCAST_MAX][RANK_MAX], size_t count, int64_t i,
                   int64_t out_at[BROADCAST_MAX]) {
  for (size_t input = 0; input < count; input++) out_at[input] = 0;
  for (int axis = shape->rank - 1; axis >= 0; axis--) {
    int64_t index = i % shape->dim[axis];
    i /= shape->dim[axis];
    for (size_t input = 0; input < count; input++) out_at[input] += index * strides[input][axis];
  }
}

typedef double element_function(const char *op, const double *elements);

static enum status fold_elements(struct importer *im, const struct tensor *inputs, size_t count, enum dtype dtype,
                                 element_function *function, struct tensor *out) {
  struct shape shape;
  void *data;
  int64_t strides[BROADCAST_MAX][RANK_MAX] = {{0}}, at[BROADCAST_MAX];
  if (count < 1 || count > BROADCAST_MAX) return importer_fail(im, "has %zu inputs", count);
  TRY(attributes_check(im, (const char *const[]){"fmod", NULL}));
  TRY(broadcast_shape(im, inputs, count, &shape));
  TRY(fold_room(im, dtype, &shape, out, &data));
  for (size_t i = 0; i < count; i++) broadcast_strides(&inputs[i].shape, &shape, strides[i]);
  int64_t elements = shape_elements(&shape);
  for (int64_t i = 0; i < elements; i++) {
    double element[BROADCAST_MAX];
    locate(&shape, strides, count, i, at);
    for (size_t input = 0; input < count; input++)
      element[input] = element_load(inputs[input].dtype, inputs[input].data, at[input]);
    element_store(dtype, data, i, function(im->node->op_type, element));
  }
  return STATUS_OK;
}

static double compare(const char *op, const double *e) {
  if (strcmp(op, "Equal") == 0) return e[0] == e[1];
  if (strcmp(op, "Greater") == 0) return e[0] > e[1];
  if (strcmp(op, "GreaterOrEqual") == 0) return e[0] >= e[1];
  if (strcmp(op, "Less") == 0) return e[0] < e[1];
  return e[0] <= e[1];
}

enum status fold_compare(struct importer *im, const struct tensor *inputs, size_t count, struct tensor *out) {
  if (count != 2) return importer_fail(im, "has %zu inputs, expected 2", count);
  return fold_elements(im, inputs, count, DTYPE_BOOL, compare, out);
}

static double decide(const char *op, const double *e) {
  if (strcmp(op, "And") == 0) return e[0] != 0 && e[1] != 0;
  if (strcmp(op, "Or") == 0) return e[0] != 0 || e[1] != 0;
  return e[0] == 0;
}

enum status fold_logic(struct importer *im, const struct tensor *inputs, size_t count, struct tensor *out) {
  size_t expected = strcmp(im->node->op_type, "Not") == 0 ? 1 : 2;
  if (count != expected) return importer_fail(im, "has %zu inputs, expected %zu", count, expected);
  return fold_elements(im, inputs, count, DTYPE_BOOL, decide, out);
}

static double extreme(const char *op, const double *e) {
  if (strcmp(op, "Min") == 0) return fmin(e[0], e[1]);
  if (strcmp(op, "Max") == 0) return fmax(e[0], e[1]);
  double rest = e[1] != 0 ? fmod(e[0], e[1]) : 0;
  return rest != 0 && (rest < 0) != (e[1] < 0) ? rest + e[1] : rest;
}

/* Min, Max and Mod of two. */
enum status fold_extreme(struct importer *im, const struct tensor *inputs, size_t count, struct tensor *out) {
  if (count != 2) return importer_fail(im, "has %zu inputs, expected 2", count);
  return fold_elements(im, inputs, count, inputs[0].dtype, extreme, out);
}

static double round_to(const char *op, const double *e) {
  if (strcmp(op, "Floor") == 0) return floor(e[0]);
  if (strcmp(op, "Ceil") == 0) return ceil(e[0]);
  if (strcmp(op, "Abs") == 0) return fabs(e[0]);
  return nearbyint(e[0]);
}

enum status fold_rounding(struct importer *im, const struct tensor *inputs, size_t count, struct tensor *out) {
  if (count != 1) return importer_fail(im, "has %zu inputs, expected 1", count);
  return fold_elements(im, inputs, count, inputs[0].dtype, round_to, out);
}

static double circle(const char *op, const double *e) {
  return strcmp(op, "Sin") == 0 ? sin(e[0]) : cos(e[0]);
}

enum status fold_trigonometry(struct importer *im, const struct tensor *inputs, size_t count, struct tensor *out) {
  if (count != 1) return importer_fail(im, "has %zu inputs, expected 1", count);
  return fold_elements(im, inputs, count, inputs[0].dtype, circle, out);
}

/* Elements are copied as bytes: an int64 need not fit a double. */
enum status fold_where(struct importer *im, const struct tensor *inputs, size_t count, struct tensor *out) {
  struct shape shape;
  void *data;
  int64_t strides[BROADCAST_MAX][RANK_MAX] = {{0}}, at[BROADCAST_MAX];
  if (count != 3) return importer_fail(im, "has %zu inputs, expected 3", count);
  TRY(broadcast_shape(im, inputs, count, &shape));
  if (inputs[0].dtype != DTYPE_BOOL || inputs[1].dtype != inputs[2].dtype)
    return importer_fail(im, "expected a condition and two inputs of one type");
  TRY(fold_room(im, inputs[1].dtype, &shape, out, &data));
  for (size_t i = 0; i < count; i++) broadcast_strides(&inputs[i].shape, &shape, strides[i]);
  size_t size = dtype_size(inputs[1].dtype);
  int64_t elements = shape_elements(&shape);
  for (int64_t i = 0; i < elements; i++) {
    locate(&shape, strides, count, i, at);
    int chosen = ((const uint8_t *)inputs[0].data)[at[0]] != 0 ? 1 : 2;
    memcpy((char *)data + (size_t)i * size, (const char *)inputs[chosen].data + (size_t)at[chosen] * size, size);
  }
  return STATUS_OK;
}

enum status fold_range(struct importer *im, const struct tensor *inputs, size_t count, struct tensor *out) {
  double bound[3];
  if (count != 3) return importer_fail(im, "has %zu inputs, expected 3", count);
  for (size_t i = 0; i < count; i++) {
    if (inputs[i].data == NULL || shape_elements(&inputs[i].shape) != 1) return importer_fail(im, "input %zu is no scalar", i);
    bound[i] = element_load(inputs[i].dtype, inputs[i].data, 0);
  }
  double steps = bound[2] != 0 ? ceil((bound[1] - bound[0]) / bound[2]) : -1;
  if (!(steps < 1e9) || bound[2] == 0) return importer_fail(im, "a range from %g to %g by %g", bound[0], bound[1], bound[2]);
  struct shape shape = {.rank = 1, .dim = {steps > 0 ? (int64_t)steps : 0}};
  void *data;
  TRY(fold_room(im, inputs[0].dtype, &shape, out, &data));
  for (int64_t i = 0; i < shape.dim[0]; i++) element_store(inputs[0].dtype, data, i, bound[0] + (double)i * bound[2]);
  return STATUS_OK;
}

/* The axes that a Reduce* names, in an attribute or as the second input; all when it names none. */
static enum status reduced_axes(struct importer *im, const struct tensor *inputs, size_t count, bool out_axes[RANK_MAX]) {
  const OnnxSubset__Attribute *attribute = attribute_find(im, "axes");
  bool given = count > 1 && inputs[1].data != NULL;
  int rank = inputs[0].shape.rank;
  int64_t listed = attribute != NULL ? (int64_t)attribute->n_ints : given ? shape_elements(&inputs[1].shape) : 0;
  if (given && inputs[1].dtype != DTYPE_I64) return importer_fail(im, "axes are no integers");
  for (int i = 0; i < RANK_MAX; i++) out_axes[i] = listed == 0;
  for (int64_t i = 0; i < listed; i++) {
    int axis;
    TRY(importer_axis(im, attribute != NULL ? attribute->ints[i] : ((const int64_t *)inputs[1].data)[i], rank, &axis));
    out_axes[axis] = true;
  }
  return STATUS_OK;
}

/* ReduceProd and ReduceSum. */
enum status fold_reduce(struct importer *im, const struct tensor *inputs, size_t count, struct tensor *out) {
  int64_t keep, strides[BROADCAST_MAX][RANK_MAX] = {{0}}, at[BROADCAST_MAX];
  bool axes[RANK_MAX];
  void *data;
  TRY(attributes_check(im, (const char *const[]){"keepdims", "axes", NULL}));
  TRY(attribute_int(im, "keepdims", 1, &keep));
  if (count < 1 || count > 2 || inputs[0].data == NULL) return importer_fail(im, "has %zu inputs", count);
  TRY(reduced_axes(im, inputs, count, axes));
  const struct shape *x = &inputs[0].shape;
  struct shape kept = *x, shape = {0};
  for (int i = 0; i < x->rank; i++) {
    if (axes[i]) kept.dim[i] = 1;
    if (!axes[i] || keep != 0) shape.dim[shape.rank++] = kept.dim[i];
  }
  TRY(fold_room(im, inputs[0].dtype, &shape, out, &data));
  bool sums = strcmp(im->node->op_type, "ReduceSum") == 0;
  for (int64_t i = 0, elements = shape_elements(&shape); i < elements; i++)
    element_store(inputs[0].dtype, data, i, sums ? 0 : 1);
  broadcast_strides(&kept, x, strides[0]);
  for (int64_t i = 0, elements = shape_elements(x); i < elements; i++) {
    locate(x, strides, 1, i, at);
    double so_far = element_load(inputs[0].dtype, data, at[0]), element = element_load(inputs[0].dtype, inputs[0].data, i);
    element_store(inputs[0].dtype, data, at[0], sums ? so_far + element : so_far * element);
  }
  return STATUS_OK;
}

/* Trilu of a stack of matrices: what lies on the other side of the diagonal is zero. */
enum status fold_triangle(struct importer *im, const struct tensor *inputs, size_t count, struct tensor *out) {
  int64_t upper, diagonal = 0;
  void *data;
  TRY(attributes_check(im, (const char *const[]){"upper", NULL}));
  TRY(attribute_int(im, "upper", 1, &upper));
  if (count < 1 || count > 2 || inputs[0].data == NULL || inputs[0].shape.rank < 2)
    return importer_fail(im, "is only supported on matrices");
  if (count == 2 && inputs[1].data != NULL) {
    if (inputs[1].dtype != DTYPE_I64 || shape_elements(&inputs[1].shape) != 1)
      return importer_fail(im, "input 1 is no integer");
    memcpy(&diagonal, inputs[1].data, sizeof diagonal);
  }
  const struct shape *shape = &inputs[0].shape;
  int64_t rows = shape->dim[shape->rank - 2], columns = shape->dim[shape->rank - 1];
  size_t size = dtype_size(inputs[0].dtype);
  TRY(fold_room(im, inputs[0].dtype, shape, out, &data));
  for (int64_t i = 0, elements = shape_elements(shape); i < elements; i++) {
    int64_t row = i / columns % rows, column = i % columns;
    bool kept = upper != 0 ? column - row >= diagonal : column - row <= diagonal;
    if (kept)
      memcpy((char *)data + (size_t)i * size, (const char *)inputs[0].data + (size_t)i * size, size);
    else
      memset((char *)data + (size_t)i * size, 0, size);
  }
  return STATUS_OK;
}

/* Where the rows of `indices`, each the first coordinates of a block of x, point to; -1: outside. */
static int64_t block_at(const struct shape *x, const int64_t *index, int64_t coordinates) {
  int64_t at = 0;
  for (int64_t i = 0; i < coordinates; i++) {
    int64_t extent = x->dim[i], own = index[i] < 0 ? index[i] + extent : index[i];
    if (own < 0 || own >= extent) return -1;
    at = at * extent + own;
  }
  return at;
}

/* ScatterND without a reduction. */
enum status fold_scatter(struct importer *im, const struct tensor *inputs, size_t count, struct tensor *out) {
  const char *reduction;
  void *data;
  TRY(attributes_check(im, (const char *const[]){"reduction", NULL}));
  TRY(attribute_string(im, "reduction", "none", &reduction));
  if (count != 3 || strcmp(reduction, "none") != 0)
    return importer_fail(im, "is only supported with 3 inputs and no reduction");
  const struct shape *x = &inputs[0].shape, *indices = &inputs[1].shape;
  int64_t coordinates = indices->rank > 0 ? indices->dim[indices->rank - 1] : 0;
  if (inputs[1].dtype != DTYPE_I64 || coordinates < 1 || coordinates > x->rank || inputs[2].dtype != inputs[0].dtype)
    return importer_fail(im, "expected indices of at most %d coordinates, and updates of the input's type", x->rank);
  int64_t blocks = shape_elements(indices) / coordinates, elements = 1;
  for (int64_t i = coordinates; i < x->rank; i++) elements *= x->dim[i];
  if (shape_elements(&inputs[2].shape) != blocks * elements) return importer_fail(im, "updates do not match the indices");
  TRY(fold_room(im, inputs[0].dtype, x, out, &data));
  size_t size = dtype_size(inputs[0].dtype), block = size * (size_t)elements;
  memcpy(data, inputs[0].data, size * (size_t)shape_elements(x));
  for (int64_t i = 0; i < blocks; i++) {
    int64_t at = block_at(x, (const int64_t *)inputs[1].data + i * coordinates, coordinates);
    if (at < 0) return importer_fail(im, "index %lld is out of range", (long long)i);
    memcpy((char *)data + (size_t)at * block, (const char *)inputs[2].data + (size_t)i * block, block);
  }
  return STATUS_OK;
}
