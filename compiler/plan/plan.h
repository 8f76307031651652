/* The static plan: a fused graph becomes an ordered list of steps over places in one arena and one blob of packed weights.
 *
 * Every computed value gets a place: a buffer of the arena, an offset in it and strides. Values that are only another view of
 * a buffer (Split, Slice, Reshape, a part of a Concat, an in-place residual) share it. Buffers whose live ranges do not meet
 * share bytes. The arena is laid out once, for `group` images at a time: larger batches run group after group. */
#ifndef VITC_PLAN_PLAN_H
#define VITC_PLAN_PLAN_H

#include "base/arena.h"
#include "base/diag.h"
#include "ir/graph.h"

#include <stdio.h>

struct plan_options {
  int64_t batch_max; /* 1 .. 65536 */
};

struct buffer {
  int64_t offset, bytes;     /* in the arena, for one group of images */
  int first, last;           /* live range: indices of steps */
  const struct value *value; /* the value that it was made for */
};

enum place_kind { PLACE_NONE, PLACE_ARENA, PLACE_INPUT, PLACE_OUTPUT, PLACE_CONSTANT };

/* Where the elements of a value are. Strides in elements; element (i0, i1, ..) of image g is at
 * base + offset + g * image_stride + sum of i_k * stride[k]. */
struct place {
  enum place_kind kind;
  int buffer;     /* PLACE_ARENA: index of plan.buffers; PLACE_INPUT/OUTPUT: index of the graph's input or output */
  int64_t offset; /* elements from the start of the buffer */
  int64_t stride[RANK_MAX];
  int64_t image_stride; /* 0 when the value is not batched */
};

struct packed {
  const struct value *value; /* the constant (or Transpose of a constant) */
  enum { PACK_ROW_MAJOR, PACK_PANELS } layout;
  int64_t offset, bytes; /* in the weights blob; 64-byte aligned */
};

struct step {
  const struct node *node;
  int index;
};

struct plan {
  const struct graph *graph;
  int64_t batch_max, group;
  int step_count;
  struct step *steps;
  int buffer_count;
  struct buffer *buffers;
  struct place *places; /* by value id */
  int packed_count;
  struct packed *packed;
  int64_t arena_bytes, weights_bytes;
};

MUST_USE enum status plan_graph(const struct graph *graph, const struct plan_options *options, struct arena *arena,
                                struct plan *out_plan, struct diag *diag);

/* The packed constant of `value` in a layout, or NULL. */
const struct packed *plan_packed(const struct plan *plan, const struct value *value);

/* Streams the weights blob: `write` gets consecutive runs of bytes. Stops at the first status that is not STATUS_OK. */
typedef enum status (*plan_sink)(void *context, const void *bytes, size_t size);
MUST_USE enum status plan_write_weights(const struct plan *plan, plan_sink write, void *context);

#endif
