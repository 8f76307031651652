#include "eva/eva.h"

#include <math.h>
#include <string.h>

enum kind {
  EVA,      /* learned positions, plain MLP */
  EVA02,    /* learned and rotary positions by a reference grid of 16 x 16, SwiGLU */
  DINOV3,   /* rotary positions, four registers, layer scale; no positions of its own */
  ROPE_GAP, /* as EVA-02's rotary positions, no class token, a register, layer scale */
  ROPE,     /* rotary positions of columns, then rows; layer scale; keys with a bias */
};

enum trait {
  SPLIT = 1,          /* three projections; gate and up apart, with a norm in the MLP */
  GATED = 2,          /* gate and up apart */
  ATTENTION_NORM = 4, /* before the projection of attention */
  QKV_BIAS = 8,       /* where the kind has none */
  TOKEN = 16,         /* pools by the class token */
  POSITIONS = 32,     /* learned ones for the patches */
  POST_NORM = 64,
  FOUR_REGISTERS = 128,
  ALIGN_64 = 256,
};

static const struct row {
  const char *name;
  int64_t dim, depth, heads;
  double ratio;
  int64_t patch, image;
  enum kind kind;
  unsigned traits;
} rows[] = {
#define EVA_ARCH(name, dim, depth, heads, ratio, patch, image, kind, traits) \
  {name, dim, depth, heads, ratio, patch, image, kind, traits},
#include "eva/archs.def"
#undef EVA_ARCH
};

enum { ROW_COUNT = sizeof rows / sizeof *rows };

static struct rope rope_of(const struct row *row) {
  switch (row->kind) {
  case EVA02:
  case ROPE_GAP:
    return (struct rope){.grid = ROPE_INDEX, .temperature = 10000, .reference = {16, 16}};
  case DINOV3:
    return (struct rope){.grid = ROPE_CENTRED_PERIODS, .temperature = 100, .halves = true};
  case ROPE:
    return (struct rope){.grid = ROPE_INDEX, .temperature = 100, .columns_first = true};
  case EVA:
    break;
  }
  return (struct rope){.grid = ROPE_NONE};
}

static void set_picture(const struct row *row, struct picture *picture) {
  static const double clip_mean[] = {0.48145466, 0.4578275, 0.40821073}, clip_std[] = {0.26862954, 0.26130258, 0.27577711};
  static const double imagenet_mean[] = {0.485, 0.456, 0.406}, imagenet_std[] = {0.229, 0.224, 0.225};
  static const double half[] = {0.5, 0.5, 0.5};
  bool clip = row->kind == EVA || row->kind == EVA02, gap = row->kind == ROPE_GAP;
  bool full = row->kind == DINOV3 || (clip && row->image > 224);
  struct vitc_preprocess *preprocess = &picture->preprocess;
  *preprocess = (struct vitc_preprocess){
      .resize = VITC_RESIZE_SHORTEST, .filter = VITC_BICUBIC, .arithmetic = VITC_ARITHMETIC_TORCHVISION, .rescale = 1.0 / 255};
  memcpy(preprocess->mean, clip ? clip_mean : gap ? half : imagenet_mean, sizeof half);
  memcpy(preprocess->std, clip ? clip_std : gap ? half : imagenet_std, sizeof half);
  picture->crop_pct = full ? 1 : gap ? 0.95 : 0.9;
  picture->squash = row->kind == EVA02 && row->image == 448;
}

static void set_arguments(const struct row *row, struct eva_arguments *arguments) {
  bool split = (row->traits & SPLIT) != 0, gated = (row->traits & GATED) != 0;
  bool bare = row->kind == DINOV3 || row->kind == ROPE_GAP;
  *arguments = (struct eva_arguments){.ratio = row->ratio,
                                      .swiglu = row->kind == EVA02 || gated,
                                      .scale_mlp = split,
                                      .fused = !split,
                                      .qkv_bias = !bare || (row->traits & QKV_BIAS) != 0,
                                      .key_bias = row->kind == ROPE,
                                      .fc_norm = row->kind == DINOV3 ? 0 : -1,
                                      .final_norm = -1};
  if (gated) arguments->align = (row->traits & ALIGN_64) != 0 ? 64 : 8;
}

