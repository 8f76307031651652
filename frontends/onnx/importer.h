/* An ONNX graph on its way to ours: what each of its tensors is, and how its nodes are read.
 *
 * A tensor is either known (it does not depend on the input's pixels) or a value of the graph. What is known is evaluated at
 * once, at every batch size of PROBES: shape arithmetic therefore needs no algebra. An element that is the same for all of them
 * is taken as constant, one that grows in proportion is taken as a multiple of the batch symbol N, and any other is an error
 * where it is used.
 *
 * The graph keeps the images of a batch along axis 0. An ONNX tensor may have them along another axis, as after
 * (N, T, 3, H, d) -> (3, N, H, T, d): `images` is that axis, and the graph's value has the same axes with that one moved to the
 * front. axis_of translates.
 *
 * Ownership: the decoded file, names and constants are in the arena of `weights`, which the graph borrows from. */
#ifndef VITC_FRONTENDS_ONNX_IMPORTER_H
#define VITC_FRONTENDS_ONNX_IMPORTER_H

#include "frontend.h"
#include "ir/ops.h"
#include "lower.h"
#include "onnx_subset.pb-c.h"

enum { PROBE_COUNT = 3, ONNX_IO_MAX = 256 };
extern const int64_t PROBES[PROBE_COUNT]; /* batch sizes; the first is 1, that of the graph's shapes */

struct tensor {
  enum dtype dtype;
  struct shape shape;
  const void *data; /* aligned; never NULL, also without elements */
};

struct operand {
  const char *name;
  const OnnxSubset__Tensor *initializer; /* not yet read */
  bool known;
  bool repeated;                     /* known: N along axis 0, where one image's share of 1 stands here */
  bool not_nan;                      /* known bool: false wherever a value is a number, which a Softmax's result is */
  struct tensor tensor[PROBE_COUNT]; /* known: of equal dtype and shape; data equal where nothing depends on N */
  struct value *value;               /* of the graph; of what is known, made on demand */
  int images;
  bool merged; /* the graph's value has an axis more: ONNX's axis 0 is [rows][images], images are 1 here */
  const OnnxSubset__Node *normalization; /* the BatchNormalization that is in this result already, or NULL */
};

struct importer {
  const char *file;
  struct graph *graph;
  struct arena *arena;
  struct weights *weights;
  const struct import_options *options;
  struct diag *diag;
  const OnnxSubset__Graph *source;
  const OnnxSubset__Node *node; /* being read, or NULL */
  size_t node_index;
  struct operand *operands; /* hash table by name; operand_capacity is a power of two */
  size_t operand_capacity;
  uint64_t known_bytes_left; /* that folding may yet make */
  bool batch_fixed;          /* to one image: extents of it are numbers like others */
  size_t looks_left;         /* at other nodes: what a hostile file may cost */
  const char *mapped_names[WEIGHTS_FILES_MAX];
  struct span mapped[WEIGHTS_FILES_MAX];
  int mapped_count;
};

/* `FILE: node 'NAME' (Op): MESSAGE`, or without the node where there is none. A macro, so that compilers see that it fails. */
void importer_report(struct importer *im, const char *format, ...) PRINTF_LIKE(2, 3);
#define importer_fail(...) (importer_report(__VA_ARGS__), STATUS_INPUT)

/* ---- tensors of the file (tensor.c) */

/* The dtype of an ONNX data type as it is computed with: float16 and bfloat16 become float32. False: none. */
bool tensor_dtype(int32_t data_type, enum dtype *out_dtype);
MUST_USE enum status tensor_read(struct importer *im, const OnnxSubset__Tensor *source, struct tensor *out_tensor);

/* ---- operands (operands.c) */

void operands_init(struct importer *im, size_t count);
/* A new entry; a name that is taken, or is no UTF-8 text, is an error. */
MUST_USE enum status operand_add(struct importer *im, const char *name, struct operand **out_operand);
struct operand *operand_find(const struct importer *im, const char *name);
/* Input `index` of the node being read, or NULL when it is omitted. */
MUST_USE enum status operand_input(struct importer *im, size_t index, struct operand **out_operand);
MUST_USE enum status operand_required(struct importer *im, size_t index, struct operand **out_operand);
bool operand_varies(const struct operand *operand); /* with N */

/* Outputs of the node being read. An omitted one is skipped. */
MUST_USE enum status operand_set_value(struct importer *im, size_t output, struct value *value, int images);
MUST_USE enum status operand_set_known(struct importer *im, size_t output, const struct tensor *tensors);
MUST_USE enum status operand_set_same(struct importer *im, size_t output, const struct operand *operand);

