#include "vit.h"

#include "timm/timm.h"

#include <stdio.h>
#include <string.h>

static enum status check_image_size(const struct vit_config *config, const struct import_options *options, struct diag *diag) {
  static const char *const names[] = {"height", "width"};
  int64_t sizes[] = {options->image_height, options->image_width}, patches[] = {config->patch_height, config->patch_width};
  for (int i = 0; i < 2; i++)
    if (sizes[i] % patches[i] != 0)
      return diag_fail(
          diag, STATUS_USAGE,
          "--image-size %dx%d: the %s must be a multiple of the patch of %lld, as every pixel belongs to one patch",
          options->image_height, options->image_width, names[i], (long long)patches[i]);
  return STATUS_OK;
}

static enum status check_config(const struct vit_config *config, struct diag *diag) {
  if (config->image_height < config->patch_height || config->image_width < config->patch_width)
    return diag_fail(diag, STATUS_INPUT, "%s: an image of %lldx%lld is smaller than a patch of %lldx%lld", config->origin,
                     (long long)config->image_height, (long long)config->image_width, (long long)config->patch_height,
                     (long long)config->patch_width);
  return STATUS_OK;
}

/* A spec can ask for what the family has no keys for. */
static enum status check_parts(const struct vit_config *config, struct diag *diag) {
  const struct {
    bool wanted;
    enum part part;
    const char *name;
  } parts[] = {{config->distilled, PART_DISTILLATION_TOKEN, "distillation token"},
               {config->two_heads, PART_DISTILLATION_HEAD, "distillation head"},
               {config->pooled_norm, PART_POOLED_NORM, "norm after pooling"},
               {config->pre_logits != 0, PART_PRE_LOGITS, "linear + tanh before the head"},
               {config->layer_scale, PART_SCALE1, "layer scale"},
               {config->registers != 0, PART_REGISTERS, "registers"},
               {config->pre_norm, PART_PRE_NORM, "norm before the blocks"},
               {config->qk_norm, PART_QUERY_NORM, "norms of queries and keys"},
               {config->relative, PART_RELATIVE, "relative position biases"},
               {config->pool == POOL_MAP, PART_PROBE, "attention pooling"}};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (parts[i].wanted && !config->family->keys[parts[i].part])
      return diag_fail(diag, STATUS_USAGE, "%s: models with the keys of %s have no %s", config->origin, config->family->name,
                       parts[i].name);
  return STATUS_OK;
}

/* Blocks that would import without it, and be wrong. */
static enum status check_foreign(const struct vit_config *config, const struct tensors *tensors) {
  const struct weight *foreign = vit_find(config, tensors, PART_FOREIGN, 0, NULL);
  if (!foreign) return STATUS_OK;
  return diag_fail(tensors->diag, STATUS_INPUT, "%s: %s: blocks with it are not supported", tensors->file, foreign->name);
}

static enum status recognise(struct vit_config *config, struct tensors *tensors) {
  if (tensors->random) {
    tensors_find_prefix(tensors, config->family->prefixes, config->family->keys[PART_PATCH], "weight");
    return STATUS_OK;
  }
  if (config->family_given) {
    const struct family *given = config->family;
    if (tensors_find_prefix(tensors, given->prefixes, given->keys[PART_PATCH], "weight")) return STATUS_OK;
    return diag_fail(tensors->diag, STATUS_INPUT, "%s: no tensor %s, which %s has", tensors->file,
                     tensors_spell(tensors, given->keys[PART_PATCH], 0, "weight"), config->origin);
  }
  const struct family *family = vit_recognise(tensors);
  if (!family)
    return diag_fail(
        tensors->diag, STATUS_INPUT,
        "%s: no keys of a ViT that is known: expected patch_embed.proj.weight (timm), conv_proj.weight (torchvision) "
        "or embeddings.patch_embeddings.projection.weight (transformers)%s%s",
        tensors->file, tensors->weights->count ? "; the first is " : "",
        tensors->weights->count ? tensors->weights->tensors[0].name : "");
  if (!config->family) return vit_infer_config(config, family, tensors);
  config->family = family; /* the names of an arch fit any family's keys */
  return STATUS_OK;
}

static enum status set_classes(struct vit_config *config, const struct import_options *options, const struct tensors *tensors) {
  int64_t classes = options->num_classes;
  if (classes < 0) return STATUS_OK;
  const struct weight *head = vit_find(config, tensors, PART_HEAD, 0, "weight");
  if (classes && head && head->shape.rank == 2 && head->shape.dim[0] != classes)
    return diag_fail(tensors->diag, STATUS_INPUT, "%s: %s is %s, but --num-classes is %lld: 0 drops the head", tensors->file,
                     head->name, shape_text(tensors->arena, &head->shape), (long long)classes);
  config->classes = classes;
  config->classes_given = true;
  return STATUS_OK;
}

static const char *relative_text(const struct vit_config *config) {
  return config->family == &families[FAMILY_hf_beit] ? "linear, as transformers" : "linear at growing distances, as timm";
}

