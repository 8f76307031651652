#include "ir/graph.h"

static struct value **map_values(struct graph *copy, struct value **map, struct value *const *from, int count) {
  struct value **to = arena_array(copy->arena, (size_t)count, sizeof(struct value *));
  for (int i = 0; i < count; i++) to[i] = from[i] == NULL ? NULL : map[from[i]->id];
  return to;
}

static void copy_attrs(struct graph *copy, const struct node *from, struct node *to) {
  for (int i = 0; i < from->attr_count; i++) {
    const struct attr *attr = &from->attrs[i];
    switch (attr->kind) {
    case ATTR_INT:
      node_set_int(copy, to, attr->name, attr->i);
      break;
    case ATTR_FLOAT:
      node_set_float(copy, to, attr->name, attr->f);
      break;
    case ATTR_INTS:
      node_set_ints(copy, to, attr->name, attr->ints, attr->count);
      break;
    case ATTR_FLOATS:
      node_set_floats(copy, to, attr->name, attr->floats, attr->count);
      break;
    case ATTR_STRING:
      node_set_string(copy, to, attr->name, attr->string);
      break;
    }
  }
}

static struct node **copy_chain(struct graph *copy, struct value **map, struct node *const *chain, int count) {
  struct node **to = arena_array(copy->arena, (size_t)count, sizeof(struct node *));
  for (int i = 0; i < count; i++) {
    to[i] = arena_alloc(copy->arena, sizeof *to[i]);
    to[i]->op = chain[i]->op;
    to[i]->id = chain[i]->id;
    to[i]->input_count = chain[i]->input_count;
    to[i]->inputs = map_values(copy, map, chain[i]->inputs, chain[i]->input_count);
    copy_attrs(copy, chain[i], to[i]);
  }
  return to;
}

static void copy_node(struct graph *copy, struct value **map, const struct node *from) {
  struct value **inputs = map_values(copy, map, from->inputs, from->input_count);
  struct value **outputs = map_values(copy, map, from->outputs, from->output_count);
  struct node *to = graph_add_node(copy, NULL, from->op, inputs, from->input_count, outputs, from->output_count);
  to->id = from->id;
  copy_attrs(copy, from, to);
  to->prologue = copy_chain(copy, map, from->prologue, from->prologue_count);
  to->prologue_count = from->prologue_count;
  to->epilogue = copy_chain(copy, map, from->epilogue, from->epilogue_count);
  to->epilogue_count = from->epilogue_count;
}

void graph_copy(const struct graph *graph, struct arena *arena, struct graph *out_copy) {
  graph_init(out_copy, arena, graph->diag, graph->name, graph->file);
  struct value **map = arena_array(arena, (size_t)graph->value_count, sizeof(struct value *));
  for (const struct value *value = graph->values; value != NULL; value = value->next) {
    map[value->id] = graph_add_value(out_copy, value->name, value->dtype, &value->shape, value->batched);
    map[value->id]->data = value->data;
  }
  for (const struct node *node = graph->first; node != NULL; node = node->next) copy_node(out_copy, map, node);
  out_copy->node_count = graph->node_count;
  out_copy->input_count = graph->input_count;
  out_copy->output_count = graph->output_count;
  for (int i = 0; i < graph->input_count; i++) out_copy->inputs[i] = map[graph->inputs[i]->id];
  for (int i = 0; i < graph->output_count; i++) out_copy->outputs[i] = map[graph->outputs[i]->id];
  out_copy->preprocess = graph->preprocess;
  out_copy->label_count = graph->label_count;
  out_copy->labels = arena_array(arena, (size_t)graph->label_count, sizeof(const char *));
  for (int i = 0; i < graph->label_count; i++) out_copy->labels[i] = arena_strdup(arena, graph->labels[i]);
}
