#include "import.h"

#include <string.h>

/* One ViT for every family: what differs between them is in the config and in the family's key names. Values are named after
 * the module that makes them, constants after the tensors. */
struct builder {
  struct graph *graph;
  const struct vit_config *config;
  struct tensors *tensors;
  int64_t grid_height, grid_width; /* patches of the image */
};

static struct shape shape_of(int rank, int64_t a, int64_t b, int64_t c, int64_t d) {
  return (struct shape){.rank = rank, .dim = {a, b, c, d}};
}

static struct value *add_node(struct builder *b, const char *name, enum op op, struct value **inputs, int input_count,
                              struct node **out_node) {
  struct shape unknown = {0};
  struct value *output = graph_add_value(b->graph, name, DTYPE_F32, &unknown, false);
  struct node *node = graph_add_node(b->graph, NULL, op, inputs, input_count, &output, 1);
  if (out_node) *out_node = node;
  return output;
}

static struct value *binary(struct builder *b, const char *name, enum op op, struct value *left, struct value *right) {
  struct value *inputs[] = {left, right};
  return add_node(b, name, op, inputs, 2, NULL);
}

static const char *join(struct builder *b, const char *path, const char *last) {
  return arena_printf(b->graph->arena, "%s.%s", path, last);
}

/* Integers as a constant. A shape of `batched` images has 1 where N stands. */
static struct value *integers(struct builder *b, const char *name, int rank, const int64_t *values, int count, bool batched) {
  int64_t *data = arena_array(b->graph->arena, (size_t)count, sizeof *data);
  memcpy(data, values, (size_t)count * sizeof *data);
  struct shape shape = {.rank = rank, .dim = {count}};
  struct value *constant = graph_add_constant(b->graph, name, DTYPE_I64, &shape, data);
  constant->batched = batched;
  return constant;
}

static struct value *transpose(struct builder *b, const char *name, struct value *x, const int64_t *perm, size_t rank) {
  struct node *node;
  struct value *output = add_node(b, name, OP_transpose, &x, 1, &node);
  node_set_ints(b->graph, node, "perm", perm, rank);
  return output;
}

/* A module's path without the suffix of its tensors: "blocks.0.attn.qkv". */
static const char *module_path(struct builder *b, enum part part, int64_t block) {
  const char *key = tensors_key(b->tensors, part, block, "weight");
  size_t length = strlen(key) - strlen("weight");
  while (length && (key[length - 1] == '.' || key[length - 1] == '_')) length--;
  return arena_strndup(b->graph->arena, key, length);
}

/* `kind` is "weight" or "bias" of a module, or NULL for a tensor that is none. */
static enum status constant(struct builder *b, enum part part, int64_t block, const char *kind, enum tensor_role role,
                            struct shape shape, struct value **out_value) {
  const char *key = tensors_key(b->tensors, part, block, kind);
  const void *data;
  TRY(tensors_take(b->tensors, key, &shape, role, b->config->origin, &data));
  *out_value = graph_add_constant(b->graph, key, DTYPE_F32, &shape, data);
  return STATUS_OK;
}

/* x (N, T, in) to (N, T, out). */
static enum status linear(struct builder *b, enum part part, int64_t block, int64_t in, int64_t out, bool has_bias,
                          struct value **x) {
  static const int64_t swap[] = {1, 0};
  const char *path = module_path(b, part, block);
  struct value *weight, *bias;
  TRY(constant(b, part, block, "weight", ROLE_WEIGHT, shape_of(2, out, in, 0, 0), &weight));
  struct value *transposed = transpose(b, join(b, path, "weight.T"), weight, swap, 2);
  *x = binary(b, has_bias ? join(b, path, "matmul") : path, OP_mat_mul, *x, transposed);
  if (!has_bias) return STATUS_OK;
  TRY(constant(b, part, block, "bias", ROLE_BIAS, shape_of(1, out, 0, 0, 0), &bias));
  *x = binary(b, path, OP_add, *x, bias);
  return STATUS_OK;
}

/* After the blocks. The last one that a config has makes the graph's output. */
enum stage { STAGE_POOL, STAGE_POOLED_NORM, STAGE_PRE_LOGITS, STAGE_HEAD };

/* `name`, unless the stage is the last. */
static const char *stage_name(const struct builder *b, enum stage stage, const char *name) {
  const struct vit_config *config = b->config;
  if (config->classes) return stage == STAGE_HEAD ? "logits" : name;
  if (config->pre_logits) {
    bool pooler = config->family == &families[FAMILY_transformers];
    return stage != STAGE_PRE_LOGITS ? name : pooler ? "pooler_output" : "features";
  }
  return stage == (config->pooled_norm ? STAGE_POOLED_NORM : STAGE_POOL) ? "features" : name;
}

