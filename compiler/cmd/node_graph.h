/* A fused graph whose outputs are what its nodes compute, to measure each of them. */
#ifndef VITC_CMD_NODE_GRAPH_H
#define VITC_CMD_NODE_GRAPH_H

#include "cmd/node_values.h"

/* Whether the node does arithmetic; others only move elements. */
bool node_computes(const struct node *node);

/* A copy of `fused` whose only output is (N, elements): `count` values of `list`, one after the other. With `exact`, the nodes
 * read what other nodes compute from one more input, the last one, (N, exact->stride), in place of one another's results: each
 * works on exact operands. Everything new is in the arena. */
MUST_USE enum status node_graph_make(const struct graph *fused, const struct node_value *list, int count,
                                     const struct node_values *exact, struct arena *arena, struct graph *out_graph,
                                     struct diag *diag);

#endif
