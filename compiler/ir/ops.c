#include "ir/ops.h"

#include "ops/op.h"

#include <string.h>

#define A_INT(n, value) {.name = n, .kind = ATTR_INT, .i = value}
#define A_REQUIRED_INT(n) {.name = n, .kind = ATTR_INT, .required = true}
#define A_FLOAT(n, value) {.name = n, .kind = ATTR_FLOAT, .f = value}
#define A_INTS(n) {.name = n, .kind = ATTR_INTS}
#define A_FLOATS(n) {.name = n, .kind = ATTR_FLOATS}
#define A_STRING(n, value) {.name = n, .kind = ATTR_STRING, .string = value}
#define A_REQUIRED_STRING(n) {.name = n, .kind = ATTR_STRING, .required = true}
#define A_END {.name = NULL}

#define OP(id, op_name, inputs_min, inputs_max, outputs_min, outputs_max, op_flags, op_attrs, op_formula) \
  static const struct attr_spec attrs_##id[] = {op_attrs, A_END};
#include "ir/ops.def"
#undef OP

static const struct op_info OPS[OP_COUNT] = {
#define OP(id, op_name, inputs_min, inputs_max, outputs_min, outputs_max, op_flags, op_attrs, op_formula) \
  [OP_##id] = {.name = op_name,                                                                           \
               .input_min = inputs_min,                                                                   \
               .input_max = inputs_max,                                                                   \
               .output_min = outputs_min,                                                                 \
               .output_max = outputs_max,                                                                 \
               .flags = op_flags,                                                                         \
               .attrs = attrs_##id,                                                                       \
               .formula = op_formula,                                                                     \
               .infer = infer_##id,                                                                       \
               .eval = eval_##id},
#include "ir/ops.def"
#undef OP
};

const struct op_info *op_info(enum op op) {
  return &OPS[op];
}

bool op_parse(const char *name, enum op *out_op) {
  for (int i = 0; i < OP_COUNT; i++) {
    if (strcmp(OPS[i].name, name) != 0) continue;
    *out_op = (enum op)i;
    return true;
  }
  return false;
}
