#include "llvm/elf_merge.h"

#include <elf.h>
#include <string.h>

/* memcpy in and out of the inputs: their buffers have no promised alignment. */
struct input {
  const uint8_t *bytes;
  size_t size;
  Elf64_Ehdr header;
  Elf64_Shdr *sections;
  uint32_t *into;     /* by section: index of the merged section, 0: none */
  uint64_t *at;       /* by section: where it begins in the merged section */
  uint32_t table;     /* section of symbols */
  uint32_t *symbol;   /* by symbol: index of the merged symbol */
  Elf64_Sym *symbols; /* as the input has them */
  uint32_t symbol_count;
};

struct merge {
  struct arena *arena;
  struct input *inputs;
  int input_count;
  Elf64_Shdr *sections; /* merged: 0 is none, the symbols and the strings are the last two */
  const char **names;   /* of the sections */
  uint32_t section_count;
  Elf64_Sym *symbols;
  uint32_t symbol_count, local_count;
  uint32_t *section_symbol; /* by merged section, 0: none */
  char *strings;
  size_t strings_size;
  const char *label;
  uint32_t label_name;
};

static uint64_t round_up(uint64_t value, uint64_t alignment) {
  return alignment > 1 ? (value + alignment - 1) / alignment * alignment : value;
}

static bool inside(const struct input *input, const Elf64_Shdr *section) {
  return section->sh_type == SHT_NOBITS ||
         (section->sh_offset <= input->size && section->sh_size <= input->size - section->sh_offset);
}

/* The text at `name` of a string table, or NULL. */
static const char *text_at(const struct input *input, uint32_t strings, Elf64_Word name) {
  const Elf64_Shdr *table = &input->sections[strings];
  const char *text = (const char *)input->bytes + table->sh_offset;
  if (name >= table->sh_size || memchr(text + name, '\0', table->sh_size - name) == NULL) return NULL;
  return text + name;
}

static bool read_symbols(struct merge *m, struct input *input) {
  const Elf64_Shdr *table = &input->sections[input->table];
  if (input->table == 0 || table->sh_link >= input->header.e_shnum || table->sh_entsize != sizeof(Elf64_Sym)) return false;
  input->symbol_count = (uint32_t)(table->sh_size / sizeof(Elf64_Sym));
  input->symbols = arena_array(m->arena, input->symbol_count, sizeof *input->symbols);
  input->symbol = arena_array(m->arena, input->symbol_count, sizeof *input->symbol);
  if (input->symbol_count > 0)
    memcpy(input->symbols, input->bytes + table->sh_offset, input->symbol_count * sizeof *input->symbols);
  for (uint32_t i = 0; i < input->symbol_count; i++)
    if (text_at(input, table->sh_link, input->symbols[i].st_name) == NULL) return false;
  return true;
}

static bool read_input(struct merge *m, struct input *input) {
  Elf64_Ehdr *header = &input->header;
  if (input->size < sizeof *header) return false;
  memcpy(header, input->bytes, sizeof *header);
  bool elf64 = memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 && header->e_ident[EI_CLASS] == ELFCLASS64;
  if (!elf64 || header->e_shentsize != sizeof(Elf64_Shdr) || header->e_shnum == 0) return false;
  if (header->e_shoff > input->size || (input->size - header->e_shoff) / sizeof(Elf64_Shdr) < header->e_shnum) return false;
  if (header->e_shstrndx >= header->e_shnum) return false;
  input->sections = arena_array(m->arena, header->e_shnum, sizeof *input->sections);
  input->into = arena_array(m->arena, header->e_shnum, sizeof *input->into);
  input->at = arena_array(m->arena, header->e_shnum, sizeof *input->at);
  memcpy(input->sections, input->bytes + header->e_shoff, header->e_shnum * sizeof *input->sections);
  for (uint32_t i = 0; i < header->e_shnum; i++) {
    if (!inside(input, &input->sections[i])) return false;
    if (input->sections[i].sh_type == SHT_SYMTAB) input->table = i;
  }
  for (uint32_t i = 1; i < header->e_shnum; i++)
    if (text_at(input, header->e_shstrndx, input->sections[i].sh_name) == NULL) return false;
  return read_symbols(m, input);
}

/* ---- sections */

