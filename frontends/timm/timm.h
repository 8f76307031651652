/* A folder as timm's hub has it: config.json (architecture, model_args, pretrained_cfg) and model.safetensors. */
#ifndef VITC_FRONTENDS_TIMM_H
#define VITC_FRONTENDS_TIMM_H

#include "import_config.h"

struct vit_config;

/* What pretrained_cfg and the top of config.json say of any model. Set the defaults of the arch before. */
struct timm_pretrained {
  int64_t channels, height, width, classes;
  const char *pool; /* global_pool; NULL when it is not given */
  struct picture picture;
  struct labels labels;
};
MUST_USE enum status timm_read_pretrained(const struct config *config, struct timm_pretrained *out);

/* A VisionTransformer of timm: import->config, in the arch import->arch. */
MUST_USE enum status timm_read_vit(const struct import *import, struct vit_config *out_config);

bool timm_probe(const char *source, const struct import_options *options);
enum status timm_import(const char *source, const struct import_options *options, struct arena *arena, struct weights *weights,
                        struct graph *out_graph, struct diag *diag);

#endif
