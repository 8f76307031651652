/* Attention of opset 23, with the images in front. */
#include "onnx/importer.h"

#include <float.h>

enum { MASK = 3, INPUTS_MAX = 4 };

/* What a mask of truths adds to the scores. NULL: nothing anywhere. */
static enum status mask_of_truths(struct importer *im, const struct operand *mask, struct value **out_value) {
  const struct tensor *tensor = &mask->tensor[0];
  int64_t count = shape_elements(&tensor->shape), hidden = 0;
  struct tensor sums;
  void *data;
  if (!mask->known || operand_varies(mask)) return importer_fail(im, "the mask '%.200s' depends on the image", mask->name);
  TRY(fold_room(im, DTYPE_F32, &tensor->shape, &sums, &data));
  for (int64_t i = 0; i < count; i++) {
    bool hides = ((const uint8_t *)tensor->data)[i] == 0;
    ((float *)data)[i] = hides ? -FLT_MAX : 0;
    hidden += hides;
  }
  *out_value = NULL;
  if (hidden > 0)
    *out_value = importer_floats(im, arena_printf(im->arena, "%s.mask", node_output_name(im, 0)), &sums.shape, data);
  return STATUS_OK;
}

enum status import_attention(struct importer *im, enum op op) {
  /* of a second output, which no node here has, and of the least precision of the softmax */
  static const char *const dropped[] = {"qk_matmul_output_mode", "softmax_precision", NULL};
  struct value *values[INPUTS_MAX] = {NULL};
  struct operand *operand;
  for (size_t i = 0; i < im->node->n_input; i++) {
    TRY(operand_input(im, i, &operand));
    if (operand == NULL) continue;
    if (i >= INPUTS_MAX) return importer_fail(im, "input %zu is not supported", i);
    TRY(operand_front(im, operand));
    if (i == MASK && operand->known && operand->tensor[0].dtype == DTYPE_BOOL)
      TRY(mask_of_truths(im, operand, &values[i]));
    else
      TRY(operand_value(im, operand, i == MASK, &values[i]));
  }
  int count = values[MASK] != NULL ? INPUTS_MAX : MASK;
  struct node *node = node_add(im, op, values, count, node_output_name(im, 0));
  TRY(attributes_copy(im, node, dropped));
  TRY(node_ready(im, node));
  return operand_set_value(im, 0, node->outputs[0], 0);
}
