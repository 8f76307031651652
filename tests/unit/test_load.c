/* The object loader: objects as a C compiler makes them, and every way in which a file can be broken. */
#include "load/load.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <elf.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/test-load-XXXXXX";

static void make_folder(void) {
  cr_assert(ne(ptr, mkdtemp(folder), NULL));
}

static void remove_folder(void) {
  char command[sizeof folder + 16];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  cr_assert(eq(int, system(command), 0));
}

TestSuite(load, .init = make_folder, .fini = remove_folder);

static const char *path_of(const char *name) {
  static char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static const char *compile(const char *flags) {
  char command[1024];
  snprintf(command, sizeof command, "cc -std=c11 -c -I%s/runtime/include %s -o %s/m.o %s/tests/load/model.c", VITC_SOURCE_DIR,
           flags, folder, VITC_SOURCE_DIR);
  cr_assert(eq(int, system(command), 0), "%s", command);
  return path_of("m.o");
}

static uint8_t *read_file(const char *path, size_t *out_size) {
  FILE *file = fopen(path, "rb");
  cr_assert(ne(ptr, file, NULL));
  struct stat info;
  cr_assert(eq(int, fstat(fileno(file), &info), 0));
  *out_size = (size_t)info.st_size;
  uint8_t *bytes = malloc(*out_size);
  cr_assert(eq(sz, fread(bytes, 1, *out_size, file), *out_size));
  fclose(file);
  return bytes;
}

static const char *write_file(const char *name, const void *bytes, size_t size) {
  /* A new file each time: some file systems wait for the disk when a truncated one is closed. */
  remove(path_of(name));
  FILE *file = fopen(path_of(name), "wb");
  cr_assert(ne(ptr, file, NULL));
  cr_assert(eq(sz, fwrite(bytes, 1, size, file), size));
  cr_assert(eq(int, fclose(file), 0));
  return path_of(name);
}

static void expect_failure(const char *path, const char *words) {
  struct diag diag = {STATUS_OK, ""};
  struct loaded loaded;
  cr_assert(eq(int, load_object(path, &loaded, &diag), STATUS_INPUT), "%s", diag.message);
  cr_assert(eq(int, strncmp(diag.message, path, strlen(path)), 0), "%s", diag.message);
  cr_assert(ne(ptr, strstr(diag.message, words), NULL), "%s", diag.message);
}

static void expect_answer(load_run run, float x, float y) {
  const float in[3] = {x, x, x};
  float out[3] = {0, 0, 0};
  const void *inputs[] = {in};
  void *outputs[] = {out};
  cr_assert(eq(int, run(&(vitc_args){.inputs = inputs, .outputs = outputs, .batch = 3}), VITC_OK));
  cr_assert(eq(flt, out[0], y));
}

static void expect_works(const char *flags) {
  struct diag diag = {STATUS_OK, ""};
  struct loaded loaded;
  cr_assert(eq(int, load_object(compile(flags), &loaded, &diag), STATUS_OK), "%s: %s", flags, diag.message);
  cr_assert(eq(str, (char *)(uintptr_t)loaded.model.name, "tiny"));
  expect_answer(loaded.model.run, 3, 6.5f);
  cr_assert(ne(ptr, (void *)(uintptr_t)loaded.weights, NULL));
  cr_assert(eq(flt, ((const float *)loaded.weights)[3], 3.0f));
  load_close(&loaded);
}

Test(load, relocations_of_every_code_model) {
  expect_works("-O2 -fPIC");
  expect_works("-O0 -fPIC");
  expect_works("-O2 -fPIC -fno-plt");
  expect_works("-O2 -fPIC -g");
  expect_works("-O2 -fPIE -ffunction-sections -fdata-sections");
  expect_works("-O2 -fPIC -mcmodel=small -fvisibility=hidden");
}

Test(load, large_constants_are_mapped_from_the_file) {
  struct diag diag = {STATUS_OK, ""};
  struct loaded loaded;
  const char *path = compile("-O2 -fPIC -fdata-sections -DWEIGHT_COUNT=1048576");
  cr_assert(eq(int, load_object(path, &loaded, &diag), STATUS_OK), "%s", diag.message);
  int mapped = 0;
  for (uint32_t i = 1; i < loaded.object.section_count; i++) mapped += loaded.object.sections[i].mapped;
  cr_assert(eq(int, mapped, 1));
  expect_answer(loaded.model.run, 1, 2.5f);
  cr_assert(eq(flt, ((const float *)loaded.weights)[1048575], 0.0f));
  load_close(&loaded);
}

Test(load, weights_are_checked_by_their_hash) {
  uint64_t hash = 0xcbf29ce484222325u;
  const float first[4] = {0.5f, 1, 2, 3};
  for (int i = 0; i < 512; i++) {
    uint64_t word = 0;
    if (i < 2) memcpy(&word, &first[2 * i], sizeof word);
    hash = (hash ^ word) * 0x100000001b3u;
  }
  char flags[64];
  for (int wrong = 0; wrong < 2; wrong++) {
    snprintf(flags, sizeof flags, "-O2 -fPIC -DWEIGHTS_HASH=0x%" PRIx64 "u", hash + (uint64_t)wrong);
    struct diag diag = {STATUS_OK, ""};
    struct loaded loaded;
    cr_assert(eq(int, load_object(compile(flags), &loaded, &diag), STATUS_OK), "%s", diag.message);
    cr_assert(eq(int, load_check_weights(&loaded, &diag), wrong ? STATUS_INPUT : STATUS_OK), "%s", diag.message);
    load_close(&loaded);
  }
}

Test(load, levels_by_name) {
  struct diag diag = {STATUS_OK, ""};
  struct loaded loaded;
  cr_assert(eq(int, load_object(compile("-O2 -fPIC"), &loaded, &diag), STATUS_OK), "%s", diag.message);
  cr_assert(eq(str, (char *)(uintptr_t)load_level_at(&loaded, 0), "slow"));
  cr_assert(eq(ptr, (void *)(uintptr_t)load_level_at(&loaded, 1), NULL));
  load_run run = NULL;
  cr_assert(eq(int, load_level(&loaded, "slow", &run, &diag), STATUS_OK));
  expect_answer(run, 3, 106.5f);
  cr_assert(eq(int, load_level(&loaded, "avx9", &run, &diag), STATUS_USAGE));
  cr_assert(ne(ptr, strstr(diag.message, "slow"), NULL), "%s", diag.message);
  load_close(&loaded);
}

Test(load, what_is_not_a_compiled_model) {
  expect_failure(compile("-O2 -fPIC -DMISSING"), "missing is undefined");
  expect_failure(compile("-O2 -fPIC -DWRITABLE"), "writable");
  expect_failure(compile("-O2 -fPIC -DANONYMOUS"), "no global function NAME_describe");
  expect_failure(compile("-O2 -fPIC -DBAD_RANK"), "malformed");
  expect_failure(write_file("text", "hello", 5), "no ELF signature");
  expect_failure(write_file("empty", "", 0), "no ELF signature");
  expect_failure(folder, "directory");
  expect_failure(path_of("absent"), "cannot open");
  expect_failure("/proc/self/exe", "not a relocatable object");
}

Test(load, objects_for_other_machines) {
  size_t size;
  uint8_t *bytes = read_file(compile("-O2 -fPIC"), &size);
  const uint16_t machine = EM_AARCH64;
  memcpy(bytes + offsetof(Elf64_Ehdr, e_machine), &machine, sizeof machine);
  expect_failure(write_file("arm", bytes, size), "another machine");
  free(bytes);
}

Test(load, kinds_by_content) {
  struct diag diag = {STATUS_OK, ""};
  enum load_kind kind = LOAD_GRAPH;
  cr_assert(eq(int, load_kind(compile("-fPIC"), &kind, &diag), STATUS_OK));
  cr_assert(eq(int, (int)kind, LOAD_OBJECT));
  cr_assert(eq(int, load_kind(write_file("g", "\n {\"format\": 1}", 15), &kind, &diag), STATUS_OK));
  cr_assert(eq(int, (int)kind, LOAD_GRAPH));
  cr_assert(eq(int, load_kind(write_file("h", "GIF89a", 6), &kind, &diag), STATUS_INPUT));
}

Test(load, cut_at_every_byte) {
  size_t size;
  uint8_t *bytes = read_file(compile("-O2 -fPIC"), &size);
  for (size_t cut = 0; cut < size; cut++) expect_failure(write_file("cut", bytes, cut), "");
  free(bytes);
}

/* Whatever the headers say, they are refused or give sections inside of the image; the code itself is not run. */
static void expect_no_harm(const char *path) {
  struct diag diag = {STATUS_OK, ""};
  struct arena arena;
  arena_init(&arena);
  struct elf_object object;
  struct image image = {NULL, 0, NULL, 0};
  enum status status = elf_open(path, &arena, &object, &diag);
  if (status == STATUS_OK) status = image_map(&object, &arena, &image, &diag);
  if (status == STATUS_OK) {
    for (uint32_t i = 1; i < object.section_count; i++) {
      const struct elf_section *section = &object.sections[i];
      if (section->address == NULL) continue;
      cr_assert(section->address >= image.base);
      cr_assert(section->address + section->size <= image.base + image.size);
    }
  } else {
    cr_assert(eq(int, status, STATUS_INPUT), "%s", diag.message);
    cr_assert(eq(int, strncmp(diag.message, path, strlen(path)), 0), "%s", diag.message);
  }
  image_unmap(&image);
  elf_close(&object);
  arena_deinit(&arena);
}

static void flip_range(uint8_t *bytes, size_t size, size_t from, size_t count) {
  for (size_t bit = 8 * from; bit < 8 * (from + count); bit++) {
    bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    expect_no_harm(write_file("flip", bytes, size));
    bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
  }
}

Test(load, each_bit_of_the_headers_flipped, .timeout = 120) {
  size_t size;
  uint8_t *bytes = read_file(compile("-O2 -fPIC -DWEIGHT_COUNT=16"), &size);
  Elf64_Ehdr header;
  memcpy(&header, bytes, sizeof header);
  flip_range(bytes, size, 0, sizeof header);
  flip_range(bytes, size, header.e_shoff, (size_t)header.e_shnum * sizeof(Elf64_Shdr));
  for (size_t i = 0; i < header.e_shnum; i++) {
    Elf64_Shdr section;
    memcpy(&section, bytes + header.e_shoff + i * sizeof section, sizeof section);
    if (section.sh_type == SHT_SYMTAB || section.sh_type == SHT_RELA)
      flip_range(bytes, size, section.sh_offset, section.sh_size);
  }
  free(bytes);
}
