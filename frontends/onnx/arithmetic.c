/* Ops that compute: elementwise ones, products, and those along an axis. */
#include "onnx/importer.h"

#include "ops/eval.h"

#include <string.h>

enum status import_unary(struct importer *im, enum op op) {
  struct operand *x;
  struct value *value;
  TRY(operand_required(im, 0, &x));
  TRY(operand_value(im, x, false, &value));
  struct node *node = node_add(im, op, &value, 1, node_output_name(im, 0));
  TRY(attributes_copy(im, node, NULL));
  TRY(node_ready(im, node));
  return operand_set_value(im, 0, node->outputs[0], x->images);
}

/* Identity and Dropout. */
enum status import_dropout(struct importer *im, enum op op) {
  (void)op;
  struct operand *x;
  TRY(operand_required(im, 0, &x));
  return operand_set_same(im, 0, x);
}

static bool all_zero(const struct operand *operand) {
  if (!operand->known || operand->tensor[0].dtype != DTYPE_F32 || operand_varies(operand)) return false;
  const float *data = operand->tensor[0].data;
  int64_t elements = shape_elements(&operand->tensor[0].shape);
  for (int64_t i = 0; i < elements; i++)
    if (data[i] != 0) return false;
  return true;
}

/* A mask that hides nothing is a sum with zeros. It must not enlarge the other operand. */
static bool adds_nothing(const struct operand *x, const struct operand *zeros) {
  if (x->known || !all_zero(zeros)) return false;
  int rank = operand_rank(x), other = operand_rank(zeros);
  if (other > rank) return false;
  for (int i = 0; i < other; i++) {
    int64_t dim = operand_extent(zeros, i);
    if (dim != 1 && dim != operand_extent(x, rank - other + i)) return false;
  }
  return true;
}

/* The images of all operands must lie along the same axis of the result, and what is the same for all images must not reach
 * that axis. */
static enum status common_images(struct importer *im, struct operand *const *operands, int count, int *out_images) {
  int rank = 0, images = -1;
  for (int i = 0; i < count; i++)
    if (operand_rank(operands[i]) > rank) rank = operand_rank(operands[i]);
  for (int i = 0; i < count; i++) {
    if (operands[i]->known || !operands[i]->value->batched) continue;
    int at = operands[i]->images + rank - operand_rank(operands[i]);
    if (images >= 0 && at != images) return importer_fail(im, "the images of its inputs lie along different axes");
    images = at;
  }
  *out_images = images > 0 ? images : 0;
  for (int i = 0; i < count && images > 0; i++) {
    bool batched = !operands[i]->known && operands[i]->value->batched;
    int own = operand_rank(operands[i]);
    if (batched ? own != rank : own > rank - 1 - images)
      return importer_fail(im, "input %d reaches axis %d, along which the images lie", i, images);
  }
  return STATUS_OK;
}

enum status import_elementwise(struct importer *im, enum op op) {
  struct operand *operands[2];
  struct value *values[2];
  int images;
  for (size_t i = 0; i < 2; i++) TRY(operand_required(im, i, &operands[i]));
  TRY(attributes_check(im, NULL));
  for (int i = 0; i < 2 && op == OP_add; i++)
    if (adds_nothing(operands[i], operands[1 - i])) return operand_set_same(im, 0, operands[i]);
  TRY(common_images(im, operands, 2, &images));
  for (int i = 0; i < 2; i++) {
    const struct operand *other = operands[1 - i];
    bool repeats = !other->known && other->value->batched && operand_rank(other) >= operand_rank(operands[i]);
    TRY(operand_value(im, operands[i], repeats, &values[i]));
  }
  struct value *out;
  TRY(node_make(im, op, values, 2, node_output_name(im, 0), &out));
  return operand_set_value(im, 0, out, images);
}

enum status import_product(struct importer *im, enum op op) {
  struct operand *operands[2];
  struct value *values[2];
  bool batched[2];
  for (size_t i = 0; i < 2; i++) {
    TRY(operand_required(im, i, &operands[i]));
    batched[i] = !operands[i]->known && operands[i]->value->batched;
  }
  TRY(attributes_check(im, NULL));
  int images = batched[0] ? operands[0]->images : operands[1]->images;
  int rank = operand_rank(operands[batched[0] ? 0 : 1]);
  /* With a plain matrix of weights, the images may lie along the rows, too. */
  bool rows = batched[0] && !batched[1] && operand_rank(operands[1]) <= 2;
  if (images > 0) {
    if (batched[0] && batched[1] && (operands[0]->images != operands[1]->images || operand_rank(operands[1]) != rank))
      return importer_fail(im, "the images of its inputs lie along different axes");
    if (images > rank - (rows ? 2 : 3) || (!rows && !(batched[0] && batched[1])))
      return importer_fail(im, "the images lie along axis %d, among those that are multiplied", images);
  }
  for (int i = 0; i < 2; i++) TRY(operand_value(im, operands[i], false, &values[i]));
  struct value *out;
  TRY(node_make(im, op, values, 2, node_output_name(im, 0), &out));
  return operand_set_value(im, 0, out, images);
}

