/* Floats are computed in double, whatever their dtype; integers wrap around. */
#include "ops/eval.h"

#include <math.h>
#include <string.h>

typedef double unary_function(double x);
typedef double binary_function(double a, double b);
typedef uint64_t wrap_function(int64_t a, int64_t b);

static void eval_unary(const struct node *node, const void *x, void *out, unary_function *function) {
  enum dtype dtype = node->inputs[0]->dtype;
  int64_t count = shape_elements(&node->outputs[0]->shape);
  if (dtype == DTYPE_F32) {
    const float *from = x;
    float *to = out;
    for (int64_t i = 0; i < count; i++) to[i] = (float)function((double)from[i]);
    return;
  }
  for (int64_t i = 0; i < count; i++) element_store(dtype, out, i, function(element_load(dtype, x, i)));
}

static int64_t load_int(enum dtype dtype, const void *data, int64_t at) {
  return dtype == DTYPE_I32 ? ((const int32_t *)data)[at] : ((const int64_t *)data)[at];
}

static void store_int(enum dtype dtype, void *data, int64_t at, uint64_t element) {
  if (dtype == DTYPE_I32)
    ((uint32_t *)data)[at] = (uint32_t)element;
  else
    ((uint64_t *)data)[at] = element;
}

static bool is_integer(enum dtype dtype) {
  return (DTYPES_INDEX >> dtype & 1) != 0;
}

struct binary {
  enum dtype dtype_a, dtype_b;
  const void *a, *b;
  void *out;
  binary_function *function;
  wrap_function *wrap; /* of integers; NULL when the op has floats only */
};

static void binary_row(const struct binary *op, int64_t at, int64_t at_a, int64_t at_b, int64_t count, int64_t step_a,
                       int64_t step_b) {
  if (op->wrap != NULL && is_integer(op->dtype_a)) {
    for (int64_t i = 0; i < count; i++)
      store_int(op->dtype_a, op->out, at + i,
                op->wrap(load_int(op->dtype_a, op->a, at_a + i * step_a), load_int(op->dtype_b, op->b, at_b + i * step_b)));
  } else if (op->dtype_a == DTYPE_F32 && op->dtype_b == DTYPE_F32) {
    const float *a = (const float *)op->a + at_a, *b = (const float *)op->b + at_b;
    float *out = (float *)op->out + at;
    for (int64_t i = 0; i < count; i++) out[i] = (float)op->function((double)a[i * step_a], (double)b[i * step_b]);
  } else {
    for (int64_t i = 0; i < count; i++)
      element_store(op->dtype_a, op->out, at + i,
                    op->function(element_load(op->dtype_a, op->a, at_a + i * step_a),
                                 element_load(op->dtype_b, op->b, at_b + i * step_b)));
  }
}

static void eval_binary(const struct node *node, const void *const *inputs, void *out, binary_function *function,
                        wrap_function *wrap) {
  const struct shape *shape = &node->outputs[0]->shape;
  struct binary op = {node->inputs[0]->dtype, node->inputs[1]->dtype, inputs[0], inputs[1], out, function, wrap};
  int64_t strides_a[RANK_MAX] = {0}, strides_b[RANK_MAX] = {0};
  broadcast_strides(&node->inputs[0]->shape, shape, strides_a);
  broadcast_strides(&node->inputs[1]->shape, shape, strides_b);
  if (shape->rank == 0) {
    binary_row(&op, 0, 0, 0, 1, 0, 0);
    return;
  }
  struct walk walk;
  walk_init(&walk, shape, (const int64_t *[]){strides_a, strides_b}, 2);
  int last = shape->rank - 1;
  int64_t at = 0, count = shape->dim[last];
  do {
    binary_row(&op, at, walk.offset[0], walk.offset[1], count, strides_a[last], strides_b[last]);
    at += count;
  } while (walk_next(&walk));
}

#define BINARY(id, float_expression, integer_expression)                                     \
  static double float_##id(double a, double b) {                                             \
    return float_expression;                                                                 \
  }                                                                                          \
  static uint64_t wrap_##id(int64_t a, int64_t b) {                                          \
    return integer_expression;                                                               \
  }                                                                                          \
  void eval_##id(const struct node *node, const void *const *inputs, void *const *outputs) { \
    eval_binary(node, inputs, outputs[0], float_##id, wrap_##id);                            \
  }

