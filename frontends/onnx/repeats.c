/* Ops that repeat elements: Expand and Tile. */
#include "onnx/importer.h"

#include <string.h>

enum { COPIES_MAX = 64 };

/* What is the same for all images stays so: N along axis 0 is only noted. */
static enum status repeat_known(struct importer *im, const struct operand *x, const int64_t *dims, int count) {
  struct shape shape = {.rank = count > x->tensor[0].shape.rank ? count : x->tensor[0].shape.rank};
  const struct shape *from = &x->tensor[0].shape;
  for (int i = 0; i < shape.rank; i++) {
    int a = i - (shape.rank - from->rank), b = i - (shape.rank - count);
    int64_t own = a >= 0 ? from->dim[a] : 1, wanted = b >= 0 ? dims[b] : 1;
    if (own != wanted && own != 1 && wanted != 1)
      return importer_fail(im, "axis %d has extent %lld, expected %lld", i, (long long)own, (long long)wanted);
    shape.dim[i] = own == 1 ? wanted : own;
  }
  if (shape.dim[0] != 1) return importer_fail(im, "repeats axis 0 of '%.200s' for the batch, which is not 1", x->name);
  struct tensor tensor;
  void *data;
  TRY(fold_room(im, x->tensor[0].dtype, &shape, &tensor, &data));
  const struct value in = {.shape = *from, .dtype = tensor.dtype}, out = {.shape = shape, .dtype = tensor.dtype};
  struct value *inputs[] = {(struct value *)&in}, *outputs[] = {(struct value *)&out};
  const struct node node = {.op = OP_expand, .inputs = inputs, .outputs = outputs, .input_count = 1, .output_count = 1};
  if (shape_elements(&shape) > 0) op_info(OP_expand)->eval(&node, &x->tensor[0].data, &data);
  const struct tensor at[PROBE_COUNT] = {tensor, tensor, tensor};
  TRY(operand_set_known(im, 0, at));
  if (*im->node->output[0]) operand_find(im, im->node->output[0])->repeated = true;
  return STATUS_OK;
}

enum status import_expand(struct importer *im, enum op op) {
  struct operand *x, *shape;
  struct value *inputs[2], *out;
  int64_t dims[RANK_MAX];
  int count, images;
  TRY(operand_required(im, 0, &x));
  TRY(operand_required(im, 1, &shape));
  TRY(attributes_check(im, NULL));
  TRY(operand_target(im, shape, &count, dims, &images));
  bool in_front = images == 0 && dims[0] == 1 && count >= operand_rank(x);
  if (x->known && !operand_varies(x) && (in_front || (x->repeated && images < 0 && count <= operand_rank(x))))
    return repeat_known(im, x, dims, count);
  for (int i = 0; i < count; i++)
    if (dims[i] < 1) return importer_fail(im, "entry %d of the shape is %lld", i, (long long)dims[i]);
  TRY(operand_front(im, x));
  if (images > 0) return importer_fail(im, "repeats '%.200s' along axis %d for the batch", x->name, images);
  bool batched = !x->known && x->value->batched;
  TRY(operand_value(im, x, false, &inputs[0]));
  inputs[1] = importer_ints(im, dims, count, images == 0 || (batched && count == operand_rank(x) && dims[0] == 1));
  TRY(node_make(im, op, inputs, 2, node_output_name(im, 0), &out));
  return operand_set_value(im, 0, out, 0);
}

/* `copies` of x, one after the other along ONNX's axis. */
static enum status tile_axis(struct importer *im, const struct operand *x, int axis, int64_t copies, struct value **value) {
  struct value *parts[COPIES_MAX];
  if (copies < 1 || copies > COPIES_MAX)
    return importer_fail(im, "repeats axis %d %lld times, expected 1 to %d", axis, (long long)copies, COPIES_MAX);
  if (copies == 1) return STATUS_OK;
  bool batched = (*value)->batched;
  if (batched && axis == x->images) return importer_fail(im, "repeats the images of the batch");
  for (int64_t i = 0; i < copies; i++) parts[i] = *value;
  struct node *node = node_add(im, OP_concat, parts, (int)copies, node_output_name(im, 0));
  node_set_int(im->graph, node, "axis", batched ? axis_of(x->images, axis) : axis);
  *value = node->outputs[0];
  return node_ready(im, node);
}

enum status import_tile(struct importer *im, enum op op) {
  (void)op;
  struct operand *x, *repeats;
  struct value *value;
  int64_t copies[RANK_MAX];
  int count, images;
  TRY(operand_required(im, 0, &x));
  TRY(operand_required(im, 1, &repeats));
  TRY(attributes_check(im, NULL));
  TRY(operand_target(im, repeats, &count, copies, &images));
  int rank = operand_rank(x);
  if (count != rank) return importer_fail(im, "repeats %d axes, the input has %d", count, rank);
  bool once = true;
  for (int i = 0; i < count; i++) once = once && copies[i] == 1;
  if (x->known && !operand_varies(x) && images == 0 && once) return repeat_known(im, x, x->tensor[0].shape.dim, rank);
  if (images >= 0) return importer_fail(im, "repeats '%.200s' along axis %d for the batch", x->name, images);
  TRY(operand_value(im, x, false, &value));
  for (int axis = 0; axis < rank; axis++) TRY(tile_axis(im, x, axis, copies[axis], &value));
  return operand_set_value(im, 0, value, x->images);
}
