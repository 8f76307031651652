/* Softmax, LayerNormalization and ReduceMean: ops that reduce along axes of one tensor. */
#include "ops/eval.h"

#include <assert.h>
#include <math.h>

enum status infer_softmax(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0];
  int axis = 0;
  TRY(op_check_dtype(graph, node, 0, 1u << DTYPE_F32));
  TRY(op_axis(graph, node, node_int(node, "axis"), x->shape.rank, &axis));
  TRY(op_keep_images(graph, node, x, axis));
  return op_set_output(graph, node, 0, x->dtype, &x->shape, x->batched);
}

/* scale and bias broadcast to the normalised axes from the right. */
static enum status check_normalised(struct graph *graph, const struct node *node, int index, const char *role, int axis) {
  const struct value *value = op_input(node, index);
  if (value == NULL) return STATUS_OK;
  TRY(op_check_dtype(graph, node, index, 1u << DTYPE_F32));
  TRY(op_unbatched(graph, node, index, role));
  const struct shape *x = &node->inputs[0]->shape;
  if (value->shape.rank > x->rank - axis)
    return op_fail(graph, node, "%s %s: expected at most rank %d", role, op_describe(graph, value), x->rank - axis);
  for (int i = 0; i < value->shape.rank; i++) {
    int64_t dim = value->shape.dim[i], expected = x->dim[x->rank - value->shape.rank + i];
    if (dim != expected && dim != 1)
      return op_fail(graph, node, "%s %s: axis %d must have extent %lld", role, op_describe(graph, value), i,
                     (long long)expected);
  }
  return STATUS_OK;
}

enum status infer_layer_normalization(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0];
  int axis = 0;
  TRY(op_check_dtype(graph, node, 0, 1u << DTYPE_F32));
  TRY(op_axis(graph, node, node_int(node, "axis"), x->shape.rank, &axis));
  TRY(op_keep_images(graph, node, x, axis));
  TRY(check_normalised(graph, node, 1, "scale", axis));
  TRY(check_normalised(graph, node, 2, "bias", axis));
  double epsilon = node_float(node, "epsilon");
  if (!(epsilon >= 0 && epsilon < 1e30)) return op_fail(graph, node, "epsilon %g: expected a number >= 0", epsilon);
  return op_set_output(graph, node, 0, x->dtype, &x->shape, x->batched);
}

enum status infer_reduce_mean(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0];
  bool reduced[RANK_MAX], any, keepdims = node_int(node, "keepdims") != 0;
  TRY(op_check_dtype(graph, node, 0, 1u << DTYPE_F32));
  TRY(op_axes(graph, node, 1, x->shape.rank, reduced, &any));
  bool all = !any && node_int(node, "noop_with_empty_axes") == 0;
  struct shape shape = {0};
  for (int i = 0; i < x->shape.rank; i++) {
    if (all || reduced[i]) {
      TRY(op_keep_images(graph, node, x, i));
      if (keepdims) shape.dim[shape.rank++] = 1;
    } else {
      shape.dim[shape.rank++] = x->shape.dim[i];
    }
  }
  return op_set_output(graph, node, 0, x->dtype, &shape, x->batched);
}

/* One line of `count` elements, `stride` apart. */
static void softmax_line(const float *x, float *out, int64_t count, int64_t stride, double *exponentials) {
  double max = -INFINITY, sum = 0;
  for (int64_t i = 0; i < count; i++) max = fmax(max, (double)x[i * stride]);
  for (int64_t i = 0; i < count; i++) {
    exponentials[i] = exp((double)x[i * stride] - max);
    sum += exponentials[i];
  }
  for (int64_t i = 0; i < count; i++) out[i * stride] = (float)(exponentials[i] / sum);
}