/* Division by zero is undefined in ONNX; -1 is kept apart because INT64_MIN / -1 overflows. */
static uint64_t divide(int64_t a, int64_t b) {
  return b == 0 ? 0 : b == -1 ? 0 - (uint64_t)a : (uint64_t)(a / b);
}

BINARY(add, a + b, (uint64_t)a + (uint64_t)b)
BINARY(sub, a - b, (uint64_t)a - (uint64_t)b)
BINARY(mul, (a) * (b), (uint64_t)a *(uint64_t)b)
BINARY(div, a / b, divide(a, b))

static double larger(double a, double b) {
  return isnan(a) || a > b ? a : b;
}
static double smaller(double a, double b) {
  return isnan(a) || a < b ? a : b;
}

BINARY(max, larger(a, b), (uint64_t)(a > b ? a : b))
BINARY(min, smaller(a, b), (uint64_t)(a < b ? a : b))

void eval_pow(const struct node *node, const void *const *inputs, void *const *outputs) {
  eval_binary(node, inputs, outputs[0], pow, NULL);
}

#define UNARY(id, expression)                                                                \
  static double float_##id(double x) {                                                       \
    return expression;                                                                       \
  }                                                                                          \
  void eval_##id(const struct node *node, const void *const *inputs, void *const *outputs) { \
    eval_unary(node, inputs[0], outputs[0], float_##id);                                     \
  }

UNARY(sqrt, sqrt(x))
UNARY(reciprocal, 1 / x)
UNARY(exp, exp(x))
UNARY(erf, erf(x))
UNARY(tanh, tanh(x))
UNARY(sigmoid, 1 / (1 + exp(-x)))
/* A NaN stays one. */
static double float_relu(double x) {
  return x < 0 ? 0 : x;
}
static double float_neg(double x) {
  return -x;
}

static void eval_integers(const struct node *node, const void *x, void *out, bool negate) {
  enum dtype dtype = node->inputs[0]->dtype;
  int64_t count = shape_elements(&node->outputs[0]->shape);
  for (int64_t i = 0; i < count; i++) {
    int64_t element = load_int(dtype, x, i);
    store_int(dtype, out, i, negate ? 0 - (uint64_t)element : element > 0 ? (uint64_t)element : 0);
  }
}

void eval_neg(const struct node *node, const void *const *inputs, void *const *outputs) {
  if (is_integer(node->inputs[0]->dtype))
    eval_integers(node, inputs[0], outputs[0], true);
  else
    eval_unary(node, inputs[0], outputs[0], float_neg);
}

void eval_relu(const struct node *node, const void *const *inputs, void *const *outputs) {
  if (is_integer(node->inputs[0]->dtype))
    eval_integers(node, inputs[0], outputs[0], false);
  else
    eval_unary(node, inputs[0], outputs[0], float_relu);
}

void eval_swish(const struct node *node, const void *const *inputs, void *const *outputs) {
  double alpha = node_float(node, "alpha");
  enum dtype dtype = node->inputs[0]->dtype;
  int64_t count = shape_elements(&node->outputs[0]->shape);
  for (int64_t i = 0; i < count; i++) {
    double x = element_load(dtype, inputs[0], i);
    element_store(dtype, outputs[0], i, x / (1 + exp(-alpha * x)));
  }
}

static double gelu_erf(double x) {
  return x * 0.5 * (1 + erf(x * 0.70710678118654752440));
}

static double gelu_tanh(double x) {
  return x * 0.5 * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}

void eval_gelu(const struct node *node, const void *const *inputs, void *const *outputs) {
  bool approximate = strcmp(node_string(node, "approximate"), "tanh") == 0;
  eval_unary(node, inputs[0], outputs[0], approximate ? gelu_tanh : gelu_erf);
}

void eval_cast(const struct node *node, const void *const *inputs, void *const *outputs) {
  enum dtype from = node->inputs[0]->dtype, to = node->outputs[0]->dtype;
  int64_t count = shape_elements(&node->outputs[0]->shape);
  /* An int64 has more digits than a double. */
  bool whole = is_integer(from) && is_integer(to);
  for (int64_t i = 0; i < count; i++) {
    if (whole)
      store_int(to, outputs[0], i, (uint64_t)load_int(from, inputs[0], i));
    else
      element_store(to, outputs[0], i, element_load(from, inputs[0], i));
  }
}
