#include "vit.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct family families[FAMILY_COUNT] = {
#define FAMILY(id, family_name, family_prefixes, family_mark, family_epsilon, family_resample, family_input, ...) \
  [FAMILY_##id] = {family_name, family_prefixes, family_mark, family_epsilon, family_resample, family_input, {__VA_ARGS__}},
#include "families.def"
#undef FAMILY
};

enum group {
  GROUP_PLAIN = 1,
  GROUP_DINOV2 = 2,
  GROUP_TOWER = 4,
  GROUP_DEIT = 8,
  GROUP_DISTILLED = 16,
  GROUP_DEIT3 = 32,
  GROUP_BEIT = 64,
  GROUP_BEITV2 = 128,
  GROUP_TORCHVISION = 256,
  GROUP_TORCHVISION_LARGE = 512,
};

enum style_id {
#define STYLE(id, ...) STYLE_##id,
#include "archs.def"
};

static const struct style {
  enum style_id id;
  unsigned group;
  const char *middle;
  int64_t image;
  enum arch_preprocess preprocess;
} styles[] = {
#define STYLE(id, group, middle, image, preprocess) {STYLE_##id, group, middle, image, preprocess},
#include "archs.def"
};

static const struct arch_row {
  const char *prefix;
  unsigned groups;
  int64_t dim, depth, heads, mlp;
} rows[] = {
#define ARCH(prefix, groups, dim, depth, heads, mlp) {prefix, groups, dim, depth, heads, mlp},
#include "archs.def"
};

enum { STYLE_COUNT = sizeof styles / sizeof *styles, ROW_COUNT = sizeof rows / sizeof *rows };
enum { CLASSES_IN1K = 1000, CLASSES_IN21K = 21843, IMAGE_MAX = 16384 };

/* Digits at *text as a number of at most `max`; advances past them. */
static bool parse_number(const char **text, int64_t max, int64_t *out) {
  const char *c = *text;
  int64_t number = 0;
  if (*c < '0' || *c > '9') return false;
  for (; *c >= '0' && *c <= '9'; c++) {
    number = number * 10 + (*c - '0');
    if (number > max) return false;
  }
  *text = c;
  *out = number;
  return true;
}

bool arch_parse_size(const char *text, int64_t *out_height, int64_t *out_width) {
  if (!parse_number(&text, IMAGE_MAX, out_height) || *out_height == 0) return false;
  *out_width = *out_height;
  if (*text == 'x') {
    text++;
    if (!parse_number(&text, IMAGE_MAX, out_width) || *out_width == 0) return false;
  }
  return *text == '\0';
}

static void set_defaults(struct vit_config *config, const struct family *family) {
  *config = (struct vit_config){.family = family,
                                .image_height = 224,
                                .image_width = 224,
                                .patch_height = 16,
                                .patch_width = 16,
                                .channels = 3,
                                .dim = 768,
                                .depth = 12,
                                .heads = 12,
                                .mlp = 3072,
                                .classes = CLASSES_IN1K,
                                .qkv_bias = true,
                                .class_token = true,
                                .embed_class = true,
                                .norm = true};
}

/* timm has the tanh form in the sizes that were trained last. */
static bool siglip_tanh(const struct vit_config *config) {
  if (config->patch_height == 32) return true;
  return config->patch_height == 16 && (config->dim > 1024 || (config->dim == 1024 && config->image_height == 512));
}

static void apply_style(struct vit_config *config, enum style_id style) {
  switch (style) {
  case STYLE_plain:
  case STYLE_deit:
    break;
  case STYLE_torchvision:
  case STYLE_torchvision_large:
    config->family = &families[FAMILY_torchvision];
    break;
  case STYLE_deit_distilled:
    config->distilled = config->two_heads = true;
    break;
  case STYLE_deit3:
    config->embed_class = false;
    config->layer_scale = true;
    break;
  case STYLE_dinov2_registers:
    config->registers = 4;
    config->embed_class = false;
    /* fall through */
  case STYLE_dinov2:
    config->layer_scale = true;
    config->classes = 0;
    config->gated = config->dim == 1536;
    if (config->gated) config->activation = ACTIVATION_SILU;
    break;
  case STYLE_clip_quick_gelu:
    config->activation = ACTIVATION_QUICK_GELU;
    /* fall through */
  case STYLE_clip:
    config->pre_norm = config->no_patch_bias = true;
    config->epsilon = 1e-5;
    break;
  case STYLE_siglip:
  case STYLE_siglip_mean:
    config->class_token = false;
    config->pool = style == STYLE_siglip ? POOL_MAP : POOL_MEAN;
    config->classes = 0;
    if (siglip_tanh(config)) config->activation = ACTIVATION_GELU_TANH;
    break;
  case STYLE_beit:
  case STYLE_beitv2:
    config->family = &families[FAMILY_beit];
    config->no_position = config->relative = config->layer_scale = config->pooled_norm = true;
    config->norm = false;
    config->pool = POOL_MEAN;
    break;
  }
}

