/* Element by element over any strides. Adjacent axes that are contiguous in every operand become one, then the last axis runs
 * in vectors when every operand is contiguous or constant along it. */
#include "llvm/generic.h"
#include "llvm/kernels.h"

#include <assert.h>
#include <stdio.h>

struct operands {
  emit_value offset[STEP_INPUTS_MAX + 1]; /* elements; [0] is out, [i + 1] inputs[i] */
  emit_value base[STEP_INPUTS_MAX + 1];
};

static const struct layout *layout_of(const struct strided_desc *desc, int64_t i) {
  return i == 0 ? &desc->out : &desc->inputs[i - 1];
}

static struct layout *layout_at(struct strided_desc *desc, int64_t i) {
  return i == 0 ? &desc->out : &desc->inputs[i - 1];
}

static bool joins(const struct strided_desc *desc, int64_t axis) {
  for (int64_t i = 0; i <= desc->input_count; i++) {
    const struct layout *layout = layout_of(desc, i);
    if (layout->stride[axis] != layout->stride[axis + 1] * desc->dim[axis + 1]) return false;
  }
  return true;
}

static void drop_axis(struct strided_desc *desc, int64_t axis) {
  desc->rank--;
  for (int64_t a = axis; a < desc->rank; a++) desc->dim[a] = desc->dim[a + 1];
  desc->dim[desc->rank] = 0;
  for (int64_t i = 0; i <= desc->input_count; i++) {
    struct layout *layout = layout_at(desc, i);
    for (int64_t a = axis; a < desc->rank; a++) layout->stride[a] = layout->stride[a + 1];
    layout->stride[desc->rank] = 0;
  }
}

static void collapse(struct strided_desc *desc) {
  for (int64_t axis = desc->rank - 1; axis >= 0; axis--)
    if (desc->dim[axis] == 1 && desc->rank > 1) drop_axis(desc, axis);
  for (int64_t axis = desc->rank - 2; axis >= 0; axis--) {
    if (!joins(desc, axis)) continue;
    desc->dim[axis + 1] *= desc->dim[axis];
    drop_axis(desc, axis);
  }
  if (desc->rank == 0) {
    desc->rank = 1;
    desc->dim[0] = 1;
  }
}

int64_t strided_units(const struct strided_desc *desc) {
  struct strided_desc collapsed = *desc;
  collapse(&collapsed);
  return collapsed.rank > 1 ? collapsed.dim[0] : 1;
}

static struct operands advance(struct emit *e, const struct strided_desc *desc, const struct operands *from, emit_value index,
                               int64_t axis) {
  struct operands next = *from;
  for (int64_t i = 0; i <= desc->input_count; i++) {
    const struct layout *layout = layout_of(desc, i);
    int64_t stride = axis < 0 ? layout->image_stride : layout->stride[axis];
    if (stride == 0) continue;
    next.offset[i] = emit_add(e, next.offset[i], emit_mul(e, index, emit_i64(e, stride)));
  }
  return next;
}

static emit_value element_at(struct emit *e, const struct layout *layout, emit_value base, emit_value offset) {
  if (layout->is_bf16) return emit_bytes(e, base, emit_mul(e, offset, emit_i64(e, 2)));
  return layout->is_u8 ? emit_bytes(e, base, offset) : emit_at(e, base, offset);
}

static emit_value load_scalar(struct emit *e, const struct layout *layout, emit_value pointer) {
  if (layout->is_bf16) return emit_load_bf16_scalar(e, pointer);
  if (!layout->is_u8) return emit_load_f32(e, pointer);
  emit_value byte = LLVMBuildLoad2(e->builder, e->i8, pointer, "");
  return LLVMBuildUIToFP(e->builder, byte, e->f32, "");
}

static emit_value load_bytes(struct emit *e, emit_value pointer, int lanes) {
  emit_value bytes = LLVMGetUndef(LLVMVectorType(e->i8, (unsigned)e->level->lanes));
  if (lanes == e->level->lanes) {
    bytes = LLVMBuildLoad2(e->builder, LLVMTypeOf(bytes), pointer, "");
    LLVMSetAlignment(bytes, 1);
  } else {
    bytes = LLVMConstNull(LLVMTypeOf(bytes));
    for (int i = 0; i < lanes; i++) {
      emit_value byte = LLVMBuildLoad2(e->builder, e->i8, emit_bytes(e, pointer, emit_i64(e, i)), "");
      bytes = LLVMBuildInsertElement(e->builder, bytes, byte, emit_i32(e, i), "");
    }
  }
  return LLVMBuildUIToFP(e->builder, bytes, e->vector, "");
}

/* `lanes` 0: one element, repeated in all lanes. */
static emit_value load_operand(struct emit *e, const struct strided_desc *desc, const struct operands *at, int64_t i,
                               int lanes) {
  const struct layout *layout = layout_of(desc, i);
  emit_value pointer = element_at(e, layout, at->base[i], at->offset[i]);
  if (lanes == 0 || layout->stride[desc->rank - 1] == 0) return emit_splat(e, load_scalar(e, layout, pointer));
  if (layout->is_bf16) return emit_load_bf16(e, pointer);
  return layout->is_u8 ? load_bytes(e, pointer, lanes) : emit_load_vector(e, pointer, lanes);
}

