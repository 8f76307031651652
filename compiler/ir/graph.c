#include "ir/graph.h"

#include <assert.h>
#include <string.h>

void graph_init(struct graph *graph, struct arena *arena, struct diag *diag, const char *name, const char *file) {
  *graph = (struct graph){.arena = arena, .diag = diag};
  graph->name = arena_strdup(arena, name);
  graph->file = arena_strdup(arena, file);
}

/* FNV-1a */
static size_t hash_name(const char *name) {
  uint64_t hash = 14695981039346656037u;
  for (; *name != '\0'; name++) hash = (hash ^ (unsigned char)*name) * 1099511628211u;
  return (size_t)(hash ^ hash >> 32);
}

static struct value **name_slot(const struct graph *graph, const char *name) {
  size_t at = hash_name(name) & (graph->name_capacity - 1);
  while (graph->name_index[at] != NULL && strcmp(graph->name_index[at]->name, name) != 0)
    at = (at + 1) & (graph->name_capacity - 1);
  return &graph->name_index[at];
}

static void grow_name_index(struct graph *graph) {
  if ((size_t)graph->value_count * 2 < graph->name_capacity) return;
  graph->name_capacity = graph->name_capacity == 0 ? 256 : graph->name_capacity * 2;
  graph->name_index = arena_array(graph->arena, graph->name_capacity, sizeof(struct value *));
  for (struct value *value = graph->values; value != NULL; value = value->next) *name_slot(graph, value->name) = value;
}

struct value *graph_find(const struct graph *graph, const char *name) {
  return graph->name_capacity == 0 ? NULL : *name_slot(graph, name);
}

struct value *graph_add_value(struct graph *graph, const char *name, enum dtype dtype, const struct shape *shape,
                              bool batched) {
  const char *unique = name;
  for (int i = 1; graph_find(graph, unique) != NULL; i++) unique = arena_printf(graph->arena, "%s.%d", name, i);
  grow_name_index(graph);
  struct value *value = arena_alloc(graph->arena, sizeof *value);
  value->name = unique == name ? arena_strdup(graph->arena, name) : unique;
  value->dtype = dtype;
  if (shape != NULL) value->shape = *shape;
  value->batched = batched;
  value->id = graph->value_count++;
  if (graph->last_value != NULL)
    graph->last_value->next = value;
  else
    graph->values = value;
  graph->last_value = value;
  *name_slot(graph, value->name) = value;
  return value;
}

struct value *graph_add_constant(struct graph *graph, const char *name, enum dtype dtype, const struct shape *shape,
                                 const void *data) {
  assert(data != NULL);
  struct value *value = graph_add_value(graph, name, dtype, shape, false);
  value->data = data;
  return value;
}

static void link_node(struct graph *graph, struct node *node, struct node *before) {
  node->next = before;
  node->prev = before != NULL ? before->prev : graph->last;
  if (node->prev != NULL)
    node->prev->next = node;
  else
    graph->first = node;
  if (before != NULL)
    before->prev = node;
  else
    graph->last = node;
}

static void unlink_node(struct graph *graph, struct node *node) {
  if (node->prev != NULL)
    node->prev->next = node->next;
  else
    graph->first = node->next;
  if (node->next != NULL)
    node->next->prev = node->prev;
  else
    graph->last = node->prev;
  node->prev = node->next = NULL;
}

static struct value **copy_values(struct graph *graph, struct value *const *values, int count) {
  struct value **copy = arena_array(graph->arena, (size_t)count, sizeof(struct value *));
  if (count > 0) memcpy(copy, values, (size_t)count * sizeof(struct value *));
  return copy;
}

struct node *graph_add_node(struct graph *graph, struct node *before, enum op op, struct value *const *inputs, int input_count,
                            struct value *const *outputs, int output_count) {
  struct node *node = arena_alloc(graph->arena, sizeof *node);
  node->op = op;
  node->inputs = copy_values(graph, inputs, input_count);
  node->input_count = input_count;
  node->outputs = copy_values(graph, outputs, output_count);
  node->output_count = output_count;
  for (int i = 0; i < output_count; i++)
    if (node->outputs[i] != NULL) node->outputs[i]->producer = node;
  node->id = graph->node_count++;
  link_node(graph, node, before);
  return node;
}

void graph_remove_node(struct graph *graph, struct node *node) {
  for (int i = 0; i < node->output_count; i++)
    if (node->outputs[i] != NULL && node->outputs[i]->producer == node) node->outputs[i]->producer = NULL;
  unlink_node(graph, node);
}

void graph_move_node(struct graph *graph, struct node *node, struct node *before) {
  if (before == node) return;
  unlink_node(graph, node);
  link_node(graph, node, before);
}

void node_set_input(struct node *node, int index, struct value *value) {
  assert(index >= 0 && index < node->input_count);
  node->inputs[index] = value;
}

static bool inputs_replace(struct node *node, struct value *from, struct value *to) {
  bool any = false;
  for (int i = 0; i < node->input_count; i++) {
    if (node->inputs[i] != from) continue;
    node->inputs[i] = to;
    any = true;
  }
  return any;
}