/* What follows the patch size: nothing for torchvision, MIDDLE_SIZE[_in21k][.tag] for timm. */
static bool parse_rest(const char *rest, const struct style *style, struct vit_config *config) {
  size_t middle = strlen(style->middle);
  int64_t size = style->image ? style->image : 224;
  bool torchvision = style->group & (GROUP_TORCHVISION | GROUP_TORCHVISION_LARGE), in21k = false;
  if (strncmp(rest, style->middle, middle) != 0) return false;
  rest += middle;
  if (*rest == '_' && !torchvision) {
    rest++;
    if (!parse_number(&rest, IMAGE_MAX, &size) || size == 0) return false;
    in21k = style->id == STYLE_plain && strncmp(rest, "_in21k", 6) == 0;
    if (in21k) rest += 6;
  } else if (!torchvision && !style->image) {
    return false;
  }
  bool tagged = *rest == '.' && rest[1];
  if (*rest && !(tagged && !torchvision && !in21k)) return false;
  config->image_height = config->image_width = size;
  config->picture.defaults = in21k ? PREPROCESS_IN21K : style->preprocess;
  size_t length = strlen(rest);
  if (in21k || (tagged && length > 6 && strcmp(rest + length - 6, "_in21k") == 0)) config->classes = CLASSES_IN21K;
  if (in21k) config->pre_logits = config->dim;
  return true;
}

static bool parse_row(const char *rest, const struct arch_row *row, struct vit_config *config) {
  int64_t patch;
  if (!parse_number(&rest, 1024, &patch) || patch == 0) return false;
  for (int i = 0; i < STYLE_COUNT; i++) {
    if (!(styles[i].group & row->groups)) continue;
    set_defaults(config, &families[FAMILY_timm]);
    config->patch_height = config->patch_width = patch;
    config->dim = row->dim;
    config->depth = row->depth;
    config->heads = row->heads;
    config->mlp = row->mlp;
    config->head_dim = row->dim / row->heads;
    if (!parse_rest(rest, &styles[i], config)) continue;
    apply_style(config, styles[i].id);
    return true;
  }
  return false;
}

/* The row in the first style that it comes in. */
static const char *row_name(const void *context, size_t i) {
  struct arena *const *arena = context;
  bool sized;
  if (i >= ROW_COUNT) {
    const char *name = arch_named_at(i - ROW_COUNT, &sized);
    return arena_printf(*arena, "%s%s", name, sized ? "_224" : "");
  }
  bool torchvision = rows[i].groups & (GROUP_TORCHVISION | GROUP_TORCHVISION_LARGE);
  int style = 0;
  while (style + 1 < STYLE_COUNT && !(styles[style].group & rows[i].groups)) style++;
  return arena_printf(*arena, "%s16%s%s", rows[i].prefix, styles[style].middle, torchvision ? "" : "_224");
}

static enum status parse_name(const char *name, struct arena *arena, struct vit_config *config, struct diag *diag) {
  const char *reason = arch_refused(name);
  if (reason) return diag_fail(diag, STATUS_USAGE, "%s is not supported: %s", name, reason);
  set_defaults(config, &families[FAMILY_timm]);
  if (arch_parse_named(name, config)) {
    config->arch = config->origin = arena_strdup(arena, name);
    return STATUS_OK;
  }
  for (size_t i = 0; i < ROW_COUNT; i++) {
    const struct arch_row *row = &rows[i];
    size_t length = strlen(row->prefix);
    if (strncmp(name, row->prefix, length) != 0) continue;
    if (!parse_row(name + length, row, config)) continue;
    config->arch = config->origin = arena_strdup(arena, name);
    return STATUS_OK;
  }
  size_t count = ROW_COUNT;
  for (bool sized; arch_named_at(count - ROW_COUNT, &sized);) count++;
  const char *nearest = frontend_nearest(name, row_name, &arena, count);
  return diag_fail(diag, STATUS_USAGE,
                   "unknown arch %s%s%s%s: names are like vit_base_patch16_224, deit_small_distilled_patch16_224, "
                   "vit_b_16, vit_base_patch16_224_in21k or vit:dim=100,heads=5,depth=2",
                   name, nearest ? " (near to " : "", nearest ? nearest : "", nearest ? ")" : "");
}

