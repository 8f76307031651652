/* The C header of a compiled model. */
#ifndef VITC_LLVM_BUNDLE_H
#define VITC_LLVM_BUNDLE_H

#include "plan/plan.h"

/* Writes the header of `plan`'s model, whole or not at all. */
MUST_USE enum status bundle_write_header(const struct plan *plan, bool external_weights, const char *path, struct diag *diag);

#endif
