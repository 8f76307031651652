#include "load/image.h"

#include <elf.h>
#include <inttypes.h>
#include <string.h>

struct relocation {
  const struct elf_object *object;
  const struct image *image;
  const struct elf_section *target;
  Elf64_Rela raw;
  const struct elf_symbol *symbol;
};

static enum status fail(const struct relocation *relocation, const char *what, struct diag *diag) {
  return diag_fail(diag, STATUS_INPUT, "%s: the relocation at %s+%" PRIu64 " (type %" PRIu32 ", symbol %s) %s",
                   relocation->object->path, relocation->target->name, (uint64_t)relocation->raw.r_offset,
                   (uint32_t)ELF64_R_TYPE(relocation->raw.r_info), relocation->symbol->name, what);
}

static enum status store(const struct relocation *relocation, const void *value, size_t size, struct diag *diag) {
  uint64_t room = relocation->target->size;
  if (relocation->raw.r_offset > room || size > room - relocation->raw.r_offset)
    return fail(relocation, "lies outside of its section", diag);
  memcpy(relocation->target->address + relocation->raw.r_offset, value, size);
  return STATUS_OK;
}

static enum status store_64(const struct relocation *relocation, uint64_t value, struct diag *diag) {
  return store(relocation, &value, sizeof value, diag);
}

static enum status store_signed_32(const struct relocation *relocation, uint64_t value, struct diag *diag) {
  int64_t wide = (int64_t)value;
  if (wide < INT32_MIN || wide > INT32_MAX) return fail(relocation, "does not reach its target", diag);
  int32_t narrow = (int32_t)wide;
  return store(relocation, &narrow, sizeof narrow, diag);
}

static enum status store_unsigned_32(const struct relocation *relocation, uint64_t value, struct diag *diag) {
  if (value > UINT32_MAX) return fail(relocation, "does not reach its target", diag);
  uint32_t narrow = (uint32_t)value;
  return store(relocation, &narrow, sizeof narrow, diag);
}

/* All arithmetic is modulo 2^64, as the ABI has it. */
static enum status apply(const struct relocation *relocation, struct diag *diag) {
  const struct elf_object *object = relocation->object;
  const uint8_t *address = image_symbol(object, relocation->symbol);
  if (address == NULL && relocation->symbol->section != ELF_ABSOLUTE)
    return fail(relocation, "refers to a section that is not in memory", diag);
  uint64_t addend = (uint64_t)relocation->raw.r_addend;
  uint64_t symbol = (uintptr_t)address + addend;
  uint64_t at = (uintptr_t)relocation->target->address + relocation->raw.r_offset;
  uint64_t entry = (uintptr_t)relocation->image->table + (uint64_t)(relocation->symbol - object->symbols) * sizeof(uint64_t);
  switch (ELF64_R_TYPE(relocation->raw.r_info)) {
  case R_X86_64_NONE:
    return STATUS_OK;
  case R_X86_64_64:
    return store_64(relocation, symbol, diag);
  case R_X86_64_PC64:
    return store_64(relocation, symbol - at, diag);
  case R_X86_64_32:
    return store_unsigned_32(relocation, symbol, diag);
  case R_X86_64_32S:
    return store_signed_32(relocation, symbol, diag);
  case R_X86_64_PC32:
  case R_X86_64_PLT32:
    return store_signed_32(relocation, symbol - at, diag);
  case R_X86_64_GOTPCREL:
  case R_X86_64_GOTPCRELX:
  case R_X86_64_REX_GOTPCRELX:
    return store_signed_32(relocation, entry + addend - at, diag);
  default:
    return fail(relocation, "is of an unsupported type", diag);
  }
}

static enum status relocate_section(const struct elf_object *object, const struct image *image,
                                    const struct elf_section *section, struct diag *diag) {
  struct relocation relocation = {.object = object, .image = image, .target = &object->sections[section->info]};
  if (relocation.target->address == NULL) return STATUS_OK; /* debug information */
  for (uint64_t i = 0; i < section->size / sizeof relocation.raw; i++) {
    memcpy(&relocation.raw, object->file.data + section->offset + i * sizeof relocation.raw, sizeof relocation.raw);
    uint64_t index = ELF64_R_SYM(relocation.raw.r_info);
    if (index >= object->symbol_count)
      return diag_fail(diag, STATUS_INPUT, "%s: relocation %" PRIu64 " of %s names symbol %" PRIu64 " of %" PRIu32,
                       object->path, i, relocation.target->name, index, object->symbol_count);
    relocation.symbol = &object->symbols[index];
    TRY(apply(&relocation, diag));
  }
  return STATUS_OK;
}

enum status image_relocate(const struct elf_object *object, const struct image *image, struct diag *diag) {
  for (uint32_t i = 1; i < object->section_count; i++)
    if (object->sections[i].type == SHT_RELA) TRY(relocate_section(object, image, &object->sections[i], diag));
  return STATUS_OK;
}
