#include "llvm/lower.h"

#include "llvm/generic.h"
#include "llvm/kernels.h"
#include "llvm/phase.h"
#include "ops/conv.h"
#include "ops/rotary_embedding.h"

#include <assert.h>
#include <string.h>

/* ---- calls of kernels */

/* The phase of a step while its arguments are gathered. */
struct call {
  struct phase_call phase;
  int64_t bytes[PHASE_POINTERS_MAX];
};

static struct call call_of(const struct step *step, emit_value kernel, int tasks) {
  struct call call;
  memset(&call, 0, sizeof call);
  call.phase.kernel = kernel;
  call.phase.tasks = tasks;
  call.phase.batched = step->batched;
  call.phase.array_count = PHASE_NO_ARRAY;
  return call;
}

/* Where kernels are made that depend on the level's vectors and `uses` only. */
static struct emit *kernel_emit(struct lowering *l, enum lowering_part part, unsigned uses) {
  return &l->emits[target_twin(l->level_mask, l->level, uses)][part];
}

static const struct target_level *level_of(const struct lowering *l) {
  return &target_levels[l->level];
}

/* Of a view's first element in its memory. Operand rows have the room of fp32, but their columns are where the level has them.
 */
static int64_t view_bytes(const struct target_level *level, const struct view *view) {
  int64_t size = (int64_t)dtype_size(view->dtype);
  if (view->operand == 0 || !level->dot_bf16) return view->offset * size;
  int64_t column = view->offset % view->operand;
  return (view->offset - column) * size + column * size / 2;
}

static void add_pointer(const struct lowering *l, struct call *call, const struct view *view) {
  const struct plan *plan = l->plan;
  int i = call->phase.pointer_count++;
  if (view == NULL) {
    call->phase.slots[i] = PHASE_NO_POINTER;
    return;
  }
  int64_t bytes = view_bytes(level_of(l), view);
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
  call->phase.slots[i] = slot;
  call->bytes[i] = bytes;
}

/* An array of the views' pointers. */
static void add_array(const struct lowering *l, struct call *call, const struct view *const *views, int count) {
  call->phase.array_begin = call->phase.pointer_count;
  call->phase.array_count = count;
  for (int i = 0; i < count; i++) add_pointer(l, call, views[i]);
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
  stage.rough = step->precision != PRECISION_FP32;
  stage.kind = from->unary ? OPERAND_NONE : OPERAND_SCALAR;
  stage.scalar = from->scalar;
  if (from->operand < 0) return stage;
  const struct view *view = &step->inputs[from->operand];
  int rank = view->shape.rank;
  bool column = view->image_stride == 0;
  for (int i = 0; i + 1 < rank; i++) column &= view->shape.dim[i] == 1 || view->stride[i] == 0;
  stage.kind = column ? OPERAND_COLUMN : OPERAND_MATRIX;
  stage.bf16 = view->dtype == DTYPE_BF16;
  if (column) return stage;
  int64_t rows, columns;
  matrix(view, &rows, &columns, &stage.row_stride);
  stage.image_stride = view->image_stride;
  return stage;
}

/* Descriptions are made from zeroed memory, so that those of equal members have equal bytes. */
static bool same_bytes(const void *a, const void *b, size_t size) {
  return memcmp(a, b, size) == 0;
}

/* With one image at a time strides from image to image don't matter, and those of a single row don't either: it goes through a
 * kernel that is there for more. */
static struct rows_desc rows_kernel(struct lowering *l, const struct rows_desc *desc) {
  struct rows_desc wanted;
  memcpy(&wanted, desc, sizeof wanted);
  if (l->plan->group > 1) return wanted;
  wanted.x_image_stride = wanted.y_image_stride = 0;
  for (int i = 0; i < l->rows_count; i++) {
    struct rows_desc same;
    memcpy(&same, &wanted, sizeof same);
    const struct rows_desc *other = &l->rows[i];
    if (wanted.rows == 1) {
      same.rows = other->rows;
      same.x_row_stride = other->x_row_stride;
      same.y_row_stride = other->y_row_stride;
    }
    if (same_bytes(&same, other, sizeof same)) return same;
  }
  if (l->rows_count < LOWERING_ROWS_MAX) memcpy(&l->rows[l->rows_count++], &wanted, sizeof wanted);
  return wanted;
}

/* The phase of a kernel of rows: those of `from` become those of `to`. */
static void rows_call(struct lowering *l, const struct step *step, const struct rows_desc *desc, const struct view *from,
                      const struct view *to, const struct view *const *operands) {
  const struct rows_desc kernel = rows_kernel(l, desc);
  unsigned uses = desc->to == PRECISION_INT8 ? TARGET_USES_DOT_INT8 : desc->to == PRECISION_BF16 ? TARGET_USES_DOT_BF16 : 0;
  if (desc->x_operand != 0) uses |= TARGET_USES_DOT_BF16;
  if (rows_use_tiles(desc)) uses |= TARGET_USES_TILES;
  struct emit *e = kernel_emit(l, PART_REST, uses);
  struct call call = call_of(step, emit_rows(e, &kernel), CONTEXT_THREADS);
  call.phase.units = desc->rows;
  add_pointer(l, &call, from);
  add_pointer(l, &call, to);
  add_array(l, &call, operands, 2);
  phase_add(l, e, &call.phase, call.bytes, rows_name(desc));
}

