#include "load/elf.h"

#include <elf.h>
#include <inttypes.h>
#include <string.h>

/* Larger alignments than a huge page have no use, and would let a small file reserve any amount of address space. */
enum { ALIGN_MAX = 2 << 20 };

static bool in_file(const struct elf_object *object, uint64_t offset, uint64_t size) {
  return offset <= object->file.size && size <= object->file.size - offset;
}

static enum status bad(const struct elf_object *object, struct diag *diag, const char *what) {
  return diag_fail(diag, STATUS_INPUT, "%s: %s", object->path, what);
}

static enum status read_header(const struct elf_object *object, Elf64_Ehdr *out_header, struct diag *diag) {
  if (object->file.size < SELFMAG || memcmp(object->file.data, ELFMAG, SELFMAG) != 0)
    return bad(object, diag, "is not an object file (no ELF signature)");
  if (object->file.size < sizeof *out_header) return bad(object, diag, "the object file is cut short within its header");
  memcpy(out_header, object->file.data, sizeof *out_header);
  const Elf64_Ehdr *header = out_header;
  if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB || header->e_machine != EM_X86_64)
    return bad(object, diag, "is an object for another machine, expected x86-64");
  if (header->e_ident[EI_VERSION] != EV_CURRENT || header->e_version != EV_CURRENT)
    return bad(object, diag, "is an object of an unknown ELF version");
  if (header->e_type != ET_REL) return bad(object, diag, "is not a relocatable object (a program or a library?)");
  if (header->e_shentsize != sizeof(Elf64_Shdr)) return bad(object, diag, "its section headers have a wrong size");
  if (header->e_shnum == 0) return bad(object, diag, "has no section headers");
  if (header->e_shstrndx >= header->e_shnum) return bad(object, diag, "the index of its section names is out of range");
  if (!in_file(object, header->e_shoff, (uint64_t)header->e_shnum * sizeof(Elf64_Shdr)))
    return bad(object, diag, "the object file is cut short: its section headers lie past the end");
  return STATUS_OK;
}

/* The string at `offset` of a string table, or NULL when it is not terminated inside. */
static const char *string_at(const struct elf_object *object, const struct elf_section *table, uint64_t offset) {
  if (offset >= table->size) return NULL;
  const char *text = (const char *)object->file.data + table->offset + offset;
  return memchr(text, '\0', table->size - offset) != NULL ? text : NULL;
}

static enum status check_section(const struct elf_object *object, uint32_t index, struct diag *diag) {
  const struct elf_section *section = &object->sections[index];
  if (section->type != SHT_NOBITS && !in_file(object, section->offset, section->size))
    return diag_fail(diag, STATUS_INPUT,
                     "%s: the object file is cut short: section %" PRIu32 " (%" PRIu64 " bytes at %" PRIu64
                     ") ends past its %zu bytes",
                     object->path, index, section->size, section->offset, object->file.size);
  if ((section->align & (section->align - 1)) != 0 || section->align > ALIGN_MAX)
    return diag_fail(diag, STATUS_INPUT,
                     "%s: section %" PRIu32 " has the alignment %" PRIu64 ", expected a power of two up to %d", object->path,
                     index, section->align, ALIGN_MAX);
  return STATUS_OK;
}

static enum status read_sections(struct elf_object *object, const Elf64_Ehdr *header, struct arena *arena, struct diag *diag) {
  object->section_count = header->e_shnum;
  object->sections = arena_array(arena, header->e_shnum, sizeof *object->sections);
  for (uint32_t i = 1; i < object->section_count; i++) {
    Elf64_Shdr raw;
    memcpy(&raw, object->file.data + header->e_shoff + i * sizeof raw, sizeof raw);
    object->sections[i] = (struct elf_section){.type = raw.sh_type,
                                               .flags = raw.sh_flags,
                                               .offset = raw.sh_offset,
                                               .size = raw.sh_size,
                                               .align = raw.sh_addralign == 0 ? 1 : raw.sh_addralign,
                                               .link = raw.sh_link,
                                               .info = raw.sh_info};
    if (raw.sh_type == SHT_NULL) object->sections[i].size = 0;
    TRY(check_section(object, i, diag));
  }
  const struct elf_section *names = &object->sections[header->e_shstrndx];
  if (names->type != SHT_STRTAB) return bad(object, diag, "its section names are not a string table");
  object->sections[0].name = "";
  for (uint32_t i = 1; i < object->section_count; i++) {
    Elf64_Shdr raw;
    memcpy(&raw, object->file.data + header->e_shoff + i * sizeof raw, sizeof raw);
    object->sections[i].name = string_at(object, names, raw.sh_name);
    if (object->sections[i].name == NULL)
      return diag_fail(diag, STATUS_INPUT, "%s: the name of section %" PRIu32 " lies outside of the string table", object->path,
                       i);
  }
  return STATUS_OK;
}

static enum status check_allocated(const struct elf_object *object, struct diag *diag) {
  uint64_t total = 0;
  for (uint32_t i = 1; i < object->section_count; i++) {
    const struct elf_section *section = &object->sections[i];
    if (!elf_allocated(section)) continue;
    /* Constants that hold addresses are writable until they are relocated. */
    bool relro = strncmp(section->name, ".data.rel.ro", strlen(".data.rel.ro")) == 0;
    if ((section->flags & SHF_WRITE) != 0 && !relro)
      return diag_fail(diag, STATUS_INPUT, "%s: section %s is writable; a compiled model has no writable data", object->path,
                       section->name);
    if (section->type == SHT_NOBITS || (section->flags & (SHF_TLS | SHF_COMPRESSED)) != 0)
      return diag_fail(diag, STATUS_INPUT, "%s: section %s is of a kind that a compiled model does not have", object->path,
                       section->name);
    total += section->size; /* each at most the file's size, and at most 65535 of them: no overflow below 2^48 bytes */
    if (total > object->file.size) return bad(object, diag, "its sections overlap");
  }
  return STATUS_OK;
}

