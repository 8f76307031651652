#include "eva/eva.h"

#include <stdio.h>
#include <string.h>

/* More than any picture has: their angles are computed whole. */
enum { PATCHES_MAX = 1 << 18 };

static enum status check_sizes(const struct eva_config *config, const int64_t *size, bool asked, struct diag *diag) {
  static const char *const names[] = {"height", "width"};
  for (int i = 0; i < 2; i++) {
    if (asked && size[i] % config->patch[i] != 0)
      return diag_fail(diag, STATUS_USAGE,
                       "--image-size %lldx%lld: the %s must be a multiple of the patch of %lld, as every pixel belongs to "
                       "one patch",
                       (long long)size[0], (long long)size[1], names[i], (long long)config->patch[i]);
    if (size[i] < config->patch[i] || config->image[i] < config->patch[i])
      return diag_fail(diag, STATUS_INPUT, "%s: an image of %lldx%lld is smaller than a patch of %lldx%lld", config->origin,
                       (long long)size[0], (long long)size[1], (long long)config->patch[0], (long long)config->patch[1]);
  }
  if (size[0] / config->patch[0] > PATCHES_MAX / (size[1] / config->patch[1]))
    return diag_fail(diag, STATUS_INPUT, "%s: an image of %lldx%lld has more than %d patches", config->origin,
                     (long long)size[0], (long long)size[1], PATCHES_MAX);
  if (config->rope.grid != ROPE_NONE && config->dim / config->heads % 4 != 0)
    return diag_fail(diag, STATUS_INPUT,
                     "%s: heads of %lld cannot turn by rows and columns, whose pairs are a multiple of 4 wide", config->origin,
                     (long long)(config->dim / config->heads));
  return STATUS_OK;
}

static enum status set_classes(struct eva_config *config, const struct import_options *options, const struct tensors *tensors) {
  int64_t classes = options->num_classes;
  if (classes < 0 || classes == config->classes) return STATUS_OK;
  if (classes && !tensors->random)
    return diag_fail(tensors->diag, STATUS_INPUT, "%s: %s has %lld classes, but --num-classes is %lld: 0 drops the head",
                     tensors->file, config->origin, (long long)config->classes, (long long)classes);
  config->classes = classes;
  config->labels.count = 0;
  return STATUS_OK;
}

static void report(const struct eva_config *config, const struct tensors *tensors, const int64_t *size) {
  fprintf(stderr,
          "vitc: %s (%s keys%s): width %lld, depth %lld, %lld heads of %lld, MLP %lld%s, patch %lldx%lld, image %lldx%lld, ",
          config->arch, config->keys->name, tensors->random ? ", random weights" : "", (long long)config->dim,
          (long long)config->depth, (long long)config->heads, (long long)(config->dim / config->heads), (long long)config->mlp,
          config->form == EVA_MLP_PLAIN ? "" : " gated", (long long)config->patch[0], (long long)config->patch[1],
          (long long)size[0], (long long)size[1]);
  if (config->classes)
    fprintf(stderr, "%lld classes", (long long)config->classes);
  else
    fprintf(stderr, "features");
  fprintf(stderr, ", %s pooling%s", config->mean_pool ? "mean" : "token", config->layer_scale ? ", layer scale" : "");
  if (config->registers) fprintf(stderr, ", %lld registers", (long long)config->registers);
  if (config->rope.grid != ROPE_NONE) fprintf(stderr, ", rotary positions");
  fputc('\n', stderr);
  if (config->positions && (size[0] != config->image[0] || size[1] != config->image[1]))
    fprintf(stderr, "vitc: position table resampled from %lldx%lld to %lldx%lld: %s\n",
            (long long)(config->image[0] / config->patch[0]), (long long)(config->image[1] / config->patch[1]),
            (long long)(size[0] / config->patch[0]), (long long)(size[1] / config->patch[1]),
            resample_text(RESAMPLE_ANTIALIAS));
}