/* `from` as the rows that a product by `panels` reads at `to`: normalised, in its precision, or both. */
static void operand_phase(struct lowering *l, const struct step *step, const struct view *from, const struct view *to,
                          const struct packed *panels) {
  const struct node *norm = step->has_layer_norm ? step->node->prologue[0] : NULL;
  struct rows_desc desc;
  memset(&desc, 0, sizeof desc);
  desc.op = norm != NULL ? OP_layer_normalization : OP_identity;
  desc.to = step->precision;
  desc.x_operand = from->operand != 0 && level_of(l)->dot_bf16;
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
  const struct view *operands[] = {norm != NULL ? &step->inputs[2] : NULL, desc.has_bias ? &step->inputs[3] : NULL};
  rows_call(l, step, &desc, from, to, operands);
}

static unsigned gemm_uses(const struct gemm_desc *desc) {
  unsigned uses = desc->c_operand || desc->precision == PRECISION_BF16 ? TARGET_USES_DOT_BF16 : 0;
  if (desc->precision == PRECISION_INT8) uses |= TARGET_USES_DOT_INT8;
  return desc->precision != PRECISION_FP32 && desc->m > 1 ? uses | TARGET_USES_TILES : uses;
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
  assert(panels->precision == step->precision);
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
  struct emit *e = kernel_emit(l, PART_PRODUCTS, gemm_uses(&desc));
  struct call call = call_of(step, emit_gemm(e, &desc), CONTEXT_TASKS);
  call.phase.split = PHASE_TILES;
  call.phase.width = gemm_split_panels(e->level, &desc);
  call.phase.panels = (desc.n + 15) / 16;
  call.phase.row_tiles = desc.m == 1 ? 0 : gemm_row_tiles(e->level, &desc);
  add_pointer(l, &call, a);
  add_pointer(l, &call, &step->inputs[1]);
  add_pointer(l, &call, &step->out);
  add_array(l, &call, operands, step->stage_count);
  phase_add(l, e, &call.phase, call.bytes, "gemm");
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
  bool bf16 = target_arithmetic(level, step->precision) == ARITHMETIC_BF16;
  desc.precision = bf16 ? PRECISION_BF16 : PRECISION_FP32;
  desc.out_operand = bf16 && step->out.operand != 0;
  desc.q = attention_strides(&step->inputs[0], bf16);
  desc.k = attention_strides(&step->inputs[1], bf16);
  desc.v = attention_strides(&step->inputs[2], bf16);
  desc.out = attention_strides(&step->out, bf16);
  desc.has_mask = step->input_count > 3;
  if (desc.has_mask) desc.mask = attention_strides(&step->inputs[3], false);
  desc.mask_bf16 = desc.has_mask && step->inputs[3].dtype == DTYPE_BF16;
  desc.causal = node_int(step->node, "is_causal") != 0;
  desc.softcap = (float)node_float(step->node, "softcap");
  double scale = node_float(step->node, "scale");
  desc.scale = (float)(scale != 0 ? scale : 1.0 / __builtin_sqrt((double)desc.head_dim));
  return desc;
}

/* What packing the keys depends on: not on the queries. */
static struct attention_desc pack_desc(const struct lowering *l, const struct attention_desc *desc) {
  struct attention_desc keys;
  memset(&keys, 0, sizeof keys);
  keys.windows = desc->windows;
  keys.heads = keys.kv_heads = desc->kv_heads;
  keys.q_rows = keys.k_rows = desc->k_rows;
  keys.head_dim = desc->head_dim;
  keys.v_dim = desc->v_dim;
  keys.k = desc->k;
  keys.v = desc->v;
  keys.scale = 1;
  keys.precision = desc->precision;
  if (l->plan->group == 1) keys.k.image = keys.v.image = 0;
  return keys;
}

