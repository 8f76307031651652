/* An ELF x86-64 relocatable object, read out of hostile bytes.
 *
 * Invariants after elf_open: every section's file range lies in the file and no two allocated ones overlap; names are
 * terminated in their tables; every symbol's section and range exist; no symbol is undefined; relocation sections name a
 * section that exists and hold whole entries. Nothing is placed or run here.
 *
 * Ownership: sections, symbols and names live in the arena that was passed or in the mapped file, which the object owns. */
#ifndef VITC_LOAD_ELF_H
#define VITC_LOAD_ELF_H

#include "base/arena.h"
#include "base/diag.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

struct elf_section {
  const char *name;
  uint32_t type;
  uint64_t flags, offset, size, align;
  uint32_t link, info;
  uint8_t *address; /* in memory, once placed; NULL for sections that are not allocated */
  bool mapped;      /* straight from the file */
};

struct elf_symbol {
  const char *name;
  uint32_t section; /* index, or ELF_ABSOLUTE */
  uint64_t value, size;
  bool global, function;
};

enum { ELF_ABSOLUTE = 0xfff1 };

struct elf_object {
  const char *path;
  struct span file;
  struct elf_section *sections;
  uint32_t section_count;
  struct elf_symbol *symbols;
  uint32_t symbol_count;
};

MUST_USE enum status elf_open(const char *path, struct arena *arena, struct elf_object *out_object, struct diag *diag);
void elf_close(struct elf_object *object); /* also on a zeroed struct */

bool elf_allocated(const struct elf_section *section); /* takes room in memory */
bool elf_executable(const struct elf_section *section);

#endif
