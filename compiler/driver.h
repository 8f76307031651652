/* The order of a compilation: load, passes, plan, emit. Commands call these and nothing below them.
 *
 * Ownership: struct compilation owns the arena and the weights that graph and plan live in; compilation_close frees them. */
#ifndef VITC_DRIVER_H
#define VITC_DRIVER_H

#include "calibrate/calibrate.h"
#include "frontend.h"
#include "json/account.h"
#include "llvm/object.h"
#include "passes/passes.h"
#include "plan/plan.h"

/* Zero-initialise for the defaults; borrowed. */
struct driver_options {
  const char *name;                  /* prefix of the object's symbols, a C identifier; NULL: as the graph says */
  int64_t batch_max;                 /* 0: 1 */
  enum precision precision;          /* of the matrix products */
  const struct plan_choice *choices; /* precisions of single products */
  int choice_count;
  const struct calibration *calibration; /* of int8 products; or NULL */
  struct pass_options passes;            /* with .input_u8 */
  struct object_options object;          /* .info is the driver's own */
};

struct compilation {
  struct arena arena;
  struct weights weights;
  struct graph original; /* before the passes */
  struct graph graph;
  struct plan plan;
};

/* After a failure of any of these the compilation can still be, and must be, closed. */
void compilation_init(struct compilation *compilation);
void compilation_close(struct compilation *compilation);

MUST_USE enum status driver_load(struct compilation *compilation, const char *path, const struct driver_options *options,
                                 struct diag *diag);
MUST_USE enum status driver_optimize(struct compilation *compilation, const struct driver_options *options, struct diag *diag);
MUST_USE enum status driver_emit(struct compilation *compilation, const struct driver_options *options, struct diag *diag);

/* All of it: a graph on disk to object, header and weights file. */
MUST_USE enum status driver_compile(struct compilation *compilation, const char *path, const struct driver_options *options,
                                    struct diag *diag);

/* The input becomes 8-bit and nothing else changes: the graph that an object with an 8-bit input is compared with. */
MUST_USE enum status driver_input_u8(struct compilation *compilation, struct diag *diag);

/* What vitc_model.info says of a planned graph (account_read reads it): JSON text in the compilation's arena. */
const char *driver_info(struct compilation *compilation);

/* The phases with their work, in the order of NAME_run_profiled's counters; they live in the compilation's arena. */
int driver_phases(struct compilation *compilation, struct account_phase **out_phases);

/* The products in run order, each node's once; in the compilation's arena. */
int driver_products(struct compilation *compilation, struct account_product **out_products);

/* What became of a node of the original graph: the node of the fused graph that computes it (its own or the one that it was
 * fused into), or NULL with *out_folded set when it became a constant, clear when nothing needs it. */
const struct node *driver_fused_into(const struct compilation *compilation, const struct node *original, bool *out_folded);

/* Where a node's first output is. */
struct node_place {
  int step;           /* index in the plan, -1: only a view of another value */
  const char *memory; /* "arena", "input", "output", "weights", "" */
  int64_t offset, bytes;
  int first, last; /* live range of its buffer, in steps; arena only */
};
struct node_place driver_place(const struct compilation *compilation, const struct node *node);

/* Float elements of all constants that the graph's nodes read. */
int64_t graph_parameters(const struct graph *graph);
int64_t graph_flops(const struct graph *graph); /* one image */

#endif