/* What a checkpoint has beside the model: the token of masked patches, the bits that say which biases are used, angles. */
static void pass_over(const struct eva_config *config, struct tensors *tensors) {
  static const char *const buffers[] = {"rope_embed.periods", "rope.periods",          "rope.pos_embed",
                                        "rope.bands",         "local_cls_norm.weight", "local_cls_norm.bias"};
  tensors_pass_over(tensors, tensors_spell(tensors, config->keys->paths[EVA_MASK_TOKEN], 0, NULL));
  for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
    tensors_pass_over(tensors, arena_printf(tensors->arena, "%s%s", tensors->prefix, buffers[i]));
  for (int64_t i = 0; i < config->depth; i++) {
    static const char *const masks[] = {"blocks.#.attn.qkv.bias_mask", "blocks.#.attn.rope.pos_embed"};
    for (size_t m = 0; m < sizeof masks / sizeof *masks; m++)
      tensors_pass_over(tensors, tensors_spell(tensors, masks[m], i, NULL));
  }
}

static enum status build(struct eva *eva, struct eva_config *config, const int64_t *size) {
  struct graph *graph = eva->b.graph;
  struct value *x = builder_begin(&eva->b, config->keys->input, config->channels, size[0], size[1]);
  TRY(eva_build(eva, x));
  if (config->channels == 3) preprocess_finish(&config->picture, config->image, size);
  graph->preprocess = config->picture.preprocess;
  if (config->classes && config->labels.count == config->classes) {
    graph->label_count = config->labels.count;
    graph->labels = config->labels.names;
  }
  pass_over(config, eva->b.tensors);
  return builder_finish(&eva->b);
}

/* A state dict, whose tensors fill in what no config says. */
static enum status follow(struct import *import, struct tensors *tensors, struct eva_config *config) {
  if (!import->arch) TRY(eva_infer(tensors, config));
  return eva_follow(config, tensors);
}

enum status eva_import(struct import *import, struct eva_config *config) {
  const struct import_options *options = import->options;
  struct tensors tensors;
  tensors_init(&tensors, import->file, options, import->arena, import->weights, import->diag);
  if (!import->config) TRY(follow(import, &tensors, config));
  if (tensors.prefix[0] == '\0')
    tensors_find_prefix(&tensors, config->keys->prefixes, config->keys->paths[EVA_PATCH], "weight");
  TRY(set_classes(config, options, &tensors));
  int64_t size[] = {options->image_height ? options->image_height : config->image[0],
                    options->image_height ? options->image_width : config->image[1]};
  TRY(check_sizes(config, size, options->image_height != 0, import->diag));
  struct eva eva = {.b = {.graph = import->out_graph,
                          .tensors = &tensors,
                          .options = options,
                          .origin = config->origin,
                          .epsilon = config->epsilon},
                    .config = config,
                    .grid = {size[0] / config->patch[0], size[1] / config->patch[1]}};
  TRY(build(&eva, config, size));
  if (options->verbose) report(config, &tensors, size);
  return STATUS_OK;
}

/* ---- the row of models.def */

static bool has(const struct weights *weights, const char *key) {
  return weights_find(weights, key) != NULL;
}

/* Of what others name as timm does: BEiT has biases apart, but tables of relative positions; a ViT may have registers. */
bool eva_claims(const char *arch, const struct weights *weights) {
  static const char *const prefixes[] = {"", "module.", "model.", "backbone.", "teacher.backbone.", "visual.trunk.", "visual."};
  struct arena arena;
  struct eva_config config;
  struct eva_arguments arguments;
  bool claimed = false;
  arena_init(&arena);
  if (arch) claimed = eva_arch(arch, &arena, &config, &arguments);
  for (size_t i = 0; !arch && weights && !claimed && i < sizeof prefixes / sizeof *prefixes; i++) {
#define HAS(key) has(weights, arena_printf(&arena, "%s" key, prefixes[i]))
    bool patches = HAS("patch_embed.proj.weight") && HAS("blocks.0.norm1.weight");
    bool beit = HAS("blocks.0.attn.relative_position_bias_table") || HAS("rel_pos_bias.relative_position_bias_table");
    bool registers_only = HAS("reg_token") && !HAS("pos_embed");
    claimed = patches && !beit &&
              (HAS("storage_tokens") || HAS("blocks.0.attn.q_proj.weight") || HAS("blocks.0.attn.q_bias") || registers_only);
#undef HAS
  }
  arena_deinit(&arena);
  return claimed;
}

enum status eva_import_model(struct import *import) {
  struct eva_config config = {0};
  struct eva_arguments arguments;
  if (import->config) {
    TRY(eva_read_timm(import, &config));
  } else if (import->arch && eva_arch(import->arch, import->arena, &config, &arguments)) {
    eva_settle(&config, &arguments);
  }
  TRY(import_weights(import));
  return eva_import(import, &config);
}
