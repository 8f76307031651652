/* Plans node after node in execution order. A node's views and buffers are made when its steps are, so an operand that takes
 * its memory over is known to be dead by then. */
#include "plan/plan.h"
#include "plan/planner.h"
#include "plan/step.h"
#include "plan/view.h"

enum status plan_refuse(const struct planner *p, const struct node *node, const char *why) {
  const struct value *out = node != NULL && node->output_count > 0 ? node->outputs[0] : NULL;
  return diag_fail(p->graph->diag, STATUS_INPUT, "%s: %s%s%s%s: %s", p->graph->file,
                   node != NULL ? op_info(node->op)->name : "", out != NULL ? " -> \"" : "", out != NULL ? out->name : "",
                   out != NULL ? "\"" : "", why);
}

static enum status add_node(struct planner *p, const struct node *node) {
  switch (node->op) {
  case OP_constant:
    return STATUS_OK;
  case OP_gemm:
  case OP_mat_mul:
    return product_steps(p, node);
  case OP_attention:
    return attention_steps(p, node);
  case OP_conv:
    return conv_steps(p, node);
  case OP_softmax:
  case OP_layer_normalization:
    return rows_steps(p, node);
  case OP_rotary_embedding:
    return rotary_steps(p, node);
  case OP_reduce_mean:
    return reduce_steps(p, node);
  case OP_pad:
    return pad_steps(p, node);
  default:
    break;
  }
  unsigned flags = op_info(node->op)->flags;
  if ((flags & OP_MOVES) != 0) return movement_steps(p, node);
  if ((flags & OP_ELEMENTWISE) != 0) return elementwise_steps(p, node);
  return plan_refuse(p, node, "compiled code does not have this op");
}

/* Where the images come in. */
static enum status place_inputs(struct planner *p) {
  for (int i = 0; i < p->graph->input_count; i++) {
    const struct value *value = p->graph->inputs[i];
    if (value->dtype != DTYPE_F32 && value->dtype != DTYPE_U8)
      return diag_fail(p->graph->diag, STATUS_INPUT, "%s: input \"%s\": compiled code takes float32 or uint8, not %s",
                       p->graph->file, value->name, dtype_name(value->dtype));
    struct view view = {.memory = MEMORY_INPUT, .index = i, .shape = value->shape, .dtype = value->dtype};
    view_dense(&view);
    p->plan->views[value->id] = view;
  }
  return STATUS_OK;
}

/* Outputs that are views of something else, or that stand twice, are copied at the end. */
static enum status copy_outputs(struct planner *p) {
  const struct graph *graph = p->graph;
  for (int i = 0; i < graph->output_count; i++) {
    const struct value *value = graph->outputs[i];
    struct view from = place_of(p, value);
    struct view to = {.memory = MEMORY_OUTPUT, .index = i, .shape = value->shape, .dtype = DTYPE_F32};
    view_dense(&to);
    if (value->dtype != DTYPE_F32)
      return diag_fail(graph->diag, STATUS_INPUT, "%s: output \"%s\": compiled code gives float32, not %s", graph->file,
                       value->name, dtype_name(value->dtype));
    if (!view_same_layout(&from, &to)) TRY(steps_copy(p, &from, &to, value->producer));
  }
  return STATUS_OK;
}

static void allocate(struct planner *p) {
  const struct graph *graph = p->graph;
  size_t values = (size_t)graph->value_count + 1, nodes = 0, operands = 0;
  for (const struct node *node = graph->first; node != NULL; node = node->next) {
    nodes++;
    operands += (size_t)(node->input_count + node->output_count) + 4;
    for (int i = 0; i < node->prologue_count; i++) operands += (size_t)node->prologue[i]->input_count;
    for (int i = 0; i < node->epilogue_count; i++) operands += (size_t)node->epilogue[i]->input_count;
  }
  p->last_use = arena_array(p->arena, values, sizeof *p->last_use);
  p->reshaped = arena_array(p->arena, values, sizeof *p->reshaped);
  p->embeddings = arena_array(p->arena, values, sizeof *p->embeddings);
  p->operand = arena_array(p->arena, values, sizeof *p->operand);
  p->plan->views = arena_array(p->arena, values, sizeof *p->plan->views);
  p->buffer_capacity = (int)(nodes * 6 + operands + 16);
  p->plan->buffers = arena_array(p->arena, (size_t)p->buffer_capacity, sizeof *p->plan->buffers);
  p->packed_capacity = (int)(operands + 16);
  p->plan->packed = arena_array(p->arena, (size_t)p->packed_capacity, sizeof *p->plan->packed);
}

const char *plan_precision_name(const struct plan *plan) {
  return plan->choice_count > 0 ? "mixed" : precision_name(plan->precision);
}

enum { GROUP_MAX = 8 };

enum status plan_graph(const struct graph *graph, const struct plan_options *options, struct arena *arena,
                       struct plan *out_plan) {
  *out_plan = (struct plan){.graph = graph,
                            .batch_max = options->batch_max,
                            .precision = options->precision,
                            .choices = options->choices,
                            .choice_count = options->choice_count};
  struct planner planner = {.graph = graph, .arena = arena, .plan = out_plan}, *p = &planner;
  allocate(p);
  live_analyze(p);
  operands_find(p);
  TRY(place_inputs(p));
  for (const struct node *node = graph->first; node != NULL; node = node->next, p->node_index++) TRY(add_node(p, node));
  TRY(copy_outputs(p));
  int64_t group = options->group > 0 ? options->group : GROUP_MAX;
  live_lay_out(p, options->batch_max < group ? options->batch_max : group, options->group <= 0);
  return STATUS_OK;
}
