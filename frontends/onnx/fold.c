#include "onnx/importer.h"
#include "ops/eval.h"

#include <math.h>
#include <string.h>

enum status fold_room(struct importer *im, enum dtype dtype, const struct shape *shape, struct tensor *out_tensor,
                      void **out_data) {
  if (!shape_valid(shape, 0)) return importer_fail(im, "the result has more than 2^40 elements");
  uint64_t bytes = (uint64_t)shape_elements(shape) * dtype_size(dtype);
  if (bytes > im->known_bytes_left) return importer_fail(im, "the constants that the nodes compute are too large");
  im->known_bytes_left -= bytes;
  *out_data = arena_alloc(im->arena, (size_t)bytes + 1);
  *out_tensor = (struct tensor){dtype, *shape, *out_data};
  return STATUS_OK;
}

/* Evaluates an op of the graph outside of it. */
static enum status fold_op(struct importer *im, enum op op, const struct tensor *in, size_t count, struct tensor *outs) {
  size_t results = im->node->n_output;
  const void *data[ONNX_IO_MAX];
  void *results_data[ONNX_IO_MAX] = {NULL};
  struct value *inputs[ONNX_IO_MAX], *outputs[ONNX_IO_MAX];
  struct node node = {.op = op, .input_count = (int)count, .output_count = (int)results, .inputs = inputs, .outputs = outputs};
  struct value *values = arena_array(im->arena, count + results, sizeof *values);
  for (size_t i = 0; i < count; i++) {
    values[i] = (struct value){.name = im->node->input[i], .dtype = in[i].dtype, .shape = in[i].shape, .data = in[i].data};
    inputs[i] = in[i].data != NULL ? &values[i] : NULL;
    data[i] = in[i].data;
  }
  bool may_be_empty = (op_info(op)->flags & (OP_MOVES | OP_ELEMENTWISE)) != 0, empty = true;
  for (size_t i = 0; i < results; i++) {
    values[count + i].name = im->node->output[i];
    values[count + i].data = may_be_empty ? "" : NULL;
    outputs[i] = &values[count + i];
  }
  TRY(attributes_copy(im, &node, NULL));
  TRY(infer_node(im->graph, &node));
  for (size_t i = 0; i < results; i++) {
    TRY(fold_room(im, outputs[i]->dtype, &outputs[i]->shape, &outs[i], &results_data[i]));
    empty = empty && shape_elements(&outputs[i]->shape) == 0;
  }
  if (!empty) op_info(op)->eval(&node, data, results_data);
  return STATUS_OK;
}

/* Inputs at one batch size; an omitted one has no data. */
static void gather_inputs(struct operand *const *operands, size_t count, int probe, struct tensor *out) {
  for (size_t i = 0; i < count; i++) out[i] = operands[i] != NULL ? operands[i]->tensor[probe] : (struct tensor){0};
}

static enum status evaluate(struct importer *im, enum op op, fold_function *fold, struct operand *const *operands, int probe,
                            struct tensor *outs) {
  struct tensor in[ONNX_IO_MAX];
  gather_inputs(operands, im->node->n_input, probe, in);
  if (fold != NULL) return fold(im, in, im->node->n_input, outs);
  return fold_op(im, op, in, im->node->n_input, outs);
}

static bool equal_shapes(const struct tensor *outs[PROBE_COUNT], size_t count) {
  for (int p = 1; p < PROBE_COUNT; p++)
    for (size_t i = 0; i < count; i++)
      if (!shape_equal(&outs[p][i].shape, &outs[0][i].shape)) return false;
  return true;
}

static enum status set_outputs(struct importer *im, const struct tensor *outs[PROBE_COUNT], bool repeated) {
  for (size_t i = 0; i < im->node->n_output; i++) {
    struct tensor at[PROBE_COUNT];
    for (int p = 0; p < PROBE_COUNT; p++) at[p] = outs[p][i];
    TRY(operand_set_known(im, i, at));
    struct operand *operand = *im->node->output[i] ? operand_find(im, im->node->output[i]) : NULL;
    if (operand != NULL) operand->repeated = repeated;
  }
  return STATUS_OK;
}

enum status fold_node(struct importer *im, enum op op, fold_function *fold, bool elementwise, bool *out_folded) {
  struct operand *operands[ONNX_IO_MAX];
  bool varies = false, repeated = false;
  size_t count = im->node->n_input, results = im->node->n_output;
  *out_folded = false;
  for (size_t i = 0; i < count; i++) {
    TRY(operand_input(im, i, &operands[i]));
    if (operands[i] == NULL) continue;
    if (!operands[i]->known) return STATUS_OK;
    varies = varies || operand_varies(operands[i]);
    repeated = repeated || operands[i]->repeated;
  }
  if (repeated && !elementwise) return STATUS_OK;
  const struct tensor *outs[PROBE_COUNT];
  for (int p = 0; p < PROBE_COUNT; p++) {
    outs[p] = outs[0];
    if (p > 0 && !varies) continue;
    struct tensor *made = arena_array(im->arena, results, sizeof *made);
    TRY(evaluate(im, op, fold, operands, p, made));
    outs[p] = made;
  }
  if (!equal_shapes(outs, results)) return STATUS_OK;
  *out_folded = true;
  return set_outputs(im, outs, repeated);
}

/* ---- nodes that make knowledge */

