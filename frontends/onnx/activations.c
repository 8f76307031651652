/* Activations that the graph has no op of its own for, as maxima, minima and sums. */
#include "onnx/importer.h"

#include <float.h>
#include <string.h>

static struct value *scalar(struct importer *im, double number) {
  float *data = arena_array(im->arena, 1, sizeof *data);
  *data = (float)number;
  return importer_floats(im, arena_printf(im->arena, "%s.scalar", node_output_name(im, 0)), &(struct shape){0}, data);
}

static enum status combine(struct importer *im, enum op op, struct value *a, struct value *b, struct value **out) {
  struct value *inputs[] = {a, b};
  return node_make(im, op, inputs, 2, node_output_name(im, 0), out);
}

/* Steps of a formula share the name of its result, with a number. */
static enum status with_number(struct importer *im, enum op op, struct value *x, double number, struct value **out) {
  return combine(im, op, x, scalar(im, number), out);
}

static enum status input_value(struct importer *im, struct operand **out_x, struct value **out_value) {
  TRY(operand_required(im, 0, out_x));
  return operand_value(im, *out_x, false, out_value);
}

/* Max and Min of any number of inputs. */
enum status import_extreme(struct importer *im, enum op op) {
  if (im->node->n_input == 1) return import_dropout(im, op);
  if (im->node->n_input != 2) return importer_fail(im, "has %zu inputs, expected 1 or 2", im->node->n_input);
  return import_elementwise(im, op);
}

static enum status clip_bound(struct importer *im, size_t index, const char *attribute, double otherwise, double *out) {
  struct operand *bound;
  TRY(attribute_float(im, attribute, otherwise, out));
  TRY(operand_input(im, index, &bound));
  if (bound == NULL) return STATUS_OK;
  if (!bound->known || operand_varies(bound) || bound->tensor[0].dtype != DTYPE_F32 ||
      shape_elements(&bound->tensor[0].shape) != 1)
    return importer_fail(im, "input %zu is no known float", index);
  *out = (double)*(const float *)bound->tensor[0].data;
  return STATUS_OK;
}

enum status import_clip(struct importer *im, enum op op) {
  (void)op;
  struct operand *x;
  struct value *value;
  double low, high;
  TRY(attributes_check(im, (const char *const[]){"min", "max", NULL}));
  TRY(clip_bound(im, 1, "min", -(double)FLT_MAX, &low));
  TRY(clip_bound(im, 2, "max", (double)FLT_MAX, &high));
  TRY(input_value(im, &x, &value));
  if (low >= (double)FLT_MAX || high <= -(double)FLT_MAX)
    return importer_fail(im, "bounds of %g and %g leave no numbers", low, high);
  if (low > -(double)FLT_MAX) TRY(with_number(im, OP_max, value, low, &value));
  if (high < (double)FLT_MAX) TRY(with_number(im, OP_min, value, high, &value));
  return operand_set_value(im, 0, value, x->images);
}

static enum status hard_sigmoid(struct importer *im, struct value *x, double alpha, double beta, struct value **out) {
  TRY(with_number(im, OP_mul, x, alpha, out));
  TRY(with_number(im, OP_add, *out, beta, out));
  TRY(with_number(im, OP_max, *out, 0, out));
  return with_number(im, OP_min, *out, 1, out);
}

enum status import_hard_sigmoid(struct importer *im, enum op op) {
  (void)op;
  struct operand *x;
  struct value *value;
  double alpha, beta;
  TRY(attributes_check(im, (const char *const[]){"alpha", "beta", NULL}));
  TRY(attribute_float(im, "alpha", 0.2, &alpha));
  TRY(attribute_float(im, "beta", 0.5, &beta));
  TRY(input_value(im, &x, &value));
  TRY(hard_sigmoid(im, value, alpha, beta, &value));
  return operand_set_value(im, 0, value, x->images);
}

enum status import_hard_swish(struct importer *im, enum op op) {
  (void)op;
  struct operand *x;
  struct value *value, *gate;
  TRY(attributes_check(im, NULL));
  TRY(input_value(im, &x, &value));
  TRY(hard_sigmoid(im, value, 1.0 / 6, 0.5, &gate));
  TRY(combine(im, OP_mul, value, gate, &value));
  return operand_set_value(im, 0, value, x->images);
}

/* The larger of x and alpha x, or the smaller where alpha is above 1. */
enum status import_leaky_relu(struct importer *im, enum op op) {
  (void)op;
  struct operand *x;
  struct value *value, *scaled;
  double alpha;
  TRY(attributes_check(im, (const char *const[]){"alpha", NULL}));
  TRY(attribute_float(im, "alpha", 0.01, &alpha));
  TRY(input_value(im, &x, &value));
  TRY(with_number(im, OP_mul, value, alpha, &scaled));
  TRY(combine(im, alpha > 1 ? OP_min : OP_max, scaled, value, &value));
  return operand_set_value(im, 0, value, x->images);
}

/* max(x, 0) + alpha (e^min(x, 0) - 1) */
enum status import_elu(struct importer *im, enum op op) {
  (void)op;
  struct operand *x;
  struct value *value, *below;
  double alpha;
  TRY(attributes_check(im, (const char *const[]){"alpha", NULL}));
  TRY(attribute_float(im, "alpha", 1, &alpha));
  TRY(input_value(im, &x, &value));
  TRY(with_number(im, OP_min, value, 0, &below));
  TRY(node_make(im, OP_exp, &below, 1, node_output_name(im, 0), &below));
  TRY(with_number(im, OP_sub, below, 1, &below));
  TRY(with_number(im, OP_mul, below, alpha, &below));
  TRY(node_make(im, OP_relu, &value, 1, node_output_name(im, 0), &value));
  TRY(combine(im, OP_add, below, value, &value));
  return operand_set_value(im, 0, value, x->images);
}
