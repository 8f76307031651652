/* MatMul and Gemm: products with packed constants, and of two computed values. */
#include "plan/pack_int8.h"
#include "plan/quantize.h"
#include "plan/step.h"
#include "plan/view.h"

#include <string.h>

static bool stage_fits_gemm(const struct step *step, const struct step_stage *stage) {
  if (stage->op == OP_pow) return false;
  if (stage->operand < 0) return true;
  const struct view *view = &step->inputs[stage->operand];
  int rank = view->shape.rank;
  int64_t rows, columns, row_stride;
  bool column = view->image_stride == 0 && (view->shape.dim[rank - 1] == 1 || view->stride[rank - 1] == 1);
  for (int i = 0; i + 1 < rank; i++) column &= view->shape.dim[i] == 1 || view->stride[i] == 0;
  if (column) return true;
  if (!view_matrix(view, &rows, &columns, &row_stride)) return false;
  for (int i = 0; i < rank; i++)
    if (view->shape.dim[i] > 1 && view->stride[i] == 0) return false;
  return true;
}

const struct value *product_panels(const struct node *node, bool *out_transposed) {
  const struct value *b = node->inputs[1];
  *out_transposed = false;
  if (b->data == NULL && b->producer != NULL && b->producer->op == OP_transpose && b->producer->inputs[0]->data != NULL &&
      b->producer->epilogue_count == 0 && b->shape.rank == 2) {
    const struct attr *perm = node_attr(b->producer, "perm");
    *out_transposed = perm == NULL || perm->ints[0] == 1;
    b = b->producer->inputs[0];
  }
  if (node->op == OP_gemm && node_int(node, "transB") != 0) *out_transposed = !*out_transposed;
  return b->data != NULL && b->shape.rank == 2 && b->dtype == DTYPE_F32 ? b : NULL;
}

static void add_vector(struct planner *p, struct step *step, const struct value *value, const float *balance) {
  struct view view = {.memory = MEMORY_WEIGHTS, .shape = value->shape, .dtype = DTYPE_F32};
  if (balance != NULL) {
    view.index = pack_divided(p, value, balance);
    view_dense(&view);
    view.image_stride = 0;
  } else {
    view = place_of(p, value);
  }
  step_add_input(step, &view);
}

static enum status add_layer_norm_prologue(struct planner *p, struct step *step, const struct node *norm,
                                           const float *balance) {
  int64_t axis = node_int(norm, "axis");
  const struct value *scale = norm->inputs[1];
  if (axis != -1 && axis != step->inputs[0].shape.rank - 1)
    return plan_refuse(p, norm, "fused along an axis other than the last");
  step->has_layer_norm = true;
  add_vector(p, step, scale, balance);
  if (norm->input_count > 2 && norm->inputs[2] != NULL) add_vector(p, step, norm->inputs[2], balance);
  return STATUS_OK;
}

/* Room for the rows of A as the product reads them: normalised, in its precision, or both. */
static void add_operand_rows(struct planner *p, struct step *step) {
  const struct view *a = &step->inputs[0];
  bool is_read = step->precision == PRECISION_FP32 || (step->precision == PRECISION_BF16 && a->operand != 0);
  if (!step->has_layer_norm && is_read) return;
  struct shape shape = a->shape;
  int64_t *columns = &shape.dim[shape.rank - 1];
  *columns = pack_padded_k(step->precision, *columns);
  step->scratch = place_temporary_rows(p, "operand rows", &shape, a->image_stride != 0);
}

static void add_scale(struct step *step, double scale) {
  if (scale == 1) return;
  step->stages[step->stage_count++] = (struct step_stage){.op = OP_mul, .operand = -1, .scalar = (float)scale};
}

/* Gemm's alpha * A @ B + beta * C, as (alpha / beta * A @ B + C) * beta. */
static enum status add_gemm_terms(struct planner *p, struct step *step, const struct node *node) {
  double alpha = node_float(node, "alpha"), beta = node_float(node, "beta");
  if (node_int(node, "transA") != 0) return plan_refuse(p, node, "compiled code has no Gemm with transA");
  if (node->input_count < 3 || node->inputs[2] == NULL || beta == 0) {
    add_scale(step, alpha);
    return STATUS_OK;
  }
  add_scale(step, alpha / beta);
  struct view c = place_of(p, node->inputs[2]);
  c = view_broadcast(&c, &step->out.shape);
  struct step_stage stage = {.op = OP_add, .operand = step_add_input(step, &c)};
  if (!stage_fits_gemm(step, &stage))
    return plan_refuse(p, node, "compiled code adds a C of one row, or of the result's shape");
  step->stages[step->stage_count++] = stage;
  add_scale(step, beta);
  return STATUS_OK;
}

/* Whether only movements and elementwise operations are between an image (N, C, H, W) of the graph's inputs and `value`. */
static bool is_of_pixels(const struct value *value) {
  while (value->data == NULL && value->producer != NULL && value->producer->input_count > 0) {
    switch (value->producer->op) {
    case OP_mat_mul:
    case OP_gemm:
    case OP_conv:
    case OP_attention:
    case OP_layer_normalization:
      return false;
    default:
      value = value->producer->inputs[0];
    }
  }
  return value->data == NULL && value->shape.rank == 4;
}

/* Rows of pixels have no outliers, and were 8 bits before: transformed, all of a bright row's light would be one number beside
 * which the others are small. */
