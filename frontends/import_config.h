/* config.json and its like, read by tables: what a key must be, and where in a struct it goes.
 *
 * An absent key or null leaves the default. Anything of the wrong kind or out of range is an error that names file and key. */
#ifndef VITC_FRONTENDS_IMPORT_CONFIG_H
#define VITC_FRONTENDS_IMPORT_CONFIG_H

#include "import.h"

#include <cjson/cJSON.h>

struct config {
  const char *file;
  const char *where; /* "" or "model_args.": before every key in messages */
  const cJSON *json; /* an object, or NULL for one without members */
  cJSON *root;       /* what config_close deletes */
  struct arena *arena;
  struct diag *diag;
};

enum config_kind {
  CONFIG_COUNT,   /* int64_t in [min, max] */
  CONFIG_FLAG,    /* bool */
  CONFIG_REAL,    /* double, positive and below 1e6 */
  CONFIG_SIZE,    /* two int64_t, height and width: a number or a pair */
  CONFIG_ABSENT,  /* only false, 0 or "" : an option that no builder has */
  CONFIG_PRESENT, /* only true */
  CONFIG_IGNORED, /* of no consequence at inference */
};

struct config_field {
  const char *key;
  enum config_kind kind;
  size_t offset; /* in the struct that config_read fills */
  int64_t min, max;
};

/* One of struct `type`. */
#define CONFIG_FIELD(type, key, kind, member, min, max) {key, kind, offsetof(struct type, member), min, max}
enum {
  CONFIG_DIM_MAX = 65536,
  CONFIG_DEPTH_MAX = 1000,
  CONFIG_HEADS_MAX = 4096,
  CONFIG_MLP_MAX = 1048576,
  CONFIG_IMAGE_MAX = 16384,
  CONFIG_CLASSES_MAX = 1000000,
  CONFIG_CHANNELS_MAX = 64
};

/* Parses `folder`/`name` into *out_config. config_close also after a failure. */
MUST_USE enum status config_open(const char *folder, const char *name, struct arena *arena, struct config *out_config,
                                 struct diag *diag);
void config_close(struct config *config);

const cJSON *config_get(const struct config *config, const char *key); /* NULL when absent or null */
/* The object at `key` as a config of its own (without root); empty when absent. */
MUST_USE enum status config_child(const struct config *config, const char *key, struct config *out_child);
enum status config_reject(const struct config *config, const char *key, const char *expected); /* names what is there instead */

/* Reads the fields. With `closed`, a key of the object that no field has is an error. */
MUST_USE enum status config_read(const struct config *config, const struct config_field *fields, size_t count, bool closed,
                                 void *out_struct);
MUST_USE enum status config_integer(const struct config *config, const char *key, int64_t min, int64_t max, int64_t *out);
MUST_USE enum status config_flag(const struct config *config, const char *key, bool *out);
MUST_USE enum status config_real(const struct config *config, const char *key, double min, double max, double *out);
MUST_USE enum status config_text(const struct config *config, const char *key, const char **out);
/* Three numbers in [min, max]. */
MUST_USE enum status config_rgb(const struct config *config, const char *key, double min, double max, double *out);
/* {"0": "name", ...} or ["name", ...] with every index once, as labels. */
MUST_USE enum status config_labels(const struct config *config, const char *key, struct labels *out_labels);

/* ---- import_weights.c
 *
 * The weights of a folder: model.safetensors, else the shards of model.safetensors.index.json, else the same as
 * pytorch_model.bin and as open_clip's names for them. Shards lie in the folder itself, and each has the tensors that the index
 * says it has. *out_file is the path for messages. */
MUST_USE enum status config_weights(const char *folder, struct weights *weights, struct arena *arena, const char **out_file,
                                    struct diag *diag);

#endif
