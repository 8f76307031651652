#include "ops/conv.h"
#include "ops/attention.h"

/* Multiply-adds of the three ops that matter; for the others one operation per output element, and none for moves. */
static int64_t plain_flops(const struct node *node) {
  const struct value *output = node->outputs[0];
  if (output == NULL) return 0;
  int64_t elements = shape_elements(&output->shape);
  const struct shape *first = node->input_count > 0 ? &node->inputs[0]->shape : NULL;
  switch (node->op) {
  case OP_mat_mul:
    return 2 * elements * first->dim[first->rank - 1];
  case OP_gemm:
    return 2 * elements * first->dim[node_int(node, "transA") != 0 ? 0 : 1];
  case OP_conv: {
    const struct shape *w = &node->inputs[1]->shape;
    return 2 * elements * w->dim[1] * w->dim[2] * w->dim[3];
  }
  case OP_attention: {
    struct attention extents = attention_extents(node);
    return 2 * extents.batch * extents.q_heads * extents.q_rows * extents.kv_rows * (extents.d + extents.d_v);
  }
  case OP_constant:
    return 0;
  case OP_rotary_embedding:
    return 3 * elements;
  case OP_layer_normalization:
  case OP_softmax:
    return 5 * elements;
  case OP_reduce_mean:
    return shape_elements(first);
  default:
    return (op_info(node->op)->flags & OP_MOVES) != 0 ? 0 : elements;
  }
}

int64_t node_flops(const struct node *node) {
  if (node->prologue_count == 0 && node->epilogue_count == 0) return plain_flops(node);
  struct arena scratch;
  struct diag ignored = {.status = STATUS_OK};
  struct graph graph;
  arena_init(&scratch);
  graph_init(&graph, &scratch, &ignored, "", "");
  int count;
  int64_t flops = 0;
  struct node *plain = node_unfuse(node, &scratch, &count);
  for (int i = 0; i < count && infer_node(&graph, &plain[i]) == STATUS_OK; i++) flops += plain_flops(&plain[i]);
  arena_deinit(&scratch);
  return flops;
}