static uint32_t merged_section(struct merge *m, const char *name, const Elf64_Shdr *like) {
  for (uint32_t i = 1; i < m->section_count; i++) {
    const Elf64_Shdr *one = &m->sections[i];
    if (strcmp(m->names[i], name) == 0 && one->sh_type == like->sh_type && one->sh_flags == like->sh_flags &&
        one->sh_entsize == like->sh_entsize)
      return i;
  }
  m->names[m->section_count] = name;
  m->sections[m->section_count] =
      (Elf64_Shdr){.sh_type = like->sh_type, .sh_flags = like->sh_flags, .sh_entsize = like->sh_entsize, .sh_addralign = 1};
  return m->section_count++;
}

static void place_sections(struct merge *m, struct input *input) {
  for (uint32_t i = 1; i < input->header.e_shnum; i++) {
    const Elf64_Shdr *section = &input->sections[i];
    if (section->sh_type == SHT_SYMTAB || section->sh_type == SHT_STRTAB) continue;
    uint32_t into = merged_section(m, text_at(input, input->header.e_shstrndx, section->sh_name), section);
    Elf64_Shdr *merged = &m->sections[into];
    input->into[i] = into;
    input->at[i] = round_up(merged->sh_size, section->sh_addralign);
    merged->sh_size = input->at[i] + section->sh_size;
    if (section->sh_addralign > merged->sh_addralign) merged->sh_addralign = section->sh_addralign;
  }
}

/* ---- symbols */

static Elf64_Word add_string(struct merge *m, const char *text) {
  size_t length = strlen(text) + 1, at = m->strings_size;
  if (length == 1) return 0;
  memcpy(m->strings + at, text, length);
  m->strings_size += length;
  return (Elf64_Word)at;
}

static uint32_t add_symbol(struct merge *m, const Elf64_Sym *symbol) {
  m->symbols[m->symbol_count] = *symbol;
  return m->symbol_count++;
}

static const char *symbol_name(const struct input *input, uint32_t index) {
  return text_at(input, input->sections[input->table].sh_link, input->symbols[index].st_name);
}

/* The input and the symbol that define a global name; false where none does. */
static bool find_definition(const struct merge *m, const char *name, int *out_input, uint32_t *out_symbol) {
  for (int i = 0; i < m->input_count; i++) {
    const struct input *input = &m->inputs[i];
    for (uint32_t k = input->sections[input->table].sh_info; k < input->symbol_count; k++) {
      if (input->symbols[k].st_shndx == SHN_UNDEF || strcmp(symbol_name(input, k), name) != 0) continue;
      *out_input = i;
      *out_symbol = k;
      return true;
    }
  }
  return false;
}

/* Names that other inputs refer to. */
static void make_local(struct merge *m) {
  for (int i = 0; i < m->input_count; i++) {
    const struct input *input = &m->inputs[i];
    for (uint32_t k = input->sections[input->table].sh_info; k < input->symbol_count; k++) {
      int owner;
      uint32_t index;
      if (input->symbols[k].st_shndx != SHN_UNDEF || !find_definition(m, symbol_name(input, k), &owner, &index)) continue;
      Elf64_Sym *symbol = &m->inputs[owner].symbols[index];
      symbol->st_info = ELF64_ST_INFO(STB_LOCAL, ELF64_ST_TYPE(symbol->st_info));
      symbol->st_other = STV_DEFAULT;
    }
  }
}

static uint32_t add_section_symbol(struct merge *m, uint32_t section) {
  if (m->section_symbol[section] == 0) {
    const Elf64_Sym symbol = {.st_info = ELF64_ST_INFO(STB_LOCAL, STT_SECTION), .st_shndx = (Elf64_Half)section};
    m->section_symbol[section] = add_symbol(m, &symbol);
  }
  return m->section_symbol[section];
}