static enum status read_symbol(struct elf_object *object, const struct elf_section *table, const struct elf_section *strings,
                               uint32_t index, struct diag *diag) {
  Elf64_Sym raw;
  memcpy(&raw, object->file.data + table->offset + index * sizeof raw, sizeof raw);
  struct elf_symbol *symbol = &object->symbols[index];
  symbol->name = string_at(object, strings, raw.st_name);
  if (symbol->name == NULL)
    return diag_fail(diag, STATUS_INPUT, "%s: the name of symbol %" PRIu32 " lies outside of the string table", object->path,
                     index);
  int type = ELF64_ST_TYPE(raw.st_info);
  symbol->global = ELF64_ST_BIND(raw.st_info) == STB_GLOBAL;
  symbol->function = type == STT_FUNC;
  symbol->section = raw.st_shndx;
  symbol->value = raw.st_value;
  symbol->size = raw.st_size;
  /* The assembler names the table beside every use of an entry; nothing that is supported refers to the name itself. */
  bool table_itself = raw.st_shndx == SHN_UNDEF && strcmp(symbol->name, "_GLOBAL_OFFSET_TABLE_") == 0;
  if (raw.st_shndx == SHN_ABS || type == STT_FILE || table_itself) {
    symbol->section = ELF_ABSOLUTE;
    return STATUS_OK;
  }
  if (raw.st_shndx == SHN_UNDEF)
    return diag_fail(diag, STATUS_INPUT, "%s: the symbol %s is undefined; a compiled model is self-contained", object->path,
                     symbol->name);
  if (type == STT_GNU_IFUNC || type == STT_TLS || raw.st_shndx >= object->section_count)
    return diag_fail(diag, STATUS_INPUT, "%s: the symbol %s is of a kind that a compiled model does not have", object->path,
                     symbol->name);
  uint64_t size = object->sections[raw.st_shndx].size;
  if (raw.st_value > size || raw.st_size > size - raw.st_value)
    return diag_fail(diag, STATUS_INPUT, "%s: the symbol %s lies outside of its section", object->path, symbol->name);
  return STATUS_OK;
}

static enum status read_symbols(struct elf_object *object, struct arena *arena, struct diag *diag) {
  const struct elf_section *table = NULL;
  for (uint32_t i = 1; i < object->section_count; i++) {
    if (object->sections[i].type != SHT_SYMTAB) continue;
    if (table != NULL) return bad(object, diag, "has more than one symbol table");
    table = &object->sections[i];
  }
  if (table == NULL) return bad(object, diag, "has no symbol table");
  if (table->link == 0 || table->link >= object->section_count || object->sections[table->link].type != SHT_STRTAB)
    return bad(object, diag, "its symbol table has no string table");
  if (table->size % sizeof(Elf64_Sym) != 0 || table->size / sizeof(Elf64_Sym) > UINT32_MAX || table->size == 0)
    return bad(object, diag, "its symbol table has a wrong size");
  object->symbol_count = (uint32_t)(table->size / sizeof(Elf64_Sym));
  object->symbols = arena_array(arena, object->symbol_count, sizeof *object->symbols);
  object->symbols[0] = (struct elf_symbol){.name = "", .section = ELF_ABSOLUTE};
  for (uint32_t i = 1; i < object->symbol_count; i++) TRY(read_symbol(object, table, &object->sections[table->link], i, diag));
  return STATUS_OK;
}

static enum status check_relocations(const struct elf_object *object, struct diag *diag) {
  for (uint32_t i = 1; i < object->section_count; i++) {
    const struct elf_section *section = &object->sections[i];
    if (section->type == SHT_REL) return bad(object, diag, "has relocations without addends, which x86-64 does not use");
    if (section->type != SHT_RELA) continue;
    if (section->info == 0 || section->info >= object->section_count || section->size % sizeof(Elf64_Rela) != 0 ||
        section->link >= object->section_count || object->sections[section->link].type != SHT_SYMTAB)
      return diag_fail(diag, STATUS_INPUT, "%s: the relocations %s are malformed", object->path, section->name);
  }
  return STATUS_OK;
}

enum status elf_open(const char *path, struct arena *arena, struct elf_object *out_object, struct diag *diag) {
  *out_object = (struct elf_object){.path = path};
  TRY(span_map_file(path, &out_object->file, diag));
  Elf64_Ehdr header;
  TRY(read_header(out_object, &header, diag));
  TRY(read_sections(out_object, &header, arena, diag));
  TRY(check_allocated(out_object, diag));
  TRY(read_symbols(out_object, arena, diag));
  return check_relocations(out_object, diag);
}

void elf_close(struct elf_object *object) {
  span_unmap(&object->file);
  *object = (struct elf_object){.path = NULL};
}

bool elf_allocated(const struct elf_section *section) {
  return (section->flags & SHF_ALLOC) != 0 && section->size > 0;
}

bool elf_executable(const struct elf_section *section) {
  return (section->flags & SHF_EXECINSTR) != 0;
}
