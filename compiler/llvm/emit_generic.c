/* Products of two computed values, means, and convolutions that are not a product. */
#include "llvm/generic.h"
#include "llvm/kernels.h"

#include <stdio.h>

static emit_value begin(struct emit *e, const char *kind) {
  char name[96];
  snprintf(name, sizeof name, "%s_f32_%s", kind, e->level->name);
  LLVMTypeRef parameters[] = {e->pointer, e->pointer, e->i64, e->i64, e->i64};
  return emit_function_begin(e, name, e->void_type, parameters, 5);
}

static emit_value input(struct emit *e, int index) {
  return LLVMBuildLoad2(e->builder, e->pointer, emit_bytes(e, emit_parameter(e, 1), emit_i64(e, index * 8)), "");
}

static emit_value times(struct emit *e, emit_value index, int64_t stride) {
  return emit_mul(e, index, emit_i64(e, stride));
}

/* index / n and index % n */
static emit_value divide(struct emit *e, emit_value *index, int64_t n) {
  emit_value rest = LLVMBuildURem(e->builder, *index, emit_i64(e, n), "");
  *index = LLVMBuildUDiv(e->builder, *index, emit_i64(e, n), "");
  return rest;
}

/* ---- matmul */

int64_t matmul_units(const struct matmul_desc *desc) {
  int64_t units = 1;
  for (int64_t i = 0; i + 1 < desc->rank; i++) units *= desc->dim[i];
  return units;
}

enum { COLUMN_VECTORS = 4 };

/* `vectors` vectors of row a times columns of b, the last one with `lanes` lanes. */
static void matmul_columns(struct emit *e, const struct matmul_desc *desc, emit_value a, emit_value b, emit_value out,
                           int vectors, int lanes) {
  int64_t full = e->level->lanes;
  emit_value zero[COLUMN_VECTORS], sum[COLUMN_VECTORS];
  for (int v = 0; v < vectors; v++) zero[v] = emit_splat_const(e, 0);
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, desc->k), 1, zero, vectors, EMIT_NOT_EMPTY);
  emit_value x = emit_splat(e, emit_load_f32(e, emit_at(e, a, times(e, loop.index, desc->a.stride[desc->rank - 1]))));
  emit_value row = emit_at(e, b, times(e, loop.index, desc->b.stride[desc->rank - 2]));
  for (int v = 0; v < vectors; v++) {
    int valid = v == vectors - 1 ? lanes : (int)full;
    sum[v] = emit_fma(e, x, emit_load_vector(e, emit_at_const(e, row, v * full), valid), loop.carried[v]);
  }
  emit_loop_end(e, &loop, sum);
  for (int v = 0; v < vectors; v++)
    emit_store_vector(e, loop.carried[v], emit_at_const(e, out, v * full), v == vectors - 1 ? lanes : (int)full);
}

static void matmul_row(struct emit *e, const struct matmul_desc *desc, emit_value a, emit_value b, emit_value out) {
  int64_t n = desc->dim[desc->rank - 1], lanes = e->level->lanes, block = COLUMN_VECTORS * lanes;
  int64_t whole = n / block * block;
  if (whole > 0) {
    struct emit_loop loop;
    emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, whole), block, NULL, 0, EMIT_NOT_EMPTY);
    matmul_columns(e, desc, a, emit_at(e, b, loop.index), emit_at(e, out, loop.index), COLUMN_VECTORS, (int)lanes);
    emit_loop_end(e, &loop, NULL);
  }
  int64_t rest = n - whole;
  if (rest > 0)
    matmul_columns(e, desc, a, emit_at_const(e, b, whole), emit_at_const(e, out, whole), (int)((rest + lanes - 1) / lanes),
                   (int)((rest - 1) % lanes + 1));
}

