/* The archs of timm that have a row of their own (archs.def). */
#include "vit.h"

#include <string.h>

enum arch_trait {
  CLASS_TOKEN = 1,
  SCALE = 2,         /* layer scale */
  POOLED_NORM = 4,   /* the last norm comes after pooling */
  NO_FINAL_NORM = 8, /* there is none */
  NO_QKV_BIAS = 16,
  EMBED_REGISTERS = 32, /* the position table has rows for them */
  BARE_TOKEN = 64,      /* it has none for the class token */
  POOL_PREFIX = 128,    /* pools the prefix tokens, too */
  CLIP = 256,           /* CLIP's norms, and patches without a bias */
  GATED = 512,
  LINEAR_TABLE = 1024, /* the position table is resized bilinearly */
  FEATURES = 2048,     /* has no head */
};

static const struct named {
  const char *name;
  int64_t dim, depth, heads, mlp, patch, image, registers;
  enum pooling pool;
  enum arch_preprocess preprocess;
  unsigned traits;
} rows[] = {
#define NAMED(name, dim, depth, heads, mlp, patch, image, registers, pool, preprocess, traits) \
  {name, dim, depth, heads, mlp, patch, image, registers, pool, preprocess, traits},
#include "archs.def"
};

static const struct {
  const char *part, *reason;
} refused[] = {
#define REFUSED(part, reason) {part, reason},
#include "archs.def"
};

enum { ROW_COUNT = sizeof rows / sizeof *rows, REFUSED_COUNT = sizeof refused / sizeof *refused };

static void set_row(const struct named *row, struct vit_config *config) {
  unsigned traits = row->traits;
  config->patch_height = config->patch_width = row->patch;
  config->dim = row->dim;
  config->depth = row->depth;
  config->heads = row->heads;
  config->mlp = row->mlp;
  config->head_dim = row->dim / row->heads;
  config->registers = row->registers;
  config->pool = row->pool;
  config->picture.defaults = row->preprocess;
  config->class_token = (traits & CLASS_TOKEN) != 0;
  config->layer_scale = (traits & SCALE) != 0;
  config->qkv_bias = !(traits & NO_QKV_BIAS);
  config->embed_registers = (traits & EMBED_REGISTERS) != 0;
  config->embed_class = config->embed_registers || (config->class_token && !(traits & BARE_TOKEN));
  config->pool_prefix = (traits & POOL_PREFIX) != 0;
  config->norms_given = (traits & NO_FINAL_NORM) != 0;
  config->pooled_norm = (traits & POOLED_NORM) != 0;
  config->norm = !config->pooled_norm && !config->norms_given;
  config->pre_norm = config->no_patch_bias = (traits & CLIP) != 0;
  if (config->pre_norm) config->epsilon = 1e-5;
  config->gated = (traits & GATED) != 0;
  if (config->gated) config->activation = ACTIVATION_SILU;
  config->linear_table = (traits & LINEAR_TABLE) != 0;
  if (traits & FEATURES) config->classes = 0;
}

bool arch_parse_named(const char *name, struct vit_config *config) {
  for (size_t i = 0; i < ROW_COUNT; i++) {
    const char *rest = name + strlen(rows[i].name);
    char size[8];
    size_t digits = 0;
    int64_t height = rows[i].image, width = height;
    if (strncmp(name, rows[i].name, strlen(rows[i].name)) != 0) continue;
    if (rows[i].image == 0) {
      digits = *rest == '_' ? strspn(rest + 1, "0123456789") : 0;
      if (digits == 0 || digits >= sizeof size) continue;
      memcpy(size, rest + 1, digits);
      size[digits] = '\0';
      if (!arch_parse_size(size, &height, &width)) continue;
      rest += digits + 1;
    }
    if (*rest != '\0' && (*rest != '.' || rest[1] == '\0')) continue;
    set_row(&rows[i], config);
    config->image_height = height;
    config->image_width = width;
    return true;
  }
  return false;
}

const char *arch_refused(const char *name) {
  for (size_t i = 0; i < REFUSED_COUNT; i++)
    if (strstr(name, refused[i].part)) return refused[i].reason;
  return NULL;
}

const char *arch_named_at(size_t i, bool *out_sized) {
  if (i >= ROW_COUNT) return NULL;
  *out_sized = rows[i].image == 0;
  return rows[i].name;
}

int64_t arch_named_heads(const struct vit_config *config) {
  int64_t heads = 0;
  for (size_t i = 0; i < ROW_COUNT; i++) {
    const struct named *row = &rows[i];
    bool fits = row->dim == config->dim && row->depth == config->depth && row->mlp == config->mlp &&
                row->registers == config->registers && (row->traits & CLASS_TOKEN) / CLASS_TOKEN == config->class_token;
    if (!fits) continue;
    if (heads && heads != row->heads) return -1;
    heads = row->heads;
  }
  return heads;
}
