#include "llvm/lower.h"

#include "llvm/generic.h"
#include "llvm/kernels.h"
#include "llvm/split.h"
#include "ops/conv.h"
#include "ops/rotary_embedding.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- a phase: its function, the range of units of this task */

struct phase {
  struct lowering *l;
  struct emit *e;
  const struct step *step;
  emit_value context, index, threads, images;
  bool is_long; /* more tasks than threads */
};

static struct phase phase_begin(struct lowering *l, const struct step *step, const char *what, int tasks) {
  struct emit *e = l->emit;
  char name[128];
  snprintf(name, sizeof name, "phase%d_%s_%s", l->phase_count, what, e->level->name);
  LLVMTypeRef parameters[] = {e->pointer, e->i32};
  emit_value function = emit_function_begin(e, name, e->void_type, parameters, 2);
  if (l->phase_count == l->phase_capacity) {
    l->phase_capacity = l->phase_capacity * 2 + 64;
    struct phase_entry *phases = arena_array(l->plan->graph->arena, (size_t)l->phase_capacity, sizeof *phases);
    if (l->phase_count > 0) memcpy(phases, l->phases, (size_t)l->phase_count * sizeof *phases);
    l->phases = phases;
  }
  l->phases[l->phase_count++] = (struct phase_entry){function, tasks};
  struct phase phase = {.l = l, .e = e, .step = step, .context = emit_parameter(e, 0)};
  phase.index = LLVMBuildZExt(e->builder, emit_parameter(e, 1), e->i64, "");
  phase.threads = context_load(e, phase.context, CONTEXT_THREADS);
  phase.is_long = tasks == CONTEXT_TASKS;
  phase.images = step->batched ? context_load(e, phase.context, CONTEXT_IMAGES) : emit_i64(e, 1);
  return phase;
}

static void phase_end(struct phase *phase) {
  emit_function_end(phase->e);
}

/* This task's part [begin, end) of `units`. */
static void split(struct phase *phase, emit_value units, emit_value *out_begin, emit_value *out_end) {
  if (phase->is_long)
    split_shrinking(phase->e, units, phase->index, phase->threads, out_begin, out_end);
  else
    split_evenly(phase->e, units, phase->index, phase->threads, out_begin, out_end);
}

static void split_per_image(struct phase *phase, int64_t units, emit_value *out_begin, emit_value *out_end) {
  split(phase, emit_mul(phase->e, phase->images, emit_i64(phase->e, units)), out_begin, out_end);
}

/* Of a view's first element in its memory. Operand rows have the room of fp32, but their columns are where the level has them.
 */
static int64_t view_bytes(const struct target_level *level, const struct view *view) {
  int64_t size = (int64_t)dtype_size(view->dtype);
  if (view->operand == 0 || !level->dot_bf16) return view->offset * size;
  int64_t column = view->offset % view->operand;
  return (view->offset - column) * size + column * size / 2;
}

static emit_value view_pointer(struct phase *phase, const struct view *view) {
  struct emit *e = phase->e;
  const struct plan *plan = phase->l->plan;
  int64_t bytes = view_bytes(phase->e->level, view);
  int slot = CONTEXT_ARENA;
  switch (view->memory) {
  case MEMORY_ARENA:
    bytes += plan->buffers[view->index].offset;
    break;
  case MEMORY_WEIGHTS:
    slot = CONTEXT_WEIGHTS;
    bytes += plan->packed[view->index].offset;
    break;
  case MEMORY_INPUT:
    slot = CONTEXT_TENSORS + view->index;
    break;
  case MEMORY_OUTPUT:
    slot = CONTEXT_TENSORS + plan->graph->input_count + view->index;
    break;
  case MEMORY_NONE:
    assert(false && "a view without memory");
  }
  return emit_bytes(e, context_load_pointer(e, phase->context, slot), emit_i64(e, bytes));
}

