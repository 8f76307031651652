#include "sam/sam.h"

#include <stdio.h>
#include <string.h>

static const double CHANNEL_NORM_EPSILON = 1e-6;

/* Patches with their positions: (N, T, dim). */
static enum status embeddings(struct sam *sam, struct value **x) {
  const struct sam_config *config = sam->config;
  struct builder *b = &sam->b;
  struct value *table;
  TRY(builder_patches(b, sam_module(sam, SAM_PATCH, 0), config->channels, config->dim, config->patch, sam->grid, true, x));
  if (!config->absolute) return STATUS_OK;
  const char *key = sam_key(sam, SAM_POSITION, 0);
  const int64_t *to = sam->grid;
  int64_t from[] = {config->position_image[0] / config->patch[0], config->position_image[1] / config->patch[1]};
  int64_t dim = config->dim, rows = config->family->class_rows;
  struct shape stored =
      rows ? builder_shape(3, 1, rows + from[0] * from[1], dim, 0) : builder_shape(4, 1, from[0], from[1], dim);
  const void *data;
  TRY(tensors_take(sam->tensors, key, &stored, ROLE_TABLE, config->origin, &data));
  const float *grid = (const float *)data + rows * dim;
  if (from[0] != to[0] || from[1] != to[1]) {
    float *resampled = arena_array(b->graph->arena, (size_t)(to[0] * to[1] * dim), sizeof *resampled);
    position_resample(grid, 0, from[0], from[1], dim, resampled, to[0], to[1], config->family->resample);
    grid = resampled;
  }
  table = builder_table(b, key, builder_shape(3, 1, to[0] * to[1], dim, 0), grid);
  *x = builder_binary(b, "embeddings", OP_add, *x, table);
  return STATUS_OK;
}

/* Tokens (N, T, width) to planes (N, width, H, W), and back. */
static struct value *planes(struct sam *sam, const char *name, struct value *x, int64_t width) {
  static const int64_t perm[] = {0, 2, 1};
  const int64_t dims[] = {1, width, sam->grid[0], sam->grid[1]};
  x = builder_transpose(&sam->b, builder_join(&sam->b, name, "channels"), x, perm, 3);
  return builder_reshape(&sam->b, name, x, dims, 4);
}

static struct value *rows(struct sam *sam, const char *name, struct value *x, int64_t width) {
  static const int64_t perm[] = {0, 2, 1};
  const int64_t dims[] = {1, width, sam->grid[0] * sam->grid[1]};
  x = builder_reshape(&sam->b, builder_join(&sam->b, name, "channels"), x, dims, 3);
  return builder_transpose(&sam->b, name, x, perm, 3);
}

/* Normalises over the channels: x (N, T, width). */
static enum status channel_norm(struct sam *sam, const char *path, int64_t width, struct value **x) {
  double epsilon = sam->b.epsilon;
  sam->b.epsilon = CHANNEL_NORM_EPSILON;
  enum status status = builder_layer_norm(&sam->b, path, path, width, x);
  sam->b.epsilon = epsilon;
  return status;
}

/* A convolution that keeps the grid, and the norm after it: x (N, T, in) to (N, T, out). */
static enum status conv_norm(struct sam *sam, const char *conv, const char *norm, int64_t in, int64_t out, int64_t kernel,
                             struct value **x) {
  const struct convolution convolution = {
      .in = in, .out = out, .kernel = {kernel, kernel}, .stride = {1, 1}, .padding = {kernel / 2, kernel / 2}, .bias = false};
  *x = planes(sam, builder_join(&sam->b, conv, "planes"), *x, in);
  TRY(builder_conv(&sam->b, conv, &convolution, x));
  *x = rows(sam, builder_join(&sam->b, conv, "rows"), *x, out);
  return channel_norm(sam, norm, out, x);
}

