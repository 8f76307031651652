/* A phase: one parallel loop over the work of one kernel. Its function computes what part of the work is its task's and calls
 * the kernel. Phases that differ only in where their operands are share one function: a step of each of twelve layers costs
 * the object a record, and no code. Internal to the lowering. */
#ifndef VITC_LLVM_PHASE_H
#define VITC_LLVM_PHASE_H

#include "llvm/lower.h"

enum { PHASE_POINTERS_MAX = STEP_INPUTS_MAX + 2, PHASE_NO_ARRAY = -1, PHASE_NO_POINTER = -1 };

/* The kernel's arguments: pointers one by one, an array of further pointers, the number of images, then what the task does:
 *   PHASE_UNITS: begin and end of a part of images * units
 *   PHASE_TILES: ranges of panels and of row tiles, one or more calls (kernels.h, GEMM)
 * and, with `last_pointer`, one more pointer. Start it zeroed: calls are compared byte by byte. */
enum phase_split { PHASE_UNITS, PHASE_TILES };

struct phase_call {
  emit_value kernel;
  enum phase_split split;
  int tasks;                         /* CONTEXT_TASKS or CONTEXT_THREADS: how many it is run as */
  int batched;                       /* once per image, else once per run */
  int pointer_count;                 /* with those of the array and the last one */
  int array_begin, array_count;      /* of the pointers, which go into an array, or PHASE_NO_ARRAY */
  int last_pointer;                  /* the last of the pointers is the last argument */
  int64_t units;                     /* PHASE_UNITS: of one image */
  int64_t width, panels;             /* PHASE_TILES: panels of a tile, of B */
  int64_t row_tiles;                 /* PHASE_TILES: of one image; 0: one of all images */
  int64_t slots[PHASE_POINTERS_MAX]; /* word of the run context that holds the base of a pointer, or PHASE_NO_POINTER */
};

/* Adds a phase at l->level. bytes[i]: pointer i's distance from its base. `e`: where the kernel was made; `what` names it. */
void phase_add(struct lowering *l, struct emit *e, const struct phase_call *call, const int64_t *bytes, const char *what);

#endif
