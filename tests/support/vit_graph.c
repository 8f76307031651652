#include "support/vit_graph.h"

#include "ir/ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct builder {
  struct graph *graph;
  const struct vit_form *form;
  uint32_t state;
  int tokens;
};

static float draw(struct builder *b) {
  b->state = b->state * 1664525u + 1013904223u;
  return (float)(b->state >> 8) / (float)(1 << 23) - 1;
}

/* Uniform in [-scale, scale] around `centre`. */
static struct value *weight(struct builder *b, const char *name, struct shape shape, float scale, float centre) {
  int64_t count = shape_elements(&shape);
  float *data = arena_array(b->graph->arena, (size_t)count, sizeof *data);
  for (int64_t i = 0; i < count; i++) data[i] = centre + scale * draw(b);
  return graph_add_constant(b->graph, name, DTYPE_F32, &shape, data);
}

static struct value *scalar(struct builder *b, float x) {
  float *data = arena_array(b->graph->arena, 1, sizeof *data);
  *data = x;
  return graph_add_constant(b->graph, "scalar", DTYPE_F32, &(struct shape){.rank = 0}, data);
}

static struct value *ints(struct builder *b, int count, const int64_t *values, int rank) {
  int64_t *data = arena_array(b->graph->arena, (size_t)count, sizeof *data);
  for (int i = 0; i < count; i++) data[i] = values[i];
  return graph_add_constant(b->graph, "ints", DTYPE_I64, &(struct shape){.rank = rank, .dim = {count}}, data);
}

#define INTS(b, ...) ints(b, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__}, 1)

static void check(const struct builder *b, enum status status) {
  if (status == STATUS_OK) return;
  fprintf(stderr, "make_vit_graph: %s\n", b->graph->diag->message);
  abort();
}

static struct node *open_node(struct builder *b, enum op op, struct value *const *inputs, int count, const char *name) {
  struct value *output = graph_add_value(b->graph, name, DTYPE_F32, NULL, false);
  return graph_add_node(b->graph, NULL, op, inputs, count, &output, 1);
}

static struct value *close_node(struct builder *b, struct node *node) {
  check(b, infer_node(b->graph, node));
  return node->outputs[0];
}

static struct value *unary(struct builder *b, enum op op, struct value *x, const char *name) {
  return close_node(b, open_node(b, op, &x, 1, name));
}

static struct value *binary(struct builder *b, enum op op, struct value *x, struct value *y, const char *name) {
  return close_node(b, open_node(b, op, (struct value *[]){x, y}, 2, name));
}

static struct value *transpose(struct builder *b, struct value *x, const int64_t *perm, const char *name) {
  struct node *node = open_node(b, OP_transpose, &x, 1, name);
  node_set_ints(b->graph, node, "perm", perm, (size_t)x->shape.rank);
  return close_node(b, node);
}

static struct value *with_axis(struct builder *b, enum op op, struct value *x, struct value *y, int64_t axis,
                               const char *name) {
  struct node *node = open_node(b, op, (struct value *[]){x, y}, 2, name);
  node_set_int(b->graph, node, "axis", axis);
  return close_node(b, node);
}

static struct node *split(struct builder *b, struct value *x, int64_t axis, int count, const char *name) {
  struct value *outputs[3];
  for (int i = 0; i < count; i++) outputs[i] = graph_add_value(b->graph, name, DTYPE_F32, NULL, false);
  struct node *node = graph_add_node(b->graph, NULL, OP_split, &x, 1, outputs, count);
  node_set_int(b->graph, node, "axis", axis);
  close_node(b, node);
  return node;
}

static struct value *linear(struct builder *b, struct value *x, int64_t columns, bool bias, const char *name) {
  int64_t rows = x->shape.dim[x->shape.rank - 1];
  float scale = 1.7f / sqrtf((float)rows);
  const char *weight_name = arena_printf(b->graph->arena, "%s.weight", name);
  struct value *w;
  if (b->form->plain_weights) {
    w = weight(b, weight_name, (struct shape){2, {rows, columns}}, scale, 0);
  } else {
    w = weight(b, weight_name, (struct shape){2, {columns, rows}}, scale, 0);
    w = transpose(b, w, (const int64_t[]){1, 0}, arena_printf(b->graph->arena, "%s.T", weight_name));
  }
  x = binary(b, OP_mat_mul, x, w, name);
  if (!bias) return x;
  const char *bias_name = arena_printf(b->graph->arena, "%s.bias", name);
  return binary(b, OP_add, x, weight(b, bias_name, (struct shape){1, {columns}}, 0.3f, 0), name);
}

