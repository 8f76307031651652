/* Reshape, wherever the images of the batch lie. */
#include "onnx/importer.h"

#include <string.h>

/* One image's share of a tensor in ONNX's order, [before][images][behind], where N stands left of `images`. */
struct split {
  int rank, axis;
  int64_t dims[RANK_MAX];
  int64_t before, images, behind;
};

static int64_t product(const int64_t *dims, int begin, int end) {
  int64_t elements = 1;
  for (int i = begin; i < end; i++) elements *= dims[i];
  return elements;
}

static void split_at(struct split *split, int axis) {
  split->axis = axis;
  split->before = product(split->dims, 0, axis);
  split->images = split->dims[axis];
  split->behind = product(split->dims, axis + 1, split->rank);
}

static struct split split_of(const struct operand *x) {
  struct split split = {.rank = operand_rank(x)};
  for (int i = 0; i < split.rank; i++) split.dims[i] = operand_extent(x, i);
  split_at(&split, x->images);
  return split;
}

/* Entries of 0 and -1 as extents. *images is the axis that N goes to where the entries say it, -1 on return where they don't.
 */
static enum status resolve(struct importer *im, const struct operand *x, const struct split *from, bool allow_zero,
                           struct split *to, int *images) {
  int inferred = -1, merged = x->merged ? 1 : 0;
  int64_t elements = product(from->dims, 0, from->rank), known = 1;
  for (int i = 0; i < to->rank; i++) {
    int64_t *dim = &to->dims[i];
    if (*dim == 0 && !allow_zero && i + merged < from->rank) {
      *dim = merged != 0 && i == 0 ? from->before * from->images : from->dims[i + merged];
      if (*images < 0 && i == from->axis - merged) *images = i;
    }
    if (*dim == -1 && inferred < 0) {
      inferred = i;
      continue;
    }
    if (*dim < 1) return importer_fail(im, "entry %d of the shape is %lld", i, (long long)*dim);
    if (*dim > elements / known) return importer_fail(im, "the shape does not fit the input");
    known *= *dim;
  }
  if (inferred >= 0) to->dims[inferred] = elements / known;
  if (inferred >= 0 ? elements % known != 0 : elements != known) return importer_fail(im, "the shape does not fit the input");
  if (*images < 0 && !im->batch_fixed) *images = inferred;
  return STATUS_OK;
}

/* With numbers for a batch of one, N stays behind as many elements as before; or its rows become those of a matrix. */
static int place_images(const struct split *from, const struct split *to) {
  int axis = 0;
  while (axis + 1 < to->rank && product(to->dims, 0, axis) != from->before) axis++;
  return axis + 1 < to->rank ? axis : 0;
}

/* (images, before, behind) with another share of images: the axes before them step aside and come back. */
static enum status regroup(struct importer *im, const struct split *from, const struct split *to, struct value **value) {
  static const int64_t SWAP[] = {0, 2, 1, 3};
  if (from->before == 1 || from->images == to->images) return STATUS_OK;
  const char *name = arena_printf(im->arena, "%s.images", node_output_name(im, 0));
  if (from->images > 1) {
    TRY(node_reshape(im, *value, (const int64_t[]){1, from->images, from->before, from->behind}, 4, name, value));
    TRY(node_transpose(im, *value, SWAP, name, value));
  }
  TRY(node_reshape(im, *value, (const int64_t[]){1, to->before, to->images, to->behind}, 4, name, value));
  return to->images > 1 ? node_transpose(im, *value, SWAP, name, value) : STATUS_OK;
}

static enum status reshape_images(struct importer *im, const struct operand *x, struct value *value, const struct split *from,
                                  const struct split *to) {
  int64_t target[RANK_MAX];
  int rank = to->rank, axis = to->axis;
  /* Rows of all images, in the order of rows, then images: the graph has an axis more. */
  bool merges = axis == 0 && from->before > 1 && to->images == from->before && rank < RANK_MAX;
  if (merges) {
    const struct split rows = {.before = from->before, .images = 1, .behind = to->behind};
    TRY(regroup(im, from, &rows, &value));
    target[0] = 1;
    for (int i = 0; i < rank; i++) target[i + 1] = to->dims[i];
    rank++;
  } else if (from->before == to->before) {
    TRY(regroup(im, from, to, &value));
    for (int i = 0; i < rank; i++) target[axis_of(axis, i)] = to->dims[i];
  } else {
    return importer_fail(im, "'%.200s' has its images along axis %d, and the new shape does not keep the axes up to it",
                         x->name, x->images);
  }
  TRY(node_reshape(im, value, target, rank, node_output_name(im, 0), &value));
  TRY(operand_set_value(im, 0, value, merges ? 1 : axis));
  if (merges && *im->node->output[0]) operand_find(im, im->node->output[0])->merged = true;
  return STATUS_OK;
}

enum status import_reshape(struct importer *im, enum op op) {
  struct operand *x, *shape;
  struct value *value, *inputs[2];
  struct split to;
  int64_t zero;
  int images;
  TRY(operand_required(im, 0, &x));
  TRY(operand_required(im, 1, &shape));
  TRY(operand_target(im, shape, &to.rank, to.dims, &images));
  TRY(operand_value(im, x, false, &value));
  TRY(attributes_check(im, (const char *const[]){"allowzero", NULL}));
  TRY(attribute_int(im, "allowzero", 0, &zero));
  for (int i = 0; i < to.rank; i++)
    if (to.dims[i] == 0 && (zero != 0 || i >= operand_rank(x))) return importer_fail(im, "entry %d of the shape is 0", i);
  bool says_images = images == 0;
  if (value->batched) {
    struct split from = split_of(x), known = to;
    if (to.rank == 0) return importer_fail(im, "a scalar has no axis for the images of the batch");
    TRY(resolve(im, x, &from, zero != 0, &known, &images));
    if (images < 0 && x->images > 0) images = place_images(&from, &known);
    split_at(&known, images < 0 ? 0 : images);
    if (x->images > 0 || images > 0) return reshape_images(im, x, value, &from, &known);
    /* The N of a graph is one image, however many rows of it (Swin's windows) the shape counted. */
    if (says_images && known.dims[0] != 1) {
      to = known;
      to.dims[0] = -1;
      says_images = false;
    }
  }
  if (images > 0) return importer_fail(im, "moves the images to axis %d", images);
  inputs[0] = value;
  inputs[1] = importer_ints(im, to.dims, to.rank, says_images);
  TRY(node_make(im, op, inputs, 2, node_output_name(im, 0), &value));
  return operand_set_value(im, 0, value, 0);
}