/* A symbol that an input defines. */
static bool add_defined(struct merge *m, struct input *input, uint32_t index) {
  Elf64_Sym symbol = input->symbols[index];
  const char *name = symbol_name(input, index);
  bool special = symbol.st_shndx >= SHN_LORESERVE;
  if (!special && (symbol.st_shndx >= input->header.e_shnum || input->into[symbol.st_shndx] == 0)) return false;
  if (!special) {
    symbol.st_value += input->at[symbol.st_shndx];
    symbol.st_shndx = (Elf64_Half)input->into[symbol.st_shndx];
  }
  if (ELF64_ST_TYPE(symbol.st_info) == STT_SECTION) {
    input->symbol[index] = add_section_symbol(m, symbol.st_shndx);
    return true;
  }
  /* The labels' name is that of a symbol of the model's, which is among the strings once. */
  bool is_label = strncmp(name, ".L", 2) == 0;
  if (is_label || strcmp(name, m->label) == 0) {
    if (m->label_name == 0) m->label_name = add_string(m, m->label);
    symbol.st_name = m->label_name;
  } else {
    symbol.st_name = add_string(m, name);
  }
  input->symbol[index] = add_symbol(m, &symbol);
  return true;
}

/* All that are local, or all that are not. */
static bool add_symbols(struct merge *m, bool local) {
  for (int i = 0; i < m->input_count; i++) {
    struct input *input = &m->inputs[i];
    for (uint32_t k = 1; k < input->symbol_count; k++) {
      const Elf64_Sym *symbol = &input->symbols[k];
      if (symbol->st_shndx == SHN_UNDEF || (ELF64_ST_BIND(symbol->st_info) == STB_LOCAL) != local) continue;
      if (ELF64_ST_TYPE(symbol->st_info) == STT_FILE && i > 0) continue;
      if (!add_defined(m, input, k)) return false;
    }
  }
  return true;
}

/* What is defined elsewhere, or nowhere: the global offset table. */
static void resolve(struct merge *m) {
  for (int i = 0; i < m->input_count; i++) {
    struct input *input = &m->inputs[i];
    for (uint32_t k = 1; k < input->symbol_count; k++) {
      int owner;
      uint32_t index;
      if (input->symbols[k].st_shndx != SHN_UNDEF) continue;
      if (find_definition(m, symbol_name(input, k), &owner, &index)) {
        input->symbol[k] = m->inputs[owner].symbol[index];
        continue;
      }
      Elf64_Sym symbol = input->symbols[k];
      symbol.st_name = add_string(m, symbol_name(input, k));
      input->symbol[k] = add_symbol(m, &symbol);
    }
  }
}

/* ---- bytes */

static bool copy_relocations(const struct merge *m, const struct input *input, uint32_t section, uint8_t *out) {
  const Elf64_Shdr *from = &input->sections[section];
  if (from->sh_info >= input->header.e_shnum || input->into[from->sh_info] == 0) return false;
  m->sections[input->into[section]].sh_info = input->into[from->sh_info];
  for (uint64_t i = 0; i < from->sh_size / sizeof(Elf64_Rela); i++) {
    Elf64_Rela relocation;
    memcpy(&relocation, input->bytes + from->sh_offset + i * sizeof relocation, sizeof relocation);
    uint64_t index = ELF64_R_SYM(relocation.r_info);
    if (index >= input->symbol_count || input->symbol[index] == 0) return false;
    const Elf64_Sym *symbol = &input->symbols[index];
    if (ELF64_ST_TYPE(symbol->st_info) == STT_SECTION) relocation.r_addend += (Elf64_Sxword)input->at[symbol->st_shndx];
    relocation.r_offset += input->at[from->sh_info];
    relocation.r_info = ELF64_R_INFO((uint64_t)input->symbol[index], ELF64_R_TYPE(relocation.r_info));
    memcpy(out + i * sizeof relocation, &relocation, sizeof relocation);
  }
  return true;
}

static bool copy_sections(const struct merge *m, const struct input *input, uint8_t *bytes) {
  for (uint32_t i = 1; i < input->header.e_shnum; i++) {
    const Elf64_Shdr *section = &input->sections[i];
    if (input->into[i] == 0 || section->sh_type == SHT_NOBITS || section->sh_size == 0) continue;
    uint8_t *to = bytes + m->sections[input->into[i]].sh_offset + input->at[i];
    if (section->sh_type != SHT_RELA)
      memcpy(to, input->bytes + section->sh_offset, section->sh_size);
    else if (!copy_relocations(m, input, i, to))
      return false;
  }
  return true;
}