static struct value *norm_by_ops(struct builder *b, struct value *x, struct value *scale, struct value *bias) {
  struct value *mean = binary(b, OP_reduce_mean, x, INTS(b, -1), "mean");
  struct value *centred = binary(b, OP_sub, x, mean, "centred");
  struct value *square = binary(b, OP_pow, centred, scalar(b, 2), "square");
  struct value *variance = binary(b, OP_reduce_mean, square, INTS(b, -1), "variance");
  struct value *root = unary(b, OP_sqrt, binary(b, OP_add, variance, scalar(b, 1e-6f), "sum"), "root");
  x = binary(b, OP_div, centred, root, "normalized");
  return binary(b, OP_add, binary(b, OP_mul, x, scale, "scaled"), bias, "norm");
}

static struct value *norm(struct builder *b, struct value *x, const char *name) {
  struct shape shape = {1, {b->form->dim}};
  struct value *scale = weight(b, arena_printf(b->graph->arena, "%s.weight", name), shape, 0.3f, 1);
  struct value *bias = weight(b, arena_printf(b->graph->arena, "%s.bias", name), shape, 0.3f, 0);
  if (b->form->decomposed_ops) return norm_by_ops(b, x, scale, bias);
  struct node *node = open_node(b, OP_layer_normalization, (struct value *[]){x, scale, bias}, 3, name);
  node_set_float(b->graph, node, "epsilon", 1e-6);
  return close_node(b, node);
}

static struct value *gelu(struct builder *b, struct value *x) {
  if (!b->form->decomposed_ops) return unary(b, OP_gelu, x, "gelu");
  struct value *e = unary(b, OP_erf, binary(b, OP_div, x, scalar(b, 1.41421356f), "gelu.in"), "erf");
  struct value *product = binary(b, OP_mul, x, binary(b, OP_add, e, scalar(b, 1), "gelu.sum"), "gelu.product");
  return binary(b, OP_mul, product, scalar(b, 0.5f), "gelu");
}

static struct value *embed_patches(struct builder *b, struct value *image) {
  const struct vit_form *form = b->form;
  int64_t dim = form->dim, patch = form->patch;
  struct value *inputs[] = {image, weight(b, "patch.weight", (struct shape){4, {dim, 3, patch, patch}}, 0.1f, 0),
                            weight(b, "patch.bias", (struct shape){1, {dim}}, 0.3f, 0)};
  struct node *conv = open_node(b, OP_conv, inputs, 3, "patch");
  node_set_ints(b->graph, conv, "strides", (const int64_t[]){patch, patch}, 2);
  struct value *x = close_node(b, conv);
  int64_t count = x->shape.dim[2] * x->shape.dim[3];
  x = binary(b, OP_reshape, x, INTS(b, 0, dim, count), "patch.flat");
  return transpose(b, x, (const int64_t[]){0, 2, 1}, "patch.tokens");
}

/* A token for every image: Expand to (N, 1, D), whose target constant holds N in its element 0. */
static struct value *class_token(struct builder *b, const char *name) {
  struct value *token = weight(b, name, (struct shape){3, {1, 1, b->form->dim}}, 0.5f, 0);
  struct value *target = INTS(b, 1, 1, b->form->dim);
  target->batched = true;
  return binary(b, OP_expand, token, target, arena_printf(b->graph->arena, "%s.expanded", name));
}

static struct value *embed(struct builder *b, struct value *image) {
  struct value *inputs[3];
  int count = 0;
  inputs[count++] = class_token(b, "cls");
  if (b->form->pooling == POOL_DISTILLED) inputs[count++] = class_token(b, "dist");
  inputs[count] = embed_patches(b, image);
  struct node *concat = open_node(b, OP_concat, inputs, count + 1, "tokens");
  node_set_int(b->graph, concat, "axis", 1);
  struct value *x = close_node(b, concat);
  b->tokens = (int)x->shape.dim[1];
  return binary(b, OP_add, x, weight(b, "pos", x->shape, 0.5f, 0), "embedded");
}

struct qkv {
  struct value *part[3]; /* (N, T, D), or (N, H, T, d) when `heads` */
  bool heads;
};

