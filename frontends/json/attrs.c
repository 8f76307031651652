#include "ir/ops.h"
#include "json/reader.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const char *spec_name(const void *context, size_t i) {
  return ((const struct attr_spec *)context)[i].name;
}

static size_t spec_count(const struct attr_spec *specs) {
  size_t count = 0;
  while (specs[count].name) count++;
  return count;
}

static const struct attr_spec *find_spec(const struct attr_spec *specs, const char *name) {
  for (; specs->name; specs++)
    if (!strcmp(specs->name, name)) return specs;
  return NULL;
}

static const char *kind_name(enum attr_kind kind) {
  static const char *const names[] = {"an integer", "a number", "an array of integers", "an array of numbers", "a string"};
  return names[kind];
}

/* The array's integers, or NULL when it is not one of integers. `first` counts where the integers begin. */
static int64_t *read_ints(const struct reader *r, const cJSON *array, int first) {
  int64_t *ints = arena_array(r->graph->arena, (size_t)cJSON_GetArraySize(array) + 1, sizeof *ints);
  int i = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, array) {
    if (i >= first && !json_integer(item, &ints[i])) return NULL;
    i++;
  }
  return ints;
}

static double *read_floats(const struct reader *r, const cJSON *array) {
  double *floats = arena_array(r->graph->arena, (size_t)cJSON_GetArraySize(array) + 1, sizeof *floats);
  size_t count = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, array) {
    if (!cJSON_IsNumber(item) || fabs(item->valuedouble) > (double)FLT_MAX) return NULL;
    floats[count++] = item->valuedouble;
  }
  return floats;
}

/* False when the item is not of the attribute's kind. */
static bool set_attr(const struct reader *r, struct node *node, const struct attr_spec *spec, const cJSON *item) {
  struct graph *graph = r->graph;
  size_t count = (size_t)cJSON_GetArraySize(item);
  int64_t integer, *ints;
  double *floats;
  switch (spec->kind) {
  case ATTR_INT:
    if (!json_integer(item, &integer)) return false;
    node_set_int(graph, node, spec->name, integer);
    return true;
  case ATTR_FLOAT:
    if (!cJSON_IsNumber(item) || fabs(item->valuedouble) > (double)FLT_MAX) return false;
    node_set_float(graph, node, spec->name, item->valuedouble);
    return true;
  case ATTR_INTS:
    ints = cJSON_IsArray(item) ? read_ints(r, item, 0) : NULL;
    if (ints) node_set_ints(graph, node, spec->name, ints, count);
    return ints;
  case ATTR_FLOATS:
    floats = cJSON_IsArray(item) ? read_floats(r, item) : NULL;
    if (floats) node_set_floats(graph, node, spec->name, floats, count);
    return floats;
  default:
    if (!cJSON_IsString(item)) return false;
    node_set_string(graph, node, spec->name, item->valuestring);
    return true;
  }
}

enum status reader_attrs(const struct reader *r, struct node *node, const cJSON *attrs) {
  const struct op_info *info = op_info(node->op);
  const cJSON *item;
  cJSON_ArrayForEach(item, attrs) {
    const struct attr_spec *spec = find_spec(info->attrs, item->string);
    if (!spec)
      return reject_node(r, "%s has no attribute \"%s\"%s", info->name, item->string,
                         reader_hint(r, frontend_nearest(item->string, spec_name, info->attrs, spec_count(info->attrs))));
    if (!set_attr(r, node, spec, item))
      return reject_node(r, "attribute \"%s\": expected %s", spec->name, kind_name(spec->kind));
  }
  for (const struct attr_spec *spec = info->attrs; spec->name; spec++)
    if (spec->required && !node_attr(node, spec->name)) return reject_node(r, "attribute \"%s\" is missing", spec->name);
  return STATUS_OK;
}

static enum status constant_ints(const struct reader *r, const char *name, const cJSON *array) {
  const cJSON *first = cJSON_GetArrayItem(array, 0);
  bool batched = cJSON_IsString(first) && !strcmp(first->valuestring, "N");
  int64_t *ints = cJSON_IsArray(array) ? read_ints(r, array, batched) : NULL;
  if (!ints) return reject_node(r, "attribute \"value_ints\": expected an array of integers, the first perhaps \"N\"");
  struct shape shape = {1, {cJSON_GetArraySize(array)}};
  if (shape.dim[0] == 0) return reject_node(r, "attribute \"value_ints\" is empty");
  if (batched) ints[0] = 1;
  graph_add_constant(r->graph, name, DTYPE_I64, &shape, ints)->batched = batched;
  return STATUS_OK;
}

static enum status constant_floats(const struct reader *r, const char *name, const cJSON *array) {
  double *doubles = cJSON_IsArray(array) ? read_floats(r, array) : NULL;
  if (!doubles) return reject_node(r, "attribute \"value_floats\": expected an array of numbers");
  struct shape shape = {1, {cJSON_GetArraySize(array)}};
  if (shape.dim[0] == 0) return reject_node(r, "attribute \"value_floats\" is empty");
  float *floats = arena_array(r->graph->arena, (size_t)shape.dim[0], sizeof *floats);
  for (int64_t i = 0; i < shape.dim[0]; i++) floats[i] = (float)doubles[i];
  graph_add_constant(r->graph, name, DTYPE_F32, &shape, floats);
  return STATUS_OK;
}

static enum status constant_scalar(const struct reader *r, const char *name, const cJSON *item, enum attr_kind kind) {
  struct shape scalar = {0};
  void *data = arena_alloc(r->graph->arena, sizeof(int64_t));
  if (kind == ATTR_INT) {
    if (!json_integer(item, data)) return reject_node(r, "attribute \"value_int\": expected an integer");
    graph_add_constant(r->graph, name, DTYPE_I64, &scalar, data);
    return STATUS_OK;
  }
  if (!cJSON_IsNumber(item) || fabs(item->valuedouble) > (double)FLT_MAX)
    return reject_node(r, "attribute \"value_float\": expected a number");
  *(float *)data = (float)item->valuedouble;
  graph_add_constant(r->graph, name, DTYPE_F32, &scalar, data);
  return STATUS_OK;
}

enum status reader_constant(const struct reader *r, const char *name, const cJSON *attrs) {
  const cJSON *item = attrs ? attrs->child : NULL;
  if (!item || item->next)
    return reject_node(r, "expected one attribute of value_float, value_floats, value_int and value_ints");
  const struct attr_spec *spec = find_spec(op_info(OP_constant)->attrs, item->string);
  if (!spec) return reject_node(r, "Constant has no attribute \"%s\"", item->string);
  if (spec->kind == ATTR_INTS) return constant_ints(r, name, item);
  if (spec->kind == ATTR_FLOATS) return constant_floats(r, name, item);
  return constant_scalar(r, name, item, spec->kind);
}
