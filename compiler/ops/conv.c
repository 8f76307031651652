#include "ops/conv.h"

enum status infer_conv(struct graph *graph, struct node *node) {
  const struct value *x = node->inputs[0], *w = node->inputs[1], *b = op_input(node, 2);
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] != NULL) TRY(op_check_dtype(graph, node, i, 1u << DTYPE_F32));
  for (int i = 0; i < 2; i++)
    if (node->inputs[i]->shape.rank != 4)
      return op_fail(graph, node, "input %d %s: expected rank 4", i, op_describe(graph, node->inputs[i]));
  TRY(op_unbatched(graph, node, 1, "weight"));
  int64_t group = node_int(node, "group"), channels = x->shape.dim[1], filters = w->shape.dim[0];
  if (group < 1 || channels % group != 0 || filters % group != 0)
    return op_fail(graph, node, "group %lld does not divide %lld channels and %lld filters", (long long)group,
                   (long long)channels, (long long)filters);
  if (w->shape.dim[1] != channels / group)
    return op_fail(graph, node, "weight %s: expected %lld channels on axis 1", op_describe(graph, w),
                   (long long)(channels / group));
  if (b != NULL) {
    TRY(op_unbatched(graph, node, 2, "bias"));
    if (b->shape.rank != 1 || b->shape.dim[0] != filters)
      return op_fail(graph, node, "bias %s: expected %lld elements", op_describe(graph, b), (long long)filters);
  }
  struct window window;
  TRY(conv_window(graph, node, &window));
  struct shape shape = {.rank = 4, .dim = {x->shape.dim[0], filters, window.output[0], window.output[1]}};
  return op_set_output(graph, node, 0, x->dtype, &shape, x->batched);
}
