#include "builder.h"

#include <math.h>
#include <string.h>

enum status builder_constant(struct builder *b, const char *key, enum tensor_role role, struct shape shape,
                             struct value **out_value) {
  return tensors_constant(b->tensors, b->graph, key, &shape, role, b->origin, out_value);
}

enum status builder_parameter(struct builder *b, const char *path, const char *kind, enum tensor_role role, struct shape shape,
                              struct value **out_value) {
  size_t length = strlen(path);
  const char *dot = length && path[length - 1] == '_' ? "" : ".";
  return builder_constant(b, arena_printf(b->graph->arena, "%s%s%s", path, dot, kind), role, shape, out_value);
}

enum status builder_linear(struct builder *b, const char *path, int64_t in, int64_t out, bool bias, struct value **x) {
  static const int64_t swap[] = {1, 0};
  const char *name = builder_name(b, path);
  struct value *weight, *addend;
  TRY(builder_parameter(b, path, "weight", ROLE_WEIGHT, builder_shape(2, out, in, 0, 0), &weight));
  struct value *transposed = builder_transpose(b, builder_join(b, path, "weight.T"), weight, swap, 2);
  *x = builder_binary(b, bias ? builder_join(b, path, "matmul") : name, OP_mat_mul, *x, transposed);
  if (!bias) return STATUS_OK;
  TRY(builder_parameter(b, path, "bias", ROLE_BIAS, builder_shape(1, out, 0, 0, 0), &addend));
  *x = builder_binary(b, name, OP_add, *x, addend);
  return STATUS_OK;
}

enum status builder_gemm(struct builder *b, const char *path, const char *name, int64_t in, int64_t out, bool bias,
                         struct value **x) {
  struct value *inputs[3] = {*x};
  struct node *node;
  TRY(builder_parameter(b, path, "weight", ROLE_WEIGHT, builder_shape(2, out, in, 0, 0), &inputs[1]));
  if (bias) TRY(builder_parameter(b, path, "bias", ROLE_BIAS, builder_shape(1, out, 0, 0, 0), &inputs[2]));
  *x = builder_node(b, name, OP_gemm, inputs, bias ? 3 : 2, &node);
  node_set_int(b->graph, node, "transB", 1);
  return STATUS_OK;
}

enum status builder_layer_norm(struct builder *b, const char *path, const char *name, int64_t dim, struct value **x) {
  struct value *inputs[3] = {*x};
  struct shape shape = builder_shape(1, dim, 0, 0, 0);
  struct node *node;
  TRY(builder_parameter(b, path, "weight", ROLE_GAIN, shape, &inputs[1]));
  TRY(builder_parameter(b, path, "bias", ROLE_BIAS, shape, &inputs[2]));
  *x = builder_node(b, name, OP_layer_normalization, inputs, 3, &node);
  node_set_float(b->graph, node, "epsilon", b->epsilon);
  return STATUS_OK;
}

enum status builder_conv(struct builder *b, const char *path, const struct convolution *convolution, struct value **x) {
  struct value *inputs[3] = {*x};
  struct node *node;
  const int64_t *kernel = convolution->kernel, *padding = convolution->padding;
  struct shape shape = builder_shape(4, convolution->out, convolution->in, kernel[0], kernel[1]);
  TRY(builder_parameter(b, path, "weight", ROLE_WEIGHT, shape, &inputs[1]));
  if (convolution->bias)
    TRY(builder_parameter(b, path, "bias", ROLE_BIAS, builder_shape(1, convolution->out, 0, 0, 0), &inputs[2]));
  *x = builder_node(b, builder_name(b, path), OP_conv, inputs, convolution->bias ? 3 : 2, &node);
  node_set_ints(b->graph, node, "kernel_shape", kernel, 2);
  node_set_ints(b->graph, node, "strides", convolution->stride, 2);
  int64_t pads[] = {padding[0], padding[1], padding[0], padding[1]};
  if (padding[0] || padding[1]) node_set_ints(b->graph, node, "pads", pads, 4);
  return STATUS_OK;
}

enum status builder_patches(struct builder *b, const char *path, int64_t channels, int64_t dim, const int64_t *patch,
                            const int64_t *grid, bool bias, struct value **x) {
  struct convolution convolution = {
      .in = channels, .out = dim, .kernel = {patch[0], patch[1]}, .stride = {patch[0], patch[1]}, .padding = {0}, .bias = bias};
  static const int64_t perm[] = {0, 2, 1};
  int64_t flat[] = {1, dim, grid[0] * grid[1]};
  TRY(builder_conv(b, path, &convolution, x));
  *x = builder_reshape(b, builder_join(b, path, "flat"), *x, flat, 3);
  *x = builder_transpose(b, builder_join(b, path, "patches"), *x, perm, 3);
  return STATUS_OK;
}

