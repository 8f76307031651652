/* Resize of the last two axes. */
#include "onnx/importer.h"
#include "ops/eval.h"

#include <math.h>
#include <string.h>

enum { EXTENT_MAX = 8192 };

static bool one_of(const char *text, const char *const *list) {
  for (; *list != NULL; list++)
    if (strcmp(text, *list) == 0) return true;
  return false;
}

static enum status read_sampling(struct importer *im, struct sampling *out) {
  static const char *const read[] = {"mode",
                                     "coordinate_transformation_mode",
                                     "nearest_mode",
                                     "cubic_coeff_a",
                                     "exclude_outside",
                                     "antialias",
                                     "extrapolation_value",
                                     "keep_aspect_ratio_policy",
                                     NULL};
  int64_t exclude, antialias;
  const char *policy;
  TRY(attributes_check(im, read));
  TRY(attribute_string(im, "mode", "nearest", &out->mode));
  TRY(attribute_string(im, "coordinate_transformation_mode", "half_pixel", &out->coordinates));
  TRY(attribute_string(im, "nearest_mode", "round_prefer_floor", &out->nearest));
  TRY(attribute_string(im, "keep_aspect_ratio_policy", "stretch", &policy));
  TRY(attribute_float(im, "cubic_coeff_a", -0.75, &out->cubic));
  TRY(attribute_int(im, "exclude_outside", 0, &exclude));
  TRY(attribute_int(im, "antialias", 0, &antialias));
  out->exclude_outside = exclude != 0;
  out->antialias = antialias != 0;
  if (strcmp(policy, "stretch") != 0) return importer_fail(im, "keep_aspect_ratio_policy '%.64s' is not supported", policy);
  if (!one_of(out->mode, (const char *const[]){"nearest", "linear", "cubic", NULL}))
    return importer_fail(im, "mode '%.64s' is not supported", out->mode);
  if (!one_of(out->coordinates, (const char *const[]){"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", NULL}))
    return importer_fail(im, "coordinate_transformation_mode '%.64s' is not supported", out->coordinates);
  if (!one_of(out->nearest, (const char *const[]){"round_prefer_floor", "round_prefer_ceil", "floor", "ceil", NULL}))
    return importer_fail(im, "nearest_mode '%.64s' is not supported", out->nearest);
  return STATUS_OK;
}

/* Extents from the scales (input 2) or the sizes (input 3); `extents` are those of x, of one image. */
static enum status read_extents(struct importer *im, const struct tensor *scales, const struct tensor *sizes,
                                const int64_t *extents, struct sampling *out) {
  bool by_size = sizes != NULL && sizes->data != NULL && shape_elements(&sizes->shape) > 0;
  const struct tensor *given = by_size ? sizes : scales;
  if (given == NULL || given->data == NULL || shape_elements(&given->shape) != 4)
    return importer_fail(im, "expected known sizes or scales of 4 axes");
  for (int axis = 0; axis < 4; axis++) {
    double number = element_load(given->dtype, given->data, axis), extent = (double)extents[axis];
    double wanted = by_size ? number : floor(extent * number);
    if (axis < 2 && wanted != extent) return importer_fail(im, "resizes axis %d; only the last two are supported", axis);
    if (!(wanted >= 1 && wanted <= (double)EXTENT_MAX && extent <= (double)EXTENT_MAX))
      return importer_fail(im, "resizes axis %d from %g to %g, expected 1 to %d", axis, extent, wanted, EXTENT_MAX);
    if (axis < 2) continue;
    out->in[axis - 2] = extents[axis];
    out->out[axis - 2] = (int64_t)wanted;
    out->scale[axis - 2] = by_size ? wanted / extent : number;
  }
  return STATUS_OK;
}

enum status fold_resize(struct importer *im, const struct tensor *inputs, size_t count, struct tensor *out) {
  struct sampling s = {0};
  if (count < 1 || inputs[0].data == NULL || inputs[0].dtype != DTYPE_F32 || inputs[0].shape.rank != 4)
    return importer_fail(im, "is only supported on floats of rank 4");
  TRY(read_sampling(im, &s));
  TRY(read_extents(im, count > 2 ? &inputs[2] : NULL, count > 3 ? &inputs[3] : NULL, inputs[0].shape.dim, &s));
  struct shape shape = inputs[0].shape;
  void *data;
  shape.dim[2] = s.out[0];
  shape.dim[3] = s.out[1];
  TRY(fold_room(im, DTYPE_F32, &shape, out, &data));
  const double *down = sampling_matrix(im->arena, &s, 0), *across = sampling_matrix(im->arena, &s, 1);
  double *rows = arena_array(im->arena, (size_t)(s.in[0] * s.out[1]), sizeof *rows);
  for (int64_t plane = 0; plane < shape.dim[0] * shape.dim[1]; plane++) {
    const struct product wide = {.rows = s.in[0],
                                 .columns = s.out[1],
                                 .inner = s.in[1],
                                 .alpha = 1,
                                 .a = {(const float *)inputs[0].data + plane * s.in[0] * s.in[1], false, s.in[1], 1},
                                 .b = {across, true, s.out[1], 1},
                                 .out = rows,
                                 .out_wide = true,
                                 .out_row_stride = s.out[1],
                                 .out_column_stride = 1};
    const struct product tall = {.rows = s.out[0],
                                 .columns = s.out[1],
                                 .inner = s.in[0],
                                 .alpha = 1,
                                 .a = {down, true, 1, s.out[0]},
                                 .b = {rows, true, s.out[1], 1},
                                 .out = (float *)data + plane * s.out[0] * s.out[1],
                                 .out_row_stride = s.out[1],
                                 .out_column_stride = 1};
    matrix_product(&wide);
    matrix_product(&tall);
  }
  return STATUS_OK;
}

enum status import_resize(struct importer *im, enum op op) {
  (void)op;
  struct operand *x, *scales, *sizes;
  struct value *value;
  struct sampling s = {0};
  int64_t dims[RANK_MAX];
  int count, images = 0;
  TRY(operand_required(im, 0, &x));
  TRY(operand_input(im, 2, &scales));
  TRY(operand_input(im, 3, &sizes));
  TRY(operand_front(im, x));
  TRY(operand_value(im, x, false, &value));
  if (value->shape.rank != 4 || value->dtype != DTYPE_F32) return importer_fail(im, "is only supported on floats of rank 4");
  if ((sizes != NULL && !sizes->known) || (scales != NULL && !scales->known))
    return importer_fail(im, "sizes and scales must not depend on the input");
  if (sizes != NULL) TRY(operand_target(im, sizes, &count, dims, &images));
  if (images > 0) return importer_fail(im, "sizes: the batch is at axis %d", images);
  TRY(read_sampling(im, &s));
  TRY(read_extents(im, scales != NULL ? scales->tensor : NULL, sizes != NULL ? sizes->tensor : NULL, value->shape.dim, &s));
  struct lowering lowering = importer_lowering(im, value);
  TRY(lower_resize(&lowering, node_output_name(im, 0), &s, value, &value));
  return operand_set_value(im, 0, value, 0);
}