/* Inputs of a node that is taken over as it is; the images must lie in front. */
enum status import_in_front(struct importer *im, enum op op) {
  struct value *values[ONNX_IO_MAX];
  int count = (int)im->node->n_input;
  for (int i = 0; i < count; i++) {
    struct operand *operand;
    TRY(operand_input(im, (size_t)i, &operand));
    values[i] = NULL;
    if (operand == NULL) continue;
    TRY(operand_front(im, operand));
    TRY(operand_value(im, operand, false, &values[i]));
  }
  while (count > 0 && values[count - 1] == NULL) count--;
  struct node *node = node_add(im, op, values, count, node_output_name(im, 0));
  TRY(attributes_copy(im, node, NULL));
  TRY(node_ready(im, node));
  return operand_set_value(im, 0, node->outputs[0], 0);
}

static enum status scaled(struct importer *im, struct value *x, double factor, struct value **out_value) {
  *out_value = x;
  if (factor == 1) return STATUS_OK;
  float *number = arena_array(im->arena, 1, sizeof *number);
  *number = (float)factor;
  const char *name = node_output_name(im, 0);
  struct value *inputs[] = {x, importer_floats(im, arena_printf(im->arena, "%s.factor", name), &(struct shape){0}, number)};
  return node_make(im, OP_mul, inputs, 2, arena_printf(im->arena, "%s.scaled", name), out_value);
}

/* The rows of all images, in the order of rows, by a matrix: a product of rank 3 in the graph. */
static enum status multiply_merged(struct importer *im, struct operand *a, double alpha, double beta, bool transposed) {
  struct operand *b, *c;
  struct value *inputs[2], *product, *out;
  TRY(operand_required(im, 1, &b));
  TRY(operand_input(im, 2, &c));
  if (!b->known || (c != NULL && (!c->known || operand_rank(c) > 1)))
    return importer_fail(im, "rows of all images are only multiplied by known matrices");
  TRY(operand_value(im, a, false, &inputs[0]));
  TRY(operand_value(im, b, false, &inputs[1]));
  const char *name = node_output_name(im, 0);
  if (transposed)
    TRY(node_transpose(im, inputs[1], (const int64_t[]){1, 0}, arena_printf(im->arena, "%s.T", b->name), &inputs[1]));
  bool adds = c != NULL && beta != 0;
  TRY(node_make(im, OP_mat_mul, inputs, 2, adds ? arena_printf(im->arena, "%s.product", name) : name, &product));
  TRY(scaled(im, product, alpha, &out));
  if (adds) {
    inputs[0] = out;
    TRY(operand_value(im, c, false, &inputs[1]));
    TRY(scaled(im, inputs[1], beta, &inputs[1]));
    TRY(node_make(im, OP_add, inputs, 2, name, &out));
  }
  return operand_set_value(im, 0, out, a->images);
}

enum status import_gemm(struct importer *im, enum op op) {
  struct operand *a;
  double alpha, beta;
  int64_t transposed_a, transposed_b;
  TRY(operand_required(im, 0, &a));
  if (!a->merged) return import_in_front(im, op);
  TRY(attributes_check(im, (const char *const[]){"alpha", "beta", "transA", "transB", NULL}));
  TRY(attribute_float(im, "alpha", 1, &alpha));
  TRY(attribute_float(im, "beta", 1, &beta));
  TRY(attribute_int(im, "transA", 0, &transposed_a));
  TRY(attribute_int(im, "transB", 0, &transposed_b));
  if (transposed_a != 0) return importer_fail(im, "transposes the rows of all images");
  return multiply_merged(im, a, alpha, beta, transposed_b != 0);
}

/* Softmax, and LayerNormalization over the axes from one on. */
enum status import_along_axis(struct importer *im, enum op op) {
  struct operand *x, *operand;
  struct value *values[3] = {NULL};
  int count = (int)im->node->n_input, axis;
  int64_t given;
  if (count < 1 || count > 3) return importer_fail(im, "has %d inputs", count);
  TRY(operand_required(im, 0, &x));
  TRY(attribute_int(im, "axis", -1, &given));
  TRY(importer_axis(im, given, operand_rank(x), &axis));
  bool batched = !x->known && x->value->batched;
  if (batched && (axis == x->images || (op == OP_layer_normalization && axis < x->images)))
    return importer_fail(im, "works along axis %d of '%.200s', where the images of the batch lie", x->images, x->name);
  for (int i = 0; i < count; i++) {
    TRY(operand_input(im, (size_t)i, &operand));
    if (operand != NULL) TRY(operand_value(im, operand, false, &values[i]));
  }
  while (count > 0 && values[count - 1] == NULL) count--;
  struct node *node = node_add(im, op, values, count, node_output_name(im, 0));
  TRY(attributes_copy(im, node, NULL));
  node_set_int(im->graph, node, "axis", batched ? axis_of(x->images, axis) : axis);
  TRY(node_ready(im, node));
  return operand_set_value(im, 0, node->outputs[0], x->images);
}

