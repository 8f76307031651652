/* A folder as transformers saves it: config.json of a model_type of models.def, model.safetensors (or shards), and
 * preprocessor_config.json. */
#ifndef VITC_FRONTENDS_HUGGINGFACE_H
#define VITC_FRONTENDS_HUGGINGFACE_H

#include "import.h"

bool huggingface_probe(const char *source, const struct import_options *options);
enum status huggingface_import(const char *source, const struct import_options *options, struct arena *arena,
                               struct weights *weights, struct graph *out_graph, struct diag *diag);

#define MODEL_TYPE(name, importer) enum status importer(struct import *import);
#include "huggingface/models.def"
#undef MODEL_TYPE

#endif
