/* Where each computed value goes. In order of preference: into the Concat that joins it, into the caller's output, over the
 * operand that dies here, into a buffer of its own. */
#include "ops/eval.h"
#include "plan/planner.h"
#include "plan/view.h"

#include <assert.h>
#include <math.h>

struct view place_of(struct planner *p, const struct value *value) {
  if (value->data != NULL) {
    struct view view = {.memory = MEMORY_WEIGHTS, .shape = value->shape, .dtype = DTYPE_F32};
    view.index = pack_constant(p, value);
    view_dense(&view);
    view.image_stride = 0;
    return view;
  }
  assert(p->plan->views[value->id].memory != MEMORY_NONE);
  return p->plan->views[value->id];
}

/* Position tables, one row a token, and attention's biases, one a query: they are added to what products in low precision give,
 * and next to weights in low precision they are large. Tables with numbers that bf16 would make infinite stay as they are. */
static bool is_table(const struct planner *p, const struct value *value) {
  enum { LEAST = 1024 };
  if (p->plan->precision == PRECISION_FP32 || value->data == NULL) return false;
  if (value->dtype != DTYPE_F32 && value->dtype != DTYPE_F16 && value->dtype != DTYPE_BF16) return false;
  int64_t elements = shape_elements(&value->shape), axes = 0;
  for (int i = 0; i < value->shape.rank; i++) axes += value->shape.dim[i] > 1;
  if (axes < 2 || elements < LEAST) return false;
  for (int64_t i = 0; i < elements; i++) {
    double element = fabs(element_load(value->dtype, value->data, i));
    if (!(element <= PACK_BF16_MAX) && !isinf(element)) return false;
  }
  return true;
}

struct view place_operand(struct planner *p, const struct value *value) {
  if (!is_table(p, value)) return place_of(p, value);
  struct view view = {.memory = MEMORY_WEIGHTS, .shape = value->shape, .dtype = DTYPE_BF16};
  view.index = pack_table(p, value);
  view_dense(&view);
  view.image_stride = 0;
  return view;
}

static void set_view(struct planner *p, const struct value *value, const struct view *view) {
  p->plan->views[value->id] = *view;
  if (view->memory == MEMORY_ARENA) live_extend(p, view->index, p->last_use[value->id]);
}

bool place_dies_here(const struct planner *p, const struct view *view) {
  return view->memory == MEMORY_ARENA && p->plan->buffers[view->index].last <= p->node_index;
}

/* Rows of an odd number of cache lines spread over all sets of the L1 cache. */
static int64_t padded_row(int64_t columns) {
  int64_t lines = (columns + 15) / 16;
  return columns < 64 ? columns : (lines % 2 == 0 ? lines + 1 : lines) * 16;
}

static int64_t row_of(const struct planner *p, const struct value *value) {
  int rank = value->shape.rank;
  int64_t columns = value->shape.dim[rank - 1];
  return rank > 3 || p->reshaped[value->id] ? columns : padded_row(columns);
}

static struct view own_buffer(struct planner *p, const char *name, struct view view, bool batched) {
  int64_t bytes = view.image_stride * (int64_t)dtype_size(view.dtype);
  view.memory = MEMORY_ARENA;
  view.index = live_add_buffer(p, name, bytes, batched);
  if (!batched) view.image_stride = 0;
  return view;
}

struct view place_temporary(struct planner *p, const char *name, const struct shape *shape, bool batched) {
  struct view view = {.shape = *shape, .dtype = DTYPE_F32};
  view_dense(&view);
  return own_buffer(p, name, view, batched);
}

struct view place_temporary_rows(struct planner *p, const char *name, const struct shape *shape, bool batched) {
  struct view view = {.shape = *shape, .dtype = DTYPE_F32};
  view_padded(&view, padded_row(shape->dim[shape->rank - 1]));
  return own_buffer(p, name, view, batched);
}

static struct view embedded_view(struct planner *p, const struct value *value);

static struct view fresh_view(struct planner *p, const struct value *value) {
  if (p->embeddings[value->id].concat != NULL) return embedded_view(p, value);
  struct view view = {.shape = value->shape, .dtype = value->dtype};
  for (int i = 0; i < p->graph->output_count; i++) {
    if (p->graph->outputs[i] != value || !value->batched) continue;
    view.memory = MEMORY_OUTPUT;
    view.index = i;
    view_dense(&view);
    return view;
  }
  if (value->shape.rank == 0)
    view_dense(&view);
  else
    view_padded(&view, row_of(p, value));
  return own_buffer(p, value->name, view, value->batched);
}

