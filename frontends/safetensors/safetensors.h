/* safetensors: an 8-byte header length, a JSON header, the tensors' bytes. Every rule of the format is checked. */
#ifndef VITC_FRONTENDS_SAFETENSORS_H
#define VITC_FRONTENDS_SAFETENSORS_H

#include "weights.h"

/* Maps `path` and adds its tensors to initialised weights, without weights_index: once for each shard. */
MUST_USE enum status safetensors_read(const char *path, struct weights *weights, struct diag *diag);

/* Writes `count` tensors (unique names, data of shape and dtype) to an open output in the order given. */
MUST_USE enum status safetensors_write(struct output *output, const struct weight *tensors, size_t count, struct diag *diag);

/* The same for the constants of a graph: elements, which may be misaligned, become those of weight_graph_dtype block by block
 * on their way to the file, and one that no model should hold is an error of `file` (weights_check_finite). */
MUST_USE enum status safetensors_write_graph(struct output *output, const struct weight *tensors, size_t count,
                                             const char *file, struct diag *diag);

#endif
