#include "ir/ops.h"

#include <assert.h>
#include <string.h>

const struct attr *node_attr(const struct node *node, const char *name) {
  for (int i = 0; i < node->attr_count; i++)
    if (strcmp(node->attrs[i].name, name) == 0) return &node->attrs[i];
  return NULL;
}

/* The slot of `name`, made when absent. */
static struct attr *attr_slot(struct graph *graph, struct node *node, const char *name) {
  for (int i = 0; i < node->attr_count; i++)
    if (strcmp(node->attrs[i].name, name) == 0) return &node->attrs[i];
  struct attr *grown = arena_array(graph->arena, (size_t)node->attr_count + 1, sizeof *grown);
  if (node->attr_count > 0) memcpy(grown, node->attrs, (size_t)node->attr_count * sizeof *grown);
  grown[node->attr_count].name = arena_strdup(graph->arena, name);
  node->attrs = grown;
  return &grown[node->attr_count++];
}

void node_set_int(struct graph *graph, struct node *node, const char *name, int64_t i) {
  struct attr *attr = attr_slot(graph, node, name);
  *attr = (struct attr){.name = attr->name, .kind = ATTR_INT, .i = i};
}

void node_set_float(struct graph *graph, struct node *node, const char *name, double f) {
  struct attr *attr = attr_slot(graph, node, name);
  *attr = (struct attr){.name = attr->name, .kind = ATTR_FLOAT, .f = f};
}

void node_set_ints(struct graph *graph, struct node *node, const char *name, const int64_t *ints, size_t count) {
  int64_t *copy = arena_array(graph->arena, count, sizeof *copy);
  if (count > 0) memcpy(copy, ints, count * sizeof *copy);
  struct attr *attr = attr_slot(graph, node, name);
  *attr = (struct attr){.name = attr->name, .kind = ATTR_INTS, .ints = copy, .count = count};
}

void node_set_floats(struct graph *graph, struct node *node, const char *name, const double *floats, size_t count) {
  double *copy = arena_array(graph->arena, count, sizeof *copy);
  if (count > 0) memcpy(copy, floats, count * sizeof *copy);
  struct attr *attr = attr_slot(graph, node, name);
  *attr = (struct attr){.name = attr->name, .kind = ATTR_FLOATS, .floats = copy, .count = count};
}

void node_set_string(struct graph *graph, struct node *node, const char *name, const char *text) {
  char *copy = arena_strdup(graph->arena, text);
  struct attr *attr = attr_slot(graph, node, name);
  *attr = (struct attr){.name = attr->name, .kind = ATTR_STRING, .string = copy};
}

static const struct attr_spec *attr_default(const struct node *node, const char *name) {
  const struct attr_spec *spec = op_info(node->op)->attrs;
  while (spec->name != NULL && strcmp(spec->name, name) != 0) spec++;
  assert(spec->name != NULL);
  return spec;
}

int64_t node_int(const struct node *node, const char *name) {
  const struct attr *attr = node_attr(node, name);
  return attr != NULL ? attr->i : attr_default(node, name)->i;
}

double node_float(const struct node *node, const char *name) {
  const struct attr *attr = node_attr(node, name);
  return attr != NULL ? attr->f : attr_default(node, name)->f;
}

const char *node_string(const struct node *node, const char *name) {
  const struct attr *attr = node_attr(node, name);
  return attr != NULL ? attr->string : attr_default(node, name)->string;
}