static void set_row(const struct row *row, const char *name, struct eva_config *config, struct eva_arguments *arguments) {
  bool registered = row->kind == DINOV3 || (row->traits & FOUR_REGISTERS) != 0,
       learned = row->kind == EVA || row->kind == EVA02;
  *config = (struct eva_config){.arch = name,
                                .origin = name,
                                .keys = &eva_keys_timm,
                                .image = {row->image, row->image},
                                .patch = {row->patch, row->patch},
                                .channels = 3,
                                .dim = row->dim,
                                .depth = row->depth,
                                .heads = row->heads,
                                .classes = row->kind == DINOV3 ? 0 : 1000,
                                .registers = registered              ? 4
                                             : row->kind == ROPE_GAP ? 1
                                                                     : 0,
                                .class_token = row->kind != ROPE_GAP,
                                .positions = learned || (row->traits & POSITIONS) != 0,
                                .embed_prefix = learned,
                                .post_norm = (row->traits & POST_NORM) != 0,
                                .projection_bias = true,
                                .mlp_bias = true,
                                .attention_norm = (row->traits & ATTENTION_NORM) != 0,
                                .layer_scale = !learned,
                                .rope = rope_of(row),
                                .mean_pool = (row->traits & TOKEN) == 0 && row->kind != ROPE,
                                .epsilon = row->kind == DINOV3 ? 1e-5 : 1e-6,
                                .pooled = "features"};
  set_picture(row, &config->picture);
  set_arguments(row, arguments);
}

bool eva_arch(const char *name, struct arena *arena, struct eva_config *out_config, struct eva_arguments *out_arguments) {
  size_t length = strcspn(name, ".");
  for (int i = 0; i < ROW_COUNT; i++) {
    if (strlen(rows[i].name) != length || strncmp(rows[i].name, name, length) != 0) continue;
    set_row(&rows[i], arena_strdup(arena, name), out_config, out_arguments);
    return true;
  }
  return false;
}

void eva_settle(struct eva_config *config, const struct eva_arguments *arguments) {
  int64_t align = arguments->align;
  config->mlp = (int64_t)((double)config->dim * arguments->ratio);
  if (align) config->mlp = (config->mlp + align - 1) / align * align;
  /* What packs its MLP's weights has no norm in it, and what aligns them doesn't pack. */
  bool apart = arguments->scale_mlp || align;
  config->form = !arguments->swiglu ? EVA_MLP_PLAIN : apart ? EVA_MLP_GATED : EVA_MLP_PACKED;
  config->activation = arguments->swiglu ? ACTIVATION_SILU : ACTIVATION_GELU;
  config->mlp_norm = arguments->scale_mlp;
  config->qkv = !arguments->fused ? EVA_QKV_APART : arguments->key_bias ? EVA_QKV_JOINT : EVA_QKV_BIAS_APART;
  config->bias[0] = config->bias[2] = arguments->qkv_bias;
  config->bias[1] = arguments->qkv_bias && arguments->key_bias;
  config->pooled_norm = arguments->fc_norm < 0 ? config->mean_pool : arguments->fc_norm != 0;
  config->norm = arguments->final_norm < 0 ? !config->pooled_norm : arguments->final_norm != 0;
}

/* ---- state dicts */

static const struct weight *find(const struct tensors *tensors, const struct eva_keys *keys, enum eva_part part, int64_t block,
                                 const char *suffix) {
  return keys->paths[part] ? tensors_find(tensors, keys->paths[part], block, suffix) : NULL;
}

static bool set_keys(struct tensors *tensors, struct eva_config *config) {
  static const struct eva_keys *const known[] = {&eva_keys_original, &eva_keys_timm};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    config->keys = known[i];
    enum eva_part first = known[i] == &eva_keys_original ? EVA_REGISTERS : EVA_PATCH;
    if (tensors_find_prefix(tensors, known[i]->prefixes, known[i]->paths[first], first == EVA_PATCH ? "weight" : NULL))
      return true;
  }
  return false;
}

/* The edge of a square grid of so many patches; 0: there is none. */
static int64_t square_edge(int64_t patches) {
  int64_t edge = (int64_t)sqrt((double)patches);
  return edge * edge == patches ? edge : 0;
}