emit_value emit_matmul(struct emit *e, const struct matmul_desc *desc) {
  emit_value known = kernel_find(e, "matmul", desc, sizeof *desc);
  if (known != NULL) return known;
  emit_value function = begin(e, "matmul"), a = input(e, 0), b = input(e, 1), out = emit_parameter(e, 0);
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_parameter(e, 3), emit_parameter(e, 4), 1, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_value index = loop.index, pa = a, pb = b, po = out;
  for (int64_t axis = desc->rank - 2; axis >= -1; axis--) {
    emit_value i = axis < 0 ? index : divide(e, &index, desc->dim[axis]);
    pa = emit_at(e, pa, times(e, i, axis < 0 ? desc->a.image_stride : desc->a.stride[axis]));
    po = emit_at(e, po, times(e, i, axis < 0 ? desc->out.image_stride : desc->out.stride[axis]));
    if (axis != desc->rank - 2) pb = emit_at(e, pb, times(e, i, axis < 0 ? desc->b.image_stride : desc->b.stride[axis]));
  }
  matmul_row(e, desc, pa, pb, po);
  emit_loop_end(e, &loop, NULL);
  emit_function_end(e);
  kernel_add(e, "matmul", desc, sizeof *desc, function);
  return function;
}

/* ---- mean */

static emit_value sum_axes(struct emit *e, const struct reduce_desc *desc, emit_value x, emit_value sum, int64_t axis,
                           int lanes) {
  if (axis == desc->rank) {
    emit_value element = lanes > 0 ? emit_load_vector(e, x, lanes) : emit_load_f32(e, x);
    return emit_fadd(e, sum, element);
  }
  if ((desc->axes >> axis & 1) == 0) return sum_axes(e, desc, x, sum, axis + 1, lanes);
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, desc->dim[axis]), 1, &sum, 1, EMIT_NOT_EMPTY);
  emit_value next =
      sum_axes(e, desc, emit_at(e, x, times(e, loop.index, desc->x.stride[axis])), loop.carried[0], axis + 1, lanes);
  emit_loop_end(e, &loop, &next);
  return loop.carried[0];
}

static void mean_element(struct emit *e, const struct reduce_desc *desc, emit_value x, emit_value out, int lanes) {
  double count = 1;
  for (int64_t i = 0; i < desc->rank; i++)
    if ((desc->axes >> i & 1) != 0) count *= (double)desc->dim[i];
  emit_value zero = lanes > 0 ? emit_splat_const(e, 0) : emit_f32(e, 0);
  emit_value sum = sum_axes(e, desc, x, zero, 0, lanes);
  emit_value divisor = lanes > 0 ? emit_splat_const(e, count) : emit_f32(e, count);
  emit_value mean = emit_fdiv(e, sum, divisor);
  if (lanes > 0)
    emit_store_vector(e, mean, out, lanes);
  else
    emit_store_f32(e, mean, out);
}

static void mean_nest(struct emit *e, const struct reduce_desc *desc, emit_value x, emit_value out, int64_t axis) {
  int64_t last = desc->rank - 1;
  if (axis == desc->rank) {
    mean_element(e, desc, x, out, 0);
    return;
  }
  if ((desc->axes >> axis & 1) != 0) {
    mean_nest(e, desc, x, out, axis + 1);
    return;
  }
  struct emit_loop loop;
  int64_t lanes = axis == last && desc->x.stride[last] == 1 && desc->out.stride[last] == 1 ? e->level->lanes : 1;
  int64_t whole = desc->dim[axis] / lanes * lanes;
  if (whole > 0) {
    emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, whole), lanes, NULL, 0, EMIT_NOT_EMPTY);
    emit_value from = emit_at(e, x, times(e, loop.index, desc->x.stride[axis]));
    emit_value to = emit_at(e, out, times(e, loop.index, desc->out.stride[axis]));
    if (lanes > 1)
      mean_element(e, desc, from, to, (int)lanes);
    else
      mean_nest(e, desc, from, to, axis + 1);
    emit_loop_end(e, &loop, NULL);
  }
  if (whole < desc->dim[axis])
    mean_element(e, desc, emit_at_const(e, x, whole), emit_at_const(e, out, whole), (int)(desc->dim[axis] - whole));
}

