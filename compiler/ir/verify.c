#include "ir/ops.h"

#include "ops/op.h"

#include <stdlib.h>
#include <string.h>

struct verifier {
  struct graph *graph;
  const char *after;
  struct arena *scratch;
  const struct value **by_id;
  bool *defined; /* by value id: an input, a constant, or the output of a node already passed */
};

#define FAIL(verifier, ...)                                                                                        \
  diag_fail((verifier)->graph->diag, STATUS_INPUT, "%s: after %s: %s", (verifier)->graph->file, (verifier)->after, \
            arena_printf((verifier)->scratch, __VA_ARGS__))

static const char *node_label(const struct verifier *verifier, const struct node *node) {
  const char *name = node->output_count > 0 && node->outputs[0] != NULL ? node->outputs[0]->name : "";
  return arena_printf(verifier->scratch, "node '%s' (%s)", name, op_info(node->op)->name);
}

static enum status verify_values(const struct verifier *verifier) {
  const struct graph *graph = verifier->graph;
  int count = 0;
  const struct value *last = NULL;
  for (const struct value *value = graph->values; value != NULL; last = value, value = value->next) {
    if (value->id != count || count >= graph->value_count)
      return FAIL(verifier, "value '%s' has id %d, expected %d of %d", value->name, value->id, count, graph->value_count);
    verifier->by_id[count++] = value;
    if (graph_find(graph, value->name) != value)
      return FAIL(verifier, "value '%s' is not the only one of its name", value->name);
    if (value->data != NULL && value->producer != NULL) return FAIL(verifier, "constant '%s' has a producer", value->name);
    if (value->data != NULL) verifier->defined[value->id] = true;
    if (value->data != NULL && !shape_valid(&value->shape, 0))
      return FAIL(verifier, "constant '%s' has no valid shape", value->name);
    if (value->batched && value->shape.rank < 1) return FAIL(verifier, "batched value '%s' has no axis 0", value->name);
  }
  if (count != graph->value_count) return FAIL(verifier, "%d values, expected %d", count, graph->value_count);
  return last == graph->last_value ? STATUS_OK : FAIL(verifier, "the last value is not the end of the list");
}

static bool belongs(const struct verifier *verifier, const struct value *value) {
  return value->id >= 0 && value->id < verifier->graph->value_count && verifier->by_id[value->id] == value;
}

static enum status verify_inputs(const struct verifier *verifier) {
  const struct graph *graph = verifier->graph;
  if (graph->input_count < 0 || graph->input_count > GRAPH_IO_MAX || graph->output_count < 1 ||
      graph->output_count > GRAPH_IO_MAX)
    return FAIL(verifier, "%d inputs and %d outputs, expected 0 to %d and 1 to %d", graph->input_count, graph->output_count,
                GRAPH_IO_MAX, GRAPH_IO_MAX);
  for (int i = 0; i < graph->input_count; i++) {
    const struct value *input = graph->inputs[i];
    if (!belongs(verifier, input)) return FAIL(verifier, "input '%s' is not a value of the graph", input->name);
    if (input->producer != NULL || input->data != NULL) return FAIL(verifier, "input '%s' is also computed", input->name);
    if (!shape_valid(&input->shape, 1)) return FAIL(verifier, "input '%s' has no valid shape", input->name);
    if (verifier->defined[input->id]) return FAIL(verifier, "input '%s' is listed twice", input->name);
    verifier->defined[input->id] = true;
  }
  return STATUS_OK;
}

static enum status verify_operands(const struct verifier *verifier, const struct node *host, const struct node *node) {
  for (int i = 0; i < node->input_count; i++) {
    const struct value *input = node->inputs[i];
    if (input == NULL) continue;
    if (!belongs(verifier, input))
      return FAIL(verifier, "%s reads '%s', which is not a value of the graph", node_label(verifier, host), input->name);
    if (verifier->defined[input->id]) continue;
    return FAIL(verifier, "%s reads '%s' before it is computed", node_label(verifier, host), input->name);
  }
  return STATUS_OK;
}