static void attention_phases(struct lowering *l, const struct step *step) {
  const struct view *q = &step->inputs[0], *k = &step->inputs[1], *v = &step->inputs[2];
  struct attention_desc desc = attention_desc(level_of(l), step);
  unsigned uses = desc.precision == PRECISION_BF16 ? TARGET_USES_DOT_BF16 : 0;
  struct emit *e = kernel_emit(l, PART_REST, uses);
  struct attention_desc keys = pack_desc(l, &desc);
  struct call pack = call_of(step, emit_attention_pack(e, &keys), CONTEXT_THREADS);
  pack.phase.units = desc.windows * desc.kv_heads;
  add_pointer(l, &pack, k);
  add_pointer(l, &pack, &step->scratch);
  add_pointer(l, &pack, v);
  phase_add(l, e, &pack.phase, pack.bytes, "attention_pack");
  e = kernel_emit(l, PART_REST, uses != 0 ? uses | TARGET_USES_TILES : 0);
  struct call run = call_of(step, emit_attention(e, &desc), CONTEXT_TASKS);
  run.phase.units = desc.windows * desc.heads * attention_row_tiles(e->level, &desc);
  add_pointer(l, &run, q);
  add_pointer(l, &run, &step->scratch);
  add_pointer(l, &run, v);
  add_pointer(l, &run, &step->out);
  if (desc.has_mask) add_pointer(l, &run, &step->inputs[3]);
  run.phase.last_pointer = desc.has_mask;
  phase_add(l, e, &run.phase, run.bytes, "attention");
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
  const struct view *operands[] = {step->input_count > 1 ? &step->inputs[1] : NULL, desc.has_bias ? &step->inputs[2] : NULL};
  rows_call(l, step, &desc, &step->inputs[0], &step->out, operands);
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
  struct emit *e = kernel_emit(l, PART_REST, 0);
  struct call call = call_of(step, emit_rotary(e, &desc), CONTEXT_THREADS);
  call.phase.units = desc.sequences * desc.tokens;
  const struct view *operands[] = {cos, sin};
  add_pointer(l, &call, x);
  add_pointer(l, &call, y);
  add_array(l, &call, operands, 2);
  phase_add(l, e, &call.phase, call.bytes, "rotary");
}

/* ---- generic steps */

static struct layout layout_of(const struct view *view) {
  struct layout layout;
  memset(&layout, 0, sizeof layout);
  for (int i = 0; i < view->shape.rank; i++) layout.stride[i] = view->stride[i];
  layout.image_stride = view->image_stride;
  layout.is_u8 = view->dtype == DTYPE_U8;
  layout.is_bf16 = view->dtype == DTYPE_BF16;
  return layout;
}

static void copy_dims(const struct shape *shape, int64_t *out_rank, int64_t *out_dims) {
  *out_rank = shape->rank;
  for (int i = 0; i < shape->rank; i++) out_dims[i] = shape->dim[i];
}

static void generic_phase(struct lowering *l, const struct step *step, const char *what, emit_value kernel, int64_t units) {
  struct call call = call_of(step, kernel, step->kind == STEP_STRIDED ? CONTEXT_THREADS : CONTEXT_TASKS);
  call.phase.units = units;
  const struct view *inputs[STEP_INPUTS_MAX];
  for (int i = 0; i < step->input_count; i++) inputs[i] = &step->inputs[i];
  add_pointer(l, &call, &step->out);
  add_array(l, &call, inputs, step->input_count);
  phase_add(l, kernel_emit(l, PART_REST, 0), &call.phase, call.bytes, what);
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
  generic_phase(l, step, "strided", emit_strided(kernel_emit(l, PART_REST, 0), &desc), strided_units(&desc));
}

static void matmul_phase(struct lowering *l, const struct step *step) {
  struct matmul_desc desc;
  memset(&desc, 0, sizeof desc);
  copy_dims(&step->out.shape, &desc.rank, desc.dim);
  desc.k = step->inputs[0].shape.dim[step->inputs[0].shape.rank - 1];
  desc.out = layout_of(&step->out);
  desc.a = layout_of(&step->inputs[0]);
  desc.b = layout_of(&step->inputs[1]);
  generic_phase(l, step, "matmul", emit_matmul(kernel_emit(l, PART_REST, 0), &desc), matmul_units(&desc));
}

static void reduce_phase(struct lowering *l, const struct step *step) {
  struct reduce_desc desc;
  memset(&desc, 0, sizeof desc);
  copy_dims(&step->inputs[0].shape, &desc.rank, desc.dim);
  desc.axes = (int64_t)step->axes;
  desc.out = layout_of(&step->out);
  desc.x = layout_of(&step->inputs[0]);
  generic_phase(l, step, "mean", emit_reduce_mean(kernel_emit(l, PART_REST, 0), &desc), 1);
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
  generic_phase(l, step, "conv", emit_conv(kernel_emit(l, PART_REST, 0), &desc), desc.out_height);
}

static void lower_steps(struct lowering *l) {
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

void lowering_init(struct lowering *l, lowering_modules modules, const struct plan *plan, unsigned level_mask, bool profile) {
  *l = (struct lowering){.plan = plan, .profile = profile, .level_mask = level_mask};
  l->rows = arena_array(plan->graph->arena, LOWERING_ROWS_MAX, sizeof *l->rows);
  for (int level = 0; level < LEVEL_COUNT; level++)
    for (int part = 0; part < LOWERING_PARTS && (level_mask >> level & 1) != 0; part++)
      emit_init(&l->emits[level][part], modules[level][part], &target_levels[level]);
}

void lowering_deinit(struct lowering *l) {
  for (int level = 0; level < LEVEL_COUNT; level++)
    for (int part = 0; part < LOWERING_PARTS && (l->level_mask >> level & 1) != 0; part++) {
      kernels_free(&l->emits[level][part]);
      emit_deinit(&l->emits[level][part]);
    }
}

emit_value lower_level(struct lowering *l, int level) {
  l->level = level;
  l->phase_count = l->phase_capacity = l->rows_count = 0;
  l->record_words = l->record_capacity = 0;
  lower_steps(l);
  return lower_forward(l);
}
