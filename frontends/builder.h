/* What the builders of models share: nodes of a graph made from the modules of a source. A builder has its own names for the
 * modules and its own config; only the tensors, the outputs and the last checks go through here.
 *
 * A module is named by its path as tensors_module gives it: its tensors are PATH.weight and PATH.bias, or PATHweight where the
 * path ends in '_'. Values are named after the module that makes them, constants after their tensors. Shapes are of one image;
 * everything lives in the graph's arena. */
#ifndef VITC_FRONTENDS_BUILDER_H
#define VITC_FRONTENDS_BUILDER_H

#include "import.h"
#include "ir/ops.h"

/* What a model can answer, by the names of --output; the first is what the source's own model class answers. */
struct offer {
  const char *name;
  struct value *value;
};

enum { OFFERS_MAX = 32 };

struct builder {
  struct graph *graph;
  struct tensors *tensors;
  const struct import_options *options;
  const char *origin; /* what expects the shapes of the tensors: a config's path or an arch's name */
  double epsilon;     /* of LayerNorm */
  struct offer offers[OFFERS_MAX];
  int offer_count;
  int answer_count; /* of the offers, those that the model's class answers together; 0: the first alone */
};

enum activation { ACTIVATION_GELU, ACTIVATION_GELU_TANH, ACTIVATION_QUICK_GELU, ACTIVATION_SILU, ACTIVATION_RELU };

/* Initialises the graph and adds its input, an image (1, channels, height, width). */
struct value *builder_begin(struct builder *b, const char *input, int64_t channels, int64_t height, int64_t width);

/* Chooses the outputs among the offers, drops the nodes that they do not need, infers and verifies, and names the tensors that
 * were not used. Labels and preprocessing are the caller's to set before. */
MUST_USE enum status builder_finish(struct builder *b);

void builder_offer(struct builder *b, const char *name, struct value *value);
/* Whether --output asks for this name: for what is only built on demand. */
bool builder_wants(const struct builder *b, const char *name);

struct shape builder_shape(int rank, int64_t a, int64_t b, int64_t c, int64_t d);
const char *builder_join(const struct builder *b, const char *path, const char *last); /* "path.last" */
const char *builder_name(const struct builder *b, const char *path);                   /* without a '_' at its end */

/* A node with one output, which is named `name`. */
struct value *builder_node(struct builder *b, const char *name, enum op op, struct value *const *inputs, int input_count,
                           struct node **out_node);
struct value *builder_unary(struct builder *b, const char *name, enum op op, struct value *x);
struct value *builder_binary(struct builder *b, const char *name, enum op op, struct value *left, struct value *right);
/* `perm` has the rank of x. */
struct value *builder_transpose(struct builder *b, const char *name, struct value *x, const int64_t *perm, size_t rank);
/* To `dims`, of which dims[0] is the images': 1 for one. */
struct value *builder_reshape(struct builder *b, const char *name, struct value *x, const int64_t *dims, int rank);
struct value *builder_concat(struct builder *b, const char *name, struct value *const *inputs, int count, int64_t axis);
/* x cut into `count` equal parts along axis; they are named PATH.NAMES[i]. */
void builder_split(struct builder *b, const char *path, struct value *x, int64_t axis, const char *const *names, int count,
                   struct value **out_parts);
/* x[start:end] along axis. */
struct value *builder_slice(struct builder *b, const char *name, struct value *x, int64_t axis, int64_t start, int64_t end);
/* The element at `index` along axis, which goes. */
struct value *builder_take(struct builder *b, const char *name, struct value *x, int64_t axis, int64_t index);
struct value *builder_mean(struct builder *b, const char *name, struct value *x, int64_t axis); /* axis goes */
/* x is of rank 3, (N, T, D) */
struct value *builder_activation(struct builder *b, const char *name, enum activation activation, struct value *x);

/* Integers as a constant. A shape of `batched` images has 1 where N stands. */
struct value *builder_integers(struct builder *b, const char *name, int rank, const int64_t *values, int count, bool batched);
struct value *builder_scalar(struct builder *b, const char *name, float x);
/* Computed, not read. `data` is borrowed. */
struct value *builder_table(struct builder *b, const char *name, struct shape shape, const float *data);

/* The tensor of this key, whose shape must be this one. Its elements are not to be read: see tensors_constant. */
MUST_USE enum status builder_constant(struct builder *b, const char *key, enum tensor_role role, struct shape shape,
                                      struct value **out_value);
/* PATH.weight (kind "weight"), PATH.bias. */
MUST_USE enum status builder_parameter(struct builder *b, const char *path, const char *kind, enum tensor_role role,
                                       struct shape shape, struct value **out_value);
/* x (N, T, in) to (N, T, out): MatMul and Add. */
MUST_USE enum status builder_linear(struct builder *b, const char *path, int64_t in, int64_t out, bool bias, struct value **x);
/* x (N, in) to (N, out), named `name`. */
MUST_USE enum status builder_gemm(struct builder *b, const char *path, const char *name, int64_t in, int64_t out, bool bias,
                                  struct value **x);
/* Over the last axis of x, of `dim`. */
MUST_USE enum status builder_layer_norm(struct builder *b, const char *path, const char *name, int64_t dim, struct value **x);
/* x (N, in, H, W) to (N, out, H', W'): a square or rectangular kernel, strides and symmetric padding. */
struct convolution {
  int64_t in, out, kernel[2], stride[2], padding[2];
  bool bias;
};
MUST_USE enum status builder_conv(struct builder *b, const char *path, const struct convolution *convolution, struct value **x);
/* A convolution of stride = kernel without padding, its planes as rows: (N, C, H, W) to (N, patches, dim). */
MUST_USE enum status builder_patches(struct builder *b, const char *path, int64_t channels, int64_t dim, const int64_t *patch,
                                     const int64_t *grid, bool bias, struct value **x);
/* A learned table (1, count, dim) for every image: (N, count, dim). `shape` is what the source stores. */
MUST_USE enum status builder_token(struct builder *b, const char *key, struct shape stored, int64_t count, int64_t dim,
                                   struct value **out_tokens);
/* x times a learned vector of `dim`. */
MUST_USE enum status builder_scale(struct builder *b, const char *key, const char *name, int64_t dim, struct value **x);
/* softmax(scale q k^T + mask) v, all (N, T, heads * d); mask NULL or (heads or 1, T, T); scale 0: 1/sqrt(d). */
struct value *builder_attention(struct builder *b, const char *name, struct value *const *q_k_v, struct value *mask,
                                int64_t heads, double scale);
/* Offers softmax(scale q k^T + mask) (N, heads, T, T) as "attention:BLOCK", beside the Attention node that computes it for
 * itself, where --output asks for it. */
void builder_attention_map(struct builder *b, int64_t block, const char *path, struct value *const *q_k, struct value *mask,
                           int64_t heads, double scale);
double builder_head_scale(int64_t head_dim); /* that of scale 0, as attention has it */
/* The table of `rows` + height * width rows, resampled for another grid; (1, rows, dim) or, with rank 2, (rows, dim). */
MUST_USE enum status builder_positions(struct builder *b, const char *key, int rank, int64_t prefix, const int64_t *from,
                                       const int64_t *to, int64_t dim, enum resample resample, struct value **out_table);

#endif