/* An array of the views' pointers on the stack. */
static emit_value pointer_array(struct phase *phase, const struct view *const *views, int count) {
  struct emit *e = phase->e;
  emit_value array = emit_stack(e, count > 0 ? count * 8 : 8);
  for (int i = 0; i < count; i++) {
    if (views[i] == NULL) continue;
    LLVMBuildStore(e->builder, view_pointer(phase, views[i]), emit_bytes(e, array, emit_i64(e, i * 8)));
  }
  return array;
}

/* ---- kernels' descriptions */

static void matrix(const struct view *view, int64_t *out_rows, int64_t *out_columns, int64_t *out_row_stride) {
  bool is_matrix = view_matrix(view, out_rows, out_columns, out_row_stride);
  assert(is_matrix);
  (void)is_matrix;
}

static struct stage gemm_stage(const struct step *step, const struct step_stage *from) {
  struct stage stage;
  memset(&stage, 0, sizeof stage);
  stage.op = from->op;
  stage.running = from->running;
  stage.approximate = from->approximate;
  stage.kind = from->unary ? OPERAND_NONE : OPERAND_SCALAR;
  stage.scalar = from->scalar;
  if (from->operand < 0) return stage;
  const struct view *view = &step->inputs[from->operand];
  int rank = view->shape.rank;
  bool column = view->image_stride == 0;
  for (int i = 0; i + 1 < rank; i++) column &= view->shape.dim[i] == 1 || view->stride[i] == 0;
  stage.kind = column ? OPERAND_COLUMN : OPERAND_MATRIX;
  if (column) return stage;
  int64_t rows, columns;
  matrix(view, &rows, &columns, &stage.row_stride);
  stage.image_stride = view->image_stride;
  return stage;
}

/* `from` as the rows that a product by `panels` reads at `to`: normalised, in its precision, or both. */
static void operand_phase(struct lowering *l, const struct step *step, const struct view *from, const struct view *to,
                          const struct packed *panels) {
  const struct node *norm = step->has_layer_norm ? step->node->prologue[0] : NULL;
  struct rows_desc desc;
  memset(&desc, 0, sizeof desc);
  desc.op = norm != NULL ? OP_layer_normalization : OP_identity;
  desc.to = step->precision;
  desc.group = panels != NULL ? panels->group : 0;
  desc.hadamard = panels != NULL && panels->hadamard ? pack_hadamard(panels->k) : 0;
  matrix(to, &desc.rows, &desc.columns, &desc.y_row_stride);
  matrix(from, &desc.rows, &desc.columns, &desc.x_row_stride);
  desc.x_image_stride = from->image_stride;
  desc.y_image_stride = to->image_stride;
  if (norm != NULL) {
    desc.epsilon = (float)node_float(norm, "epsilon");
    desc.has_bias = norm->input_count > 2 && norm->inputs[2] != NULL;
  }
  emit_value kernel = emit_rows(l->emit, &desc), begin, end;
  struct phase phase = phase_begin(l, step, rows_name(&desc), CONTEXT_THREADS);
  const struct view *operands[] = {norm != NULL ? &step->inputs[2] : NULL, desc.has_bias ? &step->inputs[3] : NULL};
  split_per_image(&phase, desc.rows, &begin, &end);
  emit_value arguments[] = {
      view_pointer(&phase, from), view_pointer(&phase, to), pointer_array(&phase, operands, 2), phase.images, begin, end};
  emit_call(l->emit, kernel, arguments, 6);
  phase_end(&phase);
}

struct gemm_call {
  emit_value kernel, arguments[9];
  emit_value tiles;      /* row tiles of all images */
  int64_t width, panels; /* of a tile, of B */
};

/* Columns of tiles [begin, end), and of each the row tiles [tile, tile_end); nothing when the range of columns is empty. */
static void gemm_part(struct phase *phase, struct gemm_call *call, emit_value begin, emit_value end, emit_value tile,
                      emit_value tile_end) {
  struct emit *e = phase->e;
  struct emit_if some;
  emit_if_begin(e, &some, LLVMBuildICmp(e->builder, LLVMIntSLT, begin, end, ""));
  emit_value width = emit_i64(e, call->width);
  call->arguments[5] = emit_mul(e, begin, width);
  call->arguments[6] = emit_min(e, emit_mul(e, end, width), emit_i64(e, call->panels));
  call->arguments[7] = tile;
  call->arguments[8] = tile_end;
  emit_call(e, call->kernel, call->arguments, 9);
  emit_if_end(e, &some);
}

