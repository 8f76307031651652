/* Folders of transformers: model_type dpt and depth_anything. */
#include "dpt/config.h"
#include "huggingface/huggingface.h"
#include "huggingface/processor.h"

#include <stdio.h>

/* ---- preprocessor_config.json */

/* Padding around the picture up to a multiple of size_divisor, for which the runtime has no step. */
static enum status pads(const struct import *import, bool *out) {
  struct config file, config;
  bool found, do_pad = false;
  enum status status = processor_open(import, &file, &config, &found);
  if (status == STATUS_OK) status = config_flag(&config, "do_pad", &do_pad);
  *out = status == STATUS_OK && do_pad && config_get(&config, "size_divisor");
  if (*out)
    fprintf(stderr, "vitc: %s: not imported: pictures are padded to multiples of size_divisor; prepare the pixels yourself\n",
            config.file);
  config_close(&file);
  return status;
}

static enum status read_picture(struct import *import, struct dpt_config *dpt) {
  const int64_t size[] = {dpt->vit.image_height, dpt->vit.image_width};
  bool padded;
  TRY(pads(import, &padded));
  if (padded || dpt->vit.channels != 3) return STATUS_OK;
  return processor_read(import, processor_of("DPT"), size, &dpt->vit.picture.preprocess);
}

/* ---- the graph */

/* What the framework stores and does not use for this answer. */
static void pass_over(struct dpt *dpt) {
  static const char *const keys[] = {"auxiliary_head.head.0.weight",
                                     "auxiliary_head.head.1.weight",
                                     "auxiliary_head.head.1.bias",
                                     "auxiliary_head.head.1.running_mean",
                                     "auxiliary_head.head.1.running_var",
                                     "auxiliary_head.head.4.weight",
                                     "auxiliary_head.head.4.bias",
                                     "dpt.layernorm.weight",
                                     "dpt.layernorm.bias",
                                     "backbone.embeddings.mask_token"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) tensors_pass_over(dpt->vit.tensors, keys[i]);
}

static enum status tap(struct dpt *dpt, struct value *x, struct value **out) {
  const char *path = vit_module(&dpt->vit, PART_NORM, 0);
  *out = x;
  if (!dpt->config->tap_norm) return STATUS_OK;
  return builder_layer_norm(&dpt->vit.b, path, path, dpt->config->vit.dim, out);
}

static enum status build(struct dpt *dpt, struct vit_config *vit, const int64_t *size) {
  const struct dpt_config *config = dpt->config;
  struct builder *b = &dpt->vit.b;
  struct value *taps[DPT_TAPS_MAX], *x = builder_begin(b, vit->family->input, vit->channels, size[0], size[1]);
  struct planes fused;
  int count = 0;
  TRY(vit_embeddings(&dpt->vit, &x));
  /* Blocks after the last tap have no say. */
  for (int64_t i = 0; count < config->tap_count; i++) {
    if (config->taps[count] == i) TRY(tap(dpt, x, &taps[count++]));
    if (count < config->tap_count) TRY(vit_block(&dpt->vit, i, &x));
  }
  TRY(dpt_neck(dpt, taps, &fused));
  TRY(dpt_answer(dpt, fused));
  pass_over(dpt);
  const int64_t from[] = {vit->image_height, vit->image_width};
  if (vit->channels == 3) preprocess_finish(&vit->picture, from, size);
  b->graph->preprocess = vit->picture.preprocess;
  return builder_finish(b);
}

static void report(const struct dpt_config *config, const int64_t *size) {
  const struct vit_config *vit = &config->vit;
  fprintf(stderr,
          "vitc: %s: width %lld, depth %lld, %lld heads, patch %lldx%lld, image %lldx%lld, %d taps fused at width %lld\n",
          vit->arch, (long long)vit->dim, (long long)vit->depth, (long long)vit->heads, (long long)vit->patch_height,
          (long long)vit->patch_width, (long long)size[0], (long long)size[1], config->tap_count, (long long)config->fusion);
  if (size[0] != vit->image_height || size[1] != vit->image_width)
    fprintf(stderr, "vitc: position table resampled from %lldx%lld to %lldx%lld pixels: %s\n", (long long)vit->image_height,
            (long long)vit->image_width, (long long)size[0], (long long)size[1], resample_text(vit->family->resample));
}

static enum status dpt_import(struct import *import, struct dpt_config *config) {
  const struct import_options *options = import->options;
  struct vit_config *vit = &config->vit;
  struct tensors tensors;
  TRY(read_picture(import, config));
  TRY(import_weights(import));
  vit->family = &config->family;
  if (vit->epsilon == 0) vit->epsilon = vit->family->epsilon;
  tensors_init(&tensors, import->file, options, import->arena, import->weights, import->diag);
  tensors_find_prefix(&tensors, vit->family->prefixes, vit->family->keys[PART_PATCH], "weight");
  int64_t size[] = {vit->image_height, vit->image_width}, patch[] = {vit->patch_height, vit->patch_width};
  if (options->image_height) {
    size[0] = options->image_height;
    size[1] = options->image_width;
  }
  for (int i = 0; i < 2; i++)
    if (size[i] < patch[i] || size[i] % patch[i] != 0)
      return diag_fail(import->diag, options->image_height ? STATUS_USAGE : STATUS_INPUT,
                       "%s: an image of %lldx%lld: both sides must be multiples of the patch of %lldx%lld", vit->origin,
                       (long long)size[0], (long long)size[1], (long long)patch[0], (long long)patch[1]);
  struct dpt dpt = {.vit = {.b = {.graph = import->out_graph,
                                  .tensors = &tensors,
                                  .options = options,
                                  .origin = vit->origin,
                                  .epsilon = vit->epsilon},
                            .tensors = &tensors,
                            .config = vit,
                            .grid = {size[0] / patch[0], size[1] / patch[1]}},
                    .config = config};
  TRY(build(&dpt, vit, size));
  if (options->verbose) report(config, size);
  return STATUS_OK;
}

enum status huggingface_dpt(struct import *import) {
  struct dpt_config config;
  TRY(dpt_read(import->config, &config));
  return dpt_import(import, &config);
}

enum status huggingface_depth_anything(struct import *import) {
  struct dpt_config config;
  TRY(dpt_read_anything(import->config, &config));
  return dpt_import(import, &config);
}
