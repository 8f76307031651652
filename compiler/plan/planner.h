/* The planner's state, shared by its files. Lives for one plan_graph. */
#ifndef VITC_PLAN_PLANNER_H
#define VITC_PLAN_PLANNER_H

#include "plan/plan.h"

/* A value that is written straight into its place in a Concat's result. */
struct embedding {
  const struct node *concat;
  int64_t start; /* along the Concat's axis */
};

struct planner {
  const struct graph *graph;
  struct arena *arena;
  struct plan *plan;
  int node_index;               /* of the node being planned */
  int *last_use;                /* by value id: index of the last node that reads it; node_count for outputs, -1 unused */
  bool *reshaped;               /* by value id: some user joins its last axis with others */
  bool *steps_done;             /* by value id: already in memory by an earlier node */
  struct embedding *embeddings; /* by value id */
  bool *operand;                /* by value id: held as operand rows of bf16 */
  int step_capacity, buffer_capacity, packed_capacity;
};

/* live.c */
void live_analyze(struct planner *p);
int live_add_buffer(struct planner *p, const char *name, int64_t image_bytes, bool batched);
void live_extend(struct planner *p, int buffer, int last);
/* Sizes and offsets of the buffers for `group` images, or, where it may shrink, for half of them, and so on, until the arena is
 * as large as caches are. */
void live_lay_out(struct planner *p, int64_t group, bool may_shrink);

/* operands.c */
void operands_find(struct planner *p);

/* pack.c: the packed constant for `value` in this form, made on first use. */
int pack_constant(struct planner *p, const struct value *value);
/* The same rounded to bf16, which every element but infinite ones is in the range of, with room after it (pack.h). */
int pack_table(struct planner *p, const struct value *value);
/* A vector, element i divided by balance[i] unless that is NULL; and panels, in int8 for operand rows that are divided so, and
 * with `hadamard` transformed. */
int pack_divided(struct planner *p, const struct value *value, const float *balance);
int pack_panels(struct planner *p, const struct value *value, bool transposed, int64_t groups, enum precision precision,
                bool hadamard, const float *balance);

/* step.c: a new step at the end. */
struct step *steps_new(struct planner *p, enum step_kind kind, const struct node *node);
MUST_USE enum status steps_copy(struct planner *p, const struct view *from, const struct view *to, const struct node *node);

/* place.c: where values go */
MUST_USE enum status place_value(struct planner *p, const struct value *value, const struct view *in_place);
struct view place_temporary(struct planner *p, const char *name, const struct shape *shape, bool batched);
/* The same with rows padded for the kernels that read rows. */
struct view place_temporary_rows(struct planner *p, const char *name, const struct shape *shape, bool batched);
struct view place_of(struct planner *p, const struct value *value);
/* For a reader that takes bf16, too: in low precision, what tables of constants are kept as. */
struct view place_operand(struct planner *p, const struct value *value);
bool place_dies_here(const struct planner *p, const struct view *view);
/* Outputs of a movement op as views of its input's memory: false when the op must copy. */
bool place_movement(struct planner *p, const struct node *node);
/* The view that a Slice with constant bounds is. */
bool place_slice(const struct node *node, const struct view *from, struct view *out_view);
int64_t place_constant_int(const struct value *value, int64_t index);

/* plan.c: the fault's one line, with file, node and why. */
MUST_USE enum status plan_refuse(const struct planner *p, const struct node *node, const char *why);

#endif
