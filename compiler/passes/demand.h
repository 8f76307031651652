/* Which rows of each value the graph's outputs need. Rows are axis 1 of a value of rank 3, (N, rows, columns); other values are
 * needed whole or not at all.
 *
 * A need is a hull [start, end), empty when nobody needs the value. Where a node could not gain by leaving rows out (more than
 * half of them are needed) its hull is widened to all rows. */
#ifndef VITC_PASSES_DEMAND_H
#define VITC_PASSES_DEMAND_H

#include "ir/graph.h"

struct rows {
  int64_t start, end;
};

/* By value id, in the graph's arena. */
struct rows *analyze_demand(const struct graph *graph);

struct rows rows_all(const struct value *value); /* [0, 1) for a value without rows */
bool rows_equal(struct rows a, struct rows b);
struct rows rows_join(struct rows a, struct rows b);

/* Rows that a node is to compute: what is needed of its outputs together, or all where more than half are, as it would gain too
 * little by leaving some out. Empty: none. */
struct rows node_demand(const struct node *node, const struct rows *needs);

/* Row r of each output depends, of the inputs that have as many rows, on row r alone: the node can be run for some rows only.
 */
bool node_row_wise(const struct node *node);

/* Rows of input `index` that are needed for rows `needed` of the outputs (of output 0 for Split along rows). */
struct rows input_demand(const struct node *node, int index, struct rows needed);

#endif
