/* What ops.def says of each op, and the functions that every op has. */
#ifndef VITC_IR_OPS_H
#define VITC_IR_OPS_H

#include "ir/graph.h"

#include <stdio.h>

enum {
  OP_ELEMENTWISE = 1, /* broadcasts its inputs; output element depends on the same element of each */
  OP_MOVES = 2,       /* only moves, repeats or drops elements */
};

struct attr_spec {
  const char *name; /* NULL ends the list */
  enum attr_kind kind;
  bool required;
  int64_t i;          /* default */
  double f;           /* default */
  const char *string; /* default */
};

struct op_info {
  const char *name;
  int input_min, input_max, output_min, output_max; /* max -1: any number */
  unsigned flags;
  const struct attr_spec *attrs;
  const char *formula;
  enum status (*infer)(struct graph *graph, struct node *node);
  /* Evaluates one image in the interpreter's arithmetic. inputs[i]: row-major elements of inputs[i], NULL when omitted;
   * outputs[i]: room for the elements. float tensors are float32 in memory; sums are carried in double. */
  void (*eval)(const struct node *node, const void *const *inputs, void *const *outputs);
};

const struct op_info *op_info(enum op op);
bool op_parse(const char *name, enum op *out_op);

/* Sets dtype, shape and `batched` of the outputs from the inputs and attributes; constants that give shapes are read. Checks
 * attributes, dtypes, shapes and that images stay apart. The message names file, node (op and first output) and what was
 * expected. */
MUST_USE enum status infer_node(struct graph *graph, struct node *node);
MUST_USE enum status infer_graph(struct graph *graph);

/* The plain nodes that a fused node stands for, in order of execution, with values between them that are not in the graph
 * (id -1, shapes as yet unset); the last one has the node's outputs. Everything new is in `scratch`. */
struct node *node_unfuse(const struct node *node, struct arena *scratch, int *out_count);

/* Multiply-adds count as two operations; one image. Fused nodes are included. */
int64_t node_flops(const struct node *node);

/* Every link, order, name, shape (by inferring again into scratch) and fused chain. Run after load and after every pass. */
MUST_USE enum status verify_graph(struct graph *graph, const char *after);

/* Stable text: one line a node. Names, shapes, attributes that differ from their default, fused nodes indented. */
void print_graph(const struct graph *graph, FILE *stream);

#endif
