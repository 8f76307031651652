#include "llvm/elf.h"

#include <elf.h>
#include <string.h>

#ifndef SHF_X86_64_LARGE
#define SHF_X86_64_LARGE 0x10000000
#endif

/* memcpy in and out: the buffer has no promised alignment. */
static Elf64_Shdr read_section(const uint8_t *bytes, const Elf64_Ehdr *header, size_t index) {
  Elf64_Shdr section;
  memcpy(&section, bytes + header->e_shoff + index * sizeof section, sizeof section);
  return section;
}

static void write_section(uint8_t *bytes, const Elf64_Ehdr *header, size_t index, const Elf64_Shdr *section) {
  memcpy(bytes + header->e_shoff + index * sizeof *section, section, sizeof *section);
}

/* Symbols of the section get `size`. */
static void mend_symbols(uint8_t *bytes, const Elf64_Shdr *table, size_t section, uint64_t size) {
  for (uint64_t i = 0; i < table->sh_size / sizeof(Elf64_Sym); i++) {
    Elf64_Sym symbol;
    uint8_t *at = bytes + table->sh_offset + i * sizeof symbol;
    memcpy(&symbol, at, sizeof symbol);
    if (symbol.st_shndx != section || ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT) continue;
    symbol.st_size = size;
    memcpy(at, &symbol, sizeof symbol);
  }
}

bool elf_patch(uint8_t *bytes, size_t size, const char *name, size_t offset, const void *value, size_t value_size) {
  Elf64_Ehdr header;
  if (size < sizeof header) return false;
  memcpy(&header, bytes, sizeof header);
  for (size_t i = 1; i < header.e_shnum; i++) {
    Elf64_Shdr table = read_section(bytes, &header, i);
    if (table.sh_type != SHT_SYMTAB) continue;
    Elf64_Shdr strings = read_section(bytes, &header, table.sh_link);
    for (uint64_t k = 0; k < table.sh_size / sizeof(Elf64_Sym); k++) {
      Elf64_Sym symbol;
      memcpy(&symbol, bytes + table.sh_offset + k * sizeof symbol, sizeof symbol);
      const char *symbol_name = (const char *)bytes + strings.sh_offset + symbol.st_name;
      if (ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT || strcmp(symbol_name, name) != 0) continue;
      if (symbol.st_size < value_size || offset > symbol.st_size - value_size) return false;
      memcpy(bytes + read_section(bytes, &header, symbol.st_shndx).sh_offset + symbol.st_value + offset, value, value_size);
      return true;
    }
  }
  return false;
}

bool elf_embed(uint8_t *bytes, size_t size, const char *section, uint64_t weights_bytes, uint64_t shift, bool large) {
  Elf64_Ehdr header;
  if (size < sizeof header) return false;
  memcpy(&header, bytes, sizeof header);
  bool elf64 = memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_ident[EI_CLASS] == ELFCLASS64;
  if (!elf64 || header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shnum == 0) return false;
  if (header.e_shoff > size || (size - header.e_shoff) / sizeof(Elf64_Shdr) < header.e_shnum) return false;
  Elf64_Shdr names = read_section(bytes, &header, header.e_shstrndx);
  size_t found = 0;
  for (size_t i = 1; section != NULL && i < header.e_shnum; i++) {
    Elf64_Shdr one = read_section(bytes, &header, i);
    if (one.sh_name < names.sh_size && strcmp((const char *)bytes + names.sh_offset + one.sh_name, section) == 0) found = i;
  }
  if (section != NULL && found == 0) return false;
  for (size_t i = 1; found != 0 && i < header.e_shnum; i++) {
    Elf64_Shdr one = read_section(bytes, &header, i);
    if (one.sh_type == SHT_SYMTAB) mend_symbols(bytes, &one, found, weights_bytes);
  }
  for (size_t i = 1; i < header.e_shnum; i++) {
    Elf64_Shdr one = read_section(bytes, &header, i);
    one.sh_offset += shift;
    if (found != 0 && i == found) {
      one.sh_offset = ELF_WEIGHTS_OFFSET;
      one.sh_size = weights_bytes;
      if (large) one.sh_flags |= SHF_X86_64_LARGE;
    }
    write_section(bytes, &header, i, &one);
  }
  header.e_shoff += shift;
  memcpy(bytes, &header, sizeof header);
  return true;
}