/* Three convolutions through half the width, added to x. */
static enum status bottleneck(struct sam *sam, int64_t block, struct value **x) {
  const char *first = sam_module(sam, SAM_RESIDUAL, block), *dot = strrchr(first, '.');
  struct builder *b = &sam->b;
  const char *path = arena_strndup(b->graph->arena, first, (size_t)(dot - first));
  int64_t dim = sam->config->dim, widths[] = {dim, dim / 2, dim / 2, dim};
  struct value *residual = *x;
  for (int i = 0; i < 3; i++) {
    const char *conv = arena_printf(b->graph->arena, "%s.conv%d", path, i + 1);
    const char *norm = arena_printf(b->graph->arena, "%s.norm%d", path, i + 1);
    const char *act = arena_printf(b->graph->arena, "%s.act%d", path, i + 1);
    TRY(conv_norm(sam, conv, norm, widths[i], widths[i + 1], i == 1 ? 3 : 1, x));
    if (i < 2) *x = builder_activation(b, act, sam->config->activation, *x);
  }
  *x = builder_binary(b, builder_join(b, path, "add"), OP_add, residual, *x);
  return STATUS_OK;
}

/* "blocks.0.norm1" is of the block "blocks.0". */
static const char *block_path(const struct sam *sam, int64_t block) {
  const char *path = sam_module(sam, SAM_NORM1, block), *dot = strrchr(path, '.');
  return arena_strndup(sam->b.graph->arena, path, (size_t)(dot - path));
}

static enum status block(struct sam *sam, int64_t index, struct value **x) {
  const struct sam_config *config = sam->config;
  struct builder *b = &sam->b;
  const char *path = block_path(sam, index), *norm1 = sam_module(sam, SAM_NORM1, index),
             *norm2 = sam_module(sam, SAM_NORM2, index);
  struct value *residual = *x;
  TRY(builder_layer_norm(b, norm1, norm1, config->dim, x));
  TRY(sam_attention(sam, index, x));
  *x = residual = builder_binary(b, builder_join(b, path, "residual1"), OP_add, residual, *x);
  TRY(builder_layer_norm(b, norm2, norm2, config->dim, x));
  TRY(builder_linear(b, sam_module(sam, SAM_FC1, index), config->dim, config->mlp, true, x));
  *x = builder_activation(b, builder_join(b, path, "act"), config->activation, *x);
  TRY(builder_linear(b, sam_module(sam, SAM_FC2, index), config->mlp, config->dim, true, x));
  *x = builder_binary(b, builder_join(b, path, "residual2"), OP_add, residual, *x);
  return config->residual[index] ? bottleneck(sam, index, x) : STATUS_OK;
}

static enum status neck(struct sam *sam, struct value **x) {
  const struct sam_config *config = sam->config;
  int64_t width = config->neck_width;
  const char *norm1 = config->neck != SAM_NECK_NONE ? sam_module(sam, SAM_NECK_NORM1, 0) : NULL;
  if (config->neck == SAM_NECK_NONE) return STATUS_OK;
  if (config->neck == SAM_NECK_NORM) return channel_norm(sam, norm1, config->dim, x);
  TRY(conv_norm(sam, sam_module(sam, SAM_NECK_CONV1, 0), norm1, config->dim, width, 1, x));
  return conv_norm(sam, sam_module(sam, SAM_NECK_CONV2, 0), sam_module(sam, SAM_NECK_NORM2, 0), width, width, 3, x);
}

static void offer_stage(struct sam *sam, int64_t stage, struct value *x) {
  struct builder *b = &sam->b;
  if (!sam->config->stages[stage]) return;
  const char *name = stage ? arena_printf(b->graph->arena, "stage%lld", (long long)stage) : "stem";
  builder_offer(b, name, planes(sam, name, x, sam->config->dim));
}

/* What the model answers after its blocks. */
static enum status answers(struct sam *sam, struct value *x) {
  const struct sam_config *config = sam->config;
  struct builder *b = &sam->b;
  int64_t width = config->neck == SAM_NECK_CONVOLUTIONS ? config->neck_width : config->dim;
  TRY(neck(sam, &x));
  if (config->pool) {
    struct value *pooled = builder_mean(b, "pool", x, 1), *logits = pooled;
    if (config->classes) {
      const char *path = sam_module(sam, SAM_HEAD, 0);
      TRY(builder_gemm(b, path, path, width, config->classes, true, &logits));
      builder_offer(b, "logits", logits);
    }
    builder_offer(b, "features", pooled);
  }
  const char *name = config->family->output;
  if (!config->has_stages) builder_offer(b, name, planes(sam, name, x, width));
  return STATUS_OK;
}

