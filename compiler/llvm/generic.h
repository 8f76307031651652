/* Generators for everything that has no kernel of its own: element by element, products of two computed values, means and
 * convolutions, over views with any strides. They are what runs when a fusion is switched off or does not match; results are
 * the same bits for every split into units. */
#ifndef VITC_LLVM_GENERIC_H
#define VITC_LLVM_GENERIC_H

#include "llvm/emit.h"
#include "plan/plan.h"

/* Where the elements of one operand are, in the order of the description's axes. */
struct layout {
  int64_t stride[RANK_MAX];
  int64_t image_stride;
  int64_t is_u8, is_bf16; /* else fp32; bf16 has room for PACK_TABLE_ROOM elements after its last */
};

/* out = stages(inputs[0]) element by element.
 * Function: void (float *out, const void *const *inputs, int64_t images, int64_t begin, int64_t end); units: see strided_units.
 */
struct strided_desc {
  int64_t rank, dim[RANK_MAX];
  struct layout out, inputs[STEP_INPUTS_MAX];
  int64_t input_count, stage_count;
  struct step_stage stages[STEP_STAGES_MAX];
};
int64_t strided_units(const struct strided_desc *desc); /* of one image */
emit_value emit_strided(struct emit *e, const struct strided_desc *desc);

/* out (.., m, n) = a (.., m, k) @ b (.., k, n), all of rank `rank`; b's last stride is 1 or n is 1.
 * Function as above with inputs a, b; a unit is one row of out. */
struct matmul_desc {
  int64_t rank, dim[RANK_MAX], k; /* dim: of out */
  struct layout out, a, b;
};
int64_t matmul_units(const struct matmul_desc *desc);
emit_value emit_matmul(struct emit *e, const struct matmul_desc *desc);

/* out = mean of x over the axes in the mask. A unit is one image. */
struct reduce_desc {
  int64_t rank, dim[RANK_MAX], axes; /* dim: of x */
  struct layout out, x;
};
emit_value emit_reduce_mean(struct emit *e, const struct reduce_desc *desc);

/* out (m, oh, ow) = x (c, h, w) * W; inputs x, W panels, and bias or none. A unit is one row of out. */
struct conv_desc {
  int64_t groups, channels, height, width, filters, out_height, out_width; /* channels, filters: of all groups */
  int64_t kernel_height, kernel_width, stride_y, stride_x, pad_top, pad_left, dilation_y, dilation_x, has_bias;
  struct layout out, x; /* axes: image, channel, y, x */
};
emit_value emit_conv(struct emit *e, const struct conv_desc *desc);

#endif