enum status import_reduce_mean(struct importer *im, enum op op) {
  struct operand *x, *listed;
  struct value *value;
  int64_t axes[RANK_MAX], keep;
  int count = 0;
  const OnnxSubset__Attribute *attribute = attribute_find(im, "axes");
  TRY(operand_required(im, 0, &x));
  TRY(operand_input(im, 1, &listed));
  TRY(operand_value(im, x, false, &value));
  if (listed != NULL) TRY(operand_ints(im, listed, RANK_MAX, axes, &count));
  if (attribute != NULL && attribute->n_ints > RANK_MAX) return importer_fail(im, "has %zu axes", attribute->n_ints);
  for (size_t i = 0; attribute != NULL && i < attribute->n_ints; i++) axes[count = (int)i] = attribute->ints[i];
  if (attribute != NULL) count = (int)attribute->n_ints;
  TRY(attribute_int(im, "keepdims", 1, &keep));
  int images = x->images;
  for (int i = 0; i < count; i++) {
    int axis;
    TRY(importer_axis(im, axes[i], operand_rank(x), &axis));
    axes[i] = value->batched ? axis_of(x->images, axis) : axis;
    if (axis < x->images && keep == 0) images--;
  }
  struct node *node = node_add(im, op, &value, 1, node_output_name(im, 0));
  TRY(attributes_copy(im, node, (const char *const[]){"axes", NULL}));
  if (count > 0) node_set_ints(im->graph, node, "axes", axes, (size_t)count);
  TRY(node_ready(im, node));
  return operand_set_value(im, 0, node->outputs[0], images);
}

/* Floats are computed in float32, whatever the model says. */
enum status import_cast(struct importer *im, enum op op) {
  struct operand *x;
  struct value *value;
  int64_t to;
  enum dtype dtype;
  TRY(operand_required(im, 0, &x));
  TRY(attributes_check(im, (const char *const[]){"to", "saturate", NULL}));
  TRY(attribute_int(im, "to", 0, &to));
  if (!tensor_dtype((int32_t)to, &dtype)) return importer_fail(im, "to data type %lld is not supported", (long long)to);
  TRY(operand_value(im, x, false, &value));
  bool to_float = dtype == DTYPE_F32 || dtype == DTYPE_F64;
  if (!to_float) return importer_fail(im, "to %s of '%.200s' is not supported", dtype_name(dtype), x->name);
  if (value->dtype == DTYPE_F32) return operand_set_same(im, 0, x);
  struct node *node = node_add(im, op, &value, 1, node_output_name(im, 0));
  node_set_string(im->graph, node, "to", "float32");
  TRY(node_ready(im, node));
  return operand_set_value(im, 0, node->outputs[0], x->images);
}

/* PyTorch's attention asks whether a row of the Softmax is NaN, which it is where a mask hides all of it. The masks of a graph
 * are finite, so it is not. */
enum status import_is_nan(struct importer *im, enum op op) {
  (void)op;
  struct operand *x;
  TRY(operand_required(im, 0, &x));
  if (x->known || x->value->producer == NULL || x->value->producer->op != OP_softmax)
    return importer_fail(im, "is only supported on the result of a Softmax");
  TRY(operand_set_same(im, 0, x));
  if (*im->node->output[0]) operand_find(im, im->node->output[0])->not_nan = true;
  return STATUS_OK;
}

/* 1 or 2: the input that the condition takes throughout; 0: neither. */
static size_t chosen_input(const struct operand *condition) {
  if (condition->not_nan) return 2;
  if (!condition->known || condition->tensor[0].dtype != DTYPE_BOOL || operand_varies(condition)) return 0;
  const uint8_t *data = condition->tensor[0].data;
  int64_t elements = shape_elements(&condition->tensor[0].shape);
  for (int64_t i = 1; i < elements; i++)
    if (data[i] != data[0]) return 0;
  return elements == 0 ? 0 : data[0] ? 1 : 2;
}

enum status import_where(struct importer *im, enum op op) {
  (void)op;
  struct operand *operands[3];
  for (size_t i = 0; i < 3; i++) TRY(operand_required(im, i, &operands[i]));
  size_t chosen = chosen_input(operands[0]);
  if (chosen == 0) return importer_fail(im, "is only supported where the condition is known, and the same throughout");
  const struct operand *x = operands[chosen];
  for (int i = 0; i < 3; i++) {
    int rank = operand_rank(operands[i]), own = operand_rank(x);
    bool fits = rank <= own;
    for (int axis = 0; fits && axis < rank; axis++) {
      int64_t dim = operand_extent(operands[i], axis);
      fits = dim == 1 || dim == operand_extent(x, own - rank + axis);
    }
    if (!fits) return importer_fail(im, "input %d would enlarge the one that is taken", i);
  }
  return operand_set_same(im, 0, x);
}
