/* Ops that join, cut and pick along an axis. */
#include "onnx/importer.h"

#include <string.h>

static bool is_batched(const struct operand *operand) {
  return !operand->known && operand->value->batched;
}

/* The graph's axis of an operand's. */
static enum status graph_axis(struct importer *im, const struct operand *x, int64_t given, int *out_onnx, int *out_graph) {
  TRY(importer_axis(im, given, operand_rank(x), out_onnx));
  *out_graph = is_batched(x) ? axis_of(x->images, *out_onnx) : *out_onnx;
  return STATUS_OK;
}

enum status import_concat(struct importer *im, enum op op) {
  struct operand *operands[ONNX_IO_MAX];
  struct value *values[ONNX_IO_MAX];
  const struct operand *first = NULL;
  int count = 0, onnx_axis, axis;
  int64_t given;
  for (size_t i = 0; i < im->node->n_input; i++) {
    TRY(operand_required(im, i, &operands[count]));
    if (first == NULL && is_batched(operands[count])) first = operands[count];
    /* What is empty joins nothing: no register tokens, say. */
    if (!operands[count]->known || shape_elements(&operands[count]->tensor[0].shape) > 0) count++;
  }
  if (count == 0 || attribute_find(im, "axis") == NULL) return importer_fail(im, "expected inputs and an axis");
  TRY(attribute_int(im, "axis", 0, &given));
  TRY(graph_axis(im, first != NULL ? first : operands[0], given, &onnx_axis, &axis));
  int images = first != NULL ? first->images : 0;
  for (int i = 0; i < count; i++) {
    if (is_batched(operands[i]) ? operands[i]->images != images : images > 0)
      return importer_fail(im, "the images of its inputs do not lie along the same axis");
    TRY(operand_value(im, operands[i], first != NULL, &values[i]));
  }
  struct node *node = node_add(im, op, values, count, node_output_name(im, 0));
  TRY(attributes_check(im, (const char *const[]){"axis", NULL}));
  node_set_int(im->graph, node, "axis", axis);
  TRY(node_ready(im, node));
  return operand_set_value(im, 0, node->outputs[0], images);
}

enum status import_split(struct importer *im, enum op op) {
  struct operand *x, *sizes;
  struct value *inputs[2] = {NULL}, *outputs[ONNX_IO_MAX];
  int onnx_axis, axis, count = (int)im->node->n_output;
  int64_t given;
  TRY(operand_required(im, 0, &x));
  TRY(operand_input(im, 1, &sizes));
  TRY(attribute_int(im, "axis", 0, &given));
  TRY(graph_axis(im, x, given, &onnx_axis, &axis));
  TRY(operand_value(im, x, false, &inputs[0]));
  if (sizes != NULL) TRY(operand_value(im, sizes, false, &inputs[1]));
  for (int i = 0; i < count; i++)
    outputs[i] = graph_add_value(im->graph, node_output_name(im, (size_t)i), DTYPE_F32, NULL, false);
  struct node *node = graph_add_node(im->graph, NULL, op, inputs, sizes != NULL ? 2 : 1, outputs, count);
  TRY(attributes_copy(im, node, NULL));
  node_set_int(im->graph, node, "axis", axis);
  TRY(node_ready(im, node));
  for (int i = 0; i < count; i++) TRY(operand_set_value(im, (size_t)i, outputs[i], x->images));
  return STATUS_OK;
}

enum status import_slice(struct importer *im, enum op op) {
  struct operand *x, *operand;
  struct value *values[5] = {NULL}, *out;
  int count = (int)im->node->n_input, listed, onnx_axis, axis;
  int64_t axes[RANK_MAX] = {0, 1, 2, 3, 4, 5, 6, 7};
  if (count < 3 || count > 5) return importer_fail(im, "has %d inputs, expected 3 to 5", count);
  TRY(attributes_check(im, NULL));
  TRY(operand_required(im, 0, &x));
  for (int i = 0; i < count; i++) {
    TRY(operand_input(im, (size_t)i, &operand));
    if (operand != NULL) TRY(operand_value(im, operand, false, &values[i]));
    if (operand == NULL && i < 3) return importer_fail(im, "input %d is missing", i);
  }
  if (is_batched(x) && x->images > 0) {
    TRY(operand_input(im, 3, &operand));
    listed = (int)shape_elements(&values[1]->shape);
    if (operand != NULL) TRY(operand_ints(im, operand, RANK_MAX, axes, &listed));
    if (listed > RANK_MAX) return importer_fail(im, "has %d axes", listed);
    for (int i = 0; i < listed; i++) {
      TRY(graph_axis(im, x, axes[i], &onnx_axis, &axis));
      axes[i] = axis;
    }
    values[3] = importer_ints(im, axes, listed, false);
    if (count < 4) count = 4;
  }
  while (values[count - 1] == NULL) count--;
  TRY(node_make(im, op, values, count, node_output_name(im, 0), &out));
  return operand_set_value(im, 0, out, x->images);
}

enum status import_gather(struct importer *im, enum op op) {
  struct operand *x, *indices;
  struct value *inputs[2];
  int onnx_axis, axis;
  int64_t given;
  TRY(operand_required(im, 0, &x));
  TRY(operand_required(im, 1, &indices));
  TRY(attributes_check(im, (const char *const[]){"axis", NULL}));
  TRY(attribute_int(im, "axis", 0, &given));
  TRY(graph_axis(im, x, given, &onnx_axis, &axis));
  TRY(operand_front(im, indices));
  TRY(operand_value(im, x, false, &inputs[0]));
  TRY(operand_value(im, indices, false, &inputs[1]));
  struct node *node = node_add(im, op, inputs, 2, node_output_name(im, 0));
  node_set_int(im->graph, node, "axis", axis);
  TRY(node_ready(im, node));
  int images = onnx_axis < x->images ? x->images - 1 + operand_rank(indices) : x->images;
  return operand_set_value(im, 0, node->outputs[0], inputs[0]->batched ? images : 0);
}
