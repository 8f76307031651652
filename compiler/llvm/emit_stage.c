#include "llvm/kernels.h"

#include <assert.h>

static emit_value binary(struct emit *e, enum op op, emit_value a, emit_value b) {
  switch (op) {
  case OP_add:
    return emit_fadd(e, a, b);
  case OP_sub:
    return emit_fsub(e, a, b);
  case OP_mul:
    return emit_fmul(e, a, b);
  case OP_max:
    return emit_fmax(e, a, b);
  case OP_min:
    return emit_fmin(e, a, b);
  default:
    assert(op == OP_div);
    return emit_fdiv(e, a, b);
  }
}

emit_value emit_stage(struct emit *e, const struct stage *stage, emit_value x, emit_value operand) {
  emit_value (*sigmoid)(struct emit *, emit_value) = stage->rough ? emit_math_sigmoid_rough : emit_math_sigmoid;
  switch (stage->op) {
  case OP_gelu:
    return (stage->rough ? emit_math_gelu_rough : emit_math_gelu)(e, x, stage->approximate);
  case OP_tanh:
    return emit_math_tanh(e, x);
  case OP_sigmoid:
    return sigmoid(e, x);
  case OP_swish:
    return emit_fmul(e, x, sigmoid(e, emit_fmul(e, x, emit_splat_const(e, (double)stage->scalar))));
  case OP_erf:
    return emit_math_erf(e, x);
  case OP_exp:
    return emit_math_exp(e, x);
  case OP_relu:
    return emit_fmax(e, emit_splat_const(e, 0), x);
  case OP_sqrt:
    return emit_fsqrt(e, x);
  case OP_neg:
    return LLVMBuildFNeg(e->builder, x, "");
  case OP_reciprocal:
    return emit_fdiv(e, emit_splat_const(e, 1), x);
  default:
    return stage->running == 0 ? binary(e, stage->op, x, operand) : binary(e, stage->op, operand, x);
  }
}

const char *stage_name(const struct stage *stage) {
  switch (stage->op) {
  case OP_add:
    return stage->kind == OPERAND_COLUMN ? "bias" : stage->kind == OPERAND_MATRIX ? "residual" : "add";
  case OP_sub:
    return "sub";
  case OP_mul:
    return "mul";
  case OP_div:
    return "div";
  case OP_gelu:
    return stage->approximate ? "gelu_tanh" : "gelu";
  case OP_tanh:
    return "tanh";
  case OP_sigmoid:
    return "sigmoid";
  case OP_relu:
    return "relu";
  case OP_swish:
    return stage->scalar == 1 ? "silu" : "swish";
  case OP_max:
    return "max";
  case OP_min:
    return "min";
  case OP_erf:
    return "erf";
  case OP_exp:
    return "exp";
  case OP_sqrt:
    return "sqrt";
  case OP_neg:
    return "neg";
  case OP_reciprocal:
    return "reciprocal";
  default:
    return "stage";
  }
}
