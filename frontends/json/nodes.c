#include "ir/ops.h"
#include "json/reader.h"

#include <string.h>

enum { NODES_MAX = 65536, NODE_IO_MAX = 256, VALUE_ELEMENTS_MAX = 1 << 28 };

static const char *op_name(const void *context, size_t i) {
  (void)context;
  return op_info((enum op)i)->name;
}

static bool has_output(const cJSON *node, const char *name) {
  const cJSON *item;
  cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(node, "outputs")) {
    if (cJSON_IsString(item) && !strcmp(item->valuestring, name)) return true;
  }
  return false;
}

static enum status reject_input(const struct reader *r, int index, const char *name) {
  int i = 0;
  const cJSON *node;
  cJSON_ArrayForEach(node, r->nodes) {
    if (has_output(node, name)) return reject_node(r, "inputs[%d]: \"%s\" is used before nodes[%d] makes it", index, name, i);
    i++;
  }
  const char *nearest = weights_nearest(r->weights, name);
  if (!nearest) nearest = reader_nearest_value(r, name);
  const char *blob =
      r->blob ? arena_printf(r->graph->arena, ", nor one of the %zu tensors of %s", r->weights->count, r->blob) : "";
  return reject_node(r, "inputs[%d]: \"%s\" is neither an input of the graph nor an output of a node%s%s", index, name, blob,
                     reader_hint(r, nearest));
}

/* A tensor of the blob becomes a constant when the first node reads it. */
static enum status read_weight(const struct reader *r, const struct weight *weight, struct value **out_value) {
  enum dtype dtype = weight_graph_dtype(weight);
  if (shape_elements(&weight->shape) == 0) return reject_node(r, "tensor \"%s\" of %s has no elements", weight->name, r->blob);
  TRY(weights_check_finite(weight, r->blob, r->diag));
  const void *elements = weight_elements(weight, dtype, r->graph->arena);
  *out_value = graph_add_constant(r->graph, weight->name, dtype, &weight->shape, elements);
  return STATUS_OK;
}

static enum status read_input(const struct reader *r, const cJSON *item, int index, const struct op_info *info,
                              struct value **out_value) {
  *out_value = NULL;
  if (!cJSON_IsString(item)) return reject_node(r, "inputs[%d]: expected a name, found %s", index, json_kind(item));
  const char *name = item->valuestring;
  if (!*name) return index < info->input_min ? reject_node(r, "inputs[%d] is required", index) : STATUS_OK;
  *out_value = graph_find(r->graph, name);
  if (*out_value) return STATUS_OK;
  const struct weight *weight = weights_find(r->weights, name);
  return weight ? read_weight(r, weight, out_value) : reject_input(r, index, name);
}

static enum status read_output(const struct reader *r, const cJSON *item, int index, const struct op_info *info,
                               struct value **out_value) {
  *out_value = NULL;
  bool omitted = cJSON_IsString(item) && !*item->valuestring && index >= info->output_min;
  if (omitted) return STATUS_OK;
  const char *name;
  TRY(reader_new_name(r, item, arena_printf(r->graph->arena, "%s: outputs[%d]: ", r->label, index), &name));
  *out_value = graph_add_value(r->graph, name, DTYPE_F32, NULL, false);
  return STATUS_OK;
}

static enum status check_arity(const struct reader *r, const cJSON *array, const char *what, int min, int max) {
  int count = cJSON_GetArraySize(array);
  if (!cJSON_IsArray(array)) return reject_node(r, "%s: expected an array, found %s", what, json_kind(array));
  if (count > NODE_IO_MAX) return reject_node(r, "%d %s, expected at most %d", count, what, NODE_IO_MAX);
  if (count >= min && (max < 0 || count <= max)) return STATUS_OK;
  if (min == max) return reject_node(r, "%d %s, expected %d", count, what, min);
  if (max < 0) return reject_node(r, "%d %s, expected at least %d", count, what, min);
  return reject_node(r, "%d %s, expected %d to %d", count, what, min, max);
}

