/* The parts of a step: inputs, stages, and results that take over memory. */
#include "plan/step.h"
#include "plan/view.h"

#include <assert.h>

struct step *steps_new(struct planner *p, enum step_kind kind, const struct node *node) {
  struct plan *plan = p->plan;
  if (plan->step_count == p->step_capacity) {
    int capacity = p->step_capacity * 2 + 64;
    struct step *steps = arena_array(p->arena, (size_t)capacity, sizeof *steps);
    for (int i = 0; i < plan->step_count; i++) steps[i] = plan->steps[i];
    plan->steps = steps;
    p->step_capacity = capacity;
  }
  struct step *step = &plan->steps[plan->step_count++];
  *step = (struct step){.kind = kind, .node = node, .node_index = p->node_index};
  return step;
}

void step_set_out(struct step *step, const struct view *out) {
  step->out = *out;
  step->batched = out->image_stride != 0;
}

int step_add_input(struct step *step, const struct view *view) {
  assert(step->input_count < STEP_INPUTS_MAX);
  step->inputs[step->input_count] = *view;
  return step->input_count++;
}

enum status steps_copy(struct planner *p, const struct view *from, const struct view *to, const struct node *node) {
  struct step *step = steps_new(p, STEP_STRIDED, node);
  step_set_out(step, to);
  struct view view = view_broadcast(from, &to->shape);
  step_add_input(step, &view);
  return STATUS_OK;
}

/* ---- stages */

static bool stage_supported(const struct node *fused) {
  switch (fused->op) {
  case OP_add:
  case OP_sub:
  case OP_mul:
  case OP_div:
  case OP_neg:
  case OP_sqrt:
  case OP_reciprocal:
  case OP_exp:
  case OP_erf:
  case OP_tanh:
  case OP_sigmoid:
  case OP_relu:
  case OP_max:
  case OP_min:
  case OP_swish:
  case OP_gelu:
    return true;
  case OP_pow:
    return fused->inputs[1] != NULL && fused->inputs[1]->data != NULL;
  default:
    return false;
  }
}

static double scalar_of(const struct value *value) {
  return value->dtype == DTYPE_F32 ? (double)*(const float *)value->data : 0;
}

/* x ^ 2, x ^ 0.5, x ^ -1: all the powers that transformers use. */
static enum status add_power(struct planner *p, struct step *step, const struct node *fused) {
  double exponent = shape_elements(&fused->inputs[1]->shape) == 1 ? scalar_of(fused->inputs[1]) : 0;
  struct step_stage stage = {.operand = -1, .unary = true};
  if (exponent == 2)
    stage = (struct step_stage){.op = OP_pow, .operand = -1, .scalar = 2};
  else if (exponent == 0.5)
    stage.op = OP_sqrt;
  else if (exponent == -1)
    stage.op = OP_reciprocal;
  else
    return plan_refuse(p, fused, "compiled code has powers of 2, 0.5 and -1 only");
  step->stages[step->stage_count++] = stage;
  return STATUS_OK;
}

/* In sums and products a table's rounding is no more than the one of the weights. */
struct view step_operand(struct planner *p, const struct node *fused, const struct value *operand) {
  bool linear = fused->op == OP_add || fused->op == OP_sub || fused->op == OP_mul;
  return linear ? place_operand(p, operand) : place_of(p, operand);
}

/* Adds the elementwise op `fused`; its running input is NULL, or else `running`. */
enum status step_add_stage(struct planner *p, struct step *step, const struct node *fused, int running) {
  if (fused->op == OP_cast && fused->outputs == NULL) return STATUS_OK;
  if (fused->op == OP_cast) return STATUS_OK; /* the loads convert to float32 */
  if (!stage_supported(fused)) return plan_refuse(p, fused, "compiled code does not have this op here");
  if (step->stage_count == STEP_STAGES_MAX) return plan_refuse(p, fused, "more than 16 operations fused into one");
  if (fused->op == OP_pow) return add_power(p, step, fused);
  struct step_stage stage = {.op = fused->op, .running = running, .operand = -1, .unary = fused->input_count == 1};
  if (fused->op == OP_swish) stage.scalar = (float)node_float(fused, "alpha");
  if (fused->op == OP_gelu) stage.approximate = node_string(fused, "approximate")[0] == 't';
  if (!stage.unary) {
    const struct value *operand = fused->inputs[1 - running];
    if (operand->data != NULL && operand->dtype == DTYPE_F32 && shape_elements(&operand->shape) == 1) {
      stage.scalar = (float)scalar_of(operand);
    } else {
      struct view view = step_operand(p, fused, operand);
      view = view_broadcast(&view, &step->out.shape);
      if (step->input_count == STEP_INPUTS_MAX) return plan_refuse(p, fused, "too many operands fused into one");
      stage.operand = step_add_input(step, &view);
    }
  }
  step->stages[step->stage_count++] = stage;
  return STATUS_OK;
}