/* This task's tiles, counted down the columns: the end of a column, whole columns, the beginning of one. However many tasks
 * there are, they differ by one tile at most. */
static void gemm_calls(struct phase *phase, struct gemm_call *call) {
  struct emit *e = phase->e;
  emit_value columns = emit_i64(e, (call->panels + call->width - 1) / call->width), zero = emit_i64(e, 0), begin, end;
  split(phase, emit_mul(e, columns, call->tiles), &begin, &end);
  emit_value column = LLVMBuildUDiv(e->builder, begin, call->tiles, ""),
             tile = LLVMBuildURem(e->builder, begin, call->tiles, "");
  emit_value last = LLVMBuildUDiv(e->builder, end, call->tiles, ""),
             last_tile = LLVMBuildURem(e->builder, end, call->tiles, "");
  emit_value one_column = LLVMBuildICmp(e->builder, LLVMIntEQ, column, last, "");
  emit_value cut = LLVMBuildOr(e->builder, one_column, LLVMBuildICmp(e->builder, LLVMIntNE, tile, zero, ""), "");
  emit_value some = LLVMBuildAnd(e->builder, cut, LLVMBuildICmp(e->builder, LLVMIntSLT, begin, end, ""), "");
  emit_value next = emit_add(e, column, LLVMBuildZExt(e->builder, cut, e->i64, ""));
  emit_value first_end = emit_add(e, column, LLVMBuildZExt(e->builder, some, e->i64, ""));
  gemm_part(phase, call, column, first_end, tile, emit_select(e, one_column, last_tile, call->tiles));
  gemm_part(phase, call, next, last, zero, call->tiles);
  emit_value tail = LLVMBuildAnd(e->builder, LLVMBuildNot(e->builder, one_column, ""),
                                 LLVMBuildICmp(e->builder, LLVMIntNE, last_tile, zero, ""), "");
  gemm_part(phase, call, last, emit_add(e, last, LLVMBuildZExt(e->builder, tail, e->i64, "")), zero, last_tile);
}

static void gemm_phase(struct lowering *l, const struct step *step) {
  const struct packed *panels = &l->plan->packed[step->inputs[1].index];
  const struct view *a = step->scratch.memory != MEMORY_NONE ? &step->scratch : &step->inputs[0];
  if (a == &step->scratch) operand_phase(l, step, &step->inputs[0], a, panels);
  struct gemm_desc desc;
  memset(&desc, 0, sizeof desc);
  desc.precision = panels->precision;
  desc.group = panels->group;
  desc.images_max = l->plan->group;
  desc.c_operand = step->out.operand != 0;
  matrix(a, &desc.m, &desc.k, &desc.a_row_stride);
  matrix(&step->out, &desc.m, &desc.n, &desc.c_row_stride);
  assert(desc.k == pack_padded_k(panels->precision, panels->k) && desc.n == panels->n);
  desc.k = panels->k;
  desc.a_image_stride = a->image_stride;
  desc.c_image_stride = step->out.image_stride;
  const struct view *operands[STEP_STAGES_MAX] = {0};
  desc.stage_count = step->stage_count;
  for (int i = 0; i < step->stage_count; i++) {
    desc.stages[i] = gemm_stage(step, &step->stages[i]);
    if (step->stages[i].operand >= 0) operands[i] = &step->inputs[step->stages[i].operand];
  }
  struct gemm_call call = {.kernel = emit_gemm(l->emit, &desc)};
  struct phase phase = phase_begin(l, step, "gemm", CONTEXT_TASKS);
  struct emit *e = phase.e;
  call.arguments[0] = view_pointer(&phase, a);
  call.arguments[1] = view_pointer(&phase, &step->inputs[1]);
  call.arguments[2] = view_pointer(&phase, &step->out);
  call.arguments[3] = pointer_array(&phase, operands, step->stage_count);
  call.arguments[4] = phase.images;
  call.width = gemm_split_panels(e->level, &desc);
  call.panels = (desc.n + 15) / 16;
  emit_value tiles = emit_i64(e, gemm_row_tiles(e->level, &desc));
  call.tiles = desc.m == 1 ? emit_i64(e, 1) : emit_mul(e, phase.images, tiles);
  gemm_calls(&phase, &call);
  phase_end(&phase);
}

