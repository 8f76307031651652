#include "onnx/importer.h"
#include "ops/eval.h"

#include <string.h>

/* No activation of a real model comes near. */
enum { VALUE_ELEMENTS_MAX = 1 << 28, NO_OP = -1 };

struct row {
  const char *name;
  int op;
  import_function *import; /* where an input depends on the pixels; NULL: known inputs only */
  fold_function *fold;     /* where all are known; NULL: by the graph's op, if there is one */
  bool elementwise;
};

static enum status fold_cast(struct importer *im, const struct tensor *inputs, size_t count, struct tensor *out);

#define ELEMENTWISE(name, id, import) {name, OP_##id, import, NULL, true}
#define PLAIN(name, id, import) {name, OP_##id, import, NULL, false}
static const struct row rows[] = {
    {"Shape", NO_OP, import_shape, NULL, false},
    {"Size", NO_OP, import_size, NULL, false},
    {"Constant", NO_OP, import_constant, NULL, false},
    {"ConstantOfShape", NO_OP, import_constant_of_shape, NULL, false},
    {"Dropout", NO_OP, import_dropout, NULL, false},
    {"Identity", NO_OP, import_dropout, NULL, false},
    {"Cast", OP_cast, import_cast, fold_cast, true},
    {"Where", NO_OP, import_where, fold_where, true},
    {"IsNaN", NO_OP, import_is_nan, NULL, false},
    {"Equal", NO_OP, NULL, fold_compare, true},
    {"Greater", NO_OP, NULL, fold_compare, true},
    {"GreaterOrEqual", NO_OP, NULL, fold_compare, true},
    {"Less", NO_OP, NULL, fold_compare, true},
    {"LessOrEqual", NO_OP, NULL, fold_compare, true},
    {"And", NO_OP, NULL, fold_logic, true},
    {"Or", NO_OP, NULL, fold_logic, true},
    {"Not", NO_OP, NULL, fold_logic, true},
    {"Min", OP_min, import_extreme, fold_extreme, true},
    {"Max", OP_max, import_extreme, fold_extreme, true},
    {"Mod", NO_OP, NULL, fold_extreme, true},
    {"Floor", NO_OP, NULL, fold_rounding, true},
    {"Ceil", NO_OP, NULL, fold_rounding, true},
    {"Round", NO_OP, NULL, fold_rounding, true},
    {"Abs", NO_OP, NULL, fold_rounding, true},
    {"Sin", NO_OP, NULL, fold_trigonometry, true},
    {"Cos", NO_OP, NULL, fold_trigonometry, true},
    {"ScatterND", NO_OP, NULL, fold_scatter, false},
    {"Trilu", NO_OP, NULL, fold_triangle, false},
    {"Range", NO_OP, NULL, fold_range, false},
    {"ReduceProd", NO_OP, NULL, fold_reduce, false},
    {"ReduceSum", NO_OP, NULL, fold_reduce, false},
    ELEMENTWISE("Add", add, import_elementwise),
    ELEMENTWISE("Sub", sub, import_elementwise),
    ELEMENTWISE("Mul", mul, import_elementwise),
    ELEMENTWISE("Div", div, import_elementwise),
    ELEMENTWISE("Pow", pow, import_elementwise),
    ELEMENTWISE("Neg", neg, import_unary),
    ELEMENTWISE("Sqrt", sqrt, import_unary),
    ELEMENTWISE("Reciprocal", reciprocal, import_unary),
    ELEMENTWISE("Exp", exp, import_unary),
    ELEMENTWISE("Erf", erf, import_unary),
    ELEMENTWISE("Tanh", tanh, import_unary),
    ELEMENTWISE("Sigmoid", sigmoid, import_unary),
    ELEMENTWISE("Relu", relu, import_unary),
    {"Clip", NO_OP, import_clip, NULL, true},
    {"HardSigmoid", NO_OP, import_hard_sigmoid, NULL, true},
    {"HardSwish", NO_OP, import_hard_swish, NULL, true},
    {"LeakyRelu", NO_OP, import_leaky_relu, NULL, true},
    {"Elu", NO_OP, import_elu, NULL, true},
    ELEMENTWISE("Gelu", gelu, import_unary),
    PLAIN("Softmax", softmax, import_along_axis),
    PLAIN("LayerNormalization", layer_normalization, import_along_axis),
    {"RMSNormalization", NO_OP, import_rms_normalization, NULL, false},
    PLAIN("ReduceMean", reduce_mean, import_reduce_mean),
    PLAIN("MatMul", mat_mul, import_product),
    PLAIN("Gemm", gemm, import_gemm),
    PLAIN("Conv", conv, import_conv),
    {"ConvTranspose", NO_OP, import_conv_transpose, NULL, false},
    {"BatchNormalization", NO_OP, import_batch_normalization, NULL, false},
    {"MaxPool", NO_OP, import_pool, NULL, false},
    {"AveragePool", NO_OP, import_pool, NULL, false},
    {"GlobalAveragePool", NO_OP, import_global_average_pool, NULL, false},
    {"Resize", NO_OP, import_resize, fold_resize, false},
    PLAIN("Attention", attention, import_attention),
    PLAIN("Transpose", transpose, import_transpose),
    PLAIN("Reshape", reshape, import_reshape),
    PLAIN("Flatten", flatten, import_in_front),
    PLAIN("Squeeze", squeeze, import_squeeze),
    PLAIN("Unsqueeze", unsqueeze, import_unsqueeze),
    PLAIN("Expand", expand, import_expand),
    {"Tile", NO_OP, import_tile, NULL, false},
    PLAIN("Concat", concat, import_concat),
    PLAIN("Split", split, import_split),
    PLAIN("Slice", slice, import_slice),
    PLAIN("Gather", gather, import_gather),
    PLAIN("Pad", pad, import_in_front),
};
#undef ELEMENTWISE
#undef PLAIN

