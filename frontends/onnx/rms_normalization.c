/* RMSNormalization: x / sqrt(mean(x^2) + epsilon) * scale over the axes from one on. */
#include "onnx/importer.h"

enum status import_rms_normalization(struct importer *im, enum op op) {
  (void)op;
  struct operand *x, *scale;
  struct value *value, *factor;
  int64_t given, axes[RANK_MAX];
  double epsilon;
  int axis, count = 0;
  TRY(attributes_check(im, (const char *const[]){"axis", "epsilon", "stash_type", NULL}));
  TRY(operand_required(im, 0, &x));
  TRY(operand_required(im, 1, &scale));
  TRY(attribute_int(im, "axis", -1, &given));
  TRY(attribute_float(im, "epsilon", 1e-5, &epsilon));
  TRY(importer_axis(im, given, operand_rank(x), &axis));
  TRY(operand_value(im, x, false, &value));
  TRY(operand_value(im, scale, false, &factor));
  if (value->batched && axis <= x->images)
    return importer_fail(im, "works along axis %d, where the images of the batch lie", axis);
  if (factor->batched) return importer_fail(im, "is only supported with a scale that is the same for all images");
  for (int i = axis; i < operand_rank(x); i++) axes[count++] = i;
  const char *name = node_output_name(im, 0);
  float *least = arena_array(im->arena, 1, sizeof *least);
  *least = (float)epsilon;
  struct value *square[] = {value, value}, *mean, *root;
  TRY(node_make(im, OP_mul, square, 2, arena_printf(im->arena, "%s.square", name), &mean));
  struct node *node = node_add(im, OP_reduce_mean, &mean, 1, arena_printf(im->arena, "%s.mean", name));
  node_set_ints(im->graph, node, "axes", axes, (size_t)count);
  TRY(node_ready(im, node));
  struct value *sum[] = {node->outputs[0],
                         importer_floats(im, arena_printf(im->arena, "%s.epsilon", name), &(struct shape){0}, least)};
  TRY(node_make(im, OP_add, sum, 2, arena_printf(im->arena, "%s.mean", name), &mean));
  TRY(node_make(im, OP_sqrt, &mean, 1, arena_printf(im->arena, "%s.root", name), &root));
  struct value *quotient[] = {value, root}, *product[] = {NULL, factor};
  TRY(node_make(im, OP_div, quotient, 2, arena_printf(im->arena, "%s.normal", name), &product[0]));
  TRY(node_make(im, OP_mul, product, 2, name, &value));
  return operand_set_value(im, 0, value, x->images);
}