/* Of (windows, heads, rows, width), in words. */
static struct attention_strides attention_strides(const struct view *view, bool bf16) {
  const int64_t *stride = view->stride;
  int64_t head = bf16 && stride[1] < view->operand ? stride[1] / 2 : stride[1];
  return (struct attention_strides){view->image_stride, stride[0], head, stride[2]};
}

static struct attention_desc attention_desc(const struct target_level *level, const struct step *step) {
  const struct shape *q = &step->inputs[0].shape, *k = &step->inputs[1].shape, *v = &step->inputs[2].shape;
  struct attention_desc desc;
  memset(&desc, 0, sizeof desc);
  desc.windows = k->dim[0];
  desc.heads = q->dim[1];
  desc.kv_heads = k->dim[1];
  desc.q_rows = q->dim[2];
  desc.k_rows = k->dim[2];
  desc.head_dim = q->dim[3];
  desc.v_dim = v->dim[3];
  bool bf16 = step->precision == PRECISION_BF16 && level->dot_bf16;
  desc.precision = bf16 ? PRECISION_BF16 : PRECISION_FP32;
  desc.out_operand = bf16 && step->out.operand != 0;
  desc.q = attention_strides(&step->inputs[0], bf16);
  desc.k = attention_strides(&step->inputs[1], bf16);
  desc.v = attention_strides(&step->inputs[2], bf16);
  desc.out = attention_strides(&step->out, bf16);
  desc.has_mask = step->input_count > 3;
  if (desc.has_mask) desc.mask = attention_strides(&step->inputs[3], false);
  desc.causal = node_int(step->node, "is_causal") != 0;
  desc.softcap = (float)node_float(step->node, "softcap");
  double scale = node_float(step->node, "scale");
  desc.scale = (float)(scale != 0 ? scale : 1.0 / __builtin_sqrt((double)desc.head_dim));
  return desc;
}

static void attention_phases(struct lowering *l, const struct step *step) {
  const struct view *q = &step->inputs[0], *k = &step->inputs[1], *v = &step->inputs[2];
  struct attention_desc desc = attention_desc(l->emit->level, step);
  emit_value pack = emit_attention_pack(l->emit, &desc), run = emit_attention(l->emit, &desc), begin, end;
  struct phase phase = phase_begin(l, step, "attention_pack", CONTEXT_THREADS);
  split_per_image(&phase, desc.windows * desc.kv_heads, &begin, &end);
  emit_value pack_arguments[] = {
      view_pointer(&phase, k), view_pointer(&phase, &step->scratch), view_pointer(&phase, v), phase.images, begin, end};
  emit_call(l->emit, pack, pack_arguments, 6);
  phase_end(&phase);
  phase = phase_begin(l, step, "attention", CONTEXT_TASKS);
  split_per_image(&phase, desc.windows * desc.heads * attention_row_tiles(l->emit->level, &desc), &begin, &end);
  emit_value run_arguments[] = {view_pointer(&phase, q),
                                view_pointer(&phase, &step->scratch),
                                view_pointer(&phase, v),
                                view_pointer(&phase, &step->out),
                                phase.images,
                                begin,
                                end,
                                desc.has_mask ? view_pointer(&phase, &step->inputs[3]) : NULL};
  emit_call(l->emit, run, run_arguments, desc.has_mask ? 8 : 7);
  phase_end(&phase);
}