void graph_replace_uses(struct graph *graph, struct value *from, struct value *to) {
  assert(from != NULL && to != NULL);
  for (struct node *node = graph->first; node != NULL; node = node->next) {
    inputs_replace(node, from, to);
    for (int i = 0; i < node->prologue_count; i++) inputs_replace(node->prologue[i], from, to);
    for (int i = 0; i < node->epilogue_count; i++) inputs_replace(node->epilogue[i], from, to);
  }
  for (int i = 0; i < graph->output_count; i++)
    if (graph->outputs[i] == from) graph->outputs[i] = to;
}

static int inputs_count(const struct node *node, const struct value *value) {
  int uses = 0;
  for (int i = 0; i < node->input_count; i++) uses += node->inputs[i] == value;
  return uses;
}

static int node_uses(const struct node *node, const struct value *value) {
  int uses = inputs_count(node, value);
  for (int i = 0; i < node->prologue_count; i++) uses += inputs_count(node->prologue[i], value);
  for (int i = 0; i < node->epilogue_count; i++) uses += inputs_count(node->epilogue[i], value);
  return uses;
}

static int output_uses(const struct graph *graph, const struct value *value) {
  int uses = 0;
  for (int i = 0; i < graph->output_count; i++) uses += graph->outputs[i] == value;
  return uses;
}

int graph_count_uses(const struct graph *graph, const struct value *value) {
  int uses = output_uses(graph, value);
  for (const struct node *node = graph->first; node != NULL; node = node->next) uses += node_uses(node, value);
  return uses;
}

struct node *graph_single_user(const struct graph *graph, const struct value *value) {
  if (output_uses(graph, value) > 0) return NULL;
  struct node *user = NULL;
  for (struct node *node = graph->first; node != NULL; node = node->next) {
    if (node_uses(node, value) == 0) continue;
    if (user != NULL) return NULL;
    user = node;
  }
  return user;
}

static struct node **grow_chain(struct graph *graph, struct node *const *chain, int count, int at) {
  struct node **grown = arena_array(graph->arena, (size_t)count + 1, sizeof(struct node *));
  for (int i = 0; i < count; i++) grown[i < at ? i : i + 1] = chain[i];
  return grown;
}

void graph_fuse_epilogue(struct graph *graph, struct node *host, struct node *fused, int running) {
  assert(host->output_count == 1 && fused->inputs[running] == host->outputs[0]);
  assert(fused->prologue_count == 0 && fused->epilogue_count == 0);
  unlink_node(graph, fused);
  host->outputs[0]->producer = NULL;
  fused->inputs[running] = NULL;
  host->outputs = fused->outputs;
  host->output_count = fused->output_count;
  for (int i = 0; i < host->output_count; i++)
    if (host->outputs[i] != NULL) host->outputs[i]->producer = host;
  fused->outputs = NULL;
  fused->output_count = 0;
  host->epilogue = grow_chain(graph, host->epilogue, host->epilogue_count, host->epilogue_count);
  host->epilogue[host->epilogue_count++] = fused;
}

void graph_fuse_prologue(struct graph *graph, struct node *host, struct node *fused, int running) {
  assert(fused->output_count == 1 && host->inputs[0] == fused->outputs[0]);
  assert(fused->prologue_count == 0 && fused->epilogue_count == 0);
  unlink_node(graph, fused);
  fused->outputs[0]->producer = NULL;
  host->inputs[0] = fused->inputs[running];
  fused->inputs[running] = NULL;
  fused->outputs = NULL;
  fused->output_count = 0;
  host->prologue = grow_chain(graph, host->prologue, host->prologue_count, 0);
  host->prologue[0] = fused;
  host->prologue_count++;
}

void graph_swap_names(struct graph *graph, struct value *a, struct value *b) {
  struct value **slot_a = name_slot(graph, a->name), **slot_b = name_slot(graph, b->name);
  *slot_a = b;
  *slot_b = a;
  const char *name = a->name;
  a->name = b->name;
  b->name = name;
}

static void mark_values(bool *named, struct value *const *values, int count) {
  for (int i = 0; i < count; i++)
    if (values[i] != NULL) named[values[i]->id] = true;
}

static void mark_node(bool *named, const struct node *node) {
  mark_values(named, node->inputs, node->input_count);
  mark_values(named, node->outputs, node->output_count);
  for (int i = 0; i < node->prologue_count; i++) mark_node(named, node->prologue[i]);
  for (int i = 0; i < node->epilogue_count; i++) mark_node(named, node->epilogue[i]);
}

void graph_sweep_values(struct graph *graph) {
  bool *named = arena_array(graph->arena, (size_t)graph->value_count, sizeof *named);
  for (const struct node *node = graph->first; node != NULL; node = node->next) mark_node(named, node);
  mark_values(named, graph->inputs, graph->input_count);
  mark_values(named, graph->outputs, graph->output_count);
  struct value **link = &graph->values;
  graph->last_value = NULL;
  graph->value_count = 0;
  for (struct value *value = graph->values; value != NULL; value = value->next) {
    if (!named[value->id]) continue;
    value->id = graph->value_count++;
    *link = value;
    link = &value->next;
    graph->last_value = value;
  }
  *link = NULL;
  if (graph->name_capacity == 0) return;
  memset(graph->name_index, 0, graph->name_capacity * sizeof(struct value *));
  for (struct value *value = graph->values; value != NULL; value = value->next) *name_slot(graph, value->name) = value;
}