enum status import_shape(struct importer *im, enum op op) {
  (void)op;
  struct operand *x;
  int64_t start, end;
  TRY(operand_required(im, 0, &x));
  int rank = operand_rank(x) - x->merged;
  TRY(attributes_check(im, (const char *const[]){"start", "end", NULL}));
  TRY(attribute_int(im, "start", 0, &start));
  TRY(attribute_int(im, "end", rank, &end));
  start = start < -rank ? 0 : start < 0 ? start + rank : start > rank ? rank : start;
  end = end < -rank ? 0 : end < 0 ? end + rank : end > rank ? rank : end;
  struct shape shape = {.rank = 1, .dim = {end > start ? end - start : 0}};
  bool batched = x->known ? x->repeated : x->value->batched;
  struct tensor out[PROBE_COUNT];
  for (int p = 0; p < PROBE_COUNT; p++) {
    void *data;
    TRY(fold_room(im, DTYPE_I64, &shape, &out[p], &data));
    int64_t *dims = data;
    for (int64_t axis = start; axis < end; axis++) {
      int64_t rows = x->merged && axis == 0 ? operand_extent(x, 0) : 1;
      bool images = batched && axis == x->images - x->merged;
      dims[axis - start] = rows * operand_extent(x, (int)axis + x->merged) * (images ? PROBES[p] : 1);
    }
  }
  return operand_set_known(im, 0, out);
}

enum status import_size(struct importer *im, enum op op) {
  (void)op;
  struct operand *x;
  TRY(operand_required(im, 0, &x));
  TRY(attributes_check(im, NULL));
  bool batched = x->known ? x->repeated : x->value->batched;
  const struct shape *shape = x->known ? &x->tensor[0].shape : &x->value->shape;
  struct tensor out[PROBE_COUNT];
  for (int p = 0; p < PROBE_COUNT; p++) {
    void *data;
    TRY(fold_room(im, DTYPE_I64, &(struct shape){0}, &out[p], &data));
    *(int64_t *)data = shape_elements(shape) * (batched ? PROBES[p] : 1);
  }
  return operand_set_known(im, 0, out);
}

static enum status set_known(struct importer *im, const struct tensor *tensor) {
  const struct tensor at[PROBE_COUNT] = {*tensor, *tensor, *tensor};
  return operand_set_known(im, 0, at);
}

static enum status constant_list(struct importer *im, const OnnxSubset__Attribute *a, bool integers, bool list) {
  size_t count = !list ? 1 : integers ? a->n_ints : a->n_floats;
  struct shape shape = {.rank = list, .dim = {list ? (int64_t)count : 0}};
  struct tensor tensor;
  void *data;
  TRY(fold_room(im, integers ? DTYPE_I64 : DTYPE_F32, &shape, &tensor, &data));
  for (size_t i = 0; i < count; i++) {
    if (integers)
      ((int64_t *)data)[i] = list ? a->ints[i] : a->i;
    else
      ((float *)data)[i] = list ? a->floats[i] : a->f;
  }
  return set_known(im, &tensor);
}

enum status import_constant(struct importer *im, enum op op) {
  (void)op;
  if (im->node->n_attribute != 1) return importer_fail(im, "has %zu attributes, expected one value", im->node->n_attribute);
  const OnnxSubset__Attribute *attribute = im->node->attribute[0];
  const char *name = attribute->name != NULL ? attribute->name : "";
  struct tensor tensor;
  if (strcmp(name, "value_int") == 0) return constant_list(im, attribute, true, false);
  if (strcmp(name, "value_ints") == 0) return constant_list(im, attribute, true, true);
  if (strcmp(name, "value_float") == 0) return constant_list(im, attribute, false, false);
  if (strcmp(name, "value_floats") == 0) return constant_list(im, attribute, false, true);
  if (strcmp(name, "value") != 0 || attribute->t == NULL) return importer_fail(im, "attribute '%.64s' is not supported", name);
  TRY(tensor_read(im, attribute->t, &tensor));
  return set_known(im, &tensor);
}

enum status import_constant_of_shape(struct importer *im, enum op op) {
  (void)op;
  struct operand *target;
  int64_t dims[RANK_MAX];
  int count, images;
  TRY(operand_required(im, 0, &target));
  TRY(operand_target(im, target, &count, dims, &images));
  if (images > 0 || (images == 0 && dims[0] != 1)) return importer_fail(im, "the batch is not along axis 0 of the shape");
  TRY(attributes_check(im, (const char *const[]){"value", NULL}));
  const OnnxSubset__Attribute *attribute = attribute_find(im, "value");
  float zero = 0;
  struct tensor fill = {DTYPE_F32, {.rank = 1, .dim = {1}}, &zero}, tensor;
  if (attribute != NULL && attribute->t == NULL) return importer_fail(im, "attribute 'value' is no tensor");
  if (attribute != NULL) TRY(tensor_read(im, attribute->t, &fill));
  if (shape_elements(&fill.shape) != 1) return importer_fail(im, "attribute 'value' has not one element");
  struct shape shape = {.rank = count};
  for (int i = 0; i < count; i++) shape.dim[i] = dims[i];
  void *data;
  TRY(fold_room(im, fill.dtype, &shape, &tensor, &data));
  size_t size = dtype_size(fill.dtype), elements = (size_t)shape_elements(&shape);
  for (size_t i = 0; i < elements; i++) memcpy((char *)data + i * size, fill.data, size);
  TRY(set_known(im, &tensor));
  if (*im->node->output[0]) operand_find(im, im->node->output[0])->repeated = images == 0;
  return STATUS_OK;
}
