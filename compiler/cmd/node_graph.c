#include "cmd/node_graph.h"

#include "ir/ops.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

bool node_computes(const struct node *node) {
  return (op_info(node->op)->flags & OP_MOVES) == 0 || node->epilogue_count > 0;
}

/* Where nodes get exact operands from. */
struct source {
  struct graph *graph;
  const struct node_values *values;
  struct value *input;     /* (N, stride) */
  struct value **operands; /* by id of the value that they stand for; NULL: not made yet */
  struct node *first;      /* operands are made before it */
};

static struct value *exact_operand(struct source *source, struct value *value) {
  struct graph *graph = source->graph;
  if (value == NULL || value->producer == NULL || !node_computes(value->producer)) return value;
  if (source->operands[value->id] != NULL) return source->operands[value->id];
  const struct node_value *exact = node_values_find(source->values, value->name);
  if (exact == NULL) return value; /* the same for all images, or no float */
  const char *name = arena_printf(graph->arena, "%s.exact", value->name);
  int64_t begin = (int64_t)exact->offset, end = begin + (int64_t)exact->elements;
  struct value *part = build_slice(graph, source->first, source->input, 1, begin, end, name);
  return source->operands[value->id] = build_reshape(graph, source->first, part, &value->shape, name);
}

static void read_exact(struct source *source, struct node *node) {
  for (int i = 0; i < node->input_count; i++) {
    struct value *operand = exact_operand(source, node->inputs[i]);
    if (operand != node->inputs[i]) node_set_input(node, i, operand);
  }
  for (int i = 0; i < node->prologue_count; i++) read_exact(source, node->prologue[i]);
  for (int i = 0; i < node->epilogue_count; i++) read_exact(source, node->epilogue[i]);
}

static enum status add_exact_input(struct graph *graph, const struct node_values *exact, struct arena *arena) {
  if (graph->input_count == GRAPH_IO_MAX)
    return diag_fail(graph->diag, STATUS_INPUT, "%s: has %d inputs; single nodes can be measured with %d at most", graph->file,
                     graph->input_count, GRAPH_IO_MAX - 1);
  struct shape shape = {2, {1, (int64_t)exact->stride}};
  struct source source = {.graph = graph, .values = exact, .first = graph->first};
  source.operands = arena_array(arena, (size_t)graph->value_count, sizeof(struct value *));
  source.input = graph_add_value(graph, "exact", DTYPE_F32, &shape, true);
  graph->inputs[graph->input_count++] = source.input;
  for (struct node *node = source.first; node != NULL; node = node->next) read_exact(&source, node);
  return STATUS_OK;
}

enum status node_graph_make(const struct graph *fused, const struct node_value *list, int count,
                            const struct node_values *exact, struct arena *arena, struct graph *out_graph, struct diag *diag) {
  graph_copy(fused, arena, out_graph);
  out_graph->diag = diag;
  if (exact != NULL) TRY(add_exact_input(out_graph, exact, arena));
  struct value **parts = arena_array(arena, (size_t)count, sizeof(struct value *));
  for (int i = 0; i < count; i++) {
    struct shape flat = {2, {1, (int64_t)list[i].elements}};
    const char *name = arena_printf(arena, "%s.flat", list[i].value->name);
    parts[i] = build_reshape(out_graph, NULL, graph_find(out_graph, list[i].value->name), &flat, name);
  }
  struct node *concat = build_node(out_graph, NULL, OP_concat, parts, count, "results");
  node_set_int(out_graph, concat, "axis", 1);
  out_graph->outputs[0] = finish_node(out_graph, concat);
  out_graph->output_count = 1;
  if (diag->status != STATUS_OK) return diag->status; /* of a node that does not infer */
  TRY(pass_eliminate_dead(out_graph));
  return verify_graph(out_graph, "the choice of outputs");
}
