/* ONNX models as PyTorch's two exporters write them: opsets 13 to 23, a static batch of 1 or a dynamic one. */
#ifndef VITC_FRONTENDS_ONNX_H
#define VITC_FRONTENDS_ONNX_H

#include "frontend.h"

bool onnx_probe(const char *source, const struct import_options *options);
enum status onnx_import(const char *source, const struct import_options *options, struct arena *arena, struct weights *weights,
                        struct graph *out_graph, struct diag *diag);

#endif
