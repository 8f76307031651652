/* What the op functions share: their declarations (infer_<id> and eval_<id> of every row of ops.def), messages, and the checks
 * that keep hostile attributes and shapes from doing harm.
 *
 * infer_<id> is called with the arity, the kinds of the attributes and the input shapes checked; attribute values are not.
 * eval_<id> is called only on a node that infer accepted; the shapes of its inputs and outputs are set. */
#ifndef VITC_OPS_OP_H
#define VITC_OPS_OP_H

#include "ir/ops.h"

#define OP(id, ...)                                               \
  enum status infer_##id(struct graph *graph, struct node *node); \
  void eval_##id(const struct node *node, const void *const *inputs, void *const *outputs);
#include "ir/ops.def"
#undef OP

/* No tensor of one image may have more elements. */
#define ELEMENTS_MAX ((int64_t)1 << 40)

/* `FILE: node 'FIRST OUTPUT' (Op): MESSAGE`. */
void op_report(struct graph *graph, const struct node *node, const char *format, ...) PRINTF_LIKE(3, 4);

/* A macro, so that compilers see that what fails is never STATUS_OK. */
#define op_fail(...) (op_report(__VA_ARGS__), STATUS_INPUT)

/* `'name' float32[N,197,768]`, in the graph's arena. */
const char *op_describe(struct graph *graph, const struct value *value);

/* A shape that every tensor may have: rank and elements in range, dimensions at least `dim_min` (0 or 1). */
bool shape_valid(const struct shape *shape, int64_t dim_min);

/* Sets output `index` (skipped when omitted). A shape with an empty or absurdly large extent is an error. */
MUST_USE enum status op_set_output(struct graph *graph, struct node *node, int index, enum dtype dtype,
                                   const struct shape *shape, bool batched);

/* Input `index` must be one of the dtypes whose bits (1 << dtype) are in `allowed`. */
MUST_USE enum status op_check_dtype(struct graph *graph, const struct node *node, int index, unsigned allowed);

enum {
  DTYPES_FLOAT = 1 << DTYPE_F32 | 1 << DTYPE_F16 | 1 << DTYPE_BF16 | 1 << DTYPE_F64,
  DTYPES_INDEX = 1 << DTYPE_I32 | 1 << DTYPE_I64,
  DTYPES_ARITHMETIC = DTYPES_FLOAT | DTYPES_INDEX,
};

/* Counts a negative axis from the end; the result is in [0, rank). */
MUST_USE enum status op_axis(struct graph *graph, const struct node *node, int64_t axis, int rank, int *out_axis);

/* Axes listed by input `index` or by the attribute "axes"; none when both are absent. out_listed[axis] is set for each.
 * Twice the same axis is an error. */
MUST_USE enum status op_axes(struct graph *graph, const struct node *node, int index, int rank, bool out_listed[RANK_MAX],
                             bool *out_any);

/* Integers of a constant input of rank 0 or 1; at most `max`. */
MUST_USE enum status op_constant_ints(struct graph *graph, const struct node *node, int index, int max, int64_t *out_ints,
                                      int *out_count);
int64_t constant_int(const struct value *value, int64_t at); /* of a constant of an index dtype */

/* A broadcast in progress: start with {0} and add the inputs one after the other. */
struct broadcast {
  struct shape shape;
  bool batched;
};
MUST_USE enum status op_broadcast(struct graph *graph, const struct node *node, const struct value *value,
                                  struct broadcast *broadcast);

/* The same for some of a value's axes. */
MUST_USE enum status op_broadcast_axes(struct graph *graph, const struct node *node, const struct value *value,
                                       const struct shape *axes, bool batched, struct broadcast *broadcast);

/* For an op that works along `axis`: images of a batched value lie along axis 0, which it must leave alone. */
MUST_USE enum status op_keep_images(struct graph *graph, const struct node *node, const struct value *value, int axis);

/* Input `index` must not depend on the image. */
MUST_USE enum status op_unbatched(struct graph *graph, const struct node *node, int index, const char *role);

/* Input `index`, or NULL when it is omitted. */
static inline struct value *op_input(const struct node *node, int index) {
  return index < node->input_count ? node->inputs[index] : NULL;
}

#endif