static enum status fold_cast(struct importer *im, const struct tensor *inputs, size_t count, struct tensor *out) {
  int64_t to;
  enum dtype dtype;
  void *data;
  TRY(attribute_int(im, "to", 0, &to));
  if (count != 1 || inputs[0].data == NULL) return importer_fail(im, "has %zu inputs, expected 1", count);
  if (!tensor_dtype((int32_t)to, &dtype)) return importer_fail(im, "to data type %lld is not supported", (long long)to);
  *out = inputs[0];
  if (dtype == inputs[0].dtype) return STATUS_OK;
  TRY(fold_room(im, dtype, &inputs[0].shape, out, &data));
  const struct weight weight = {"", inputs[0].dtype, inputs[0].shape, inputs[0].data};
  int64_t elements = shape_elements(&weight.shape);
  for (int64_t i = 0; i < elements; i++) element_store(dtype, data, i, element_load(weight.dtype, weight.data, i));
  return STATUS_OK;
}

const char *node_output_name(const struct importer *im, size_t index) {
  return index < im->node->n_output && *im->node->output[index] ? im->node->output[index] : "unused";
}

static enum status lowered_ready(void *context, struct node *node) {
  return node_ready(context, node);
}

struct lowering importer_lowering(struct importer *im, const struct value *x) {
  return (struct lowering){im->graph, x->batched, lowered_ready, im};
}

struct node *node_add(struct importer *im, enum op op, struct value *const *inputs, int count, const char *output) {
  struct value *out = graph_add_value(im->graph, output, DTYPE_F32, NULL, false);
  return graph_add_node(im->graph, NULL, op, inputs, count, &out, 1);
}

enum status node_ready(struct importer *im, struct node *node) {
  TRY(infer_node(im->graph, node));
  for (int i = 0; i < node->output_count; i++) {
    const struct value *value = node->outputs[i];
    if (value != NULL && shape_elements(&value->shape) > VALUE_ELEMENTS_MAX)
      return importer_fail(im, "'%.200s' has more than %d elements", value->name, VALUE_ELEMENTS_MAX);
  }
  return STATUS_OK;
}

