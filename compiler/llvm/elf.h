/* Puts the weights into an ELF object that LLVM wrote with a small stand-in for them.
 *
 * LLVM would copy hundreds of megabytes several times, through its constants and its fragments. Instead the object refers to a
 * section of 64 bytes; here that section is pointed to weights that were streamed into the file before, and LLVM's bytes
 * follow:
 *
 *   0 ELF header | ELF_WEIGHTS_OFFSET weights | `shift`, a multiple of the page size: LLVM's object, its header unused
 */
#ifndef VITC_LLVM_ELF_H
#define VITC_LLVM_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ELF_WEIGHTS_OFFSET = 4096, ELF_STAND_IN = 64 };

/* Rewrites offsets in an object (`bytes`, changed in place) for its place at `shift` in the file. `section` is the name of the
 * stand-in's section, NULL without one; `large` marks it for the linkers' large-data area. False when the object is not what
 * was expected. */
bool elf_embed(uint8_t *bytes, size_t size, const char *section, uint64_t weights_bytes, uint64_t shift, bool large);

/* Overwrites bytes of the data that the symbol `name` names, from `offset` on; before elf_embed. False where there is none. */
bool elf_patch(uint8_t *bytes, size_t size, const char *name, size_t offset, const void *value, size_t value_size);

#endif
