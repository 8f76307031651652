#include "import.h"

#include "ir/ops.h"

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
               {config->layer_scale, PART_SCALE1, "layer scale"}};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (parts[i].wanted && !config->family->keys[parts[i].part])
      return diag_fail(diag, STATUS_USAGE, "%s: models with the keys of %s have no %s", config->origin, config->family->name,
                       parts[i].name);
  return STATUS_OK;
}

static enum status recognise(struct vit_config *config, struct tensors *tensors) {
  if (tensors->random) {
    tensors->family = config->family;
    const char *prefixes = config->family->prefixes, *bar = strchr(prefixes, '|');
    tensors->prefix = bar ? arena_strndup(tensors->arena, prefixes, (size_t)(bar - prefixes)) : prefixes;
    return STATUS_OK;
  }
  if (!tensors_recognise(tensors))
    return diag_fail(
        tensors->diag, STATUS_INPUT,
        "%s: no keys of a ViT that is known: expected patch_embed.proj.weight (timm), conv_proj.weight (torchvision) "
        "or embeddings.patch_embeddings.projection.weight (transformers)%s%s",
        tensors->file, tensors->weights->count ? "; the first is " : "",
        tensors->weights->count ? tensors->weights->tensors[0].name : "");
  tensors->used = arena_array(tensors->arena, tensors->weights->count, sizeof *tensors->used);
  if (!config->family) return vit_infer_config(config, tensors);
  config->family = tensors->family; /* the names of an arch fit any family's keys */
  return STATUS_OK;
}

static enum status set_classes(struct vit_config *config, const struct import_options *options, const struct tensors *tensors) {
  int64_t classes = options->num_classes;
  if (classes < 0) return STATUS_OK;
  const struct weight *head = tensors->random ? NULL : tensors_find(tensors, PART_HEAD, 0, "weight");
  if (classes && head && head->shape.rank == 2 && head->shape.dim[0] != classes)
    return diag_fail(tensors->diag, STATUS_INPUT, "%s: %s is %s, but --num-classes is %lld: 0 drops the head", tensors->file,
                     head->name, shape_text(tensors->arena, &head->shape), (long long)classes);
  config->classes = classes;
  config->classes_given = true;
  return STATUS_OK;
}

static void report(const struct vit_config *config, const struct tensors *tensors, const struct graph *graph) {
  const struct shape *image = &graph->inputs[0]->shape;
  fprintf(stderr,
          "vitc: %s (%s keys%s): width %lld, depth %lld, %lld heads of %lld, MLP %lld, patch %lldx%lld, image %lldx%lld, ",
          config->arch, tensors->family->name, tensors->random ? ", random weights" : "", (long long)config->dim,
          (long long)config->depth, (long long)config->heads, (long long)config->head_dim, (long long)config->mlp,
          (long long)config->patch_height, (long long)config->patch_width, (long long)image->dim[2], (long long)image->dim[3]);
  if (config->classes)
    fprintf(stderr, "%lld classes%s", (long long)config->classes, config->two_heads ? " by two heads" : "");
  else
    fprintf(stderr, "features");
  fprintf(stderr, ", %s pooling%s%s%s\n", config->mean_pool ? "mean" : "token", config->pre_logits ? ", linear + tanh" : "",
          config->qkv_bias ? "" : ", no QKV bias", config->layer_scale ? ", layer scale" : "");
  if (image->dim[2] / config->patch_height != config->image_height / config->patch_height ||
      image->dim[3] / config->patch_width != config->image_width / config->patch_width)
    fprintf(stderr, "vitc: position table resampled from %lldx%lld to %lldx%lld: %s\n",
            (long long)(config->image_height / config->patch_height), (long long)(config->image_width / config->patch_width),
            (long long)(image->dim[2] / config->patch_height), (long long)(image->dim[3] / config->patch_width),
            resample_text(config->family->resample));
}

/* Labels, preprocessing and the checks that every graph passes. */
static enum status finish(struct vit_config *config, int64_t height, int64_t width, struct graph *graph) {
  preprocess_finish(config, height, width);
  graph->preprocess = config->preprocess;
  if (config->classes && config->label_count == config->classes) {
    graph->label_count = config->label_count;
    graph->labels = config->labels;
  }
  TRY(infer_graph(graph));
  return verify_graph(graph, "import");
}

enum status vit_import(struct vit_config *config, const char *file, const struct import_options *options, struct arena *arena,
                       struct weights *weights, struct graph *out_graph, struct diag *diag) {
  struct tensors tensors = {
      .weights = weights, .file = file, .random = options->init_random, .seed = options->seed, .arena = arena, .diag = diag};
  TRY(recognise(config, &tensors));
  TRY(check_config(config, diag));
  int64_t height = config->image_height, width = config->image_width;
  if (options->image_height) {
    TRY(check_image_size(config, options, diag));
    height = options->image_height;
    width = options->image_width;
  }
  TRY(set_classes(config, options, &tensors));
  if (!tensors.random) vit_follow_tensors(config, &tensors, height, width);
  TRY(check_parts(config, diag));
  if (config->epsilon == 0) config->epsilon = config->family->epsilon;
  const char *name = options->name ? options->name : frontend_identifier(arena, options->arch ? options->arch : file);
  graph_init(out_graph, arena, diag, name, file ? file : config->arch);
  TRY(vit_build(config, &tensors, height, width, out_graph));
  TRY(finish(config, height, width, out_graph));
  if (options->verbose) report(config, &tensors, out_graph);
  tensors_warn_unused(&tensors);
  return STATUS_OK;
}