static bool wants_hadamard(const struct step *step, const struct node *node) {
  return step->precision == PRECISION_INT8 && (node->prologue_count > 0 || !is_of_pixels(node->inputs[0]));
}

/* In int8 small products stay bf16: they cost little and average over few errors. So do those too long for a sum. */
enum precision product_precision(const struct planner *p, const struct node *node) {
  enum { LEAST = 64 };
  for (int i = 0; i < p->plan->choice_count; i++)
    if (strcmp(p->plan->choices[i].result, node->outputs[0]->name) == 0) return p->plan->choices[i].precision;
  if (p->plan->precision != PRECISION_INT8) return p->plan->precision;
  bool transposed;
  const struct value *b = product_panels(node, &transposed);
  bool small = b == NULL || b->shape.dim[0] < LEAST || b->shape.dim[1] < LEAST;
  return small || b->shape.dim[transposed ? 1 : 0] > QUANTIZE_ROWS_MAX ? PRECISION_BF16 : PRECISION_INT8;
}

/* The result in operand rows, where its readers want it so and nothing else shares its memory. */
static void write_operand(struct planner *p, struct step *step, const struct node *node) {
  const struct value *result = node->outputs[0];
  struct view *out = &p->plan->views[result->id];
  if (!p->operand[result->id] || out->memory != MEMORY_ARENA || !view_same_layout(out, &step->out)) return;
  for (int i = 0; i < step->input_count; i++)
    if (step_overlaps(&step->inputs[i], out)) return;
  int64_t rows, columns;
  if (view_matrix(out, &rows, &columns, &out->operand)) step->out.operand = out->operand;
}

static enum status gemm_steps(struct planner *p, const struct node *node, const struct value *b, bool transposed) {
  struct view a = place_of(p, node->inputs[0]);
  TRY(step_as_matrix(p, node, "rows for the product", node->inputs[0]->batched, &a));
  TRY(step_place_result(p, node, &a, 1));
  struct view out = place_of(p, node->outputs[0]), target = out;
  int64_t rows, columns, row_stride;
  if (!view_matrix(&out, &rows, &columns, &row_stride))
    target = place_temporary(p, "product", &out.shape, node->outputs[0]->batched);
  struct step *step = steps_new(p, STEP_GEMM, node);
  step_set_out(step, &target);
  step_add_input(step, &a);
  step->precision = product_precision(p, node);
  const struct node *norm = node->prologue_count > 0 ? node->prologue[0] : NULL;
  const float *balance = norm != NULL && step->precision == PRECISION_INT8 ? int8_balance(p, norm, b, transposed) : NULL;
  int packed = pack_panels(p, b, transposed, 1, step->precision, wants_hadamard(step, node), balance);
  struct view panels = {.memory = MEMORY_WEIGHTS, .index = packed, .dtype = DTYPE_F32};
  step_add_input(step, &panels);
  if (norm != NULL) TRY(add_layer_norm_prologue(p, step, norm, balance));
  add_operand_rows(p, step);
  if (node->op == OP_gemm) TRY(add_gemm_terms(p, step, node));
  int taken = 0;
  for (; taken < node->epilogue_count; taken++) {
    int stages = step->stage_count, inputs = step->input_count;
    TRY(step_add_stage(p, step, node->epilogue[taken], step_running(node->epilogue[taken])));
    if (step->stage_count == stages || stage_fits_gemm(step, &step->stages[stages])) continue;
    step->stage_count = stages;
    step->input_count = inputs;
    break;
  }
  if (taken == node->epilogue_count) write_operand(p, step, node);
  TRY(step_epilogue(p, node, &target, taken));
  if (view_same_layout(&target, &out)) return STATUS_OK;
  return steps_copy(p, &target, &out, node);
}

enum status product_steps(struct planner *p, const struct node *node) {
  bool transposed;
  const struct value *panels = product_panels(node, &transposed);
  if (panels != NULL) return gemm_steps(p, node, panels, transposed);
  if (node->op == OP_gemm) return plan_refuse(p, node, "compiled code multiplies by a constant B in Gemm");
  if (node->inputs[0]->shape.rank < 2 || node->inputs[1]->shape.rank < 2)
    return plan_refuse(p, node, "compiled products need operands of rank 2 or more");
  if (node->prologue_count > 0) return plan_refuse(p, node, "a normalisation was fused into a product of two computed values");
  struct view a = place_of(p, node->inputs[0]), b = place_of(p, node->inputs[1]);
  if (b.stride[b.shape.rank - 1] != 1 && b.shape.dim[b.shape.rank - 1] > 1) {
    struct view copy = place_temporary(p, "product operand", &b.shape, node->inputs[1]->batched);
    TRY(steps_copy(p, &b, &copy, node));
    b = copy;
  }
  TRY(place_value(p, node->outputs[0], NULL));
  struct view out = place_of(p, node->outputs[0]);
  struct step *step = steps_new(p, STEP_MATMUL, node);
  step_set_out(step, &out);
  struct shape batch = out.shape;
  batch.dim[batch.rank - 1] = a.shape.dim[a.shape.rank - 1];
  a = view_broadcast(&a, &batch);
  batch.dim[batch.rank - 2] = b.shape.dim[b.shape.rank - 2];
  batch.dim[batch.rank - 1] = out.shape.dim[out.shape.rank - 1];
  b = view_broadcast(&b, &batch);
  step_add_input(step, &a);
  step_add_input(step, &b);
  return step_epilogue(p, node, &out, 0);
}