enum status node_make(struct importer *im, enum op op, struct value *const *inputs, int count, const char *output,
                      struct value **out_value) {
  struct node *node = node_add(im, op, inputs, count, output);
  *out_value = node->outputs[0];
  return node_ready(im, node);
}

enum status node_transpose(struct importer *im, struct value *x, const int64_t *perm, const char *output,
                           struct value **out_value) {
  struct node *node = node_add(im, OP_transpose, &x, 1, output);
  node_set_ints(im->graph, node, "perm", perm, (size_t)x->shape.rank);
  *out_value = node->outputs[0];
  return node_ready(im, node);
}

enum status node_reshape(struct importer *im, struct value *x, const int64_t *dims, int rank, const char *output,
                         struct value **out_value) {
  int64_t target[RANK_MAX];
  memcpy(target, dims, (size_t)rank * sizeof *target);
  bool images = x->batched && dims[0] == 1;
  if (x->batched && !images) target[0] = -1;
  struct value *inputs[] = {x, importer_ints(im, target, rank, images)};
  return node_make(im, OP_reshape, inputs, 2, output, out_value);
}

static enum status check_outputs(struct importer *im, const struct row *row) {
  size_t count = im->node->n_output;
  if (count < 1) return importer_fail(im, "has no outputs");
  for (size_t i = 1; i < count && strcmp(row->name, "Split") != 0; i++)
    if (*im->node->output[i]) return importer_fail(im, "output %zu is not supported", i);
  return STATUS_OK;
}

/* Ops that see rows only, however these are counted, and those that know of merged rows. */
static bool takes_merged(const struct row *row) {
  static const char *const names[] = {"Shape", "Size", "Reshape", "Gemm", "MatMul", "Cast", "Identity", "Dropout"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(row->name, names[i]) == 0) return true;
  return row->elementwise && row->op != NO_OP;
}

/* Whether an input has the rows of all images along one axis, in the order of rows. */
static enum status find_merged(struct importer *im, const struct row *row, bool *out_found) {
  *out_found = false;
  for (size_t i = 0; i < im->node->n_input; i++) {
    struct operand *operand;
    TRY(operand_input(im, i, &operand));
    if (operand == NULL || !operand->merged) continue;
    if (!takes_merged(row))
      return importer_fail(im, "'%.200s' has rows of all images in the order of rows, which is not supported here",
                           operand->name);
    *out_found = true;
  }
  return STATUS_OK;
}

static enum status import_row(struct importer *im, const struct row *row, enum op op) {
  bool merged;
  TRY(find_merged(im, row, &merged));
  TRY(row->import(im, op));
  if (!merged || row->import == import_reshape || row->import == import_shape || row->import == import_size ||
      !*im->node->output[0])
    return STATUS_OK;
  operand_find(im, im->node->output[0])->merged = true;
  return STATUS_OK;
}

enum status import_node(struct importer *im) {
  const OnnxSubset__Node *node = im->node;
  if (node->domain != NULL && *node->domain && strcmp(node->domain, "ai.onnx") != 0)
    return importer_fail(im, "the op is of the domain '%.64s', only ONNX's own ops are supported", node->domain);
  if (node->n_input > ONNX_IO_MAX || node->n_output > ONNX_IO_MAX)
    return importer_fail(im, "has %zu inputs and %zu outputs, expected at most %d", node->n_input, node->n_output, ONNX_IO_MAX);
  const struct row *row = NULL;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (strcmp(rows[i].name, node->op_type) == 0) row = &rows[i];
  if (row == NULL) return importer_fail(im, "the op is not supported");
  TRY(check_outputs(im, row));
  bool folded = false;
  enum op op = row->op != NO_OP ? (enum op)row->op : OP_identity;
  if (row->fold != NULL || row->op != NO_OP) TRY(fold_node(im, op, row->fold, row->elementwise, &folded));
  if (folded) return STATUS_OK;
  if (row->import == NULL) return importer_fail(im, "the op is only supported on what does not depend on the image");
  return import_row(im, row, op);
}