static struct qkv project(struct builder *b, struct value *x) {
  const struct vit_form *form = b->form;
  static const char *const NAMES[] = {"query", "key", "value"};
  struct qkv qkv = {.heads = form->qkv == QKV_GATHER || form->qkv == QKV_SPLIT_5D};
  if (form->qkv == QKV_SEPARATE) {
    for (int i = 0; i < 3; i++)
      qkv.part[i] = linear(b, x, form->dim, !form->no_qkv_bias && !(i == 1 && form->no_key_bias), NAMES[i]);
    return qkv;
  }
  x = linear(b, x, 3 * form->dim, !form->no_qkv_bias, "qkv");
  if (form->qkv == QKV_SPLIT) {
    struct node *parts = split(b, x, -1, 3, "qkv.part");
    for (int i = 0; i < 3; i++) qkv.part[i] = parts->outputs[i];
    return qkv;
  }
  x = binary(b, OP_reshape, x, INTS(b, 0, b->tokens, 3, form->heads, form->dim / form->heads), "qkv.heads");
  x = transpose(b, x, (const int64_t[]){0, 2, 3, 1, 4}, "qkv.turned");
  struct node *parts = form->qkv == QKV_SPLIT_5D ? split(b, x, 1, 3, "qkv.part") : NULL;
  for (int i = 0; i < 3; i++)
    qkv.part[i] = parts != NULL ? binary(b, OP_squeeze, parts->outputs[i], INTS(b, 1), NAMES[i])
                                : with_axis(b, OP_gather, x, ints(b, 1, (const int64_t[]){i}, 0), 1, NAMES[i]);
  return qkv;
}

static struct value *cut_heads(struct builder *b, struct value *x, const int64_t *perm, const char *name) {
  const struct vit_form *form = b->form;
  x = binary(b, OP_reshape, x, INTS(b, 0, -1, form->heads, form->dim / form->heads), name);
  return transpose(b, x, perm, name);
}

/* Random angles, none for the class token; of two elements less than a head has, where a head can spare them. */
static struct value *rotate(struct builder *b, struct value *x, const char *name) {
  if (b->form->rotary == ROTARY_NONE) return x;
  int width = b->form->dim / b->form->heads, rotated = width / 2 * 2 > 4 ? width / 2 * 2 - 2 : width / 2 * 2;
  struct shape shape = {3, {1, b->tokens, rotated / 2}};
  struct value *cos = weight(b, "cos", shape, 0, 1), *sin = weight(b, "sin", shape, 0, 0);
  for (int i = rotated / 2; i < b->tokens * rotated / 2; i++) {
    double angle = 3 * (double)draw(b);
    ((float *)(uintptr_t)cos->data)[i] = (float)__builtin_cos(angle);
    ((float *)(uintptr_t)sin->data)[i] = (float)__builtin_sin(angle);
  }
  struct node *node = open_node(b, OP_rotary_embedding, (struct value *[]){x, cos, sin}, 3, name);
  if (x->shape.rank == 3) node_set_int(b->graph, node, "num_heads", b->form->heads);
  if (b->form->rotary == ROTARY_INTERLEAVED) node_set_int(b->graph, node, "interleaved", 1);
  if (rotated < width) node_set_int(b->graph, node, "rotary_embedding_dim", rotated);
  return close_node(b, node);
}

static struct value *attention_op(struct builder *b, struct qkv *qkv) {
  qkv->part[0] = rotate(b, qkv->part[0], "query.rotated");
  qkv->part[1] = rotate(b, qkv->part[1], "key.rotated");
  struct node *node = open_node(b, OP_attention, qkv->part, 3, "attention");
  if (qkv->part[0]->shape.rank == 3) {
    node_set_int(b->graph, node, "q_num_heads", b->form->heads);
    node_set_int(b->graph, node, "kv_num_heads", b->form->heads);
  }
  return close_node(b, node);
}

/* softmax(scale * q @ k^T) @ v of heads; the key is still (N, T, D) unless the parts came as heads. */
static struct value *attention_by_ops(struct builder *b, struct qkv *qkv) {
  static const int64_t SWAP[] = {0, 2, 1, 3}, TURN[] = {0, 2, 3, 1}, LAST[] = {0, 1, 3, 2};
  enum attention_form form = b->form->attention;
  int width = b->form->dim / b->form->heads;
  float scale = 1 / sqrtf((float)width);
  struct value *query = qkv->part[0], *key = qkv->part[1], *value = qkv->part[2];
  if (form == ATTENTION_QUERY) query = binary(b, OP_mul, query, scalar(b, scale), "query.scaled");
  if (!qkv->heads) {
    query = rotate(b, cut_heads(b, query, SWAP, "query.heads"), "query.rotated");
    value = cut_heads(b, value, SWAP, "value.heads");
    bool once = form == ATTENTION_POST;
    key = cut_heads(b, key, once ? TURN : SWAP, "key.heads");
    if (!once) key = transpose(b, rotate(b, key, "key.rotated"), LAST, "key.turned");
  } else {
    query = rotate(b, query, "query.rotated");
    key = transpose(b, rotate(b, key, "key.rotated"), LAST, "key.turned");
  }
  if (form == ATTENTION_PRE) {
    query = binary(b, OP_mul, query, scalar(b, sqrtf(scale)), "query.scaled");
    key = binary(b, OP_mul, key, scalar(b, sqrtf(scale)), "key.scaled");
  }
  struct value *scores = binary(b, OP_mat_mul, query, key, "scores");
  if (form == ATTENTION_POST) scores = binary(b, OP_mul, scores, scalar(b, scale), "scores.scaled");
  if (form == ATTENTION_DIVIDED) scores = binary(b, OP_div, scores, scalar(b, 1 / scale), "scores.scaled");
  return binary(b, OP_mat_mul, unary(b, OP_softmax, scores, "probabilities"), value, "context.heads");
}