void eval_softmax(const struct node *node, const void *const *inputs, void *const *outputs) {
  const struct shape *shape = &node->inputs[0]->shape;
  int64_t axis = node_int(node, "axis"), strides[RANK_MAX] = {0};
  if (axis < 0) axis += shape->rank;
  shape_strides(shape, strides);
  int64_t count = shape->dim[axis], stride = strides[axis], lines = shape_elements(shape) / count;
  struct arena scratch;
  arena_init(&scratch);
  double *exponentials = arena_array(&scratch, (size_t)count, sizeof *exponentials);
  for (int64_t i = 0; i < lines; i++) {
    int64_t at = i / stride * stride * count + i % stride;
    softmax_line((const float *)inputs[0] + at, (float *)outputs[0] + at, count, stride, exponentials);
  }
  arena_deinit(&scratch);
}

void eval_layer_normalization(const struct node *node, const void *const *inputs, void *const *outputs) {
  const struct shape *shape = &node->inputs[0]->shape;
  int64_t axis = node_int(node, "axis");
  if (axis < 0) axis += shape->rank;
  struct shape line = {.rank = shape->rank - (int)axis};
  for (int i = 0; i < line.rank; i++) line.dim[i] = shape->dim[axis + i];
  int64_t count = shape_elements(&line), lines = shape_elements(shape) / count;
  bool has_bias = op_input(node, 2) != NULL;
  struct arena scratch;
  arena_init(&scratch);
  float *scale = arena_array(&scratch, (size_t)count, sizeof *scale),
        *bias = arena_array(&scratch, (size_t)count, sizeof *bias);
  for (int i = 1; i <= 1 + has_bias; i++) {
    int64_t strides[RANK_MAX] = {0};
    broadcast_strides(&node->inputs[i]->shape, &line, strides);
    copy_strided(i == 1 ? scale : bias, inputs[i], &line, strides, 0, sizeof(float));
  }
  double epsilon = node_float(node, "epsilon");
  for (int64_t i = 0; i < lines; i++) {
    const float *x = (const float *)inputs[0] + i * count;
    float *out = (float *)outputs[0] + i * count;
    double mean = 0, variance = 0;
    for (int64_t j = 0; j < count; j++) mean += (double)x[j];
    mean /= (double)count;
    for (int64_t j = 0; j < count; j++) variance += ((double)x[j] - mean) * ((double)x[j] - mean);
    double inverse = 1 / sqrt(variance / (double)count + epsilon);
    for (int64_t j = 0; j < count; j++) out[j] = (float)(((double)x[j] - mean) * inverse * (double)scale[j] + (double)bias[j]);
  }
  arena_deinit(&scratch);
}

void eval_reduce_mean(const struct node *node, const void *const *inputs, void *const *outputs) {
  const struct shape *x = &node->inputs[0]->shape;
  /* With keepdims, the output is a shape that broadcasts to x; its strides lead each element of x to its sum. */
  bool reduced[RANK_MAX], any, all;
  enum status status = op_axes(NULL, node, 1, x->rank, reduced, &any);
  assert(status == STATUS_OK);
  (void)status;
  all = !any && node_int(node, "noop_with_empty_axes") == 0;
  struct shape kept = *x;
  for (int i = 0; i < x->rank; i++)
    if (all || reduced[i]) kept.dim[i] = 1;
  int64_t strides[RANK_MAX] = {0}, count = shape_elements(&kept), averaged = shape_elements(x) / count;
  broadcast_strides(&kept, x, strides);
  struct arena scratch;
  arena_init(&scratch);
  double *sums = arena_array(&scratch, (size_t)count, sizeof *sums);
  const float *from = inputs[0];
  struct walk walk;
  walk_init(&walk, x, (const int64_t *[]){strides}, 1);
  int64_t inner = x->rank > 0 ? x->dim[x->rank - 1] : 1, step = x->rank > 0 ? strides[x->rank - 1] : 0;
  do {
    for (int64_t i = 0; i < inner; i++) sums[walk.offset[0] + i * step] += (double)*from++;
  } while (walk_next(&walk));
  for (int64_t i = 0; i < count; i++) ((float *)outputs[0])[i] = (float)(sums[i] / (double)averaged);
  arena_deinit(&scratch);
}
