/* The static plan: a fused graph becomes an ordered list of steps over places in one arena and one blob of packed weights.
 *
 * Every computed value gets a view: a buffer of the arena (or the caller's input or output), an offset in it and strides.
 * Values that are only another view of a buffer (Split, Slice, Reshape, a part of a Concat, an in-place residual) share it.
 * Buffers whose live ranges do not meet share bytes. The arena is laid out once, for `group` images at a time: a larger batch
 * runs group after group. Everything lives in the arena given to plan_graph, the plan borrows the graph. */
#ifndef VITC_PLAN_PLAN_H
#define VITC_PLAN_PLAN_H

#include "base/arena.h"
#include "base/diag.h"
#include "ir/graph.h"
#include "plan/pack.h"
#include "plan/quantize.h"

#include <stdio.h>

/* The precision of the product whose result is named so. */
struct plan_choice {
  const char *result;
  enum precision precision;
};

struct plan_options {
  int64_t batch_max;                 /* 1 .. PLAN_BATCH_MAX */
  int64_t group;                     /* images that go through the layers together; 0: chosen by the plan */
  enum precision precision;          /* of the matrix products */
  const struct plan_choice *choices; /* instead of what `precision` means for these products */
  int choice_count;
};

enum { PLAN_BATCH_MAX = 65536 };

struct buffer {
  int64_t offset, bytes; /* in the arena, for one group of images */
  int64_t image_bytes;   /* of one image, or, when it is not batched, of all */
  bool batched;
  int first, last;  /* live range: indices of nodes of the graph, both included */
  const char *name; /* the value that it was made for, or what the scratch is */
};

enum memory { MEMORY_NONE, MEMORY_ARENA, MEMORY_INPUT, MEMORY_OUTPUT, MEMORY_WEIGHTS };

/* Where the elements of a value are: element (i0, i1, ..) of image g is at
 * base + offset + g * image_stride + sum of i_k * stride[k], all in elements. */
struct view {
  enum memory memory;
  int index;      /* ARENA: buffer; INPUT, OUTPUT: of the graph; WEIGHTS: packed constant */
  int64_t offset; /* elements */
  struct shape shape;
  int64_t stride[RANK_MAX];
  int64_t image_stride; /* 0 when the value is the same for all images */
  enum dtype dtype;
  int64_t operand; /* not 0: operand rows of bf16 (kernels.h) in memory for fp32, this many elements from row to row */
};

enum pack_layout {
  PACK_ROW_MAJOR, /* the constant as it is, in fp32 or bf16 */
  PACK_PANELS,    /* B (k x n) in panels of 16 columns, as kernels.h's GEMM reads it */
};

struct packed {
  const struct value *value; /* the constant */
  enum pack_layout layout;
  bool transposed;      /* PACK_PANELS: the constant holds B's transpose (n x k) */
  int64_t k, n, groups; /* PACK_PANELS: of each of `groups` matrices, one after the other */
  enum precision precision;
  int64_t group;                     /* int8: length along K of what shares a scale; 0: all of K */
  bool hadamard;                     /* int8: for operand rows in blocks of pack_hadamard(k) */
  const struct quantized *quantized; /* int8: borrowed, what its panels hold; NULL: quantised when they are written */
  const float *balance;              /* PACK_ROW_MAJOR: divides; int8: the operand rows are divided by it; or NULL */
  int64_t offset, bytes;             /* in the weights blob; 64-byte aligned */
};

enum step_kind {
  STEP_GEMM,      /* inputs: A, B panels, [layer norm scale, bias]; scratch: A as the product reads it */
  STEP_ATTENTION, /* inputs: q, k, v, [mask]; scratch: packed keys */
  STEP_ROWS,      /* inputs: x, [scale, bias]: LayerNormalization, Softmax over the last axes */
  STEP_ROTARY,    /* inputs: x, cos, sin: RotaryEmbedding; views (B, T, heads, d) and (B, T, pairs) */
  STEP_CONVERT,   /* inputs: x: its rows as operand rows of `precision` */
  STEP_STRIDED,   /* inputs: x: element by element; movement by the strides of x */
  STEP_MATMUL,    /* inputs: A, B, both computed */
  STEP_REDUCE,    /* inputs: x: ReduceMean over `axes` */
  STEP_CONV,      /* inputs: x, W panels, [bias]; grouped convolutions only: others are gathers and products */
};

/* One elementwise operation on the step's result. */
struct step_stage {
  enum op op;
  int running;     /* position of the running value in a binary operation */
  int approximate; /* Gelu: tanh form */
  int operand;     /* index into inputs, or -1: `scalar`, or unary */
  bool unary;
  float scalar; /* of a binary operation; Swish: alpha */
};

enum { STEP_INPUTS_MAX = 20, STEP_STAGES_MAX = 16 };

struct step {
  enum step_kind kind;
  const struct node *node;
  int node_index; /* position in the graph */
  bool batched;   /* once per image, else once per run */
  bool has_layer_norm;
  enum precision precision; /* STEP_GEMM, STEP_ATTENTION, STEP_CONVERT */
  struct view out, inputs[STEP_INPUTS_MAX];
  struct view scratch; /* MEMORY_NONE: none */
  int input_count, stage_count;
  struct step_stage stages[STEP_STAGES_MAX];
  unsigned axes; /* STEP_REDUCE: bit mask */
};

struct plan {
  const struct graph *graph;
  int64_t batch_max, group;
  enum precision precision;
  const struct plan_choice *choices;
  int choice_count;
  int step_count, buffer_count, packed_count;
  struct step *steps;
  struct buffer *buffers;
  struct packed *packed;
  struct view *views; /* by value id; MEMORY_NONE when the value is never in memory */
  int64_t arena_bytes, weights_bytes;
};

/* "fp32", "bf16", "int8", or "mixed" where products were chosen one by one. */
const char *plan_precision_name(const struct plan *plan);

MUST_USE enum status plan_graph(const struct graph *graph, const struct plan_options *options, struct arena *arena,
                                struct plan *out_plan);

/* Rows and columns of a view whose axes before the last have one common stride: true when it is such a matrix with columns
 * next to each other. */
bool view_matrix(const struct view *view, int64_t *out_rows, int64_t *out_columns, int64_t *out_row_stride);

/* Streams the weights blob: `write` gets consecutive runs of bytes. Stops at the first status that is not STATUS_OK. */
typedef enum status (*plan_sink)(void *context, const void *bytes, size_t size);
MUST_USE enum status plan_write_weights(const struct plan *plan, plan_sink write, void *context);

#endif