static void add_tables(struct merge *m, uint32_t table, uint32_t strings) {
  m->names[table] = ".symtab";
  m->names[strings] = ".strtab";
  m->section_count = strings + 1;
  for (uint32_t i = 1; i < m->section_count; i++) m->sections[i].sh_name = add_string(m, m->names[i]);
  Elf64_Shdr *symbols = &m->sections[table], *text = &m->sections[strings];
  symbols->sh_type = SHT_SYMTAB;
  symbols->sh_size = m->symbol_count * sizeof(Elf64_Sym);
  symbols->sh_link = strings;
  symbols->sh_info = m->local_count;
  symbols->sh_addralign = 8;
  symbols->sh_entsize = sizeof(Elf64_Sym);
  text->sh_type = SHT_STRTAB;
  text->sh_size = m->strings_size;
  text->sh_addralign = 1;
}

/* Gives the offset past the last section. */
static uint64_t lay_out(struct merge *m, uint32_t table) {
  uint64_t at = sizeof(Elf64_Ehdr);
  for (uint32_t i = 1; i < m->section_count; i++) {
    Elf64_Shdr *section = &m->sections[i];
    section->sh_offset = at = round_up(at, section->sh_addralign);
    if (section->sh_type == SHT_RELA) section->sh_link = table;
    if (section->sh_type != SHT_NOBITS) at += section->sh_size;
  }
  return round_up(at, 8);
}

static bool write_object(struct merge *m, struct span *out_object) {
  uint32_t table = m->section_count, strings = table + 1;
  add_tables(m, table, strings);
  Elf64_Ehdr header = m->inputs[0].header;
  header.e_shoff = lay_out(m, table);
  header.e_shnum = (Elf64_Half)m->section_count;
  header.e_shstrndx = (Elf64_Half)strings;
  size_t size = header.e_shoff + m->section_count * sizeof *m->sections;
  uint8_t *bytes = arena_alloc(m->arena, size);
  memcpy(bytes, &header, sizeof header);
  for (int i = 0; i < m->input_count; i++)
    if (!copy_sections(m, &m->inputs[i], bytes)) return false;
  memcpy(bytes + m->sections[table].sh_offset, m->symbols, m->sections[table].sh_size);
  memcpy(bytes + m->sections[strings].sh_offset, m->strings, m->strings_size);
  memcpy(bytes + header.e_shoff, m->sections, m->section_count * sizeof *m->sections); /* after the relocations' sh_info */
  *out_object = (struct span){bytes, size};
  return true;
}

/* Room for all that the inputs have. */
static void allocate(struct merge *m) {
  size_t sections = 3, symbols = 1, strings = strlen(m->label) + sizeof ".symtab.strtab" + 2;
  for (int i = 0; i < m->input_count; i++) {
    const struct input *input = &m->inputs[i];
    sections += input->header.e_shnum;
    symbols += input->symbol_count;
    for (uint32_t k = 0; k < input->symbol_count; k++) strings += strlen(symbol_name(input, k)) + 1;
    for (uint32_t k = 1; k < input->header.e_shnum; k++)
      strings += strlen(text_at(input, input->header.e_shstrndx, input->sections[k].sh_name)) + 1;
  }
  m->sections = arena_array(m->arena, sections, sizeof *m->sections);
  m->names = arena_array(m->arena, sections, sizeof *m->names);
  m->section_symbol = arena_array(m->arena, sections, sizeof *m->section_symbol);
  m->symbols = arena_array(m->arena, symbols, sizeof *m->symbols);
  m->strings = arena_alloc(m->arena, strings);
  m->section_count = m->symbol_count = 1;
  m->strings_size = 1;
}

bool elf_merge(const struct span *inputs, int count, const char *label, struct arena *arena, struct span *out_object) {
  struct merge m = {.arena = arena, .input_count = count, .label = label};
  m.inputs = arena_array(arena, (size_t)count, sizeof *m.inputs);
  for (int i = 0; i < count; i++) {
    m.inputs[i].bytes = inputs[i].data;
    m.inputs[i].size = inputs[i].size;
    if (!read_input(&m, &m.inputs[i])) return false;
  }
  allocate(&m);
  for (int i = 0; i < count; i++) place_sections(&m, &m.inputs[i]);
  if (m.section_count >= SHN_LORESERVE - 2) return false;
  make_local(&m);
  if (!add_symbols(&m, true)) return false;
  m.local_count = m.symbol_count;
  if (!add_symbols(&m, false)) return false;
  resolve(&m);
  return write_object(&m, out_object);
}