static struct value *attend(struct builder *b, struct value *x) {
  static const int64_t SWAP[] = {0, 2, 1, 3};
  struct qkv qkv = project(b, x);
  struct value *y;
  if (b->form->attention == ATTENTION_OP && !qkv.heads) {
    y = attention_op(b, &qkv);
  } else {
    if (b->form->attention <= ATTENTION_RANK_4) {
      for (int i = 0; i < 3 && !qkv.heads; i++) qkv.part[i] = cut_heads(b, qkv.part[i], SWAP, "heads");
      y = attention_op(b, &qkv);
    } else {
      y = attention_by_ops(b, &qkv);
    }
    y = transpose(b, y, SWAP, "context.tokens");
    y = binary(b, OP_reshape, y, INTS(b, 0, b->tokens, b->form->dim), "context");
  }
  return linear(b, y, b->form->dim, true, "proj");
}

static struct value *residual(struct builder *b, struct value *x, struct value *y, const char *name) {
  struct shape shape = {1, {b->form->dim}};
  if (b->form->layer_scale) y = binary(b, OP_mul, y, weight(b, "gamma", shape, 0.3f, 0.5f), "layer_scale");
  return binary(b, OP_add, x, y, name);
}

static void heads_of(struct builder *b, struct value *x, struct graph *graph) {
  const struct vit_form *form = b->form;
  if (form->pooling == POOL_NONE) {
    graph->outputs[graph->output_count++] = x;
    return;
  }
  struct value *pooled =
      form->pooling == POOL_MEAN ? NULL : with_axis(b, OP_gather, x, ints(b, 1, (const int64_t[]){0}, 0), 1, "pooled");
  if (form->pooling == POOL_MEAN) {
    struct node *mean = open_node(b, OP_reduce_mean, (struct value *[]){x, INTS(b, 1)}, 2, "pooled");
    node_set_int(graph, mean, "keepdims", 0);
    pooled = close_node(b, mean);
  }
  struct shape weight_shape = {2, {form->classes, form->dim}}, bias_shape = {1, {form->classes}};
  struct value *inputs[] = {pooled, weight(b, "head.weight", weight_shape, 0.5f, 0),
                            weight(b, "head.bias", bias_shape, 0.3f, 0)};
  struct node *head = open_node(b, OP_gemm, inputs, 3, "logits");
  node_set_int(graph, head, "transB", 1);
  graph->outputs[graph->output_count++] = close_node(b, head);
  if (form->pooling != POOL_DISTILLED) return;
  struct value *second = with_axis(b, OP_gather, x, ints(b, 1, (const int64_t[]){1}, 0), 1, "pooled.dist");
  graph->outputs[graph->output_count++] = linear(b, second, form->classes, true, "logits.dist");
}

void make_vit_graph(struct graph *graph, struct arena *arena, struct diag *diag, const struct vit_form *form) {
  graph_init(graph, arena, diag, "vit", "vit.json");
  struct builder builder = {.graph = graph, .form = form, .state = form->seed * 2654435761u + 1}, *b = &builder;
  struct shape image_shape = {4, {1, 3, form->height, form->width}};
  struct value *x = graph->inputs[graph->input_count++] = graph_add_value(graph, "image", DTYPE_F32, &image_shape, true);
  graph->preprocess = (struct vitc_preprocess){
      .resize = VITC_RESIZE_NONE, .rescale = 1.0 / 255, .mean = {0.485, 0.456, 0.406}, .std = {0.229, 0.224, 0.225}};
  if (form->input_normalized) {
    struct shape channels = {4, {1, 3, 1, 1}};
    x = binary(b, OP_sub, x, weight(b, "mean", channels, 0.2f, 0.5f), "image.centred");
    x = binary(b, OP_div, x, weight(b, "std", channels, 0.1f, 0.5f), "image.normalized");
  }
  x = embed(b, x);
  for (int i = 0; i < form->depth; i++) {
    x = residual(b, x, attend(b, norm(b, x, "norm1")), "attended");
    struct value *y = gelu(b, linear(b, norm(b, x, "norm2"), form->hidden, true, "fc1"));
    x = residual(b, x, linear(b, y, form->dim, true, "fc2"), "block");
  }
  heads_of(b, norm(b, x, "norm"), graph);
  check(b, infer_graph(graph));
  check(b, verify_graph(graph, "make_vit_graph"));
}