static void rows_phase(struct lowering *l, const struct step *step) {
  struct rows_desc desc;
  memset(&desc, 0, sizeof desc);
  desc.op = step->node->op;
  matrix(&step->inputs[0], &desc.rows, &desc.columns, &desc.x_row_stride);
  matrix(&step->out, &desc.rows, &desc.columns, &desc.y_row_stride);
  desc.x_image_stride = step->inputs[0].image_stride;
  desc.y_image_stride = step->out.image_stride;
  if (desc.op == OP_layer_normalization) desc.epsilon = (float)node_float(step->node, "epsilon");
  desc.has_bias = step->input_count > 2;
  emit_value kernel = emit_rows(l->emit, &desc), begin, end;
  struct phase phase = phase_begin(l, step, desc.op == OP_softmax ? "softmax" : "layer_norm", CONTEXT_THREADS);
  const struct view *operands[] = {step->input_count > 1 ? &step->inputs[1] : NULL, desc.has_bias ? &step->inputs[2] : NULL};
  split_per_image(&phase, desc.rows, &begin, &end);
  emit_value arguments[] = {view_pointer(&phase, &step->inputs[0]),
                            view_pointer(&phase, &step->out),
                            pointer_array(&phase, operands, 2),
                            phase.images,
                            begin,
                            end};
  emit_call(l->emit, kernel, arguments, 6);
  phase_end(&phase);
}

static void rotary_phase(struct lowering *l, const struct step *step) {
  struct rotary rotary = rotary_extents(step->node);
  const struct view *x = &step->inputs[0], *y = &step->out, *cos = &step->inputs[1], *sin = &step->inputs[2];
  struct rotary_desc desc;
  memset(&desc, 0, sizeof desc);
  desc.sequences = rotary.batch;
  desc.tokens = rotary.tokens;
  desc.heads = rotary.heads;
  desc.width = rotary.width;
  desc.rotated = rotary.rotated;
  desc.interleaved = rotary.interleaved;
  desc.copies = x->memory != y->memory || x->index != y->index || x->offset != y->offset;
  memcpy(desc.x_stride, x->stride, sizeof desc.x_stride);
  memcpy(desc.y_stride, y->stride, sizeof desc.y_stride);
  memcpy(desc.cos_stride, cos->stride, sizeof desc.cos_stride);
  memcpy(desc.sin_stride, sin->stride, sizeof desc.sin_stride);
  desc.x_image_stride = x->image_stride;
  desc.y_image_stride = y->image_stride;
  desc.cos_image_stride = cos->image_stride;
  desc.sin_image_stride = sin->image_stride;
  emit_value kernel = emit_rotary(l->emit, &desc), begin, end;
  struct phase phase = phase_begin(l, step, "rotary", CONTEXT_THREADS);
  const struct view *operands[] = {cos, sin};
  split_per_image(&phase, desc.sequences * desc.tokens, &begin, &end);
  emit_value arguments[] = {
      view_pointer(&phase, x), view_pointer(&phase, y), pointer_array(&phase, operands, 2), phase.images, begin, end};
  emit_call(l->emit, kernel, arguments, 6);
  phase_end(&phase);
}

/* ---- generic steps */

static struct layout layout_of(const struct view *view) {
  struct layout layout;
  memset(&layout, 0, sizeof layout);
  for (int i = 0; i < view->shape.rank; i++) layout.stride[i] = view->stride[i];
  layout.image_stride = view->image_stride;
  layout.is_u8 = view->dtype == DTYPE_U8;
  return layout;
}

static void copy_dims(const struct shape *shape, int64_t *out_rank, int64_t *out_dims) {
  *out_rank = shape->rank;
  for (int i = 0; i < shape->rank; i++) out_dims[i] = shape->dim[i];
}

static void generic_phase(struct lowering *l, const struct step *step, const char *what, emit_value kernel, int64_t units) {
  struct phase phase = phase_begin(l, step, what, step->kind == STEP_STRIDED ? CONTEXT_THREADS : CONTEXT_TASKS);
  emit_value begin, end;
  split_per_image(&phase, units, &begin, &end);
  const struct view *inputs[STEP_INPUTS_MAX];
  for (int i = 0; i < step->input_count; i++) inputs[i] = &step->inputs[i];
  emit_value arguments[] = {view_pointer(&phase, &step->out), pointer_array(&phase, inputs, step->input_count), phase.images,
                            begin, end};
  emit_call(phase.e, kernel, arguments, 5);
  phase_end(&phase);
}