/* x (N, in) to (N, out). */
static enum status gemm(struct builder *b, enum part part, const char *name, int64_t in, int64_t out, struct value **x) {
  struct value *inputs[3] = {*x};
  struct node *node;
  TRY(constant(b, part, 0, "weight", ROLE_WEIGHT, shape_of(2, out, in, 0, 0), &inputs[1]));
  TRY(constant(b, part, 0, "bias", ROLE_BIAS, shape_of(1, out, 0, 0, 0), &inputs[2]));
  *x = add_node(b, name, OP_gemm, inputs, 3, &node);
  node_set_int(b->graph, node, "transB", 1);
  return STATUS_OK;
}

static enum status layer_norm(struct builder *b, enum part part, int64_t block, const char *name, struct value **x) {
  struct value *inputs[3] = {*x};
  struct shape shape = shape_of(1, b->config->dim, 0, 0, 0);
  struct node *node;
  TRY(constant(b, part, block, "weight", ROLE_GAIN, shape, &inputs[1]));
  TRY(constant(b, part, block, "bias", ROLE_BIAS, shape, &inputs[2]));
  *x = add_node(b, name, OP_layer_normalization, inputs, 3, &node);
  node_set_float(b->graph, node, "epsilon", b->config->epsilon);
  return STATUS_OK;
}

/* The image (N, C, H, W) to patches (N, P, D). */
static enum status patch_embedding(struct builder *b, struct value *image, struct value **out) {
  const struct vit_config *config = b->config;
  const char *path = module_path(b, PART_PATCH, 0);
  struct value *inputs[3] = {image};
  struct node *node;
  struct shape kernel = shape_of(4, config->dim, config->channels, config->patch_height, config->patch_width);
  TRY(constant(b, PART_PATCH, 0, "weight", ROLE_WEIGHT, kernel, &inputs[1]));
  TRY(constant(b, PART_PATCH, 0, "bias", ROLE_BIAS, shape_of(1, config->dim, 0, 0, 0), &inputs[2]));
  struct value *planes = add_node(b, path, OP_conv, inputs, 3, &node);
  int64_t sides[] = {config->patch_height, config->patch_width};
  node_set_ints(b->graph, node, "kernel_shape", sides, 2);
  node_set_ints(b->graph, node, "strides", sides, 2);
  int64_t flat[] = {1, config->dim, b->grid_height * b->grid_width};
  static const int64_t perm[] = {0, 2, 1};
  struct value *shape = integers(b, join(b, path, "shape"), 1, flat, 3, true);
  struct value *channels_first = binary(b, join(b, path, "flat"), OP_reshape, planes, shape);
  *out = transpose(b, join(b, path, "patches"), channels_first, perm, 3);
  return STATUS_OK;
}

/* A learned token (1, 1, D) for every image: (N, 1, D). */
static enum status token(struct builder *b, enum part part, struct value **out) {
  const char *key = tensors_key(b->tensors, part, 0, NULL);
  struct value *inputs[2];
  TRY(constant(b, part, 0, NULL, ROLE_TABLE, shape_of(3, 1, 1, b->config->dim, 0), &inputs[0]));
  int64_t shape[] = {1, 1, b->config->dim};
  inputs[1] = integers(b, join(b, key, "shape"), 1, shape, 3, true);
  *out = add_node(b, join(b, key, "expand"), OP_expand, inputs, 2, NULL);
  return STATUS_OK;
}

static enum status position_table(struct builder *b, int64_t prefix, struct value **out) {
  const struct vit_config *config = b->config;
  int64_t height = config->image_height / config->patch_height, width = config->image_width / config->patch_width;
  const char *key = tensors_key(b->tensors, PART_POSITION, 0, NULL);
  struct shape shape = shape_of(3, 1, prefix + height * width, config->dim, 0);
  const void *data;
  TRY(tensors_take(b->tensors, key, &shape, ROLE_TABLE, config->origin, &data));
  if (height != b->grid_height || width != b->grid_width) {
    shape.dim[1] = prefix + b->grid_height * b->grid_width;
    float *table = arena_array(b->graph->arena, (size_t)shape_elements(&shape), sizeof *table);
    position_resample(data, prefix, height, width, config->dim, table, b->grid_height, b->grid_width, config->family->resample);
    data = table;
  }
  *out = graph_add_constant(b->graph, key, DTYPE_F32, &shape, data);
  return STATUS_OK;
}

