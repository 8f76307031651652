#include "ops/op.h"

enum status infer_constant(struct graph *graph, struct node *node) {
  if (node->attr_count != 1)
    return op_fail(graph, node, "expected exactly one of value_float, value_floats, value_int, value_ints");
  const struct attr *attr = &node->attrs[0];
  bool list = attr->kind == ATTR_INTS || attr->kind == ATTR_FLOATS;
  bool integer = attr->kind == ATTR_INT || attr->kind == ATTR_INTS;
  if (list && attr->count > (size_t)ELEMENTS_MAX) return op_fail(graph, node, "attribute '%s' is too long", attr->name);
  struct shape shape = {.rank = list ? 1 : 0, .dim = {list ? (int64_t)attr->count : 0}};
  return op_set_output(graph, node, 0, integer ? DTYPE_I64 : DTYPE_F32, &shape, false);
}

void eval_constant(const struct node *node, const void *const *inputs, void *const *outputs) {
  (void)inputs;
  const struct attr *attr = &node->attrs[0];
  float *floats = outputs[0];
  int64_t *ints = outputs[0];
  switch (attr->kind) {
  case ATTR_INT:
    ints[0] = attr->i;
    break;
  case ATTR_FLOAT:
    floats[0] = (float)attr->f;
    break;
  case ATTR_INTS:
    for (size_t i = 0; i < attr->count; i++) ints[i] = attr->ints[i];
    break;
  case ATTR_FLOATS:
    for (size_t i = 0; i < attr->count; i++) floats[i] = (float)attr->floats[i];
    break;
  case ATTR_STRING:
    break;
  }
}
