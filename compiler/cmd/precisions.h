/* compile --precision auto: the cheapest precision of each product that together hold an error. */
#ifndef VITC_CMD_PRECISIONS_H
#define VITC_CMD_PRECISIONS_H

#include "cmd/command.h"
#include "driver.h"

struct precision_search {
  const char *graph;
  struct word_list images; /* none: random pixels */
  int64_t seed;
  double max_error; /* largest absolute error of any output over its standard deviation, against the interpreter */
};

/* Compiles the graph again and again for this CPU and runs it: products in units of alike ones of neighbouring layers, about
 * the root of all at a time, alone; then the cheapest units together, halving; then the products of the units where it is
 * close. The choice that it ends with was measured to hold the error. Sets the precision and the choices of `driver`, whose
 * other members say how to compile; what it adds lives in `arena`. Prints what it chose, and the error that each product, or it
 * and those alike, adds, to stderr. */
MUST_USE enum status choose_precisions(const struct precision_search *search, struct driver_options *driver,
                                       struct arena *arena, struct diag *diag);

#endif