static emit_value apply_stages(struct emit *e, const struct strided_desc *desc, const struct operands *at, int lanes) {
  emit_value x = load_operand(e, desc, at, 1, lanes);
  for (int64_t s = 0; s < desc->stage_count; s++) {
    const struct step_stage *from = &desc->stages[s];
    if (from->op == OP_pow) {
      x = emit_fmul(e, x, x);
      continue;
    }
    struct stage stage = {.op = from->op, .running = from->running, .approximate = from->approximate, .scalar = from->scalar};
    emit_value operand = NULL;
    if (!from->unary) {
      stage.kind = from->operand < 0 ? OPERAND_SCALAR : OPERAND_MATRIX;
      stage.scalar = from->scalar;
      operand =
          from->operand < 0 ? emit_splat_const(e, (double)from->scalar) : load_operand(e, desc, at, from->operand + 1, lanes);
    }
    x = emit_stage(e, &stage, x, operand);
  }
  return x;
}

static void element_group(struct emit *e, const struct strided_desc *desc, const struct operands *from, emit_value index,
                          int lanes) {
  struct operands at = advance(e, desc, from, index, desc->rank - 1);
  emit_value x = apply_stages(e, desc, &at, lanes);
  emit_value pointer = emit_at(e, at.base[0], at.offset[0]);
  if (lanes == 0)
    emit_store_f32(e, LLVMBuildExtractElement(e->builder, x, emit_i32(e, 0), ""), pointer);
  else
    emit_store_vector(e, x, pointer, lanes);
}

static bool runs_in_vectors(const struct strided_desc *desc) {
  int64_t last = desc->rank - 1;
  for (int64_t i = 0; i <= desc->input_count; i++) {
    int64_t stride = layout_of(desc, i)->stride[last];
    if (stride != 1 && (stride != 0 || i == 0)) return false;
  }
  return true;
}

static void last_axis(struct emit *e, const struct strided_desc *desc, const struct operands *from) {
  int64_t n = desc->dim[desc->rank - 1];
  int lanes = e->level->lanes;
  struct emit_loop loop;
  if (!runs_in_vectors(desc)) {
    emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, n), 1, NULL, 0, EMIT_NOT_EMPTY);
    element_group(e, desc, from, loop.index, 0);
    emit_loop_end(e, &loop, NULL);
    return;
  }
  int64_t whole = n / lanes * lanes;
  if (whole > 0) {
    emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, whole), lanes, NULL, 0, EMIT_NOT_EMPTY);
    element_group(e, desc, from, loop.index, lanes);
    emit_loop_end(e, &loop, NULL);
  }
  if (whole < n) element_group(e, desc, from, emit_i64(e, whole), (int)(n - whole));
}

static void nest(struct emit *e, const struct strided_desc *desc, const struct operands *from, int64_t axis) {
  if (axis == desc->rank - 1) {
    last_axis(e, desc, from);
    return;
  }
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, desc->dim[axis]), 1, NULL, 0, EMIT_NOT_EMPTY);
  struct operands at = advance(e, desc, from, loop.index, axis);
  nest(e, desc, &at, axis + 1);
  emit_loop_end(e, &loop, NULL);
}

static void strided_name(struct emit *e, const struct strided_desc *desc, char *name, size_t size) {
  int length = snprintf(name, size, desc->stage_count == 0 ? "copy" : "elementwise");
  for (int64_t s = 0; s < desc->stage_count && length < (int)size - 40; s++) {
    const struct stage stage = {.op = desc->stages[s].op, .kind = OPERAND_MATRIX};
    length +=
        snprintf(name + length, size - (size_t)length, "_%s", desc->stages[s].op == OP_pow ? "square" : stage_name(&stage));
  }
  snprintf(name + length, size - (size_t)length, "_f32_%s", e->level->name);
}

emit_value emit_strided(struct emit *e, const struct strided_desc *desc) {
  struct strided_desc collapsed = *desc;
  collapse(&collapsed);
  desc = &collapsed;
  emit_value known = kernel_find(e, "strided", desc, sizeof *desc);
  if (known != NULL) return known;
  char name[256];
  strided_name(e, desc, name, sizeof name);
  LLVMTypeRef parameters[] = {e->pointer, e->pointer, e->i64, e->i64, e->i64};
  emit_value function = emit_function_begin(e, name, e->void_type, parameters, 5);
  struct operands base;
  for (int64_t i = 0; i <= desc->input_count; i++) {
    base.offset[i] = emit_i64(e, 0);
    base.base[i] = emit_parameter(e, 0);
    if (i == 0) continue;
    emit_value slot = emit_bytes(e, emit_parameter(e, 1), emit_i64(e, (i - 1) * 8));
    base.base[i] = LLVMBuildLoad2(e->builder, e->pointer, slot, "");
  }
  bool split = desc->rank > 1;
  int64_t units = split ? desc->dim[0] : 1;
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_parameter(e, 3), emit_parameter(e, 4), 1, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_value image = LLVMBuildUDiv(e->builder, loop.index, emit_i64(e, units), "");
  struct operands at = advance(e, desc, &base, image, -1);
  if (split) {
    emit_value index = LLVMBuildURem(e->builder, loop.index, emit_i64(e, units), "");
    at = advance(e, desc, &at, index, 0);
  }
  nest(e, desc, &at, split ? 1 : 0);
  emit_loop_end(e, &loop, NULL);
  emit_function_end(e);
  kernel_add(e, "strided", desc, sizeof *desc, function);
  return function;
}