static void strided_phase(struct lowering *l, const struct step *step) {
  struct strided_desc desc;
  memset(&desc, 0, sizeof desc);
  copy_dims(&step->out.shape, &desc.rank, desc.dim);
  desc.out = layout_of(&step->out);
  desc.input_count = step->input_count;
  for (int i = 0; i < step->input_count; i++) desc.inputs[i] = layout_of(&step->inputs[i]);
  desc.stage_count = step->stage_count;
  for (int i = 0; i < step->stage_count; i++) {
    const struct step_stage *from = &step->stages[i];
    struct step_stage *stage = &desc.stages[i];
    stage->op = from->op;
    stage->running = from->running;
    stage->approximate = from->approximate;
    stage->operand = from->operand;
    stage->unary = from->unary;
    stage->scalar = from->scalar;
  }
  generic_phase(l, step, "strided", emit_strided(l->emit, &desc), strided_units(&desc));
}

static void matmul_phase(struct lowering *l, const struct step *step) {
  struct matmul_desc desc;
  memset(&desc, 0, sizeof desc);
  copy_dims(&step->out.shape, &desc.rank, desc.dim);
  desc.k = step->inputs[0].shape.dim[step->inputs[0].shape.rank - 1];
  desc.out = layout_of(&step->out);
  desc.a = layout_of(&step->inputs[0]);
  desc.b = layout_of(&step->inputs[1]);
  generic_phase(l, step, "matmul", emit_matmul(l->emit, &desc), matmul_units(&desc));
}

static void reduce_phase(struct lowering *l, const struct step *step) {
  struct reduce_desc desc;
  memset(&desc, 0, sizeof desc);
  copy_dims(&step->inputs[0].shape, &desc.rank, desc.dim);
  desc.axes = (int64_t)step->axes;
  desc.out = layout_of(&step->out);
  desc.x = layout_of(&step->inputs[0]);
  generic_phase(l, step, "mean", emit_reduce_mean(l->emit, &desc), 1);
}

static void conv_phase(struct lowering *l, const struct step *step) {
  const struct node *node = step->node;
  const struct shape *x = &step->inputs[0].shape, *y = &step->out.shape;
  struct conv_desc desc;
  memset(&desc, 0, sizeof desc);
  struct window window = conv_window_of(node);
  desc.groups = window.group;
  desc.channels = x->dim[1];
  desc.height = x->dim[2];
  desc.width = x->dim[3];
  desc.filters = y->dim[1];
  desc.out_height = y->dim[2];
  desc.out_width = y->dim[3];
  desc.kernel_height = window.kernel[0];
  desc.kernel_width = window.kernel[1];
  desc.stride_y = window.stride[0];
  desc.stride_x = window.stride[1];
  desc.dilation_y = window.dilation[0];
  desc.dilation_x = window.dilation[1];
  desc.pad_top = window.pad_begin[0];
  desc.pad_left = window.pad_begin[1];
  desc.has_bias = step->input_count > 2;
  desc.out = layout_of(&step->out);
  desc.x = layout_of(&step->inputs[0]);
  generic_phase(l, step, "conv", emit_conv(l->emit, &desc), desc.out_height);
}

void lower_steps(struct lowering *l) {
  for (int i = 0; i < l->plan->step_count; i++) {
    const struct step *step = &l->plan->steps[i];
    switch (step->kind) {
    case STEP_GEMM:
      gemm_phase(l, step);
      break;
    case STEP_CONVERT:
      operand_phase(l, step, &step->inputs[0], &step->out, NULL);
      break;
    case STEP_ATTENTION:
      attention_phases(l, step);
      break;
    case STEP_ROWS:
      rows_phase(l, step);
      break;
    case STEP_ROTARY:
      rotary_phase(l, step);
      break;
    case STEP_STRIDED:
      strided_phase(l, step);
      break;
    case STEP_MATMUL:
      matmul_phase(l, step);
      break;
    case STEP_REDUCE:
      reduce_phase(l, step);
      break;
    case STEP_CONV:
      conv_phase(l, step);
      break;
    }
  }
}
