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

/* ReduceProd of all elements: the size of a shape. */
enum status fold_product(struct importer *im, const struct tensor *inputs, size_t count, struct tensor *out) {
  int64_t keep;
  void *data;
  TRY(attributes_check(im, (const char *const[]){"keepdims", NULL}));
  TRY(attribute_int(im, "keepdims", 1, &keep));
  if (count != 1 || inputs[0].shape.rank > 1) return importer_fail(im, "is only supported over all elements of one axis");
  struct shape shape = {.rank = keep != 0 ? inputs[0].shape.rank : 0, .dim = {1}};
  TRY(fold_room(im, inputs[0].dtype, &shape, out, &data));
  double product = 1;
  for (int64_t i = 0; i < shape_elements(&inputs[0].shape); i++) product *= element_load(inputs[0].dtype, inputs[0].data, i);
  element_store(inputs[0].dtype, data, 0, product);
  return STATUS_OK;
}
