#include "huggingface/huggingface.h"

#include "import_config.h"

#include <string.h>

static const struct model_type {
  const char *name;
  enum status (*import)(struct import *import);
} types[] = {
#define MODEL_TYPE(name, importer) {name, importer},
#include "huggingface/models.def"
#undef MODEL_TYPE
};

enum { TYPE_COUNT = sizeof types / sizeof *types };

static enum status import_type(struct import *import) {
  const char *name = "", *known = "";
  TRY(config_text(import->config, "model_type", &name));
  for (int i = 0; i < TYPE_COUNT; i++) {
    if (strcmp(types[i].name, name) == 0) return types[i].import(import);
    known = arena_printf(import->arena, "%s%s%s", known, i == 0 ? "" : i < TYPE_COUNT - 1 ? ", " : " or ", types[i].name);
  }
  return config_reject(import->config, "model_type", known);
}

bool huggingface_probe(const char *source, const struct import_options *options) {
  (void)options;
  struct arena arena;
  struct config config;
  struct diag diag = {0};
  if (!source) return false;
  arena_init(&arena);
  /* timm's models inside transformers have both keys. */
  bool found = config_open(source, "config.json", &arena, &config, &diag) == STATUS_OK && config_get(&config, "model_type") &&
               !config_get(&config, "architecture");
  config_close(&config);
  arena_deinit(&arena);
  return found;
}

enum status huggingface_import(const char *source, const struct import_options *options, struct arena *arena,
                               struct weights *weights, struct graph *out_graph, struct diag *diag) {
  struct config config;
  struct import import = {.source = source,
                          .config = &config,
                          .arch = options->arch,
                          .options = options,
                          .arena = arena,
                          .weights = weights,
                          .out_graph = out_graph,
                          .diag = diag};
  enum status status = config_open(source, "config.json", arena, &config, diag);
  if (status == STATUS_OK) status = import_type(&import);
  config_close(&config);
  return status;
}
