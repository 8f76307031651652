/* vitc report: what the commands know of a model, as one page. */
#ifndef VITC_CMD_REPORT_H
#define VITC_CMD_REPORT_H

#include "cmd/bench.h"
#include "cmd/compare_nodes.h"
#include "driver.h"

struct report {
  const char *graph, *object;     /* paths; object NULL: none */
  struct compilation compilation; /* planned as the object is */
  struct account account;         /* the object's, else the compilation's */
  struct machine machine;         /* of the object */
  struct node_comparison nodes;   /* errors and ranges */
  const char *pixels;             /* what they were measured on */
  uint32_t images;
  struct operations operations;
  struct timings timings; /* phase_count 0: not measured */
  struct profile profile;
};

/* Sections, each from <section> to </section>. */
void report_summary(FILE *page, const struct report *report);
void report_graph(FILE *page, const struct report *report, struct arena *scratch);
void report_arena(FILE *page, const struct report *report);
void report_time(FILE *page, const struct report *report);
void report_errors(FILE *page, const struct report *report, struct arena *scratch);

#endif