/* A hostile Expand asks for more memory than any machine has; no activation of a real model comes near. */
static enum status check_sizes(const struct reader *r, const struct node *node) {
  for (int i = 0; i < node->output_count; i++) {
    int64_t elements = 1;
    const struct value *value = node->outputs[i];
    for (int axis = 0; value && axis < value->shape.rank; axis++)
      if (__builtin_mul_overflow(elements, value->shape.dim[axis], &elements) || elements > VALUE_ELEMENTS_MAX)
        return reject_node(r, "\"%s\" has more than %d elements", value->name, VALUE_ELEMENTS_MAX);
  }
  return STATUS_OK;
}

static enum status add_node(const struct reader *r, enum op op, const cJSON *inputs, const cJSON *outputs, const cJSON *attrs) {
  struct value *in[NODE_IO_MAX], *out[NODE_IO_MAX];
  const struct op_info *info = op_info(op);
  int in_count = 0, out_count = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, inputs) {
    TRY(read_input(r, item, in_count, info, &in[in_count]));
    in_count++;
  }
  cJSON_ArrayForEach(item, outputs) {
    TRY(read_output(r, item, out_count, info, &out[out_count]));
    out_count++;
  }
  struct node *node = graph_add_node(r->graph, NULL, op, in, in_count, out, out_count);
  TRY(reader_attrs(r, node, attrs));
  TRY(infer_node(r->graph, node));
  return check_sizes(r, node);
}

static const char *node_label(const struct reader *r, int index, const cJSON *op, const cJSON *outputs) {
  struct arena *arena = r->graph->arena;
  const cJSON *first = cJSON_GetArrayItem(outputs, 0);
  if (!cJSON_IsString(op)) return arena_printf(arena, "nodes[%d]", index);
  if (!cJSON_IsString(first)) return arena_printf(arena, "nodes[%d] (%.64s)", index, op->valuestring);
  return arena_printf(arena, "nodes[%d] (%.64s -> \"%.200s\")", index, op->valuestring, first->valuestring);
}

static enum status read_node(struct reader *r, const cJSON *item, int index) {
  static const char *const keys[] = {"op", "inputs", "outputs", "attrs", NULL};
  const cJSON *name = cJSON_GetObjectItemCaseSensitive(item, "op");
  const cJSON *inputs = cJSON_GetObjectItemCaseSensitive(item, "inputs");
  const cJSON *outputs = cJSON_GetObjectItemCaseSensitive(item, "outputs");
  const cJSON *attrs = cJSON_GetObjectItemCaseSensitive(item, "attrs");
  r->label = node_label(r, index, name, outputs);
  if (!cJSON_IsObject(item)) return reject_node(r, "expected an object, found %s", json_kind(item));
  TRY(reader_check_keys(r, item, arena_printf(r->graph->arena, "%s: ", r->label), keys));
  if (!cJSON_IsString(name)) return reject_node(r, "op: expected a string, found %s", json_kind(name));
  enum op op;
  if (!op_parse(name->valuestring, &op))
    return reject_node(r, "unknown op%s", reader_hint(r, frontend_nearest(name->valuestring, op_name, NULL, OP_COUNT)));
  const struct op_info *info = op_info(op);
  TRY(check_arity(r, inputs, "inputs", info->input_min, info->input_max));
  TRY(check_arity(r, outputs, "outputs", info->output_min, info->output_max));
  if (attrs && !cJSON_IsObject(attrs)) return reject_node(r, "attrs: expected an object, found %s", json_kind(attrs));
  if (op != OP_constant) return add_node(r, op, inputs, outputs, attrs);
  const char *where = arena_printf(r->graph->arena, "%s: outputs[0]: ", r->label), *output;
  TRY(reader_new_name(r, cJSON_GetArrayItem(outputs, 0), where, &output));
  return reader_constant(r, output, attrs);
}

enum status reader_nodes(struct reader *r) {
  if (!cJSON_IsArray(r->nodes)) return reject(r, "nodes: expected an array, found %s", json_kind(r->nodes));
  if (cJSON_GetArraySize(r->nodes) > NODES_MAX) return reject(r, "more than %d nodes", NODES_MAX);
  int i = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, r->nodes) TRY(read_node(r, item, i++));
  return STATUS_OK;
}