enum status builder_token(struct builder *b, const char *key, struct shape stored, int64_t count, int64_t dim,
                          struct value **out_tokens) {
  struct value *inputs[2];
  const void *data;
  struct shape shape = builder_shape(3, 1, count, dim, 0);
  TRY(tensors_take(b->tensors, key, &stored, ROLE_TABLE, b->origin, &data));
  inputs[0] = graph_add_constant(b->graph, key, DTYPE_F32, &shape, data);
  inputs[1] = builder_integers(b, builder_join(b, key, "shape"), 1, shape.dim, 3, true);
  *out_tokens = builder_node(b, builder_join(b, key, "expand"), OP_expand, inputs, 2, NULL);
  return STATUS_OK;
}

enum status builder_scale(struct builder *b, const char *key, const char *name, int64_t dim, struct value **x) {
  struct value *scale;
  TRY(builder_constant(b, key, ROLE_LAYER_SCALE, builder_shape(1, dim, 0, 0, 0), &scale));
  *x = builder_binary(b, name, OP_mul, *x, scale);
  return STATUS_OK;
}

struct value *builder_attention(struct builder *b, const char *name, struct value *const *q_k_v, struct value *mask,
                                int64_t heads, double scale) {
  struct value *inputs[] = {q_k_v[0], q_k_v[1], q_k_v[2], mask};
  struct node *node;
  struct value *output = builder_node(b, name, OP_attention, inputs, mask ? 4 : 3, &node);
  node_set_int(b->graph, node, "q_num_heads", heads);
  node_set_int(b->graph, node, "kv_num_heads", heads);
  if (scale != 0) node_set_float(b->graph, node, "scale", scale);
  return output;
}

double builder_head_scale(int64_t head_dim) {
  return 1 / sqrt((double)head_dim);
}

void builder_attention_map(struct builder *b, int64_t block, const char *path, struct value *const *q_k, struct value *mask,
                           int64_t heads, double scale) {
  static const int64_t perms[2][4] = {{0, 2, 1, 3}, {0, 2, 3, 1}};
  const int64_t cut[] = {1, 0, heads, -1};
  static const char *const names[] = {"q", "k"};
  const char *name = arena_printf(b->graph->arena, "attention:%lld", (long long)block);
  struct value *parts[2];
  if (!builder_wants(b, name)) return;
  path = builder_join(b, path, "map");
  for (int i = 0; i < 2; i++) {
    const char *part = builder_join(b, path, names[i]);
    parts[i] = builder_reshape(b, part, q_k[i], cut, 4);
    parts[i] = builder_transpose(b, builder_join(b, part, "heads"), parts[i], perms[i], 4);
  }
  struct value *x = builder_binary(b, builder_join(b, path, "scores"), OP_mat_mul, parts[0], parts[1]);
  x = builder_binary(b, builder_join(b, path, "scaled"), OP_mul, x,
                     builder_scalar(b, builder_join(b, path, "scale"), (float)scale));
  if (mask) x = builder_binary(b, builder_join(b, path, "biased"), OP_add, x, mask);
  builder_offer(b, name, builder_unary(b, builder_join(b, path, "softmax"), OP_softmax, x));
}

enum status builder_positions(struct builder *b, const char *key, int rank, int64_t prefix, const int64_t *from,
                              const int64_t *to, int64_t dim, enum resample resample, struct value **out_table) {
  int64_t rows = prefix + from[0] * from[1];
  struct shape shape = rank == 2 ? builder_shape(2, rows, dim, 0, 0) : builder_shape(3, 1, rows, dim, 0);
  const void *data;
  TRY(tensors_take(b->tensors, key, &shape, ROLE_TABLE, b->origin, &data));
  shape = builder_shape(3, 1, prefix + to[0] * to[1], dim, 0);
  if (from[0] != to[0] || from[1] != to[1]) {
    float *table = arena_array(b->graph->arena, (size_t)shape_elements(&shape), sizeof *table);
    position_resample(data, prefix, from[0], from[1], dim, table, to[0], to[1], resample);
    data = table;
  }
  *out_table = graph_add_constant(b->graph, key, DTYPE_F32, &shape, data);
  return STATUS_OK;
}