enum spec_kind { SPEC_COUNT, SPEC_FLAG, SPEC_REAL, SPEC_IMAGE, SPEC_PATCH, SPEC_POOL, SPEC_FAMILY, SPEC_ACTIVATION };

/* Largest dimensions that a spec or a config may ask for: generous, yet no product of them overflows. */
static const struct spec_key {
  const char *name;
  enum spec_kind kind;
  size_t offset;
  int64_t min, max;
} spec_keys[] = {
    {"dim", SPEC_COUNT, offsetof(struct vit_config, dim), 1, 65536},
    {"depth", SPEC_COUNT, offsetof(struct vit_config, depth), 0, 1000},
    {"heads", SPEC_COUNT, offsetof(struct vit_config, heads), 1, 4096},
    {"head_dim", SPEC_COUNT, offsetof(struct vit_config, head_dim), 1, 65536},
    {"mlp", SPEC_COUNT, offsetof(struct vit_config, mlp), 1, 1048576},
    {"classes", SPEC_COUNT, offsetof(struct vit_config, classes), 0, 1000000},
    {"channels", SPEC_COUNT, offsetof(struct vit_config, channels), 1, 64},
    {"pre_logits", SPEC_COUNT, offsetof(struct vit_config, pre_logits), 0, 65536},
    {"qkv_bias", SPEC_FLAG, offsetof(struct vit_config, qkv_bias), 0, 1},
    {"distilled", SPEC_FLAG, offsetof(struct vit_config, distilled), 0, 1},
    {"class_token", SPEC_FLAG, offsetof(struct vit_config, class_token), 0, 1},
    {"pooled_norm", SPEC_FLAG, offsetof(struct vit_config, pooled_norm), 0, 1},
    {"layer_scale", SPEC_FLAG, offsetof(struct vit_config, layer_scale), 0, 1},
    {"embed_class", SPEC_FLAG, offsetof(struct vit_config, embed_class), 0, 1},
    {"qk_scale", SPEC_REAL, offsetof(struct vit_config, scale), 0, 0},
    {"epsilon", SPEC_REAL, offsetof(struct vit_config, epsilon), 0, 0},
    {"image", SPEC_IMAGE, 0, 0, 0},
    {"patch", SPEC_PATCH, 0, 0, 0},
    {"pool", SPEC_POOL, 0, 0, 0},
    {"family", SPEC_FAMILY, 0, 0, 0},
    {"activation", SPEC_ACTIVATION, 0, 0, 0},
};

enum { SPEC_KEY_COUNT = sizeof spec_keys / sizeof *spec_keys };

static const char *spec_name(const void *context, size_t i) {
  (void)context;
  return spec_keys[i].name;
}

static bool set_family(struct vit_config *config, const char *value) {
  for (int i = 0; i < FAMILY_COUNT; i++)
    if (strcmp(value, families[i].name) == 0) {
      config->family = &families[i];
      return true;
    }
  return false;
}

static bool set_activation(struct vit_config *config, const char *value) {
  static const char *const names[] = {"gelu", "gelu_tanh", "quick_gelu"};
  for (int i = 0; i < 3; i++)
    if (strcmp(value, names[i]) == 0) {
      config->activation = (enum activation)i;
      return true;
    }
  return false;
}

static bool set_spec(struct vit_config *config, const struct spec_key *key, const char *value) {
  void *field = (char *)config + key->offset;
  const char *end = value;
  char *real_end;
  int64_t number;
  switch (key->kind) {
  case SPEC_COUNT:
    if (!parse_number(&end, key->max, &number) || *end || number < key->min) return false;
    *(int64_t *)field = number;
    return true;
  case SPEC_FLAG:
    if ((*value != '0' && *value != '1') || value[1]) return false;
    *(bool *)field = *value == '1';
    return true;
  case SPEC_REAL:
    *(double *)field = strtod(value, &real_end);
    return real_end != value && *real_end == '\0' && *(double *)field > 0 && *(double *)field < 1e6;
  case SPEC_IMAGE:
    return arch_parse_size(value, &config->image_height, &config->image_width);
  case SPEC_PATCH:
    return arch_parse_size(value, &config->patch_height, &config->patch_width);
  case SPEC_POOL:
    config->pool = strcmp(value, "mean") == 0 ? POOL_MEAN : POOL_TOKEN;
    return config->pool == POOL_MEAN || strcmp(value, "token") == 0;
  case SPEC_FAMILY:
    return set_family(config, value);
  case SPEC_ACTIVATION:
    return set_activation(config, value);
  }
  return false;
}

