/* Ops that move axes. The images of a batch may leave axis 0 and come back to it. */
#include "onnx/importer.h"

#include <string.h>

static bool is_batched(const struct operand *operand) {
  return !operand->known && operand->value->batched;
}

enum status import_transpose(struct importer *im, enum op op) {
  (void)op;
  struct operand *x;
  struct value *value;
  TRY(operand_required(im, 0, &x));
  TRY(operand_value(im, x, false, &value));
  int rank = value->shape.rank, images = 0, moved = 0, next = 0;
  int64_t perm[RANK_MAX], axes[RANK_MAX];
  bool seen[RANK_MAX] = {false};
  const OnnxSubset__Attribute *attribute = attribute_find(im, "perm");
  TRY(attributes_check(im, (const char *const[]){"perm", NULL}));
  if (attribute != NULL && attribute->n_ints != (size_t)rank)
    return importer_fail(im, "perm has %zu axes, the input has %d", attribute->n_ints, rank);
  for (int i = 0; i < rank; i++) {
    perm[i] = attribute != NULL ? attribute->ints[i] : rank - 1 - i;
    if (perm[i] < 0 || perm[i] >= rank || seen[perm[i]]) return importer_fail(im, "perm is not a permutation");
    seen[perm[i]] = true;
    if (perm[i] == x->images) images = i;
  }
  if (value->batched) axes[next++] = 0;
  for (int i = 0; i < rank; i++)
    if (!value->batched || i != images) axes[next++] = value->batched ? axis_of(x->images, (int)perm[i]) : perm[i];
  for (int i = 0; i < rank; i++) moved += axes[i] != i;
  if (moved > 0) TRY(node_transpose(im, value, axes, node_output_name(im, 0), &value));
  return operand_set_value(im, 0, value, images);
}

/* The axes before the images stay as they are, and so do the images. */
static enum status reshape_behind(struct importer *im, const struct operand *x, struct value *value, const int64_t *dims,
                                  int count) {
  int images = x->images;
  int64_t target[RANK_MAX];
  bool fits = count > images;
  for (int i = 0; fits && i < images; i++) fits = dims[i] == 0 || dims[i] == operand_extent(x, i);
  fits = fits && (dims[images] == 0 || dims[images] == operand_extent(x, images));
  if (!fits)
    return importer_fail(im, "'%.200s' has its images along axis %d, and the new shape does not keep the axes up to it",
                         x->name, images);
  for (int i = 0; i < count; i++)
    target[axis_of(images, i)] = i <= images ? operand_extent(x, i) : dims[i] == 0 ? operand_extent(x, i) : dims[i];
  TRY(node_reshape(im, value, target, count, node_output_name(im, 0), &value));
  return operand_set_value(im, 0, value, images);
}

enum status import_reshape(struct importer *im, enum op op) {
  struct operand *x, *shape;
  struct value *value, *inputs[2];
  int64_t dims[RANK_MAX], zero;
  int count, images;
  TRY(operand_required(im, 0, &x));
  TRY(operand_required(im, 1, &shape));
  TRY(operand_target(im, shape, &count, dims, &images));
  TRY(operand_value(im, x, false, &value));
  TRY(attribute_int(im, "allowzero", 0, &zero));
  for (int i = 0; i < count; i++)
    if (dims[i] == 0 && (zero != 0 || i >= operand_rank(x))) return importer_fail(im, "entry %d of the shape is 0", i);
  if (value->batched && x->images > 0) {
    if (images >= 0 && images != x->images)
      return importer_fail(im, "moves the images from axis %d to axis %d", x->images, images);
    return reshape_behind(im, x, value, dims, count);
  }
  int64_t front[RANK_MAX];
  for (int i = 0; i < count; i++) {
    if (i < images && dims[i] != 1) return importer_fail(im, "moves the images to axis %d", images);
    front[images > 0 ? axis_of(images, i) : i] = dims[i];
  }
  inputs[0] = value;
  inputs[1] = importer_ints(im, front, count, images >= 0);
  struct node *node = node_add(im, op, inputs, 2, node_output_name(im, 0));
  TRY(attributes_check(im, (const char *const[]){"allowzero", NULL}));
  TRY(node_ready(im, node));
  return operand_set_value(im, 0, node->outputs[0], images > 0 ? images : 0);
}

