#include "ir/ops.h"

#include "ops/op.h"

#include <string.h>

static enum status check_attrs(struct graph *graph, const struct node *node) {
  const struct op_info *info = op_info(node->op);
  for (int i = 0; i < node->attr_count; i++) {
    const struct attr_spec *spec = info->attrs;
    while (spec->name != NULL && strcmp(spec->name, node->attrs[i].name) != 0) spec++;
    if (spec->name == NULL) return op_fail(graph, node, "has no attribute '%s'", node->attrs[i].name);
    if (spec->kind != node->attrs[i].kind) {
      static const char *const KINDS[] = {"an integer", "a number", "a list of integers", "a list of numbers", "a string"};
      return op_fail(graph, node, "attribute '%s': expected %s", spec->name, KINDS[spec->kind]);
    }
  }
  for (const struct attr_spec *spec = info->attrs; spec->name != NULL; spec++)
    if (spec->required && node_attr(node, spec->name) == NULL)
      return op_fail(graph, node, "attribute '%s' is missing", spec->name);
  return STATUS_OK;
}

static enum status check_arity(struct graph *graph, const struct node *node) {
  const struct op_info *info = op_info(node->op);
  if (node->input_count < info->input_min || (info->input_max >= 0 && node->input_count > info->input_max))
    return info->input_max == info->input_min
               ? op_fail(graph, node, "has %d inputs, expected %d", node->input_count, info->input_min)
           : info->input_max < 0
               ? op_fail(graph, node, "has %d inputs, expected at least %d", node->input_count, info->input_min)
               : op_fail(graph, node, "has %d inputs, expected %d to %d", node->input_count, info->input_min, info->input_max);
  if (node->output_count < info->output_min || (info->output_max >= 0 && node->output_count > info->output_max))
    return op_fail(graph, node, "has %d outputs, expected %d", node->output_count, info->output_min);
  for (int i = 0; i < node->input_count; i++) {
    const struct value *value = node->inputs[i];
    if (value == NULL) {
      if (i < info->input_min || info->input_max < 0) return op_fail(graph, node, "input %d is missing", i);
      continue;
    }
    if (!shape_valid(&value->shape, value->data != NULL ? 0 : 1))
      return op_fail(graph, node, "input %d '%s' has no valid shape", i, value->name);
    /* Element 0 of such a constant stands for N, which only a target shape can say. */
    bool target_shape = i == 1 && (node->op == OP_reshape || node->op == OP_expand);
    if (value->data != NULL && value->batched && !target_shape)
      return op_fail(graph, node, "input %d '%s' holds the batch size, which only Reshape and Expand can use", i, value->name);
  }
  return STATUS_OK;
}

static enum status infer_plain(struct graph *graph, struct node *node) {
  TRY(check_arity(graph, node));
  TRY(check_attrs(graph, node));
  return op_info(node->op)->infer(graph, node);
}

static struct node plain_copy(struct arena *scratch, const struct node *node, struct value *running) {
  struct node plain = *node;
  plain.prologue_count = plain.epilogue_count = 0;
  plain.inputs = arena_array(scratch, (size_t)node->input_count, sizeof(struct value *));
  for (int i = 0; i < node->input_count; i++) {
    plain.inputs[i] = node->inputs[i];
    if (running == NULL || plain.inputs[i] != NULL) continue;
    plain.inputs[i] = running;
    running = NULL;
  }
  return plain;
}

static void give_output(struct arena *scratch, struct node *plain, const char *name) {
  struct value *between = arena_alloc(scratch, sizeof *between);
  between->name = name;
  between->id = -1;
  between->producer = plain;
  plain->outputs = arena_alloc(scratch, sizeof(struct value *));
  plain->outputs[0] = between;
  plain->output_count = 1;
}

struct node *node_unfuse(const struct node *node, struct arena *scratch, int *out_count) {
  int count = node->prologue_count + 1 + node->epilogue_count;
  struct node *plain = arena_array(scratch, (size_t)count, sizeof *plain);
  const char *name = node->output_count > 0 && node->outputs[0] != NULL ? node->outputs[0]->name : "";
  struct value *running = NULL;
  for (int i = 0; i < count; i++) {
    int after = i - node->prologue_count;
    if (after < 0) {
      plain[i] = plain_copy(scratch, node->prologue[i], i == 0 ? node->inputs[0] : running);
    } else if (after == 0) {
      plain[i] = plain_copy(scratch, node, NULL);
      if (running != NULL) plain[i].inputs[0] = running;
    } else {
      plain[i] = plain_copy(scratch, node->epilogue[after - 1], running);
    }
    if (i < count - 1) {
      give_output(scratch, &plain[i], name);
      running = plain[i].outputs[0];
    } else {
      plain[i].outputs = node->outputs;
      plain[i].output_count = node->output_count;
    }
  }
  *out_count = count;
  return plain;
}

enum status infer_node(struct graph *graph, struct node *node) {
  if (node->prologue_count == 0 && node->epilogue_count == 0) return infer_plain(graph, node);
  struct arena scratch;
  arena_init(&scratch);
  int count;
  struct node *plain = node_unfuse(node, &scratch, &count);
  enum status status = STATUS_OK;
  for (int i = 0; i < count && status == STATUS_OK; i++) status = infer_plain(graph, &plain[i]);
  arena_deinit(&scratch);
  return status;
}

enum status infer_graph(struct graph *graph) {
  for (struct node *node = graph->first; node != NULL; node = node->next) TRY(infer_node(graph, node));
  return STATUS_OK;
}
