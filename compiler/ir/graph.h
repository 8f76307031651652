/* The graph: values and nodes with ONNX's op names, attributes and semantics.
 *
 * Shapes are those of ONE image: a value with `batched` set has the batch symbol N as a factor of its axis 0 (shape[0] is that
 * axis for N = 1: 1 after the input, T after merging batch and tokens). No op mixes images, so every node can be evaluated one
 * image at a time; the verifier rejects a graph in which axis 0 of a batched value is reduced, moved or joined. A value without
 * `batched` is the same for all images.
 *
 * Nodes are kept in execution order in a doubly linked list. A node's `prologue` and `epilogue` are nodes that were fused into
 * it: they are not in the list and have no outputs of their own; the running value stands in their inputs as NULL.
 * A prologue changes inputs[0] on its way in; the epilogue, in order, changes the result on its way out.
 *
 * Ownership: everything is in `arena`. Constant data is borrowed (mapped weights) or in the arena, aligned to its element, and
 * outlives the graph.
 * Only the functions below change links; passes never write them directly. */
#ifndef VITC_IR_GRAPH_H
#define VITC_IR_GRAPH_H

#include "base/arena.h"
#include "base/diag.h"
#include "vitc/model.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RANK_MAX = 8 };

enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F64, DTYPE_U8, DTYPE_I8, DTYPE_I32, DTYPE_I64, DTYPE_BOOL, DTYPE_COUNT };

size_t dtype_size(enum dtype dtype);      /* bytes of one element */
const char *dtype_name(enum dtype dtype); /* ONNX's: "float32", "float16", "bfloat16", "uint8", "int64", "bool", ... */
bool dtype_parse(const char *name, enum dtype *out_dtype);

struct shape {
  int rank;
  int64_t dim[RANK_MAX];
};

int64_t shape_elements(const struct shape *shape); /* 1 for rank 0 */
bool shape_equal(const struct shape *a, const struct shape *b);

enum op {
#define OP(id, ...) OP_##id,
#include "ir/ops.def"
#undef OP
  OP_COUNT
};

enum attr_kind { ATTR_INT, ATTR_FLOAT, ATTR_INTS, ATTR_FLOATS, ATTR_STRING };

struct attr {
  const char *name;
  enum attr_kind kind;
  int64_t i;
  double f;
  const char *string;
  size_t count; /* of ints or floats */
  const int64_t *ints;
  const double *floats;
};

struct node;

struct value {
  const char *name; /* unique in the graph */
  enum dtype dtype;
  struct shape shape; /* of one image */
  bool batched;
  const void *data; /* constants: row-major elements; NULL otherwise */
  /* Only between an import and its json_write: `data` are floats as the source has them, elements of `stored`, perhaps
   * misaligned or not finite. Nothing reads them but the writer, which converts them. */
  bool deferred;
  enum dtype stored;
  struct node *producer; /* NULL for inputs and constants */
  struct value *next;    /* all values of the graph, in order of creation */
  int id;                /* dense, 0 .. graph.value_count - 1 */
};

struct node {
  enum op op;
  int input_count, output_count, attr_count;
  struct value **inputs;  /* an omitted optional input is NULL; so is the running value of a fused node */
  struct value **outputs; /* an omitted optional output is NULL */
  struct attr *attrs;
  struct node **prologue, **epilogue;
  int prologue_count, epilogue_count;
  struct node *prev, *next;
  int id;
};

enum { GRAPH_IO_MAX = 8 };

struct graph {
  struct arena *arena;
  struct diag *diag;
  const char *name; /* a C identifier: prefix of the object's symbols */
  const char *file; /* of the source, for messages */
  struct value *values, *last_value;
  int value_count;
  struct value **name_index; /* hash table of the values by name; name_capacity is a power of two, or 0 */
  size_t name_capacity;
  struct node *first, *last;
  int node_count;
  int input_count, output_count;
  struct value *inputs[GRAPH_IO_MAX], *outputs[GRAPH_IO_MAX];
  struct vitc_preprocess preprocess; /* .resize == VITC_RESIZE_UNKNOWN when the model has none */
  int label_count;
  const char **labels;
};

void graph_init(struct graph *graph, struct arena *arena, struct diag *diag, const char *name, const char *file);

/* Values. A name already taken gets ".1", ".2", ... appended (frontends that must not rename check graph_find first). */
struct value *graph_add_value(struct graph *graph, const char *name, enum dtype dtype, const struct shape *shape, bool batched);
struct value *graph_add_constant(struct graph *graph, const char *name, enum dtype dtype, const struct shape *shape,
                                 const void *data);
struct value *graph_find(const struct graph *graph, const char *name);
/* A result that takes another's place keeps its name. */
void graph_swap_names(struct graph *graph, struct value *a, struct value *b);
/* Forgets the values that no node, input or output of the graph names; ids are dense again. */
void graph_sweep_values(struct graph *graph);

/* Appends (before == NULL) or inserts a node. Arrays are copied. The outputs' producer is set. Shapes of the outputs are set by
 * infer_node. */
struct node *graph_add_node(struct graph *graph, struct node *before, enum op op, struct value *const *inputs, int input_count,
                            struct value *const *outputs, int output_count);
void graph_remove_node(struct graph *graph, struct node *node); /* its outputs lose their producer; they must be unused */
void graph_move_node(struct graph *graph, struct node *node, struct node *before); /* before == NULL: to the end */

void node_set_input(struct node *node, int index, struct value *value);
void node_set_int(struct graph *graph, struct node *node, const char *name, int64_t i);
void node_set_float(struct graph *graph, struct node *node, const char *name, double f);
void node_set_ints(struct graph *graph, struct node *node, const char *name, const int64_t *ints, size_t count);
void node_set_floats(struct graph *graph, struct node *node, const char *name, const double *floats, size_t count);
void node_set_string(struct graph *graph, struct node *node, const char *name, const char *text);

const struct attr *node_attr(const struct node *node, const char *name); /* NULL when absent */
int64_t node_int(const struct node *node, const char *name);             /* value, or the default of ops.def */
double node_float(const struct node *node, const char *name);
const char *node_string(const struct node *node, const char *name);

/* Replaces `from` by `to` in every input of every node (fused ones too) and in the graph's outputs. */
void graph_replace_uses(struct graph *graph, struct value *from, struct value *to);
/* Uses of `value` as an input, also in prologues and epilogues; each graph output counts once more. */
int graph_count_uses(const struct graph *graph, const struct value *value);
/* The single node (fusion host, not the fused node) that reads `value`, or NULL when there are none, several, or it is a graph
 * output. */
struct node *graph_single_user(const struct graph *graph, const struct value *value);

/* Takes `fused` out of the list and makes it the last epilogue (or the first prologue) of `host`. `running` is the index of its
 * input that is the host's result (or that becomes the host's inputs[0]); that input becomes NULL. The host takes over the
 * fused node's outputs (epilogue) or its running input (prologue). */
void graph_fuse_epilogue(struct graph *graph, struct node *host, struct node *fused, int running);
void graph_fuse_prologue(struct graph *graph, struct node *host, struct node *fused, int running);

/* Deep copy into another arena (constant data is shared). */
void graph_copy(const struct graph *graph, struct arena *arena, struct graph *out_copy);

#endif
