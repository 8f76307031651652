/* The compiler's account of a model (vitc_model.info): JSON that the driver writes and the commands read back from objects.
 *
 * Everything lives in the arena given to account_read. Shapes are text, "Nx197x192". FLOPs count multiply-adds of products as
 * two operations, normalisation and softmax as five an element, other arithmetic as one. */
#ifndef VITC_FRONTENDS_JSON_ACCOUNT_H
#define VITC_FRONTENDS_JSON_ACCOUNT_H

#include "base/arena.h"
#include "base/diag.h"

#include <stdbool.h>
#include <stdint.h>

struct account_value {
  const char *name, *dtype, *shape;
};

/* A node of the graph as given. */
struct account_source {
  const char *op, *name;
  int64_t flops; /* of one image */
};

/* A node of the fused graph. */
struct account_node {
  const char *op, *name, *shape; /* name and shape of the first result */
  int64_t flops;                 /* of one image */
  int step;                      /* in run order; -1: only a view of another value */
  const char *memory;            /* "arena", "input", "output", "weights", "" */
  int64_t offset, bytes;         /* of one group of images */
  int first, last;               /* live range in steps, arena only; -1: none */
  int prologue_count, epilogue_count, source_count;
  const char **prologue, **epilogue;    /* ops fused before and after */
  const struct account_source *sources; /* what it computes of the graph as given */
};

/* One parallel loop of the compiled model, in the order of NAME_run_profiled's counters, and the work in it: for one image, or,
 * when it is not batched, for one group of images. What is fused into a product is not counted in `flops`. */
struct account_phase {
  int step;
  const char *kind;      /* "gemm", "layer norm", .. */
  const char *op;        /* of the step's node */
  const char *name;      /* of the layer whose weights it reads, else of its result */
  const char *precision; /* of its products' operands; "fp32" where it has no product */
  bool batched;
  int64_t flops;
  int64_t read_bytes, write_bytes; /* every element once */
  int64_t shared_bytes;            /* read: weights and what else is the same for all images; once a group */
};

/* A product of the compiled model: of a computed value and weights, of two computed values, or attention's two. */
struct account_product {
  int step;
  const char *op, *name; /* of its node; the node's result */
  const char *layer;     /* as its phase is named */
  const char *precision;
  int64_t k, n;          /* rows and columns of the weights; 0: none */
  int64_t offset, bytes; /* of the weights as packed, in the weights' bytes */
  int64_t scales;        /* of the weights; 0 but in int8 */
  int64_t hadamard;      /* elements of the blocks that int8 rows are transformed in; 1: none */
  bool balanced;         /* int8: channels evened out between a LayerNormalization and the weights */
};

struct account {
  const char *name, *precision;
  int64_t parameters, flops, flops_as_given, batch_max, group, arena_bytes, weights_bytes;
  int step_count, nodes_as_given, folded, unneeded;
  int input_count, output_count, node_count, phase_count, product_count;
  struct account_value *inputs, *outputs;
  struct account_node *nodes;
  struct account_phase *phases;
  struct account_product *products;
};

/* `text` is NULL for an object without an account, which is an error as malformed text is; `file` names the object. */
MUST_USE enum status account_read(const char *file, const char *text, struct arena *arena, struct account *out_account,
                                  struct diag *diag);

#endif