int step_running(const struct node *fused) {
  for (int i = 0; i < fused->input_count; i++)
    if (fused->inputs[i] == NULL) return i;
  return 0;
}

enum status step_add_epilogue(struct planner *p, struct step *step, const struct node *node, int from) {
  for (int i = from; i < node->epilogue_count; i++)
    TRY(step_add_stage(p, step, node->epilogue[i], step_running(node->epilogue[i])));
  return STATUS_OK;
}

/* ---- in-place candidates */

bool step_overlaps(const struct view *a, const struct view *b) {
  return a->memory == MEMORY_ARENA && b->memory == MEMORY_ARENA && a->index == b->index;
}

bool step_fits(struct planner *p, const struct value *candidate, const struct value *result, struct view *out_view) {
  if (candidate == NULL || candidate->data != NULL || candidate->batched != result->batched) return false;
  if (candidate->dtype != result->dtype || !shape_equal(&candidate->shape, &result->shape)) return false;
  *out_view = place_of(p, candidate);
  for (int i = 0; i < out_view->shape.rank; i++)
    if (out_view->shape.dim[i] > 1 && out_view->stride[i] == 0) return false;
  return place_dies_here(p, out_view);
}

/* A dying operand of the epilogue (a residual) whose memory the result can take over; `avoid` are other inputs that the
 * kernel still reads when it writes. */
static const struct view *residual_in_place(struct planner *p, const struct node *node, const struct view *avoid,
                                            int avoid_count, struct view *storage) {
  for (int i = node->epilogue_count - 1; i >= 0; i--) {
    const struct node *fused = node->epilogue[i];
    for (int j = 0; j < fused->input_count; j++) {
      if (!step_fits(p, fused->inputs[j], node->outputs[0], storage)) continue;
      bool clash = false;
      for (int a = 0; a < avoid_count; a++) clash |= step_overlaps(storage, &avoid[a]);
      if (!clash) return storage;
    }
  }
  return NULL;
}

/* Other operands of the epilogue in the same memory must be the very same elements. */
bool step_epilogue_reads_alike(struct planner *p, const struct node *node, const struct view *out) {
  for (int i = 0; i < node->epilogue_count; i++)
    for (int j = 0; j < node->epilogue[i]->input_count; j++) {
      const struct value *operand = node->epilogue[i]->inputs[j];
      if (operand == NULL || operand->data != NULL) continue;
      struct view view = place_of(p, operand);
      if (step_overlaps(&view, out) && !view_same_layout(&view, out)) return false;
    }
  return true;
}

enum status step_place_result(struct planner *p, const struct node *node, const struct view *avoid, int avoid_count) {
  struct view storage;
  const struct view *in_place = residual_in_place(p, node, avoid, avoid_count, &storage);
  if (in_place != NULL && !step_epilogue_reads_alike(p, node, in_place)) in_place = NULL;
  return place_value(p, node->outputs[0], in_place);
}

/* The view as rows of adjacent columns, through a dense copy when it isn't. */
enum status step_as_matrix(struct planner *p, const struct node *node, const char *name, bool batched, struct view *view) {
  int64_t rows, columns, row_stride;
  if (view_matrix(view, &rows, &columns, &row_stride) && view->dtype == DTYPE_F32) return STATUS_OK;
  struct view copy = place_temporary_rows(p, name, &view->shape, batched);
  TRY(steps_copy(p, view, &copy, node));
  *view = copy;
  return STATUS_OK;
}

void step_convert(struct planner *p, const struct node *node, enum precision precision, struct view *view) {
  struct shape shape = view->shape;
  int64_t *columns = &shape.dim[shape.rank - 1];
  *columns = pack_padded_k(precision, *columns);
  struct view rows = place_temporary_rows(p, "operand rows", &shape, view->image_stride != 0);
  int64_t count, padded;
  bool is_matrix = view_matrix(&rows, &count, &padded, &rows.operand);
  assert(is_matrix);
  (void)is_matrix;
  rows.shape = view->shape;
  struct step *step = steps_new(p, STEP_CONVERT, node);
  step->precision = precision;
  step_set_out(step, &rows);
  step_add_input(step, view);
  *view = rows;
}

/* Ends a node whose kernel takes no stages: the epilogue is a step of its own over the result. */
enum status step_epilogue(struct planner *p, const struct node *node, const struct view *out, int from) {
  if (from >= node->epilogue_count) return STATUS_OK;
  struct step *step = steps_new(p, STEP_STRIDED, node);
  step_set_out(step, out);
  step_add_input(step, out);
  return step_add_epilogue(p, step, node, from);
}
