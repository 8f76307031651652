/* One relocatable ELF object of several that LLVM wrote: code is generated for the parts of a model at the same time.
 *
 * Sections of equal name and kind follow one another in the order of the inputs, which alone decides the result. Symbols that
 * one part has and others refer to become local: they are no names of the object's. */
#ifndef VITC_LLVM_ELF_MERGE_H
#define VITC_LLVM_ELF_MERGE_H

#include "base/arena.h"
#include "base/span.h"

#include <stdbool.h>

/* LLVM's own labels (.LCPI..) take the name `label`: every name that the object shows is the model's. The result is in the
 * arena. False when an input is not what LLVM writes. */
bool elf_merge(const struct span *inputs, int count, const char *label, struct arena *arena, struct span *out_object);

#endif