/* Prefix tokens, patches and positions: (N, T, D). */
static enum status embeddings(struct builder *b, struct value *image, struct value **out) {
  const struct vit_config *config = b->config;
  struct value *parts[3], *patches, *table;
  int prefix = 0;
  struct node *node;
  TRY(patch_embedding(b, image, &patches));
  if (config->class_token) TRY(token(b, PART_CLASS_TOKEN, &parts[prefix++]));
  if (config->distilled) TRY(token(b, PART_DISTILLATION_TOKEN, &parts[prefix++]));
  TRY(position_table(b, config->embed_class ? prefix : 0, &table));
  if (!config->embed_class) patches = binary(b, "patches", OP_add, patches, table);
  if (prefix) {
    parts[prefix] = patches;
    patches = add_node(b, config->embed_class ? "tokens" : "embeddings", OP_concat, parts, prefix + 1, &node);
    node_set_int(b->graph, node, "axis", 1);
  }
  *out = config->embed_class ? binary(b, "embeddings", OP_add, patches, table) : patches;
  return STATUS_OK;
}

/* One GEMM whose columns are queries, keys, values, split as the source does. */
static enum status merged_qkv(struct builder *b, int64_t block, struct value *x, struct value **q_k_v) {
  int64_t inner = b->config->heads * b->config->head_dim;
  static const char *const names[] = {"q", "k", "v"};
  const char *path = module_path(b, PART_QKV, block);
  TRY(linear(b, PART_QKV, block, b->config->dim, 3 * inner, b->config->qkv_bias, &x));
  struct shape unknown = {0};
  for (int i = 0; i < 3; i++) q_k_v[i] = graph_add_value(b->graph, join(b, path, names[i]), DTYPE_F32, &unknown, false);
  struct node *split = graph_add_node(b->graph, NULL, OP_split, &x, 1, q_k_v, 3);
  node_set_int(b->graph, split, "axis", 2);
  node_set_int(b->graph, split, "num_outputs", 3);
  return STATUS_OK;
}

static enum status attention(struct builder *b, int64_t block, struct value **x) {
  const struct vit_config *config = b->config;
  int64_t inner = config->heads * config->head_dim;
  struct value *q_k_v[3];
  struct node *node;
  if (config->family->keys[PART_QKV]) {
    TRY(merged_qkv(b, block, *x, q_k_v));
  } else {
    for (int i = 0; i < 3; i++) {
      q_k_v[i] = *x;
      TRY(linear(b, (enum part)(PART_QUERY + i), block, config->dim, inner, config->qkv_bias, &q_k_v[i]));
    }
  }
  /* "blocks.0.attn.proj" has its attention beside it: "blocks.0.attn". */
  const char *path = module_path(b, PART_NORM1, block), *dot = strrchr(path, '.');
  const char *name = arena_printf(b->graph->arena, "%.*s.attention", (int)(dot - path), path);
  *x = add_node(b, name, OP_attention, q_k_v, 3, &node);
  node_set_int(b->graph, node, "q_num_heads", config->heads);
  node_set_int(b->graph, node, "kv_num_heads", config->heads);
  if (config->scale != 0) node_set_float(b->graph, node, "scale", config->scale);
  return linear(b, PART_PROJECTION, block, inner, config->dim, true, x);
}

static enum status layer_scale(struct builder *b, enum part part, int64_t block, struct value **x) {
  if (!b->config->layer_scale) return STATUS_OK;
  struct value *gamma;
  TRY(constant(b, part, block, NULL, ROLE_LAYER_SCALE, shape_of(1, b->config->dim, 0, 0, 0), &gamma));
  *x = binary(b, join(b, gamma->name, "mul"), OP_mul, *x, gamma);
  return STATUS_OK;
}

static enum status block(struct builder *b, int64_t index, struct value **x) {
  const struct vit_config *config = b->config;
  struct value *residual = *x, *branch = *x;
  struct node *gelu;
  const char *path = module_path(b, PART_NORM1, index), *dot = strrchr(path, '.');
  path = arena_strndup(b->graph->arena, path, (size_t)(dot - path));
  TRY(layer_norm(b, PART_NORM1, index, module_path(b, PART_NORM1, index), &branch));
  TRY(attention(b, index, &branch));
  TRY(layer_scale(b, PART_SCALE1, index, &branch));
  residual = branch = binary(b, join(b, path, "residual1"), OP_add, residual, branch);
  TRY(layer_norm(b, PART_NORM2, index, module_path(b, PART_NORM2, index), &branch));
  TRY(linear(b, PART_FC1, index, config->dim, config->mlp, true, &branch));
  branch = add_node(b, join(b, path, "gelu"), OP_gelu, &branch, 1, &gelu);
  if (config->gelu_tanh) node_set_string(b->graph, gelu, "approximate", "tanh");
  TRY(linear(b, PART_FC2, index, config->mlp, config->dim, true, &branch));
  TRY(layer_scale(b, PART_SCALE2, index, &branch));
  *x = binary(b, join(b, path, "residual2"), OP_add, residual, branch);
  return STATUS_OK;
}

