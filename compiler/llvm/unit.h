/* A part of a model's code: a module in an LLVM context of its own, so that a thread can generate its code while others do. */
#ifndef VITC_LLVM_UNIT_H
#define VITC_LLVM_UNIT_H

#include "base/diag.h"

#include <llvm-c/TargetMachine.h>
#include <stdint.h>

struct unit {
  LLVMContextRef context;
  LLVMModuleRef module;
  LLVMTargetMachineRef machine;
  LLVMMemoryBufferRef code; /* after unit_generate */
};

/* Once in a process or more often, on one thread, before the first unit. */
MUST_USE enum status units_prepare(struct diag *diag);

/* An empty module. A unit that is all zeros can be, and one of unit_init must be, handed to unit_deinit. */
void unit_init(struct unit *unit, const char *name);
void unit_deinit(struct unit *unit);

/* Instructions of the module. */
int64_t unit_size(const struct unit *unit);

/* Verifies the module and makes machine code of it. Units may be on different threads. */
MUST_USE enum status unit_verify(const struct unit *unit, struct diag *diag);
MUST_USE enum status unit_generate(struct unit *unit, LLVMCodeGenFileType type, struct diag *diag);

#endif