static struct view embedded_view(struct planner *p, const struct value *value) {
  const struct embedding *embedding = &p->embeddings[value->id];
  const struct value *result = embedding->concat->outputs[0];
  if (p->plan->views[result->id].memory == MEMORY_NONE) {
    struct view view = fresh_view(p, result);
    set_view(p, result, &view);
  }
  int axis = (int)node_int(embedding->concat, "axis");
  if (axis < 0) axis += result->shape.rank;
  return view_slice(&p->plan->views[result->id], axis, embedding->start, 1, value->shape.dim[axis]);
}

enum status place_value(struct planner *p, const struct value *value, const struct view *in_place) {
  if (p->plan->views[value->id].memory != MEMORY_NONE) return STATUS_OK; /* a Concat that was placed with its first part */
  if (shape_elements(&value->shape) == 0) return plan_refuse(p, value->producer, "a result without elements");
  if (value->dtype != DTYPE_F32) return plan_refuse(p, value->producer, "compiled code computes float32 only");
  bool output = false;
  for (int i = 0; i < p->graph->output_count; i++) output |= p->graph->outputs[i] == value;
  struct view view;
  if (in_place != NULL && !output && p->embeddings[value->id].concat == NULL)
    view = *in_place;
  else
    view = fresh_view(p, value);
  set_view(p, value, &view);
  return STATUS_OK;
}

/* ---- movement ops as views */

int64_t place_constant_int(const struct value *value, int64_t index) {
  return value->dtype == DTYPE_I32 ? ((const int32_t *)value->data)[index] : ((const int64_t *)value->data)[index];
}

bool place_slice(const struct node *node, const struct view *from, struct view *out_view) {
  const struct value *starts = node->inputs[1];
  const struct value *axes = node->input_count > 3 ? node->inputs[3] : NULL;
  const struct value *steps = node->input_count > 4 ? node->inputs[4] : NULL;
  if (starts->data == NULL) return false;
  *out_view = *from;
  int64_t count = shape_elements(&starts->shape);
  for (int64_t i = 0; i < count; i++) {
    int axis = (int)(axes != NULL ? place_constant_int(axes, i) : i);
    if (axis < 0) axis += from->shape.rank;
    int64_t step = steps != NULL ? place_constant_int(steps, i) : 1, dim = from->shape.dim[axis];
    int64_t start = place_constant_int(starts, i);
    if (start < 0) start = start < -dim ? (step > 0 ? 0 : -1) : start + dim;
    if (start > dim - (step < 0)) start = dim - (step < 0);
    *out_view = view_slice(out_view, axis, start, step, node->outputs[0]->shape.dim[axis]);
  }
  return true;
}

static bool gather_view(const struct node *node, const struct view *from, struct view *out_view) {
  const struct value *indices = node->inputs[1];
  if (indices->data == NULL) return false;
  int axis = (int)node_int(node, "axis");
  if (axis < 0) axis += from->shape.rank;
  int64_t count = shape_elements(&indices->shape), dim = from->shape.dim[axis];
  if (count == 0) return false;
  int64_t first = place_constant_int(indices, 0);
  if (first < 0) first += dim;
  for (int64_t i = 1; i < count; i++) {
    int64_t index = place_constant_int(indices, i);
    if ((index < 0 ? index + dim : index) != first + i) return false;
  }
  if (indices->shape.rank == 0) {
    *out_view = view_drop_axis(from, axis, first);
    return true;
  }
  struct view slice = view_slice(from, axis, first, 1, count);
  return view_reshape(&slice, &node->outputs[0]->shape, out_view);
}

static bool split_views(struct planner *p, const struct node *node, const struct view *from) {
  int axis = (int)node_int(node, "axis");
  if (axis < 0) axis += from->shape.rank;
  int64_t start = 0;
  for (int i = 0; i < node->output_count; i++) {
    if (node->outputs[i] == NULL) return false;
    int64_t count = node->outputs[i]->shape.dim[axis];
    struct view view = view_slice(from, axis, start, 1, count);
    set_view(p, node->outputs[i], &view);
    start += count;
  }
  return true;
}

bool place_movement(struct planner *p, const struct node *node) {
  if (node->epilogue_count > 0) return false;
  struct view from = place_of(p, node->inputs[0]), view;
  switch (node->op) {
  case OP_split:
    return split_views(p, node, &from);
  case OP_identity:
  case OP_reshape:
  case OP_flatten:
  case OP_squeeze:
  case OP_unsqueeze:
    if (!view_reshape(&from, &node->outputs[0]->shape, &view)) return false;
    break;
  case OP_slice:
    if (!place_slice(node, &from, &view)) return false;
    break;
  case OP_gather:
    if (!gather_view(node, &from, &view)) return false;
    break;
  case OP_cast:
    if (from.dtype != node->outputs[0]->dtype) return false;
    view = from;
    break;
  default:
    return false;
  }
  set_view(p, node->outputs[0], &view);
  return true;
}
