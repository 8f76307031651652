/* compare --per-node: where the error of a compiled model comes from. For every value that survives fusion: how far it is from
 * the interpreter's, what its own node adds to that, and how far the operands and the weights of products reach. */
#ifndef VITC_CMD_COMPARE_NODES_H
#define VITC_CMD_COMPARE_NODES_H

#include "cmd/machine.h"
#include "cmd/metrics.h"
#include "cmd/ranges.h"
#include "driver.h"

enum { NODE_OPERANDS = 3 };

/* A computed operand, as the product multiplies it: normalised where that is fused. */
struct node_operand {
  const char *name; /* of the layer that normalises it, else of the value */
  struct range range;
  double quantized_crest; /* int8: as row_crest_worst, of rows as they are quantised: divided by the balance, transformed; 0 */
};

struct node_error {
  const char *name, *op;                 /* of the value; of the node that computes it */
  const char *layer;                     /* of a product: of its weights; else the value's name */
  const struct account_product *product; /* NULL: none */
  bool computes;                         /* else its node only moves elements, and adds no error */
  struct metrics accumulated;            /* of the compiled model */
  struct metrics own;                    /* of the compiled node, from exact operands; zeros when it does not compute */
  struct range result;                   /* of the value */
  bool adds_residual;                    /* a computed value is added to what the node computes */
  int operand_count;                     /* of products and normalisations */
  struct node_operand operands[NODE_OPERANDS];
  bool has_weights;
  struct range weights;
};

struct node_comparison {
  int count;
  struct node_error *errors; /* in order of execution */
};

/* Precision and choices with which the driver plans a model as the object of this account is. */
MUST_USE enum status account_precisions(const char *file, const struct account *account, struct arena *arena,
                                        struct driver_options *driver, struct diag *diag);

/* What is compared. `object` is NULL when `precision` says all of it; else its products have the precisions of the account. */
struct node_request {
  const char *graph, *object;
  const struct account *account;
  const struct machine *machine; /* of the object: int8 weights are as it holds them */
  enum precision precision;
  bool input_u8;
  const struct feed *feed;
  struct machine_options how;
};

/* Fuses the graph again and compiles it twice: with its nodes' results as outputs, and with exact operands for every node (both
 * in parts where that is large). Everything lives in the arena. */
MUST_USE enum status compare_nodes(const struct node_request *request, struct arena *arena, struct node_comparison *out_nodes,
                                   struct diag *diag);

/* compare_ranges.c: the operands and weights of every error's node. */
struct node_values;
MUST_USE enum status find_ranges(struct compilation *fused, const struct node_values *values, const struct feed *feed,
                                 struct node_comparison *nodes, struct arena *arena, struct diag *diag);

/* compare_print.c */
enum node_order { ORDER_RUN, ORDER_OWN, ORDER_ACCUMULATED };
void print_nodes(const struct node_comparison *nodes, enum node_order order, int64_t top); /* top 0: all */
void print_nodes_json(const struct node_comparison *nodes);

#endif