/* What follows from the keys of a spec that were not given. */
static enum status finish_spec(struct vit_config *config, const bool *given, struct diag *diag) {
  bool heads = given[2], head_dim = given[3], mlp = given[4];
  if (!heads && !head_dim && config->dim % 64 != 0)
    return diag_fail(diag, STATUS_USAGE, "%s: a dim of %lld needs heads=", config->arch, (long long)config->dim);
  if (!heads) config->heads = config->dim / (head_dim ? config->head_dim : 64);
  if (!head_dim) config->head_dim = config->heads ? config->dim / config->heads : 0;
  if (config->heads == 0 || (!head_dim && config->dim % config->heads != 0))
    return diag_fail(diag, STATUS_USAGE, "%s: dim %lld does not divide into %lld heads", config->arch, (long long)config->dim,
                     (long long)config->heads);
  if (!mlp) config->mlp = 4 * config->dim;
  for (int i = 0; i < SPEC_KEY_COUNT; i++) {
    if (!given[i]) continue;
    if (strcmp(spec_keys[i].name, "classes") == 0) config->classes_given = true;
    if (strcmp(spec_keys[i].name, "pre_logits") == 0) config->pre_logits_given = true;
    if (strcmp(spec_keys[i].name, "qkv_bias") == 0) config->qkv_bias_given = true;
    if (strcmp(spec_keys[i].name, "pooled_norm") == 0) config->norms_given = true;
  }
  if (!config->norms_given) config->pooled_norm = config->pool == POOL_MEAN && config->family->keys[PART_POOLED_NORM];
  config->norm = !config->pooled_norm;
  config->two_heads = config->distilled && config->pool == POOL_TOKEN;
  if (config->two_heads && config->pre_logits)
    return diag_fail(diag, STATUS_USAGE, "%s: pre_logits= is of one head, distilled=1 has two", config->arch);
  if (!config->class_token && (config->pool == POOL_TOKEN || config->distilled))
    return diag_fail(diag, STATUS_USAGE, "%s: class_token=0 needs pool=mean and distilled=0", config->arch);
  return STATUS_OK;
}

static enum status parse_spec(const char *name, struct arena *arena, struct vit_config *config, struct diag *diag) {
  bool given[SPEC_KEY_COUNT] = {false};
  set_defaults(config, &families[FAMILY_timm]);
  config->arch = config->origin = arena_strdup(arena, name);
  for (char *item = arena_strdup(arena, name + 4); item && *item;) {
    char *next = strchr(item, ',');
    if (next) *next++ = '\0';
    char *value = strchr(item, '=');
    if (!value) return diag_fail(diag, STATUS_USAGE, "%s: \"%s\" is not KEY=VALUE", name, item);
    *value++ = '\0';
    size_t i = 0;
    while (i < SPEC_KEY_COUNT && strcmp(spec_keys[i].name, item) != 0) i++;
    if (i == SPEC_KEY_COUNT) {
      const char *nearest = frontend_nearest(item, spec_name, NULL, SPEC_KEY_COUNT);
      return diag_fail(diag, STATUS_USAGE, "%s: no key \"%s\"%s%s", name, item, nearest ? ", perhaps " : "",
                       nearest ? nearest : "");
    }
    if (given[i]) return diag_fail(diag, STATUS_USAGE, "%s: %s is given twice", name, item);
    if (!set_spec(config, &spec_keys[i], value))
      return diag_fail(diag, STATUS_USAGE, "%s: %s=%s is out of range", name, item, value);
    given[i] = true;
    item = next;
  }
  return finish_spec(config, given, diag);
}

enum status arch_parse(const char *name, struct arena *arena, struct vit_config *out_config, struct diag *diag) {
  if (strncmp(name, "vit:", 4) == 0) return parse_spec(name, arena, out_config, diag);
  return parse_name(name, arena, out_config, diag);
}

int64_t arch_heads(const struct vit_config *config) {
  int64_t heads = config->family == &families[FAMILY_timm] ? arch_named_heads(config) : 0;
  for (size_t i = 0; i < ROW_COUNT; i++) {
    const struct arch_row *row = &rows[i];
    if (row->dim != config->dim || row->depth != config->depth || row->mlp != config->mlp) continue;
    if (heads && heads != row->heads) return 0;
    heads = row->heads;
  }
  return heads > 0 ? heads : 0;
}