/* The operand as a value of the graph. `repeats`: the node repeats what is the same for all images. */
MUST_USE enum status operand_value(struct importer *im, struct operand *operand, bool repeats, struct value **out_value);
/* A known list of integers as a target shape, in which the element at `images` may be a multiple of N. */
MUST_USE enum status operand_target(struct importer *im, struct operand *operand, int *out_count, int64_t out_dims[RANK_MAX],
                                    int *out_images);
/* A known list of at most `max` integers that do not depend on N. */
MUST_USE enum status operand_ints(struct importer *im, struct operand *operand, int max, int64_t *out_ints, int *out_count);
/* A list of integers as a constant of the graph; `batched`: the first is a multiple of N. */
struct value *importer_ints(struct importer *im, const int64_t *ints, int count, bool batched);
struct value *importer_floats(struct importer *im, const char *name, const struct shape *shape, const float *data);

int operand_rank(const struct operand *operand);
/* Extent of ONNX's axis, of one image. */
int64_t operand_extent(const struct operand *operand, int axis);
/* The graph's axis of ONNX's. */
static inline int axis_of(int images, int axis) {
  return axis == images ? 0 : axis < images ? axis + 1 : axis;
}
/* A negative axis counted from the end, checked. */
MUST_USE enum status importer_axis(struct importer *im, int64_t axis, int rank, int *out_axis);
/* For ops that know no other place for the images. */
MUST_USE enum status operand_front(struct importer *im, const struct operand *operand);

/* ---- attributes (attributes.c) */

const OnnxSubset__Attribute *attribute_find(const struct importer *im, const char *name);
MUST_USE enum status attribute_int(struct importer *im, const char *name, int64_t otherwise, int64_t *out);
MUST_USE enum status attribute_float(struct importer *im, const char *name, double otherwise, double *out);
/* A string, or `otherwise`. */
MUST_USE enum status attribute_string(struct importer *im, const char *name, const char *otherwise, const char **out);
/* Those of the node that the graph's op has too; any other is an error, but for those in `read` (NULL-ended; may be NULL). */
MUST_USE enum status attributes_copy(struct importer *im, struct node *node, const char *const *read);
MUST_USE enum status attributes_check(struct importer *im, const char *const *read);

/* ---- nodes (nodes.c) */

/* Adds a node with one output to the graph. The caller sets attributes, then calls node_ready. */
struct node *node_add(struct importer *im, enum op op, struct value *const *inputs, int count, const char *output);
MUST_USE enum status node_ready(struct importer *im, struct node *node);
/* Both in one, without attributes. */
MUST_USE enum status node_make(struct importer *im, enum op op, struct value *const *inputs, int count, const char *output,
                               struct value **out_value);
MUST_USE enum status node_transpose(struct importer *im, struct value *x, const int64_t *perm, const char *output,
                                    struct value **out_value);
MUST_USE enum status node_reshape(struct importer *im, struct value *x, const int64_t *dims, int rank, const char *output,
                                  struct value **out_value);
const char *node_output_name(const struct importer *im, size_t index);
/* For what becomes several nodes, of `x` (lower.h). */
struct lowering importer_lowering(struct importer *im, const struct value *x);
MUST_USE enum status import_node(struct importer *im);

typedef enum status import_function(struct importer *im, enum op op);
/* moves.c, reshape.c, repeats.c */
import_function import_transpose, import_squeeze, import_unsqueeze, import_reshape, import_expand, import_tile;
/* joins.c */
import_function import_concat, import_split, import_slice, import_gather;
/* arithmetic.c */
import_function import_unary, import_elementwise, import_product, import_along_axis, import_reduce_mean, import_in_front,
    import_cast, import_where, import_gemm, import_is_nan, import_dropout;
/* convolutions.c */
import_function import_conv, import_batch_normalization, import_conv_transpose, import_global_average_pool;
/* activations.c, pools.c */
import_function import_extreme, import_clip, import_hard_sigmoid, import_hard_swish, import_leaky_relu, import_elu, import_pool;
/* attention.c */
import_function import_attention;
/* rms_normalization.c */
import_function import_rms_normalization;
/* resize.c */
import_function import_resize;
/* fold.c */
import_function import_shape, import_size, import_constant, import_constant_of_shape;

/* Evaluates the node at every probe where all its inputs are known. `fold` is NULL for an op of the graph. */
typedef enum status fold_function(struct importer *im, const struct tensor *inputs, size_t count, struct tensor *out);
MUST_USE enum status fold_node(struct importer *im, enum op op, fold_function *fold, bool elementwise, bool *out_folded);
/* Room for a folded tensor. */
MUST_USE enum status fold_room(struct importer *im, enum dtype dtype, const struct shape *shape, struct tensor *out_tensor,
                               void **out_data);
fold_function fold_compare, fold_logic, fold_where, fold_range, fold_rounding, fold_extreme, fold_trigonometry, fold_reduce,
    fold_resize, fold_triangle, fold_scatter;

#endif
