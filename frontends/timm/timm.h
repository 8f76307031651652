/* A folder as timm's hub has it: config.json (architecture, model_args, pretrained_cfg) and model.safetensors. */
#ifndef VITC_FRONTENDS_TIMM_H
#define VITC_FRONTENDS_TIMM_H

#include "frontend.h"

bool timm_probe(const char *source, const struct import_options *options);
enum status timm_import(const char *source, const struct import_options *options, struct arena *arena, struct weights *weights,
                        struct graph *out_graph, struct diag *diag);

#endif
