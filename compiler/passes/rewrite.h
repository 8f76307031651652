/* What passes match and build with.
 *
 * Builders insert before `before` (NULL: at the end), infer the new node's outputs, and put everything into the graph's arena.
 * A node that does not infer leaves its message in graph->diag, which run_passes checks after every pass. */
#ifndef VITC_PASSES_REWRITE_H
#define VITC_PASSES_REWRITE_H

#include "ir/graph.h"
#include "ir/ops.h"

/* ---- matching */

bool value_is_constant(const struct value *value); /* false for NULL */
bool value_is_output(const struct graph *graph, const struct value *value);
const float *constant_floats(const struct value *value);             /* NULL unless a float32 constant */
bool constant_scalar(const struct value *value, double *out_scalar); /* a float32 constant of one element */

/* Constant of int32 or int64, rank at most 1, at most `max` elements. */
bool constant_integers(const struct value *value, int max, int64_t *out_integers, int *out_count);

struct node *producer_of(const struct value *value, enum op op); /* NULL when produced otherwise; never a fused node */
bool node_plain(const struct node *node);                        /* nothing is fused into it */

/* The only node that reads `value`, when it is a plain `op`. */
struct node *only_user(const struct graph *graph, const struct value *value, enum op op);

/* For a binary node: the operand that is no constant, with the constant in *out_constant. NULL when there is no such pair. */
struct value *operand_beside_constant(const struct node *node, struct value **out_constant, int *out_index);

int node_axis(const struct node *node, int rank); /* attribute "axis" in [0, rank) */
int64_t last_dim(const struct value *value);

/* Transpose's permutation, also when the attribute is left to its default of reversal. */
void transpose_perm(const struct node *node, int64_t out_perm[RANK_MAX]);
bool transpose_is(const struct node *node, int rank, const int64_t *perm);

/* Constant B of a MatMul: (K, columns), as it is or as the Transpose of a constant (columns, K). */
struct weight_matrix {
  struct value *constant;
  bool transposed;
  int64_t rows, columns; /* of B */
};
bool matmul_weight(const struct node *matmul, struct weight_matrix *out_matrix);

/* Split's cuts and Slice's ranges on one axis with step 1. */
bool split_sizes(const struct node *split, int64_t *out_sizes, int max);
bool slice_range(const struct node *slice, int *out_axis, int64_t *out_start, int64_t *out_end);

/* ---- building */

struct value *build_integers(struct graph *graph, const char *name, const int64_t *integers, int count);
struct value *build_floats(struct graph *graph, const char *name, const struct shape *shape, const float *floats);
struct value *build_scalar(struct graph *graph, const char *name, float scalar);

struct node *build_node(struct graph *graph, struct node *before, enum op op, struct value *const *inputs, int input_count,
                        const char *name); /* one output, not inferred: for ops that need attributes first */
struct value *finish_node(struct graph *graph, struct node *node); /* infers; the first output */
struct value *build_unary(struct graph *graph, struct node *before, enum op op, struct value *x, const char *name);
struct value *build_binary(struct graph *graph, struct node *before, enum op op, struct value *a, struct value *b,
                           const char *name);
struct value *build_cast(struct graph *graph, struct node *before, struct value *x, enum dtype dtype, const char *name);
struct value *build_transpose(struct graph *graph, struct node *before, struct value *x, const int64_t *perm, const char *name);

/* To `shape` of one image; x itself when it has that shape. */
struct value *build_reshape(struct graph *graph, struct node *before, struct value *x, const struct shape *shape,
                            const char *name);
struct value *build_slice(struct graph *graph, struct node *before, struct value *x, int axis, int64_t start, int64_t end,
                          const char *name);
struct node *build_split(struct graph *graph, struct node *before, struct value *x, int axis, const int64_t *sizes, int count,
                         const char *name); /* inferred */

/* The constant's elements [start, end) of `axis`: its own data where they lie together, else a copy. */
struct value *slice_constant(struct graph *graph, struct value *constant, int axis, int64_t start, int64_t end);

/* The constant's data under another shape of as many elements. */
struct value *reshape_constant(struct graph *graph, struct value *constant, const struct shape *shape);

/* Columns [start, end) of a MatMul's weight, as a value for input B. Zero-copy for transposed weights. */
struct value *slice_weight(struct graph *graph, struct node *before, const struct weight_matrix *matrix, int64_t start,
                           int64_t end, const char *name);

/* ---- replacing */

/* Puts `to` in the place of `from`, also as a graph output, whose name then passes on. False, with nothing changed, when a
 * graph output would become an input, a constant, or the same value as another output. */
bool replace_value(struct graph *graph, struct value *from, struct value *to);

/* Removes nodes whose outputs nobody uses, and forgets unused values. */
void sweep_dead(struct graph *graph);

#endif
