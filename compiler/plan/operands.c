/* Which values are kept as operand rows of bf16 (kernels.h) instead of fp32: results of products and attention that only
 * products and attention read; in int8 they are quantised from there. Their rows have the room of fp32, since what they hold
 * depends on the CPU level. */
#include "plan/step.h"

enum { WHOLE_LINE = 32 }; /* bf16 elements that a product's rows are padded to: such values need none */

static int64_t columns_of(const struct value *value) {
  return value->shape.dim[value->shape.rank - 1];
}

static bool is_product(const struct node *node) {
  bool transposed;
  return (node->op == OP_mat_mul || node->op == OP_gemm) && product_panels(node, &transposed) != NULL;
}

/* Splits in whole lines keep the rows of what they split. */
static bool splits_rows(const struct node *node) {
  if (node->op != OP_split || node->epilogue_count > 0) return false;
  int64_t axis = node_int(node, "axis"), last = node->inputs[0]->shape.rank - 1;
  if (axis != -1 && axis != last) return false;
  for (int i = 0; i < node->output_count; i++)
    if (node->outputs[i] == NULL || columns_of(node->outputs[i]) % WHOLE_LINE != 0) return false;
  return true;
}

/* Whether the node can write its result so. */
static bool writes_operand(const struct planner *p, const struct node *node) {
  const struct value *result = node->outputs[0];
  if (result->shape.rank > 3 || result->shape.rank < 2 || columns_of(result) % WHOLE_LINE != 0 || result->dtype != DTYPE_F32)
    return false;
  if (is_product(node)) return product_precision(p, node) != PRECISION_FP32;
  return node->op == OP_attention && attention_precision(p, node) == PRECISION_BF16 && attention_writes_operand(node);
}

static bool reads_operand(const struct planner *p, const struct node *node, int input) {
  if (splits_rows(node)) return input == 0;
  if (is_product(node)) return input == 0 && node->prologue_count == 0 && product_precision(p, node) != PRECISION_FP32;
  return node->op == OP_attention && input < 3 && attention_precision(p, node) == PRECISION_BF16 &&
         node->inputs[input]->shape.rank == 3;
}

static void refuse(struct planner *p, const struct value *value) {
  if (value != NULL) p->operand[value->id] = false;
}

static void refuse_inputs(struct planner *p, const struct node *node) {
  for (int i = 0; i < node->input_count; i++) refuse(p, node->inputs[i]);
}

void operands_find(struct planner *p) {
  const struct graph *graph = p->graph;
  if (p->plan->precision == PRECISION_FP32) return;
  for (const struct node *node = graph->first; node != NULL; node = node->next) {
    bool from_split = splits_rows(node) && node->inputs[0]->data == NULL && p->operand[node->inputs[0]->id];
    for (int i = 0; i < node->output_count; i++)
      if (node->outputs[i] != NULL) p->operand[node->outputs[i]->id] = from_split || (i == 0 && writes_operand(p, node));
  }
  for (int i = 0; i < graph->output_count; i++) refuse(p, graph->outputs[i]);
  for (const struct node *node = graph->last; node != NULL; node = node->prev) {
    for (int i = 0; i < node->prologue_count; i++) refuse_inputs(p, node->prologue[i]);
    for (int i = 0; i < node->epilogue_count; i++) refuse_inputs(p, node->epilogue[i]);
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i] != NULL && !reads_operand(p, node, i)) refuse(p, node->inputs[i]);
    for (int i = 0; splits_rows(node) && i < node->output_count; i++)
      if (!p->operand[node->outputs[i]->id]) refuse(p, node->inputs[0]);
  }
  for (const struct node *node = graph->first; node != NULL; node = node->next)
    for (int i = 0; splits_rows(node) && i < node->output_count; i++)
      if (!p->operand[node->inputs[0]->id]) refuse(p, node->outputs[i]);
}
