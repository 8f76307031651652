/* From the plan to functions: one task function for each phase (a parallel loop), one function that runs all phases at one CPU
 * level, and the public functions around them.
 *
 * The run context is an array of 64-bit words on the stack of the run function, shared read-only by all tasks:
 * threads, tasks of a long loop, images of this group, arena, weights, then the input and output pointers of this group, and in
 * a profiled build a pointer to one counter for each phase, to which each phase adds its time stamp counter's ticks. */
#ifndef VITC_LLVM_LOWER_H
#define VITC_LLVM_LOWER_H

#include "llvm/emit.h"
#include "plan/plan.h"

enum { CONTEXT_THREADS, CONTEXT_TASKS, CONTEXT_IMAGES, CONTEXT_ARENA, CONTEXT_WEIGHTS, CONTEXT_TENSORS };

struct lowering {
  struct emit *emit;
  const struct plan *plan;
  const char *name; /* of the model */
  bool profile;
  struct phase_entry {
    emit_value function; /* void (void *context, uint32_t index) */
    int tasks;           /* CONTEXT_TASKS or CONTEXT_THREADS: how many it is run as */
  } *phases;             /* in order; in the graph's arena */
  int phase_count, phase_capacity;
};

/* Emits the kernels and task functions of every step at emit->level. */
void lower_steps(struct lowering *lowering);

int64_t context_counters(const struct graph *graph); /* slot of the profile's counters */

/* Emits `void (int64_t *context, const vitc_parallel *parallel)`, which runs every phase for one group of images. */
emit_value lower_forward(struct lowering *lowering);

emit_value context_load(struct emit *e, emit_value context, int64_t slot);
emit_value context_load_pointer(struct emit *e, emit_value context, int64_t slot);

struct entry_options {
  bool external_weights, profile;
  const char *info; /* vitc_model.info, or NULL */
  unsigned level_mask;
  uint64_t weights_hash;
  emit_value weights;              /* global, when embedded */
  emit_value forward[LEVEL_COUNT]; /* by level; NULL when not in the mask */
};

/* Emits NAME_run, NAME_run_args, NAME_run_<level> and NAME_describe; with profile also NAME_run_profiled and
 * NAME_run_profiled_<level>. */
void entry_emit(struct emit *e, const struct plan *plan, const struct entry_options *options);

#endif