static void report(const struct vit_config *config, const struct tensors *tensors, const struct graph *graph) {
  static const char *const pools[] = {"token", "mean", "attention", "token and mean"};
  static const char *const activations[] = {"", ", tanh GELU", ", QuickGELU", ", SiLU", ", ReLU"};
  const struct shape *image = &graph->inputs[0]->shape;
  fprintf(stderr,
          "vitc: %s (%s keys%s): width %lld, depth %lld, %lld heads of %lld, MLP %lld, patch %lldx%lld, image %lldx%lld, ",
          config->arch, config->family->name, tensors->random ? ", random weights" : "", (long long)config->dim,
          (long long)config->depth, (long long)config->heads, (long long)config->head_dim, (long long)config->mlp,
          (long long)config->patch_height, (long long)config->patch_width, (long long)image->dim[2], (long long)image->dim[3]);
  if (config->classes)
    fprintf(stderr, "%lld classes%s", (long long)config->classes, config->two_heads ? " by two heads" : "");
  else
    fprintf(stderr, "features");
  fprintf(stderr, ", %s pooling%s%s%s%s%s%s%s", pools[config->pool], config->pre_logits ? ", linear + tanh" : "",
          config->embed ? ", projection" : "", config->qkv_bias ? "" : ", no QKV bias",
          config->layer_scale ? ", layer scale" : "", config->gated ? ", SwiGLU" : activations[config->activation],
          config->qk_norm ? ", norms of queries and keys" : "",
          config->relative || config->shared_relative ? ", relative position biases" : "");
  if (config->registers) fprintf(stderr, ", %lld registers", (long long)config->registers);
  for (int i = 0; i < graph->output_count; i++) fprintf(stderr, "%s%s", i ? ", " : "; gives ", graph->outputs[i]->name);
  fputc('\n', stderr);
  if (image->dim[2] / config->patch_height != config->image_height / config->patch_height ||
      image->dim[3] / config->patch_width != config->image_width / config->patch_width)
    fprintf(stderr, "vitc: %s resampled from %lldx%lld to %lldx%lld: %s\n",
            config->no_position ? "relative positions" : "position table",
            (long long)(config->image_height / config->patch_height), (long long)(config->image_width / config->patch_width),
            (long long)(image->dim[2] / config->patch_height), (long long)(image->dim[3] / config->patch_width),
            config->no_position ? relative_text(config) : resample_text(vit_resample(config)));
}

/* Labels and preprocessing go with the graph; the rest of the outputs' checks is every builder's. */
static enum status finish(struct vit *vit, struct vit_config *config, const int64_t *size) {
  const int64_t from[] = {config->image_height, config->image_width};
  struct graph *graph = vit->b.graph;
  if (config->channels == 3) preprocess_finish(&config->picture, from, size);
  graph->preprocess = config->picture.preprocess;
  if (config->classes && config->labels.count == config->classes) {
    graph->label_count = config->labels.count;
    graph->labels = config->labels.names;
  }
  return builder_finish(&vit->b);
}

static enum status build(struct vit *vit, struct vit_config *config, const int64_t *size) {
  struct value *x = builder_begin(&vit->b, config->family->input, config->channels, size[0], size[1]);
  TRY(vit_embeddings(vit, &x));
  for (int64_t i = 0; i < config->depth; i++) TRY(vit_block(vit, i, &x));
  TRY(vit_head(vit, x));
  return finish(vit, config, size);
}

enum status vit_import(struct vit_config *config, const char *file, const struct import_options *options, struct arena *arena,
                       struct weights *weights, struct graph *out_graph, struct diag *diag) {
  struct tensors tensors;
  tensors_init(&tensors, file, options, arena, weights, diag);
  TRY(recognise(config, &tensors));
  TRY(check_foreign(config, &tensors));
  TRY(check_config(config, diag));
  int64_t size[] = {config->image_height, config->image_width};
  if (options->image_height) {
    TRY(check_image_size(config, options, diag));
    size[0] = options->image_height;
    size[1] = options->image_width;
  }
  TRY(set_classes(config, options, &tensors));
  if (!tensors.random) vit_follow_tensors(config, &tensors, size[0], size[1]);
  TRY(check_parts(config, diag));
  if (config->epsilon == 0) config->epsilon = config->family->epsilon;
  struct vit vit = {
      .b = {.graph = out_graph, .tensors = &tensors, .options = options, .origin = config->origin, .epsilon = config->epsilon},
      .tensors = &tensors,
      .config = config,
      .grid = {size[0] / config->patch_height, size[1] / config->patch_width}};
  TRY(build(&vit, config, size));
  if (options->verbose) report(config, &tensors, out_graph);
  return STATUS_OK;
}

bool vit_claims(const char *arch, const struct weights *weights) {
  (void)arch;
  (void)weights;
  return true;
}

enum status vit_import_model(struct import *import) {
  struct vit_config config = {0};
  if (import->config)
    TRY(timm_read_vit(import, &config));
  else if (import->arch)
    TRY(arch_parse(import->arch, import->arena, &config, import->diag));
  TRY(import_weights(import));
  return vit_import(&config, import->file, import->options, import->arena, import->weights, import->out_graph, import->diag);
}