/* (N, T, D) to the token at `index`, (N, D). */
static struct value *take_token(struct builder *b, const char *name, struct value *x, int64_t index) {
  struct value *inputs[] = {x, integers(b, join(b, name, "index"), 0, &index, 1, false)};
  struct node *node;
  struct value *output = add_node(b, name, OP_gather, inputs, 2, &node);
  node_set_int(b->graph, node, "axis", 1);
  return output;
}

/* (N, T, D) to the mean of its patches, (N, D). */
static struct value *mean_tokens(struct builder *b, const char *name, struct value *x) {
  const struct vit_config *config = b->config;
  int64_t prefix = config->pool_prefix ? 0 : (config->class_token ? 1 : 0) + (config->distilled ? 1 : 0);
  static const int64_t axis[] = {1};
  struct node *node;
  if (prefix) {
    int64_t end = (config->class_token ? 1 : 0) + (config->distilled ? 1 : 0) + b->grid_height * b->grid_width;
    struct value *inputs[] = {x, integers(b, "pool.start", 1, &prefix, 1, false), integers(b, "pool.end", 1, &end, 1, false),
                              integers(b, "pool.axes", 1, axis, 1, false)};
    x = add_node(b, "pool.patches", OP_slice, inputs, 4, NULL);
  }
  x = add_node(b, name, OP_reduce_mean, &x, 1, &node);
  node_set_ints(b->graph, node, "axes", axis, 1);
  node_set_int(b->graph, node, "keepdims", 0);
  return x;
}

/* The mean of the answers for the class and for the distillation token. */
static enum status two_heads(struct builder *b, struct value *x, struct value **out) {
  const struct vit_config *config = b->config;
  struct value *class_token = take_token(b, "pool", x, 0), *distillation = take_token(b, "pool_distillation", x, 1);
  if (config->classes) {
    TRY(gemm(b, PART_HEAD, module_path(b, PART_HEAD, 0), config->dim, config->classes, &class_token));
    TRY(gemm(b, PART_DISTILLATION_HEAD, module_path(b, PART_DISTILLATION_HEAD, 0), config->dim, config->classes,
             &distillation));
  }
  float *two = arena_alloc(b->graph->arena, sizeof *two);
  *two = 2;
  struct shape scalar = {0};
  struct value *divisor = graph_add_constant(b->graph, "two", DTYPE_F32, &scalar, two);
  struct value *sum = binary(b, "sum", OP_add, class_token, distillation);
  *out = binary(b, config->classes ? "logits" : "features", OP_div, sum, divisor);
  return STATUS_OK;
}

static enum status head(struct builder *b, struct value *x, struct value **out) {
  const struct vit_config *config = b->config;
  int64_t width = config->dim;
  if (config->norm) TRY(layer_norm(b, PART_NORM, 0, module_path(b, PART_NORM, 0), &x));
  if (config->two_heads) return two_heads(b, x, out);
  const char *name = stage_name(b, STAGE_POOL, "pool");
  x = config->mean_pool ? mean_tokens(b, name, x) : take_token(b, name, x, 0);
  if (config->pooled_norm)
    TRY(layer_norm(b, PART_POOLED_NORM, 0, stage_name(b, STAGE_POOLED_NORM, module_path(b, PART_POOLED_NORM, 0)), &x));
  if (config->pre_logits) {
    const char *path = module_path(b, PART_PRE_LOGITS, 0);
    TRY(gemm(b, PART_PRE_LOGITS, path, width, config->pre_logits, &x));
    x = add_node(b, stage_name(b, STAGE_PRE_LOGITS, join(b, path, "tanh")), OP_tanh, &x, 1, NULL);
    width = config->pre_logits;
  }
  if (config->classes) TRY(gemm(b, PART_HEAD, "logits", width, config->classes, &x));
  *out = x;
  return STATUS_OK;
}

enum status vit_build(const struct vit_config *config, struct tensors *tensors, int64_t height, int64_t width,
                      struct graph *graph) {
  struct builder b = {.graph = graph,
                      .config = config,
                      .tensors = tensors,
                      .grid_height = height / config->patch_height,
                      .grid_width = width / config->patch_width};
  struct shape image = shape_of(4, 1, config->channels, height, width);
  struct value *x = graph_add_value(graph, config->family->input, DTYPE_F32, &image, true);
  graph->inputs[graph->input_count++] = x;
  TRY(embeddings(&b, x, &x));
  for (int64_t i = 0; i < config->depth; i++) TRY(block(&b, i, &x));
  TRY(head(&b, x, &x));
  graph->outputs[graph->output_count++] = x;
  return STATUS_OK;
}
