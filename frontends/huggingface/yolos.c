/* model_type yolos: a ViT whose answers are read off learned detection tokens after the patches. */
#include "huggingface/huggingface.h"
#include "huggingface/processor.h"
#include "vit.h"

#include <stdio.h>
#include <string.h>

struct yolos {
  struct vit_config vit;
  int64_t detections;
  bool mid_positions;
};

static const struct config_field fields[] = {
    CONFIG_FIELD(yolos, "hidden_size", CONFIG_COUNT, vit.dim, 1, CONFIG_DIM_MAX),
    CONFIG_FIELD(yolos, "num_hidden_layers", CONFIG_COUNT, vit.depth, 1, CONFIG_DEPTH_MAX),
    CONFIG_FIELD(yolos, "num_attention_heads", CONFIG_COUNT, vit.heads, 1, CONFIG_HEADS_MAX),
    CONFIG_FIELD(yolos, "intermediate_size", CONFIG_COUNT, vit.mlp, 1, CONFIG_MLP_MAX),
    CONFIG_FIELD(yolos, "image_size", CONFIG_SIZE, vit.image_height, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD(yolos, "patch_size", CONFIG_SIZE, vit.patch_height, 1, CONFIG_IMAGE_MAX),
    CONFIG_FIELD(yolos, "num_channels", CONFIG_COUNT, vit.channels, 1, CONFIG_CHANNELS_MAX),
    CONFIG_FIELD(yolos, "layer_norm_eps", CONFIG_REAL, vit.epsilon, 0, 0),
    CONFIG_FIELD(yolos, "qkv_bias", CONFIG_FLAG, vit.qkv_bias, 0, 0),
    CONFIG_FIELD(yolos, "num_detection_tokens", CONFIG_COUNT, detections, 1, 65536),
    CONFIG_FIELD(yolos, "use_mid_position_embeddings", CONFIG_FLAG, mid_positions, 0, 0),
};

static enum status read_config(const struct config *config, struct yolos *out) {
  const cJSON *list = config_get(config, "architectures"), *first = list ? cJSON_GetArrayItem(list, 0) : NULL;
  const char *activation = "gelu";
  struct vit_config *vit = &out->vit;
  *out = (struct yolos){.detections = 100, .mid_positions = true};
  *vit = (struct vit_config){.arch = "yolos",
                             .origin = config->file,
                             .family = &families[FAMILY_transformers],
                             .dim = 768,
                             .depth = 12,
                             .heads = 12,
                             .mlp = 3072,
                             .channels = 3,
                             .image_height = 512,
                             .image_width = 864,
                             .patch_height = 16,
                             .patch_width = 16,
                             .epsilon = 1e-12,
                             .qkv_bias = true,
                             .class_token = true,
                             .embed_class = true};
  if (first && (!cJSON_IsString(first) || strcmp(first->valuestring, "YolosForObjectDetection") != 0))
    return config_reject(config, "architectures", "YolosForObjectDetection");
  TRY(config_read(config, fields, sizeof fields / sizeof *fields, false, out));
  TRY(config_text(config, "hidden_act", &activation));
  if (strcmp(activation, "gelu") != 0) return config_reject(config, "hidden_act", "gelu");
  TRY(config_labels(config, "id2label", &vit->labels));
  vit->classes = vit->labels.count ? vit->labels.count : 2; /* transformers' own default of two labels */
  if (vit->dim % vit->heads != 0)
    return diag_fail(config->diag, STATUS_INPUT, "%s: hidden_size %lld does not divide into num_attention_heads %lld",
                     config->file, (long long)vit->dim, (long long)vit->heads);
  vit->head_dim = vit->dim / vit->heads;
  return STATUS_OK;
}

/* Rows of the class token, the grid and the detection tokens, the grid's resampled: (1, T, D). */
static struct value *positions(struct vit *vit, const struct yolos *yolos, const char *name, const float *data) {
  const struct vit_config *config = vit->config;
  int64_t rows = config->image_height / config->patch_height, columns = config->image_width / config->patch_width;
  int64_t dim = config->dim, grid = 1 + vit->grid[0] * vit->grid[1];
  struct shape shape = builder_shape(3, 1, grid + yolos->detections, dim, 0);
  if (rows == vit->grid[0] && columns == vit->grid[1]) return builder_table(&vit->b, name, shape, data);
  float *table = arena_array(vit->b.graph->arena, (size_t)shape_elements(&shape), sizeof *table);
  position_resample(data, 1, rows, columns, dim, table, vit->grid[0], vit->grid[1], RESAMPLE_PLAIN);
  memcpy(table + grid * dim, data + (1 + rows * columns) * dim, (size_t)(yolos->detections * dim) * sizeof *table);
  return builder_table(&vit->b, name, shape, table);
}

/* `count` tables one after the other in one tensor. */
static enum status take_positions(struct vit *vit, const struct yolos *yolos, const char *key, const struct shape *shape,
                                  struct value **out_tables, int64_t count) {
  const void *data;
  TRY(tensors_take(vit->tensors, key, shape, ROLE_TABLE, vit->config->origin, &data));
  int64_t elements = shape_elements(shape) / count;
  for (int64_t i = 0; i < count; i++) {
    const char *name = count == 1 ? key : arena_printf(vit->b.graph->arena, "%s.%lld", key, (long long)i);
    out_tables[i] = positions(vit, yolos, name, (const float *)data + i * elements);
  }
  return STATUS_OK;
}

static enum status embeddings(struct vit *vit, const struct yolos *yolos, int64_t tokens, struct value **x) {
  const struct vit_config *config = vit->config;
  struct builder *b = &vit->b;
  const int64_t patch[] = {config->patch_height, config->patch_width};
  int64_t dim = config->dim, detections = yolos->detections;
  struct value *parts[3], *table;
  struct shape shape = builder_shape(3, 1, tokens, dim, 0);
  TRY(builder_patches(b, vit_module(vit, PART_PATCH, 0), config->channels, dim, patch, vit->grid, true, x));
  parts[1] = *x;
  TRY(builder_token(b, vit_key(vit, PART_CLASS_TOKEN, 0), builder_shape(3, 1, 1, dim, 0), 1, dim, &parts[0]));
  const char *key = tensors_spell(vit->tensors, "embeddings.detection_tokens", 0, NULL);
  TRY(builder_token(b, key, builder_shape(3, 1, detections, dim, 0), detections, dim, &parts[2]));
  TRY(take_positions(vit, yolos, vit_key(vit, PART_POSITION, 0), &shape, &table, 1));
  *x = builder_concat(b, "tokens", parts, 3, 1);
  *x = builder_binary(b, "embeddings", OP_add, *x, table);
  return STATUS_OK;
}

/* Between blocks, but not after the last one, the positions of that place are added. */
static enum status blocks(struct vit *vit, const struct yolos *yolos, int64_t tokens, struct value **x) {
  int64_t depth = vit->config->depth, count = yolos->mid_positions ? depth - 1 : 0;
  struct value **tables = arena_array(vit->b.graph->arena, (size_t)depth, sizeof(struct value *));
  struct shape shape = builder_shape(4, count, 1, tokens, vit->config->dim);
  const char *key =
      tensors_spell(vit->tensors, "encoder.mid_position_embeddings|encoder.interpolation.mid_position_embeddings", 0, NULL);
  if (count) TRY(take_positions(vit, yolos, key, &shape, tables, count));
  for (int64_t i = 0; i < depth; i++) {
    TRY(vit_block(vit, i, x));
    if (i >= count) continue;
    const char *name = arena_printf(vit->b.graph->arena, "positioned.%lld", (long long)i);
    *x = builder_binary(&vit->b, name, OP_add, *x, tables[i]);
  }
  return STATUS_OK;
}

/* Three linear layers with ReLU between them. */
static enum status predict(struct vit *vit, const char *path, int64_t out, struct value **x) {
  int64_t dim = vit->config->dim;
  for (int i = 0; i < 3; i++) {
    const char *layer = arena_printf(vit->b.graph->arena, "%s.layers.%d", path, i);
    TRY(builder_linear(&vit->b, layer, dim, i < 2 ? dim : out, true, x));
    if (i < 2) *x = builder_unary(&vit->b, builder_join(&vit->b, layer, "relu"), OP_relu, *x);
  }
  return STATUS_OK;
}

static enum status heads(struct vit *vit, const struct yolos *yolos, struct value *x) {
  struct builder *b = &vit->b;
  const char *path = vit_module(vit, PART_NORM, 0);
  int64_t patches = vit->grid[0] * vit->grid[1];
  TRY(builder_layer_norm(b, path, path, vit->config->dim, &x));
  struct value *tokens = x;
  struct value *found = builder_slice(b, "detections", x, 1, 1 + patches, 1 + patches + yolos->detections), *boxes = found;
  TRY(predict(vit, "class_labels_classifier", vit->config->classes + 1, &found));
  TRY(predict(vit, "bbox_predictor", 4, &boxes));
  builder_offer(b, "logits", found);
  builder_offer(b, "pred_boxes", builder_unary(b, "boxes", OP_sigmoid, boxes));
  builder_offer(b, "tokens", tokens);
  b->answer_count = 2;
  return STATUS_OK;
}

static enum status check_sizes(const struct vit_config *config, const int64_t *size, struct diag *diag) {
  const int64_t from[] = {config->image_height, config->image_width}, patch[] = {config->patch_height, config->patch_width};
  for (int i = 0; i < 2; i++) {
    if (from[i] < patch[i])
      return diag_fail(diag, STATUS_INPUT, "%s: image_size %lldx%lld is smaller than a patch of %lldx%lld", config->origin,
                       (long long)from[0], (long long)from[1], (long long)patch[0], (long long)patch[1]);
    if (size[i] % patch[i] != 0)
      return diag_fail(diag, STATUS_USAGE,
                       "--image-size %lldx%lld: height and width must be multiples of the patch of %lldx%lld, as every pixel "
                       "belongs to one patch",
                       (long long)size[0], (long long)size[1], (long long)patch[0], (long long)patch[1]);
  }
  return STATUS_OK;
}

/* The classifier's last class says that a detection token found nothing. */
static void set_labels(struct vit *vit, const struct labels *labels) {
  struct graph *graph = vit->b.graph;
  if (labels->count == 0) return;
  graph->labels = arena_array(graph->arena, (size_t)labels->count + 1, sizeof *graph->labels);
  for (int i = 0; i < labels->count; i++) graph->labels[i] = labels->names[i];
  graph->labels[labels->count] = "no object";
  graph->label_count = labels->count + 1;
}

static enum status build(struct vit *vit, struct yolos *yolos, const int64_t *size) {
  struct vit_config *config = &yolos->vit;
  int64_t from[] = {config->image_height / config->patch_height, config->image_width / config->patch_width};
  int64_t tokens = 1 + from[0] * from[1] + yolos->detections;
  struct value *x = builder_begin(&vit->b, config->family->input, config->channels, size[0], size[1]);
  TRY(embeddings(vit, yolos, tokens, &x));
  TRY(blocks(vit, yolos, tokens, &x));
  TRY(heads(vit, yolos, x));
  const int64_t image[] = {config->image_height, config->image_width};
  if (config->channels == 3) preprocess_finish(&config->picture, image, size);
  vit->b.graph->preprocess = config->picture.preprocess;
  set_labels(vit, &config->labels);
  return builder_finish(&vit->b);
}

enum status huggingface_yolos(struct import *import) {
  const struct import_options *options = import->options;
  struct yolos yolos;
  struct tensors tensors;
  TRY(read_config(import->config, &yolos));
  TRY(import_weights(import));
  tensors_init(&tensors, import->file, options, import->arena, import->weights, import->diag);
  tensors_find_prefix(&tensors, "vit.", "embeddings.patch_embeddings.projection", "weight");
  if (options->num_classes >= 0)
    return diag_fail(import->diag, STATUS_USAGE, "%s: --num-classes is for classifiers, not for detection", yolos.vit.origin);
  struct vit_config *config = &yolos.vit;
  const int64_t size[] = {options->image_height ? options->image_height : config->image_height,
                          options->image_height ? options->image_width : config->image_width};
  TRY(check_sizes(config, size, import->diag));
  const int64_t from[] = {config->image_height, config->image_width};
  if (config->channels == 3) TRY(processor_read(import, processor_of("Yolos"), from, &config->picture.preprocess));
  struct vit vit = {.b = {.graph = import->out_graph,
                          .tensors = &tensors,
                          .options = options,
                          .origin = config->origin,
                          .epsilon = config->epsilon},
                    .tensors = &tensors,
                    .config = config,
                    .grid = {size[0] / config->patch_height, size[1] / config->patch_width}};
  TRY(build(&vit, &yolos, size));
  if (options->verbose)
    fprintf(stderr, "vitc: yolos: width %lld, depth %lld, %lld detection tokens, %lld classes and none, image %lldx%lld\n",
            (long long)config->dim, (long long)config->depth, (long long)yolos.detections, (long long)config->classes,
            (long long)size[0], (long long)size[1]);
  return STATUS_OK;
}