enum status eva_follow(struct eva_config *config, struct tensors *tensors) {
  if (tensors->random) return STATUS_OK;
  if (!set_keys(tensors, config))
    return diag_fail(tensors->diag, STATUS_INPUT, "%s: no tensor patch_embed.proj.weight, which %s has", tensors->file,
                     config->origin);
  const struct eva_keys *keys = config->keys;
  const struct weight *head = find(tensors, keys, EVA_HEAD, 0, "weight");
  const struct weight *table = find(tensors, keys, EVA_POSITION, 0, NULL);
  config->classes = head && head->shape.rank == 2 ? head->shape.dim[0] : 0;
  if (keys == &eva_keys_original) {
    config->mean_pool = config->pooled_norm = false;
    config->norm = true;
    bool bias = find(tensors, keys, EVA_QKV, 0, "bias") != NULL;
    config->qkv = EVA_QKV_JOINT_NO_KEYS;
    config->bias[0] = config->bias[2] = bias;
  } else if (config->qkv == EVA_QKV_BIAS_APART) {
    config->bias[0] = config->bias[2] = find(tensors, keys, EVA_QUERY_BIAS, 0, NULL) != NULL;
  }
  if (!table || !config->positions || table->shape.rank != 3) return STATUS_OK;
  int64_t edge = square_edge(table->shape.dim[1] - (config->embed_prefix ? eva_prefix(config) : 0));
  for (int i = 0; edge && i < 2; i++) config->image[i] = edge * config->patch[i];
  return STATUS_OK;
}

/* What tells the rows of one width and depth apart. */
static bool row_fits(const struct row *row, const struct tensors *tensors, const struct eva_keys *keys) {
  const struct weight *fc1 = find(tensors, keys, EVA_FC1, 0, "weight"), *fc2 = find(tensors, keys, EVA_FC2, 0, "weight");
  struct eva_config config;
  struct eva_arguments arguments;
  set_row(row, row->name, &config, &arguments);
  eva_settle(&config, &arguments);
  if (!fc2 || fc2->shape.rank != 2 || fc2->shape.dim[1] != config.mlp) return false;
  if (config.form != EVA_MLP_GATED && (!fc1 || fc1->shape.dim[0] != config.mlp * (config.form == EVA_MLP_PACKED ? 2 : 1)))
    return false;
  const struct weight *registers = find(tensors, keys, EVA_REGISTERS, 0, NULL);
  int64_t register_count = registers && registers->shape.rank == 3 ? registers->shape.dim[1] : 0;
  bool original = keys == &eva_keys_original;
  return (config.form == EVA_MLP_GATED) == (find(tensors, keys, EVA_GATE, 0, "weight") != NULL) &&
         (config.qkv == EVA_QKV_APART) == (find(tensors, keys, EVA_QUERY, 0, "weight") != NULL) &&
         config.positions == (find(tensors, keys, EVA_POSITION, 0, NULL) != NULL) && config.registers == register_count &&
         config.class_token == (find(tensors, keys, EVA_CLASS_TOKEN, 0, NULL) != NULL) &&
         config.attention_norm == (find(tensors, keys, EVA_ATTENTION_NORM, 0, "weight") != NULL) &&
         (original || (config.qkv == EVA_QKV_JOINT) == (find(tensors, keys, EVA_QKV, 0, "bias") != NULL));
}

enum status eva_infer(struct tensors *tensors, struct eva_config *out_config) {
  struct eva_config config = {0};
  const struct weight *patch = set_keys(tensors, &config) ? find(tensors, config.keys, EVA_PATCH, 0, "weight") : NULL;
  int64_t depth = 0, dim = patch && patch->shape.rank == 4 ? patch->shape.dim[0] : 0;
  while (dim && find(tensors, config.keys, EVA_NORM1, depth, "weight")) depth++;
  for (int i = 0; i < ROW_COUNT; i++) {
    struct eva_arguments arguments;
    if (rows[i].dim != dim || rows[i].depth != depth || rows[i].patch != patch->shape.dim[2]) continue;
    if (!row_fits(&rows[i], tensors, config.keys)) continue;
    set_row(&rows[i], rows[i].name, out_config, &arguments);
    eva_settle(out_config, &arguments);
    return STATUS_OK;
  }
  return diag_fail(tensors->diag, STATUS_INPUT,
                   "%s: has the tensors of EVA or DINOv3, but no arch of them is %lld wide and %lld deep: give --arch",
                   tensors->file, (long long)dim, (long long)depth);
}