emit_value emit_reduce_mean(struct emit *e, const struct reduce_desc *desc) {
  emit_value known = kernel_find(e, "mean", desc, sizeof *desc);
  if (known != NULL) return known;
  emit_value function = begin(e, "mean"), x = input(e, 0);
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_parameter(e, 3), emit_parameter(e, 4), 1, NULL, 0, EMIT_MAYBE_EMPTY);
  mean_nest(e, desc, emit_at(e, x, times(e, loop.index, desc->x.image_stride)),
            emit_at(e, emit_parameter(e, 0), times(e, loop.index, desc->out.image_stride)), 0);
  emit_loop_end(e, &loop, NULL);
  emit_function_end(e);
  kernel_add(e, "mean", desc, sizeof *desc, function);
  return function;
}

/* ---- convolution: for each output pixel, a vector of filters at a time */

struct conv_state {
  emit_value x, panel, y, column;
};

static emit_value inside(struct emit *e, emit_value position, int64_t size) {
  return LLVMBuildICmp(e->builder, LLVMIntULT, position, emit_i64(e, size), "");
}

/* One tap: zero outside of the image. The load is from a position inside in either case. */
static emit_value conv_tap(struct emit *e, const struct conv_desc *desc, const struct conv_state *s, emit_value channel,
                           emit_value ky, emit_value kx) {
  emit_value y =
      emit_sub(e, emit_add(e, times(e, s->y, desc->stride_y), times(e, ky, desc->dilation_y)), emit_i64(e, desc->pad_top));
  emit_value x = emit_sub(e, emit_add(e, times(e, s->column, desc->stride_x), times(e, kx, desc->dilation_x)),
                          emit_i64(e, desc->pad_left));
  emit_value valid = LLVMBuildAnd(e->builder, inside(e, y, desc->height), inside(e, x, desc->width), "");
  y = emit_max(e, emit_min(e, y, emit_i64(e, desc->height - 1)), emit_i64(e, 0));
  x = emit_max(e, emit_min(e, x, emit_i64(e, desc->width - 1)), emit_i64(e, 0));
  emit_value offset = emit_add(e, times(e, channel, desc->x.stride[1]),
                               emit_add(e, times(e, y, desc->x.stride[2]), times(e, x, desc->x.stride[3])));
  return emit_select(e, valid, emit_load_f32(e, emit_at(e, s->x, offset)), emit_f32(e, 0));
}

static emit_value conv_sum(struct emit *e, const struct conv_desc *desc, const struct conv_state *s, emit_value sum) {
  int64_t channels = desc->channels / desc->groups;
  struct emit_loop c, y, x;
  emit_loop_begin(e, &c, emit_i64(e, 0), emit_i64(e, channels), 1, &sum, 1, EMIT_NOT_EMPTY);
  emit_loop_begin(e, &y, emit_i64(e, 0), emit_i64(e, desc->kernel_height), 1, c.carried, 1, EMIT_NOT_EMPTY);
  emit_loop_begin(e, &x, emit_i64(e, 0), emit_i64(e, desc->kernel_width), 1, y.carried, 1, EMIT_NOT_EMPTY);
  emit_value k =
      emit_add(e, times(e, emit_add(e, times(e, c.index, desc->kernel_height), y.index), desc->kernel_width), x.index);
  emit_value weights = emit_load_vector(e, emit_at(e, s->panel, times(e, k, 16)), e->level->lanes);
  emit_value next = emit_fma(e, emit_splat(e, conv_tap(e, desc, s, c.index, y.index, x.index)), weights, x.carried[0]);
  emit_loop_end(e, &x, &next);
  emit_loop_end(e, &y, x.carried);
  emit_loop_end(e, &c, y.carried);
  return c.carried[0];
}

