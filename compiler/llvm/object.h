/* From a planned graph to the files that a user links: the object with its weights, and the header. */
#ifndef VITC_LLVM_OBJECT_H
#define VITC_LLVM_OBJECT_H

#include "base/diag.h"
#include "ir/graph.h"
#include "plan/plan.h"

enum emit_kind { EMIT_OBJECT, EMIT_LLVM_IR, EMIT_ASM };

struct object_options {
  const char *target; /* "native", "x86-64", or a triple; NULL is x86-64 */
  enum emit_kind emit;
  bool external_weights; /* weights go to `weights_path` instead of into the object */
  const char *output_path;
  const char *header_path;  /* NULL: none */
  const char *weights_path; /* with external_weights */
  bool profile;             /* time stamps around every phase, and NAME_run_profiled to read them */
  const char *info;         /* JSON text for vitc_model.info (vitc inspect on an object); NULL: none */
};

/* The phases (parallel loops) that a step becomes, in order, and their names; at most OBJECT_PHASES_MAX. All phases of all
 * steps, in order, are the counters of NAME_run_profiled(const vitc_args *, uint64_t *counters), which adds to each the ticks
 * of the time stamp counter that the phase took; NAME_run_profiled_LEVEL does so at one CPU level. */
enum { OBJECT_PHASES_MAX = 2 };
int object_phases(const struct step *step, const char **out_names);

/* Which CPU levels the target means in this precision; also what a caller prints. STATUS_USAGE for an unknown target. */
MUST_USE enum status object_levels(const char *target, enum precision precision, unsigned *out_level_mask, struct diag *diag);

/* Writes the outputs, whole or not at all. The bytes depend on the graph, the plan and the options only. */
MUST_USE enum status object_write(const struct graph *graph, const struct plan *plan, const struct object_options *options,
                                  struct diag *diag);

#endif
