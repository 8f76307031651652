/* SAM's encoder in a state dict (segment-anything's, timm's) or in a folder of timm. */
#include "sam/sam.h"
#include "timm/timm.h"

#include <string.h>

/* The sizes that have a name. */
static const struct {
  const char *arch;
  int64_t dim, depth, heads, every; /* every: a global block ends each run of so many */
} sizes[] = {{"samvit_base_patch16", 768, 12, 12, 3},
             {"samvit_large_patch16", 1024, 24, 16, 6},
             {"samvit_huge_patch16", 1280, 32, 16, 8},
             {"samvit_base_patch16_224", 768, 12, 12, 3}};

bool sam_claims(const char *arch, const struct weights *weights) {
  static const char *const keys[] = {"image_encoder.patch_embed.proj.weight", "blocks.0.attn.rel_pos_h",
                                     "model.blocks.0.attn.rel_pos_h"};
  if (arch) return strncmp(arch, "samvit_", 7) == 0;
  for (size_t i = 0; weights && i < sizeof keys / sizeof *keys; i++)
    if (weights_find(weights, keys[i])) return true;
  return false;
}

/* Of a tensor that the size is told from. */
static enum status find(const struct tensors *tensors, enum sam_part part, int64_t block, const char *suffix, int rank,
                        const struct weight **out) {
  const char *spellings = sam_families[SAM_FAMILY_original].keys[part];
  *out = tensors_find(tensors, spellings, block, suffix);
  if (*out && (*out)->shape.rank == rank) return STATUS_OK;
  return diag_fail(tensors->diag, STATUS_INPUT, "%s: %s is %s, expected rank %d", tensors->file,
                   tensors_spell(tensors, spellings, block, suffix),
                   *out ? shape_text(tensors->arena, &(*out)->shape) : "missing", rank);
}

static void set_neck(const struct tensors *tensors, struct sam_config *sam) {
  const char *const *keys = sam->family->keys;
  const struct weight *conv = tensors_find(tensors, keys[SAM_NECK_CONV1], 0, "weight");
  bool norm = tensors_find(tensors, keys[SAM_NECK_NORM1], 0, "weight") != NULL;
  sam->neck = conv && conv->shape.rank == 4 ? SAM_NECK_CONVOLUTIONS : norm ? SAM_NECK_NORM : SAM_NECK_NONE;
  if (sam->neck == SAM_NECK_CONVOLUTIONS) sam->neck_width = conv->shape.dim[0];
}

/* Rows of R tell the window of a block; where they are those of the whole grid, the block has none. */
static enum status infer_windows(const struct tensors *tensors, struct sam_config *sam) {
  int64_t lengths[SAM_DEPTH_MAX], longest = 0;
  for (int64_t i = 0; i < sam->depth; i++) {
    const struct weight *rows;
    TRY(find(tensors, SAM_RELATIVE_HEIGHT, i, NULL, 2, &rows));
    lengths[i] = (rows->shape.dim[0] + 1) / 2;
    if (lengths[i] > longest) longest = lengths[i];
  }
  int64_t side = sam->absolute ? sam->image[0] / sam->patch[0] : longest;
  for (int64_t i = 0; i < sam->depth; i++) {
    sam->windowed[i] = lengths[i] != side;
    if (sam->windowed[i]) sam->window = lengths[i];
  }
  if (sam->absolute) return STATUS_OK;
  for (int i = 0; i < 2; i++) sam->image[i] = side * sam->patch[i];
  return STATUS_OK;
}

/* All from the tensors, but for what leaves no trace in them. */
static enum status infer(const struct tensors *tensors, struct sam_config *sam) {
  const struct weight *patch, *fc1, *rows, *table;
  TRY(find(tensors, SAM_PATCH, 0, "weight", 4, &patch));
  TRY(find(tensors, SAM_FC1, 0, "weight", 2, &fc1));
  TRY(find(tensors, SAM_RELATIVE_HEIGHT, 0, NULL, 2, &rows));
  sam->dim = patch->shape.dim[0];
  sam->channels = patch->shape.dim[1];
  sam->mlp = fc1->shape.dim[0];
  for (int i = 0; i < 2; i++) sam->patch[i] = patch->shape.dim[2 + i];
  while (sam->depth < SAM_DEPTH_MAX && tensors_find(tensors, sam->family->keys[SAM_QKV], sam->depth, "weight")) sam->depth++;
  int64_t width = rows->shape.dim[1];
  if (shape_elements(&patch->shape) == 0 || width == 0 || sam->dim % width != 0)
    return diag_fail(tensors->diag, STATUS_INPUT, "%s: %s is %s, which is no head of a width of %lld", tensors->file,
                     rows->name, shape_text(tensors->arena, &rows->shape), (long long)sam->dim);
  sam->heads = sam->dim / width;
  sam->qkv_bias = tensors_find(tensors, sam->family->keys[SAM_QKV], 0, "bias") != NULL;
  sam->relative = true;
  sam->absolute = tensors_find(tensors, sam->family->keys[SAM_POSITION], 0, NULL) != NULL;
  if (sam->absolute) {
    TRY(find(tensors, SAM_POSITION, 0, NULL, 4, &table));
    for (int i = 0; i < 2; i++) sam->image[i] = table->shape.dim[1 + i] * sam->patch[i];
  }
  TRY(infer_windows(tensors, sam));
  set_neck(tensors, sam);
  return STATUS_OK;
}

