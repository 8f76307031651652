/* A compiled model with what it needs to run: the object in memory, weights, threads, an arena.
 *
 * Ownership: struct machine owns all of it; machine_close accepts a zeroed struct. */
#ifndef VITC_CMD_MACHINE_H
#define VITC_CMD_MACHINE_H

#include "cmd/feed.h"
#include "load/load.h"
#include "target/target.h"
#include "vitc/threads.h"

struct machine_options {
  int64_t threads;          /* 0: all CPUs of this process */
  const char *level;        /* a CPU level by name; NULL: the object's own choice */
  const char *weights_path; /* external weights; NULL: the object's path with .weights */
  bool check_weights;       /* compares their hash */
};

struct machine {
  struct loaded loaded;
  load_run run;
  const struct target_level *level; /* that runs; NULL: the object has none for this CPU */
  load_run_profiled profiled;       /* NULL: not compiled with --profile */
  uint64_t *counters;               /* borrowed; with `profiled`: every call adds the ticks of the phases; NULL: none does */
  const void *external_weights;
  vitc_pool *pool;
  vitc_parallel parallel;
  uint32_t threads;
  void *arena;
};

MUST_USE enum status machine_open(const char *path, const struct machine_options *options, struct machine *out_machine,
                                  struct diag *diag);
void machine_close(struct machine *machine);

/* Of the model's products; int8 where they are mixed. */
enum precision machine_precision(const struct machine *machine);

/* Runs `batch` <= batch_max images. */
MUST_USE enum status machine_call(const struct machine *machine, const void *const *inputs, void *const *outputs,
                                  uint32_t batch, struct diag *diag);

/* Runs a feed of any size, batch_max images at a time, into allocated results. */
MUST_USE enum status machine_run(const struct machine *machine, const struct feed *feed, struct results *results,
                                 struct diag *diag);

#endif
