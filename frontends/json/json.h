/* The JSON graph of a model on disk: NAME.json, with NAME.safetensors beside it. */
#ifndef VITC_FRONTENDS_JSON_H
#define VITC_FRONTENDS_JSON_H

#include "frontend.h"

bool json_probe(const char *source, const struct import_options *options);
enum status json_import(const char *source, const struct import_options *options, struct arena *arena, struct weights *weights,
                        struct graph *out_graph, struct diag *diag);

/* Reads the graph, opens its blob into `weights` (initialised by the caller), infers and verifies. */
MUST_USE enum status json_load(const char *path, struct arena *arena, struct weights *weights, struct graph *out_graph,
                               struct diag *diag);

/* Writes an unfused graph as NAME.json and its constants as NAME.safetensors beside it, both whole or neither. The path must
 * end in ".json". Deterministic: equal graphs give equal bytes. Small constants (shapes, axes, scalars) become Constant nodes;
 * the others go to the blob under their names. */
MUST_USE enum status json_write(const struct graph *graph, const char *path, struct diag *diag);

#endif
