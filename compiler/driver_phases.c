/* The work of each phase, from the plan: what a measurement of the phase is divided by. */
#include "driver.h"

#include "ir/ops.h"

#include <string.h>

static int64_t view_elements(const struct view *view) {
  int64_t elements = 1;
  for (int i = 0; i < view->shape.rank; i++)
    if (view->stride[i] != 0) elements *= view->shape.dim[i]; /* a broadcast axis is the same memory again */
  return elements;
}

static int64_t view_bytes(const struct view *view) {
  return view_elements(view) * (int64_t)dtype_size(view->dtype);
}

static void add_read(struct account_phase *phase, const struct view *view) {
  if (view->image_stride == 0)
    phase->shared_bytes += view_bytes(view);
  else
    phase->read_bytes += view_bytes(view);
}

static void add_reads(struct account_phase *phase, const struct step *step, int from) {
  for (int i = from; i < step->input_count; i++) add_read(phase, &step->inputs[i]);
}

/* The rows and columns that exist, without the padding between panels. */
static void add_panels(struct account_phase *phase, const struct plan *plan, const struct view *view) {
  static const int64_t element[PRECISION_COUNT] = {[PRECISION_FP32] = 4, [PRECISION_BF16] = 2, [PRECISION_INT8] = 1};
  const struct packed *packed = &plan->packed[view->index];
  phase->shared_bytes += packed->groups * packed->k * packed->n * element[packed->precision];
}

static bool normalizes_with_bias(const struct step *step) {
  const struct node *norm = step->node->prologue[0];
  return norm->input_count > 2 && norm->inputs[2] != NULL;
}

static int64_t per_element(enum op op) {
  return op == OP_layer_normalization || op == OP_softmax ? 5 : 1; /* as node_flops */
}

static void layer_norm_work(struct account_phase *phase, const struct step *step) {
  phase->flops = per_element(OP_layer_normalization) * shape_elements(&step->scratch.shape);
  phase->write_bytes = view_bytes(&step->scratch);
  add_read(phase, &step->inputs[0]);
  add_read(phase, &step->inputs[2]);
  if (normalizes_with_bias(step)) add_read(phase, &step->inputs[3]);
}

static void gemm_work(struct account_phase *phase, const struct plan *plan, const struct step *step) {
  int operands = 2;
  if (step->has_layer_norm) operands += normalizes_with_bias(step) ? 2 : 1;
  phase->flops = 2 * shape_elements(&step->out.shape) * plan->packed[step->inputs[1].index].k;
  add_read(phase, step->has_layer_norm ? &step->scratch : &step->inputs[0]);
  add_panels(phase, plan, &step->inputs[1]);
  add_reads(phase, step, operands);
}

static void attention_work(struct account_phase *phase, const struct step *step) {
  const struct view *q = &step->inputs[0], *k = &step->inputs[1], *v = &step->inputs[2];
  int64_t keys = k->shape.dim[2], width = q->shape.dim[3] + v->shape.dim[3];
  phase->flops = 2 * shape_elements(&q->shape) / q->shape.dim[3] * keys * width; /* both products of all heads */
  add_read(phase, q);
  phase->read_bytes += view_bytes(k); /* packed by the phase before */
  add_reads(phase, step, 2);
}

static void conv_work(struct account_phase *phase, const struct plan *plan, const struct step *step) {
  phase->flops = 2 * shape_elements(&step->out.shape) * plan->packed[step->inputs[1].index].k;
  add_read(phase, &step->inputs[0]);
  add_panels(phase, plan, &step->inputs[1]);
  add_reads(phase, step, 2);
}

static void main_work(struct account_phase *phase, const struct plan *plan, const struct step *step) {
  phase->write_bytes = view_bytes(&step->out);
  switch (step->kind) {
  case STEP_GEMM:
    gemm_work(phase, plan, step);
    return;
  case STEP_ATTENTION:
    attention_work(phase, step);
    return;
  case STEP_CONV:
    conv_work(phase, plan, step);
    return;
  case STEP_CONVERT:
    break;
  case STEP_ROWS:
    phase->flops = per_element(step->node->op) * shape_elements(&step->out.shape);
    break;
  case STEP_ROTARY:
    phase->flops = 3 * shape_elements(&step->out.shape); /* as node_flops */
    break;
  case STEP_STRIDED:
    phase->flops = step->stage_count * shape_elements(&step->out.shape);
    break;
  case STEP_MATMUL:
    phase->flops = 2 * shape_elements(&step->out.shape) * step->inputs[0].shape.dim[step->inputs[0].shape.rank - 1];
    break;
  case STEP_REDUCE:
    phase->flops = shape_elements(&step->inputs[0].shape);
    break;
  }
  add_reads(phase, step, 0);
}

/* "blocks.0.mlp.fc1" of the constant "blocks.0.mlp.fc1.weight", which passes may have numbered; else the result's name. */
static const char *phase_name(const struct node *node, const struct value *constant, struct arena *arena) {
  static const char weight[] = ".weight";
  const char *end = NULL;
  for (const char *at = constant != NULL ? constant->name : ""; (at = strstr(at, weight)) != NULL; at += strlen(weight))
    end = at;
  if (end == NULL || end == constant->name || end[strlen(weight) + strspn(end + strlen(weight), ".0123456789T")] != '\0')
    return node->outputs[0]->name;
  return arena_strndup(arena, constant->name, (size_t)(end - constant->name));
}

static const struct value *phase_constant(const struct plan *plan, const struct step *step, bool is_layer_norm) {
  if (is_layer_norm) return step->has_layer_norm ? step->node->prologue[0]->inputs[1] : step->node->inputs[1];
  return step->kind == STEP_GEMM || step->kind == STEP_CONV ? plan->packed[step->inputs[1].index].value : NULL;
}

/* STEP_CONVERT's is of what it writes. */
static enum precision product_precision_of(const struct step *step) {
  return step->kind == STEP_GEMM || step->kind == STEP_ATTENTION ? step->precision : PRECISION_FP32;
}

int driver_phases(struct compilation *compilation, struct account_phase **out_phases) {
  const struct plan *plan = &compilation->plan;
  struct account_phase *phases =
      arena_array(&compilation->arena, (size_t)plan->step_count * OBJECT_PHASES_MAX + 1, sizeof *phases);
  int count = 0;
  for (int i = 0; i < plan->step_count; i++) {
    const struct step *step = &plan->steps[i];
    const char *kinds[OBJECT_PHASES_MAX];
    int step_phases = object_phases(step, kinds);
    for (int k = 0; k < step_phases; k++) {
      bool last = k + 1 == step_phases;
      bool is_layer_norm =
          (!last && step->has_layer_norm) || (last && step->node->op == OP_layer_normalization && step->kind == STEP_ROWS);
      struct account_phase *phase = &phases[count++];
      *phase =
          (struct account_phase){.step = i, .kind = kinds[k], .op = op_info(step->node->op)->name, .batched = step->batched};
      phase->precision = precision_name(last ? product_precision_of(step) : PRECISION_FP32);
      phase->name = phase_name(step->node, phase_constant(plan, step, is_layer_norm), &compilation->arena);
      if (last) {
        main_work(phase, plan, step);
      } else if (step->has_layer_norm) {
        layer_norm_work(phase, step);
      } else { /* the keys of attention, into panels, or the rows of a product in its precision */
        const struct view *from = &step->inputs[step->kind == STEP_ATTENTION ? 1 : 0];
        add_read(phase, from);
        phase->write_bytes = view_bytes(from);
      }
    }
  }
  *out_phases = phases;
  return count;
}