/* `count` filters from `filter` on, of one group. */
static void conv_filters(struct emit *e, const struct conv_desc *desc, const struct conv_state *s, emit_value bias,
                         emit_value out, emit_value filter, int count) {
  emit_value sum = emit_splat_const(e, 0);
  if (desc->has_bias) sum = emit_load_vector(e, emit_at(e, bias, filter), count);
  sum = conv_sum(e, desc, s, sum);
  emit_value at = emit_at(e, out, times(e, filter, desc->out.stride[1]));
  for (int i = 0; i < count; i++)
    emit_store_f32(e, LLVMBuildExtractElement(e->builder, sum, emit_i32(e, i), ""),
                   emit_at_const(e, at, i * desc->out.stride[1]));
}

static void conv_pixel(struct emit *e, const struct conv_desc *desc, const struct conv_state *at, emit_value weights,
                       emit_value bias, emit_value out) {
  int64_t n = desc->filters / desc->groups, channels = desc->channels / desc->groups, lanes = e->level->lanes;
  int64_t panel = pack_panel_stride(PRECISION_FP32, channels * desc->kernel_height * desc->kernel_width, 0),
          panels = (n + 15) / 16;
  struct emit_loop group, f;
  emit_loop_begin(e, &group, emit_i64(e, 0), emit_i64(e, desc->groups), 1, NULL, 0, EMIT_NOT_EMPTY);
  struct conv_state s = *at;
  s.x = emit_at(e, s.x, times(e, group.index, channels * desc->x.stride[1]));
  emit_value group_weights = emit_at(e, weights, times(e, group.index, panels * panel));
  emit_value first = times(e, group.index, n);
  int64_t whole = n / lanes * lanes;
  for (int part = 0; part < 2; part++) {
    if (part == 0 ? whole == 0 : whole == n) continue;
    emit_loop_begin(e, &f, emit_i64(e, part == 0 ? 0 : whole), emit_i64(e, part == 0 ? whole : n), lanes, NULL, 0,
                    EMIT_NOT_EMPTY);
    emit_value index = f.index, within = divide(e, &index, 16);
    s.panel = emit_at(e, group_weights, emit_add(e, times(e, index, panel), within));
    conv_filters(e, desc, &s, bias, out, emit_add(e, first, f.index), part == 0 ? (int)lanes : (int)(n - whole));
    emit_loop_end(e, &f, NULL);
  }
  emit_loop_end(e, &group, NULL);
}

emit_value emit_conv(struct emit *e, const struct conv_desc *desc) {
  emit_value known = kernel_find(e, "conv", desc, sizeof *desc);
  if (known != NULL) return known;
  emit_value function = begin(e, "conv"), x = input(e, 0), weights = input(e, 1);
  emit_value bias = desc->has_bias ? input(e, 2) : NULL;
  struct emit_loop loop, column;
  emit_loop_begin(e, &loop, emit_parameter(e, 3), emit_parameter(e, 4), 1, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_value image = loop.index, row = divide(e, &image, desc->out_height);
  emit_value out = emit_at(e, emit_parameter(e, 0),
                           emit_add(e, times(e, image, desc->out.image_stride), times(e, row, desc->out.stride[2])));
  emit_loop_begin(e, &column, emit_i64(e, 0), emit_i64(e, desc->out_width), 1, NULL, 0, EMIT_NOT_EMPTY);
  struct conv_state state = {.x = emit_at(e, x, times(e, image, desc->x.image_stride)), .y = row, .column = column.index};
  conv_pixel(e, desc, &state, weights, bias, emit_at(e, out, times(e, column.index, desc->out.stride[3])));
  emit_loop_end(e, &column, NULL);
  emit_loop_end(e, &loop, NULL);
  emit_function_end(e);
  kernel_add(e, "conv", desc, sizeof *desc, function);
  return function;
}
