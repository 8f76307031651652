/* A compiled model's object, run in place: what a linker and the system's loader do, for one self-contained file.
 *
 * The object is code: its structure is checked, what it does when run is not. Only objects from a trusted compiler should be
 * loaded. A file that changes while it is loaded may end the process.
 *
 * Ownership: struct loaded owns its memory; model.* points into it. */
#ifndef VITC_LOAD_LOAD_H
#define VITC_LOAD_LOAD_H

#include "load/elf.h"
#include "load/image.h"
#include "vitc/model.h"

struct loaded {
  struct arena arena;
  struct elf_object object;
  struct image image;
  vitc_model model;
  const void *weights; /* embedded ones: weights_bytes of them; NULL when external or when the object does not name them */
};

enum load_kind { LOAD_GRAPH, LOAD_OBJECT };

/* Tells a graph (JSON) from an object by the first bytes. */
MUST_USE enum status load_kind(const char *path, enum load_kind *out_kind, struct diag *diag);

/* Maps, relocates and asks the object for its description. After a failure there is nothing to close. */
MUST_USE enum status load_object(const char *path, struct loaded *out, struct diag *diag);
void load_close(struct loaded *loaded); /* also on a zeroed struct */

/* The run function of one CPU level ("avx2"), whatever this CPU would pick. An unknown level is STATUS_USAGE, naming the
 * object's own; whether the CPU has it is the caller's concern. */
typedef int (*load_run)(const vitc_args *args);
MUST_USE enum status load_level(const struct loaded *loaded, const char *level, load_run *out_run, struct diag *diag);

/* The levels' names, `index` counting from 0; NULL past the last. */
const char *load_level_at(const struct loaded *loaded, int index);

/* As model.run, or one level's, which also adds the ticks of the time stamp counter that each phase took to counters[phase],
 * the phases in the order of model.info. NULL: not compiled with --profile. */
typedef int (*load_run_profiled)(const vitc_args *args, uint64_t *counters);
load_run_profiled load_profiled(const struct loaded *loaded, const char *level);

/* Reads the embedded weights once and compares with model.weights_hash. */
MUST_USE enum status load_check_weights(const struct loaded *loaded, struct diag *diag);

#endif
