/* Requires: nothing; better after every pass that matches plain ops.
 * Ensures: an elementwise op that is the only reader of a MatMul, Attention, Transpose or other elementwise op is its epilogue,
 *          when its other operand is a constant scalar, a constant for each column or for each row and column, or a value of
 *          exactly the result's shape that is computed before the host. Of two hosts that could take an op the later has it.
 * Breaks: plain-op patterns: passes after this one meet fused nodes. */
#include "passes/passes.h"
#include "passes/rewrite.h"

static bool can_host(const struct node *node) {
  if (node->output_count != 1 || node->outputs[0] == NULL) return false;
  if ((op_info(node->op)->flags & OP_ELEMENTWISE) != 0) return true;
  return node->op == OP_mat_mul || node->op == OP_attention || node->op == OP_transpose;
}

static bool precedes(const struct node *a, const struct node *b) {
  for (const struct node *node = a->next; node != NULL; node = node->next)
    if (node == b) return true;
  return false;
}

/* One element, or the trailing axes of the result in full and 1 before: a scalar, a row, or a table of rows. */
static bool repeats_over(const struct value *constant, const struct value *result) {
  int rank = constant->shape.rank, lead = result->shape.rank - rank, axis = rank;
  if (lead < 0 || constant->dtype != result->dtype) return false;
  if (shape_elements(&constant->shape) == 1) return true;
  while (axis > 0 && constant->shape.dim[axis - 1] == result->shape.dim[lead + axis - 1]) axis--;
  for (int i = 0; i < axis; i++)
    if (constant->shape.dim[i] != 1) return false;
  return true;
}

static bool operand_fits(const struct node *host, const struct value *operand, const struct value *result) {
  if (value_is_constant(operand)) return repeats_over(operand, result);
  if (operand->dtype != result->dtype || operand->batched != result->batched || !shape_equal(&operand->shape, &result->shape))
    return false;
  return operand->producer == NULL ? operand->data == NULL : precedes(operand->producer, host);
}

/* The index of the host's result among the inputs of `node`, or -1 when it cannot be fused. */
static int running_input(const struct node *host, const struct node *node) {
  const struct value *result = host->outputs[0], *output = node->outputs[0];
  if ((op_info(node->op)->flags & OP_ELEMENTWISE) == 0 || !node_plain(node)) return -1;
  if (output->batched != result->batched || !shape_equal(&output->shape, &result->shape)) return -1;
  if (node->input_count == 1) return 0;
  int running = node->inputs[0] == result ? 0 : 1;
  bool commutes = node->op == OP_add || node->op == OP_mul || node->op == OP_max || node->op == OP_min;
  if (node->inputs[1 - running] == result || (running == 1 && !commutes)) return -1;
  return operand_fits(host, node->inputs[1 - running], result) ? running : -1;
}

enum status pass_fuse_epilogue(struct graph *graph) {
  for (struct node *host = graph->first; host != NULL; host = host->next) {
    while (can_host(host)) {
      struct node *user = graph_single_user(graph, host->outputs[0]);
      int running = user != NULL ? running_input(host, user) : -1;
      if (running < 0) break;
      graph_fuse_epilogue(graph, host, user, running);
    }
  }
  graph_sweep_values(graph);
  return STATUS_OK;
}
