/* Operations that the graph has no op for, as nodes that it has: Resize as products with interpolation weights, ConvTranspose
 * as convolutions whose results are woven. For every importer: what it reads decides the numbers, the nodes are the same.
 *
 * Nodes are appended to the graph; constants and names live in its arena. */
#ifndef VITC_FRONTENDS_LOWER_H
#define VITC_FRONTENDS_LOWER_H

#include "ir/graph.h"

struct lowering {
  struct graph *graph;
  bool batched; /* whether what is lowered differs from image to image */
  /* Called for every node when it is complete; NULL: nothing is checked yet. */
  enum status (*ready)(void *context, struct node *node);
  void *context;
};

/* ---- lower_resize.c */

/* How the last two axes are sampled, in ONNX's words: out[o] = sum over i of weight[o, i] * x[i]. */
struct sampling {
  const char *mode;        /* nearest, linear, cubic */
  const char *coordinates; /* half_pixel, pytorch_half_pixel, align_corners, asymmetric */
  const char *nearest;     /* round_prefer_floor, round_prefer_ceil, floor, ceil */
  double cubic;
  bool exclude_outside;
  bool antialias; /* linear and cubic */
  bool narrow;    /* coordinates in float32, as PyTorch has them */
  int64_t in[2], out[2];
  double scale[2];
};

/* Weights along an axis, (in, out), so that rows of x times them are rows of the result. */
double *sampling_matrix(struct arena *arena, const struct sampling *sampling, int axis);
/* x (N, C, in[0], in[1]) to (N, C, out[0], out[1]), named `name`. */
MUST_USE enum status lower_resize(const struct lowering *lowering, const char *name, const struct sampling *sampling,
                                  struct value *x, struct value **out);

/* ---- lower_transposed.c
 *
 * Along an axis with the stride s, output o = s q + r of a transposed convolution is the sum over j of x[q - j] w[r + begin + s
 * j]: for each phase r an ordinary convolution with every s-th tap. */

struct transposed_axis {
  int64_t in, kernel, stride, begin, out;
};

struct transposed {
  const float *weight; /* (inputs, outputs, kernel, kernel) */
  const float *bias;   /* of the outputs, or NULL */
  const double *scale; /* of each output's weights, or NULL */
  int64_t inputs, outputs;
  struct transposed_axis axis[2];
};

enum { PHASES_MAX = 256 };

/* Whether every phase of the axis is a convolution: no more padding than the kernel reaches. */
bool transposed_supported(const struct transposed_axis *axis);
/* x (N, inputs, in, in) to (N, outputs, out, out), named `name`. At most PHASES_MAX phases. */
MUST_USE enum status lower_transposed(const struct lowering *lowering, const char *name, const struct transposed *transposed,
                                      struct value *x, struct value **out);

/* ---- lower.c: nodes with one output, called `name` */

struct node *lower_node(const struct lowering *lowering, const char *name, enum op op, struct value *const *inputs, int count);
MUST_USE enum status lower_ready(const struct lowering *lowering, struct node *node, struct value **out);
MUST_USE enum status lower_transpose(const struct lowering *lowering, const char *name, struct value *x, const int64_t *perm,
                                     size_t rank, struct value **out);
/* dims[0] is that of one image. */
MUST_USE enum status lower_reshape(const struct lowering *lowering, const char *name, struct value *x, const int64_t *dims,
                                   int rank, struct value **out);
struct value *lower_ints(const struct lowering *lowering, const char *name, const int64_t *ints, int count, bool batched);
struct value *lower_floats(const struct lowering *lowering, const char *name, const struct shape *shape, const float *data);

#endif
