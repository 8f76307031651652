/* The weights blob into a file, and its hash (vitc_model.weights_hash). */
#ifndef VITC_LLVM_WEIGHTS_H
#define VITC_LLVM_WEIGHTS_H

#include "base/span.h"
#include "plan/plan.h"

/* Streams the weights at the current place of the file; `path` is its name in messages. */
MUST_USE enum status weights_stream(const struct plan *plan, struct output *output, const char *path, uint64_t *out_hash,
                                    struct diag *diag);

/* The message for a file that did not take its bytes. */
MUST_USE enum status weights_write_failed(const char *path, struct diag *diag);

#endif
