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
