/* From the plan to functions: one task function for each phase (a parallel loop), one function that runs all phases at one CPU
 * level, and the public functions around them.
 *
 * The run context is an array of 64-bit words on the stack of the run function: threads, tasks of a long loop, images of this
 * group, arena, weights, record of the running phase, then the input and output pointers of this group, and in a profiled build
 * a pointer to one counter for each phase, to which each phase adds its time stamp counter's ticks. Only the record changes
 * while a group runs, between phases. A record is an array of 64-bit distances, one for each pointer that the phase gives to
 * its kernel; all of a level are one constant. */
#ifndef VITC_LLVM_LOWER_H
#define VITC_LLVM_LOWER_H

#include "llvm/emit.h"
#include "plan/plan.h"

enum { CONTEXT_THREADS, CONTEXT_TASKS, CONTEXT_IMAGES, CONTEXT_ARENA, CONTEXT_WEIGHTS, CONTEXT_RECORD, CONTEXT_TENSORS };

struct rows_desc;
enum { LOWERING_ROWS_MAX = 64 };

/* A level's code is in two modules of about as much each: its products and the rest. */
enum lowering_part { PART_REST, PART_PRODUCTS, LOWERING_PARTS };
typedef LLVMModuleRef lowering_modules[LEVEL_COUNT][LOWERING_PARTS];

/* All levels of an object. Kernels that are the same code at several levels are made once, for the first of them, and the other
 * levels' phases call them there. */
struct lowering {
  const struct plan *plan;
  bool profile;
  unsigned level_mask;
  int level; /* being lowered */
  struct emit emits[LEVEL_COUNT][LOWERING_PARTS];
  struct phase_entry {
    emit_value function; /* void (void *context, uint32_t index) */
    int tasks;           /* CONTEXT_TASKS or CONTEXT_THREADS: how many it is run as */
    int record;          /* first word */
  } *phases;             /* of the level, in order; in the graph's arena, as the rest */
  int phase_count, phase_capacity;
  struct rows_desc *rows; /* kernels of rows of the level, at most LOWERING_ROWS_MAX */
  int rows_count;
  int64_t *records; /* of the level */
  int record_words, record_capacity;
  struct record_table {
    emit_value global;
    const int64_t *words;
    int count;
  } tables[LEVEL_COUNT]; /* of the levels before, unequal ones */
  int table_count;
};

/* The graph's plan for the levels of the mask, each in its modules of `modules`, which the caller owns and which can be the
 * same, or of other contexts, so that code can be generated for them at the same time; lowering_deinit leaves what is in them.
 */
void lowering_init(struct lowering *lowering, lowering_modules modules, const struct plan *plan, unsigned level_mask,
                   bool profile);
void lowering_deinit(struct lowering *lowering);

/* Emits a level's kernels and phases, and `void (int64_t *context, const vitc_parallel *parallel)`, which runs every phase for
 * one group of images; lower levels first. */
emit_value lower_level(struct lowering *lowering, int level);

/* The part of it that runs the phases, once they are there. */
emit_value lower_forward(struct lowering *lowering);

/* A constant, or a function of pointers and integers without a result, as e's module sees it: itself there, else a declaration,
 * and what was internal to its module becomes a name that the parts of the object share (elf_merge.h). */
emit_value lower_import(struct emit *e, emit_value global, const struct graph *graph);

int64_t context_counters(const struct graph *graph); /* slot of the profile's counters */

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
