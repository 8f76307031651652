/* Ops that move axes. The images of a batch may leave axis 0 and come back to it. */
#include "onnx/importer.h"

#include <string.h>

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
