/* The passes from a loaded graph to the one that is planned and emitted.
 *
 * Each pass is one row of passes.def and one file. A pass takes a valid graph and leaves a valid graph that means the same,
 * whichever other passes ran: the backend has a way for everything, passes only find better ones. Everything new is in the
 * graph's arena. */
#ifndef VITC_PASSES_PASSES_H
#define VITC_PASSES_PASSES_H

#include "ir/graph.h"

#include <stdio.h>

struct pass_info {
  const char *name;        /* a name may occur in several rows: options mean all of them */
  const char *description; /* a clause for --help */
  enum status (*run)(struct graph *graph);
};

/* In run order; NULL past the last. */
const struct pass_info *pass_at(int index);

/* Zeroed: everything on, nothing printed, input as the graph has it. The streams are borrowed. */
struct pass_options {
  const char *const *disabled; /* names of passes not to run */
  int disabled_count;
  const char *dump_after; /* a pass's name or "all"; NULL: no dump */
  FILE *dump_stream;
  FILE *time_stream; /* NULL: no times */
  bool input_u8;     /* runs u8_input, which else is skipped */
};

/* An unknown name is STATUS_USAGE and lists the names. Verifies the graph after each pass. */
MUST_USE enum status run_passes(struct graph *graph, const struct pass_options *options);

#define PASS(id, ...) MUST_USE enum status pass_##id(struct graph *graph);
#include "passes/passes.def"
#undef PASS

#endif