static enum status verify_fused(const struct verifier *verifier, const struct node *host, const struct node *fused) {
  if (fused->output_count != 0 || fused->prologue_count != 0 || fused->epilogue_count != 0)
    return FAIL(verifier, "%s: fused %s has outputs or fused nodes of its own", node_label(verifier, host),
                op_info(fused->op)->name);
  bool running = false;
  for (int i = 0; i < fused->input_count; i++) running = running || fused->inputs[i] == NULL;
  if (!running)
    return FAIL(verifier, "%s: fused %s does not read the running value", node_label(verifier, host), op_info(fused->op)->name);
  return verify_operands(verifier, host, fused);
}

static enum status verify_links(const struct verifier *verifier, const struct node *node) {
  const struct graph *graph = verifier->graph;
  bool prev_ok = node->prev != NULL ? node->prev->next == node : graph->first == node;
  bool next_ok = node->next != NULL ? node->next->prev == node : graph->last == node;
  if (!prev_ok || !next_ok) return FAIL(verifier, "%s is not linked to its neighbours", node_label(verifier, node));
  TRY(verify_operands(verifier, node, node));
  for (int i = 0; i < node->prologue_count; i++) TRY(verify_fused(verifier, node, node->prologue[i]));
  for (int i = 0; i < node->epilogue_count; i++) TRY(verify_fused(verifier, node, node->epilogue[i]));
  if (node->prologue_count > 0 && (node->input_count < 1 || node->inputs[0] == NULL))
    return FAIL(verifier, "%s has a prologue, but no input 0", node_label(verifier, node));
  for (int i = 0; i < node->output_count; i++) {
    const struct value *output = node->outputs[i];
    if (output == NULL) continue;
    if (!belongs(verifier, output))
      return FAIL(verifier, "%s has output '%s', which is not a value of the graph", node_label(verifier, node), output->name);
    if (output->producer != node)
      return FAIL(verifier, "%s is not the producer of its output '%s'", node_label(verifier, node), output->name);
    if (verifier->defined[output->id]) return FAIL(verifier, "'%s' is computed twice", output->name);
  }
  return STATUS_OK;
}

/* Infers into outputs that are not in the graph, and compares. */
static enum status verify_shapes(const struct verifier *verifier, const struct node *node) {
  struct node again = *node;
  again.outputs = arena_array(verifier->scratch, (size_t)node->output_count, sizeof(struct value *));
  for (int i = 0; i < node->output_count; i++) {
    if (node->outputs[i] == NULL) continue;
    again.outputs[i] = arena_alloc(verifier->scratch, sizeof(struct value));
    again.outputs[i]->name = node->outputs[i]->name;
  }
  TRY(infer_node(verifier->graph, &again));
  for (int i = 0; i < node->output_count; i++) {
    const struct value *output = node->outputs[i], *expected = again.outputs[i];
    if (output == NULL) continue;
    if (output->dtype == expected->dtype && output->batched == expected->batched &&
        shape_equal(&output->shape, &expected->shape))
      continue;
    return FAIL(verifier, "%s: output is %s, expected %s", node_label(verifier, node), op_describe(verifier->graph, output),
                op_describe(verifier->graph, expected));
  }
  return STATUS_OK;
}

static enum status verify_all(const struct verifier *verifier) {
  const struct graph *graph = verifier->graph;
  TRY(verify_values(verifier));
  TRY(verify_inputs(verifier));
  for (const struct node *node = graph->first; node != NULL; node = node->next) {
    TRY(verify_links(verifier, node));
    TRY(verify_shapes(verifier, node));
    for (int i = 0; i < node->output_count; i++)
      if (node->outputs[i] != NULL) verifier->defined[node->outputs[i]->id] = true;
  }
  for (int i = 0; i < graph->output_count; i++)
    if (!belongs(verifier, graph->outputs[i]) || !verifier->defined[graph->outputs[i]->id])
      return FAIL(verifier, "output '%s' is not computed", graph->outputs[i]->name);
  return STATUS_OK;
}

enum status verify_graph(struct graph *graph, const char *after) {
  struct arena scratch;
  arena_init(&scratch);
  struct verifier verifier = {.graph = graph, .after = after, .scratch = &scratch};
  verifier.by_id = arena_array(&scratch, (size_t)graph->value_count, sizeof(struct value *));
  verifier.defined = arena_array(&scratch, (size_t)graph->value_count, sizeof(bool));
  enum status status = verify_all(&verifier);
  arena_deinit(&scratch);
  return status;
}
