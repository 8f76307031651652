/* A plain state dict: tensors only, so that the arch is told by --arch or by the keys and shapes. */
#ifndef VITC_FRONTENDS_TORCH_H
#define VITC_FRONTENDS_TORCH_H

#include "frontend.h"

bool torch_probe(const char *source, const struct import_options *options);
enum status torch_import(const char *source, const struct import_options *options, struct arena *arena, struct weights *weights,
                         struct graph *out_graph, struct diag *diag);

#endif