static enum status from_arch(const struct import *import, struct sam_config *sam) {
  const char *arch = import->arch, *dot = strchr(arch, '.');
  size_t length = dot ? (size_t)(dot - arch) : strlen(arch), index = 0, count = sizeof sizes / sizeof *sizes;
  while (index < count && (strlen(sizes[index].arch) != length || strncmp(sizes[index].arch, arch, length) != 0)) index++;
  if (index == count)
    return diag_fail(import->diag, STATUS_USAGE, "unknown arch '%s', expected %s, %s, %s or %s", arch, sizes[0].arch,
                     sizes[1].arch, sizes[2].arch, sizes[3].arch);
  bool small = index == 3;
  sam->channels = 3;
  sam->dim = sizes[index].dim;
  sam->depth = sizes[index].depth;
  sam->heads = sizes[index].heads;
  sam->mlp = 4 * sam->dim;
  sam->window = 14;
  sam->qkv_bias = sam->relative = true;
  sam->absolute = !small;
  sam->neck = small ? SAM_NECK_NORM : SAM_NECK_CONVOLUTIONS;
  sam->neck_width = 256;
  sam->classes = small ? 1000 : 0;
  for (int i = 0; i < 2; i++) {
    sam->patch[i] = 16;
    sam->image[i] = small ? 224 : 1024;
  }
  for (int64_t i = 0; i < sam->depth; i++) sam->windowed[i] = (i + 1) % sizes[index].every != 0;
  return STATUS_OK;
}

/* timm answers the mean of the grid, and its LayerNorm is PyTorch's. */
static void set_timm(struct sam_config *sam) {
  sam->pool = true;
  sam->epsilon = 1e-5;
}

/* segment-anything's own: the longest edge, then pixels of 0 to 255 normalised, then zeros at the right and at the bottom. */
static void set_original(struct sam_config *sam) {
  if (sam->channels != 3) return;
  sam->picture.preprocess = (struct vitc_preprocess){.resize = VITC_RESIZE_LONGEST,
                                                     .filter = VITC_BILINEAR,
                                                     .arithmetic = VITC_ARITHMETIC_TORCHVISION,
                                                     .crop_floor = VITC_CROP_PAD,
                                                     .resize_height = (uint32_t)sam->image[0],
                                                     .resize_width = (uint32_t)sam->image[1],
                                                     .crop_height = (uint32_t)sam->image[0],
                                                     .crop_width = (uint32_t)sam->image[1],
                                                     .rescale = 1,
                                                     .mean = {123.675, 116.28, 103.53},
                                                     .std = {58.395, 57.12, 57.375}};
}

static enum status read_timm(struct import *import, struct sam_config *sam) {
  struct timm_pretrained pretrained = {
      .channels = sam->channels, .height = sam->image[0], .width = sam->image[1], .classes = sam->classes};
  TRY(timm_read_pretrained(import->config, &pretrained));
  if (pretrained.pool && strcmp(pretrained.pool, "avg") != 0) return config_reject(import->config, "global_pool", "avg");
  sam->origin = import->config->file;
  sam->picture = pretrained.picture;
  sam->labels = pretrained.labels;
  set_timm(sam);
  return STATUS_OK;
}

static enum status set_classes(const struct tensors *tensors, const struct import_options *options, struct sam_config *sam) {
  const struct weight *head = tensors_find(tensors, sam->family->keys[SAM_HEAD], 0, "weight");
  int64_t wanted = options->num_classes;
  if (!tensors->random) sam->classes = head && head->shape.rank == 2 ? head->shape.dim[0] : 0;
  if (wanted > 0 && !tensors->random && wanted != sam->classes)
    return diag_fail(tensors->diag, STATUS_INPUT, "%s: the model has %lld classes, but --num-classes is %lld: 0 drops the head",
                     tensors->file, (long long)sam->classes, (long long)wanted);
  if (wanted >= 0) sam->classes = wanted;
  return STATUS_OK;
}

enum status sam_import_model(struct import *import) {
  struct sam_config sam = {.arch = import->arch ? import->arch : "SAM's image encoder",
                           .origin = import->arch ? import->arch : "the rest of the file",
                           .family = &sam_families[SAM_FAMILY_original],
                           .epsilon = 1e-6};
  struct tensors tensors;
  TRY(import_weights(import));
  tensors_init(&tensors, import->file, import->options, import->arena, import->weights, import->diag);
  bool found = tensors_find_prefix(&tensors, sam.family->prefixes, sam.family->keys[SAM_PATCH], "weight");
  if (import->options->init_random)
    TRY(from_arch(import, &sam));
  else if (!found)
    return diag_fail(import->diag, STATUS_INPUT, "%s: no keys of SAM: expected patch_embed.proj.weight", import->file);
  else
    TRY(infer(&tensors, &sam));
  bool original = !tensors.random && strcmp(tensors.prefix, "image_encoder.") == 0;
  if (tensors.random || !*tensors.prefix) set_timm(&sam);
  if (original) set_original(&sam);
  if (import->config) TRY(read_timm(import, &sam));
  TRY(set_classes(&tensors, import->options, &sam));
  for (int i = 0; i < 2; i++) sam.position_image[i] = sam.image[i];
  return sam_import(&sam, import);
}