static enum status check_size(const struct sam_config *config, const int64_t *size, const char *what, struct diag *diag) {
  for (int i = 0; i < 2; i++)
    if (size[i] < config->patch[i] || size[i] % config->patch[i] != 0)
      return diag_fail(diag, STATUS_USAGE, "%s of %lldx%lld: the %s must be a multiple of the patch of %lld", what,
                       (long long)size[0], (long long)size[1], i ? "width" : "height", (long long)config->patch[i]);
  return STATUS_OK;
}

static void report(const struct sam_config *config, const struct sam *sam) {
  const struct shape *image = &sam->b.graph->inputs[0]->shape;
  int64_t windowed = 0;
  for (int64_t i = 0; i < config->depth; i++) windowed += config->windowed[i];
  fprintf(stderr,
          "vitc: %s (keys of %s%s): width %lld, depth %lld, %lld heads, MLP %lld, patch %lldx%lld, image %lldx%lld, "
          "%lld blocks with windows of %lld%s%s%s\n",
          config->arch, config->family->name, sam->tensors->random ? ", random weights" : "", (long long)config->dim,
          (long long)config->depth, (long long)config->heads, (long long)config->mlp, (long long)config->patch[0],
          (long long)config->patch[1], (long long)image->dim[2], (long long)image->dim[3], (long long)windowed,
          (long long)config->window, config->relative ? ", relative positions" : "",
          config->absolute ? ", absolute positions" : "", config->qkv_bias ? "" : ", no QKV bias");
  if (image->dim[2] != config->image[0] || image->dim[3] != config->image[1])
    fprintf(stderr, "vitc: positions resampled from %lldx%lld to %lldx%lld pixels: absolute ones %s, relative ones linearly\n",
            (long long)config->image[0], (long long)config->image[1], (long long)image->dim[2], (long long)image->dim[3],
            resample_text(config->family->resample));
}

/* Labels and preprocessing go with the graph; the rest of the outputs' checks is every builder's. */
static enum status finish(struct sam *sam, struct sam_config *config, const int64_t *size) {
  struct graph *graph = sam->b.graph;
  if (config->channels == 3) preprocess_finish(&config->picture, config->image, size);
  graph->preprocess = config->picture.preprocess;
  if (config->classes && config->labels.count == config->classes) {
    graph->label_count = config->labels.count;
    graph->labels = config->labels.names;
  }
  return builder_finish(&sam->b);
}

static enum status build(struct sam *sam, struct sam_config *config, const int64_t *size) {
  struct value *x = builder_begin(&sam->b, config->family->input, config->channels, size[0], size[1]);
  TRY(embeddings(sam, &x));
  offer_stage(sam, 0, x);
  for (int64_t i = 0; i < config->depth; i++) {
    TRY(block(sam, i, &x));
    offer_stage(sam, i + 1, x);
  }
  TRY(answers(sam, x));
  return finish(sam, config, size);
}

enum status sam_import(struct sam_config *config, struct import *import) {
  const struct import_options *options = import->options;
  struct tensors tensors;
  tensors_init(&tensors, import->file, options, import->arena, import->weights, import->diag);
  tensors_find_prefix(&tensors, config->family->prefixes, config->family->keys[SAM_PATCH], "weight");
  if (config->dim % config->heads != 0)
    return diag_fail(import->diag, STATUS_INPUT, "%s: width %lld does not divide into %lld heads", config->origin,
                     (long long)config->dim, (long long)config->heads);
  TRY(check_size(config, config->image, config->origin, import->diag));
  TRY(check_size(config, config->position_image, config->origin, import->diag));
  int64_t size[] = {config->image[0], config->image[1]};
  if (options->image_height) {
    size[0] = options->image_height;
    size[1] = options->image_width;
    TRY(check_size(config, size, "--image-size", import->diag));
  }
  struct sam sam = {.b = {.graph = import->out_graph,
                          .tensors = &tensors,
                          .options = options,
                          .origin = config->origin,
                          .epsilon = config->epsilon},
                    .tensors = &tensors,
                    .config = config,
                    .grid = {size[0] / config->patch[0], size[1] / config->patch[1]}};
  TRY(build(&sam, config, size));
  if (options->verbose) report(config, &sam);
  return STATUS_OK;
}
