/* Requires: canonical; MatMul with constant B (and Add of a constant bias) whose result only a Split of its columns reads.
 * Ensures: where the parts are needed for different rows, each part is a MatMul of its own, over a slice of the weight (its own
 *          memory, for a transposed weight).
 * Breaks: nothing. */
#include "passes/demand.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

static bool needs_differ(const struct node *split, const struct rows *needs) {
  for (int i = 1; i < split->output_count; i++)
    if (!rows_equal(needs[split->outputs[i]->id], needs[split->outputs[0]->id])) return true;
  return false;
}

/* The constant that an Add gives to each column of `x`. */
static struct value *column_bias(const struct node *add, struct value **out_x) {
  struct value *bias;
  *out_x = operand_beside_constant(add, &bias, NULL);
  if (*out_x == NULL || constant_floats(bias) == NULL || bias->shape.rank < 1) return NULL;
  return shape_elements(&bias->shape) == last_dim(*out_x) && last_dim(bias) == last_dim(*out_x) ? bias : NULL;
}

static void split_projection(struct graph *graph, struct node *split, const struct rows *needs) {
  int rank = split->inputs[0]->shape.rank;
  int64_t sizes[RANK_MAX], start = 0;
  if (rank != 3 || node_axis(split, rank) != rank - 1 || !split_sizes(split, sizes, RANK_MAX) || !needs_differ(split, needs))
    return;
  struct value *product = split->inputs[0], *bias = NULL;
  if (graph_single_user(graph, product) != split) return;
  const struct node *add = producer_of(product, OP_add);
  if (add != NULL) {
    bias = column_bias(add, &product);
    if (bias == NULL || graph_single_user(graph, product) != add) return;
  }
  const struct node *matmul = producer_of(product, OP_mat_mul);
  struct weight_matrix weight;
  if (matmul == NULL || matmul->inputs[0]->shape.rank != 3 || !matmul_weight(matmul, &weight)) return;

  for (int i = 0; i < split->output_count; i++) {
    struct value *output = split->outputs[i];
    int64_t end = start + sizes[i];
    struct value *b = slice_weight(graph, split, &weight, start, end, arena_printf(graph->arena, "%s.weight", output->name));
    struct value *part = build_binary(graph, split, OP_mat_mul, matmul->inputs[0], b, output->name);
    if (bias != NULL)
      part =
          build_binary(graph, split, OP_add, part, slice_constant(graph, bias, bias->shape.rank - 1, start, end), output->name);
    replace_value(graph, output, part);
    start = end;
  }
}

enum status pass_split_projections(struct graph *graph) {
  sweep_dead(graph);
  const struct rows *needs = analyze_demand(graph);
  for (struct node *node = graph->first; node != NULL; node = node->next)
    if (node->op == OP_split && node_plain(node)) split_projection(graph, node, needs);
  sweep_dead(graph);
  return STATUS_OK;
}