/* Axes by the second input, counted from the front of `rank` axes, each once. */
static enum status read_axes(struct importer *im, int rank, bool out_listed[RANK_MAX], bool *out_given) {
  struct operand *operand;
  int64_t axes[RANK_MAX];
  int count = 0;
  TRY(attributes_check(im, NULL));
  TRY(operand_input(im, 1, &operand));
  *out_given = operand != NULL;
  for (int i = 0; i < RANK_MAX; i++) out_listed[i] = false;
  if (operand != NULL) TRY(operand_ints(im, operand, RANK_MAX, axes, &count));
  for (int i = 0; i < count; i++) {
    int axis;
    TRY(importer_axis(im, axes[i], rank, &axis));
    if (out_listed[axis]) return importer_fail(im, "axis %d is listed twice", axis);
    out_listed[axis] = true;
  }
  return STATUS_OK;
}

static enum status make_axes(struct importer *im, enum op op, struct value *x, const bool *listed, int rank, int images,
                             int out_images) {
  int64_t axes[RANK_MAX] = {0};
  int count = 0;
  for (int i = 0; i < rank; i++)
    if (listed[i]) axes[count++] = x->batched ? axis_of(images, i) : i;
  struct value *inputs[] = {x, importer_ints(im, axes, count, false)}, *out = x;
  if (count > 0) TRY(node_make(im, op, inputs, 2, node_output_name(im, 0), &out));
  return operand_set_value(im, 0, out, out_images);
}

enum status import_squeeze(struct importer *im, enum op op) {
  struct operand *x;
  struct value *value;
  bool listed[RANK_MAX], given;
  TRY(operand_required(im, 0, &x));
  TRY(operand_value(im, x, false, &value));
  int rank = operand_rank(x), images = x->images;
  TRY(read_axes(im, rank, listed, &given));
  for (int i = 0; i < rank; i++) {
    bool along = value->batched && i == x->images;
    if (!given) listed[i] = !along && operand_extent(x, i) == 1;
    if (listed[i] && along) return importer_fail(im, "axis %d is that of the images", i);
    if (listed[i] && i < x->images) images--;
  }
  return make_axes(im, op, value, listed, rank, x->images, images);
}

enum status import_unsqueeze(struct importer *im, enum op op) {
  struct operand *x, *axes;
  struct value *value;
  bool listed[RANK_MAX], given;
  TRY(operand_required(im, 0, &x));
  TRY(operand_required(im, 1, &axes));
  TRY(operand_value(im, x, false, &value));
  int64_t added = axes->known ? shape_elements(&axes->tensor[0].shape) : 0;
  if (added < 1 || added > RANK_MAX - operand_rank(x)) return importer_fail(im, "adds %lld axes", (long long)added);
  int rank = operand_rank(x) + (int)added, images = 0;
  TRY(read_axes(im, rank, listed, &given));
  for (int i = 0, from = 0; i < rank; i++)
    if (!listed[i] && from++ == x->images) images = i;
  return make_axes(im, op, value, listed, rank, images, images);
}

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
  op_info(OP_expand)->eval(&node, &x->tensor[0].data, &data);
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
  for (int i = 0; i < count; i++)
    if (dims[i] < 1) return importer_fail(im, "entry %d of the shape is %lld", i, (long long)dims[i]);
  bool in_front = images == 0 && dims[0] == 1 && count >= operand_rank(x);
  if (x->known && !operand_varies(x) && (in_front || (x->repeated && images < 0 && count <= operand_rank(x))))
    return repeat_known(im, x, dims, count);
  TRY(operand_front(im, x));
  if (images > 0) return importer_fail(im, "repeats '%.200s' along axis %d for the batch", x->name, images);
  TRY(operand_value(im, x, false, &inputs[0]));
  inputs[1] = importer_ints(im, dims, count, images == 0 || (is_batched(x) && count == operand_rank(x) && dims[0] == 1));
  TRY(node_make(im, op, inputs, 2, node_output_name(im, 0), &out));
  return operand_set_value(im, 0, out, 0);
}
