/* Objects of two modules as one: names that the parts share become local, and what is cut is refused and not read past its end.
 * That calls and data find their places is for tests/e2e/test_object.sh, which links and runs models. */
#include "llvm/elf_merge.h"
#include "llvm/unit.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <elf.h>
#include <llvm-c/Core.h>
#include <stdlib.h>
#include <string.h>

struct parts {
  struct arena arena;
  struct diag diag;
  struct unit units[2];
  struct span spans[2];
};

static LLVMValueRef add_function(struct unit *unit, const char *name, bool hidden) {
  LLVMTypeRef type = LLVMFunctionType(LLVMInt32TypeInContext(unit->context), NULL, 0, 0);
  LLVMValueRef function = LLVMAddFunction(unit->module, name, type);
  if (hidden) LLVMSetVisibility(function, LLVMHiddenVisibility);
  return function;
}

/* value() = 17, in 32 bytes of constants of its own; entry() = value() of the other part, plus 25. */
static void fill(struct parts *parts, bool first) {
  struct unit *unit = &parts->units[first ? 0 : 1];
  LLVMTypeRef i32 = LLVMInt32TypeInContext(unit->context);
  LLVMValueRef value = add_function(unit, "value", true), function = first ? value : add_function(unit, "entry", false);
  LLVMBuilderRef builder = LLVMCreateBuilderInContext(unit->context);
  LLVMPositionBuilderAtEnd(builder, LLVMAppendBasicBlockInContext(unit->context, function, ""));
  LLVMValueRef table = LLVMAddGlobal(unit->module, LLVMArrayType2(i32, 8), "table");
  LLVMValueRef elements[8];
  for (unsigned i = 0; i < 8; i++) elements[i] = LLVMConstInt(i32, first ? 17 : 25, 0);
  LLVMSetInitializer(table, LLVMConstArray2(i32, elements, 8));
  LLVMSetGlobalConstant(table, 1);
  LLVMSetLinkage(table, LLVMInternalLinkage);
  LLVMValueRef result = LLVMBuildLoad2(builder, i32, table, "");
  LLVMSetVolatile(result, 1);
  if (!first) {
    LLVMTypeRef type = LLVMGlobalGetValueType(value);
    result = LLVMBuildAdd(builder, result, LLVMBuildCall2(builder, type, value, NULL, 0, ""), "");
  }
  LLVMBuildRet(builder, result);
  LLVMDisposeBuilder(builder);
  cr_assert(unit_generate(unit, LLVMObjectFile, &parts->diag) == STATUS_OK, "%s", parts->diag.message);
  parts->spans[first ? 0 : 1] = (struct span){(const uint8_t *)LLVMGetBufferStart(unit->code), LLVMGetBufferSize(unit->code)};
}

static void parts_init(struct parts *parts) {
  memset(parts, 0, sizeof *parts);
  arena_init(&parts->arena);
  cr_assert(units_prepare(&parts->diag) == STATUS_OK);
  for (int i = 0; i < 2; i++) {
    unit_init(&parts->units[i], "part");
    fill(parts, i == 0);
  }
}

static void parts_deinit(struct parts *parts) {
  for (int i = 0; i < 2; i++) unit_deinit(&parts->units[i]);
  arena_deinit(&parts->arena);
}

static const Elf64_Shdr *section_of(struct span object, Elf64_Word type, const Elf64_Shdr *after) {
  const Elf64_Ehdr *header = (const void *)object.data;
  const Elf64_Shdr *sections = (const void *)(object.data + header->e_shoff);
  for (const Elf64_Shdr *one = after == NULL ? sections : after + 1; one < sections + header->e_shnum; one++)
    if (one->sh_type == type) return one;
  return NULL;
}

/* How many symbols have the name; the last one. */
static int find_symbol(struct span object, const char *name, Elf64_Sym *out_symbol) {
  const Elf64_Ehdr *header = (const void *)object.data;
  const Elf64_Shdr *sections = (const void *)(object.data + header->e_shoff), *table = section_of(object, SHT_SYMTAB, NULL);
  const char *strings = (const char *)object.data + sections[table->sh_link].sh_offset;
  const Elf64_Sym *symbols = (const void *)(object.data + table->sh_offset);
  int count = 0;
  for (size_t i = 0; i < table->sh_size / sizeof *symbols; i++) {
    if (strcmp(strings + symbols[i].st_name, name) != 0) continue;
    *out_symbol = symbols[i];
    count++;
    bool is_local = ELF64_ST_BIND(symbols[i].st_info) == STB_LOCAL;
    cr_expect(is_local == (i < table->sh_info), "%s: on its side of sh_info", name);
  }
  return count;
}

Test(elf_merge, shared_names_become_local) {
  struct parts parts;
  struct span object;
  Elf64_Sym symbol;
  parts_init(&parts);
  cr_assert(elf_merge(parts.spans, 2, "label", &parts.arena, &object));
  cr_expect(eq(int, find_symbol(object, "value", &symbol), 1), "defined once, referred to nowhere else");
  cr_expect(eq(int, ELF64_ST_BIND(symbol.st_info), STB_LOCAL));
  cr_expect(eq(int, find_symbol(object, "entry", &symbol), 1));
  cr_expect(eq(int, ELF64_ST_BIND(symbol.st_info), STB_GLOBAL));
  cr_expect(gt(u64, symbol.st_value, 0), "entry follows value in one section");
  cr_expect(eq(int, find_symbol(object, "table", &symbol), 2), "each part has one of its own");
  parts_deinit(&parts);
}

/* Sanitizers see what is read. */
Test(elf_merge, a_part_cut_at_any_length_is_refused) {
  struct parts parts;
  parts_init(&parts);
  size_t size = parts.spans[1].size;
  int refused = 0;
  for (size_t length = 0; length < size; length++) {
    uint8_t *cut = malloc(length + 1);
    memcpy(cut, parts.spans[1].data, length);
    struct span object, spans[] = {parts.spans[0], {cut, length}};
    struct arena arena;
    arena_init(&arena);
    refused += !elf_merge(spans, 2, "label", &arena, &object);
    arena_deinit(&arena);
    free(cut);
  }
  cr_expect(eq(int, refused, (int)size), "the table of sections is last");
  parts_deinit(&parts);
}
