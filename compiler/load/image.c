#include "load/image.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Below this, a copy is cheaper than a mapping and the pages it wastes. */
enum { MAP_MINIMUM = 256 << 10 };

struct placement {
  struct elf_section *section;
  size_t offset; /* in the image */
};

struct layout {
  struct placement *placements;
  size_t count;
  size_t page;
  size_t code_end, table_offset, size;
};

static size_t round_up(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

static bool has_relocations(const struct elf_object *object, const struct elf_section *target) {
  for (uint32_t i = 1; i < object->section_count; i++)
    if (object->sections[i].type == SHT_RELA && &object->sections[object->sections[i].info] == target) return true;
  return false;
}

/* Code first, then by size; equal ones in the order of the file. */
static int compare_placements(const void *a, const void *b) {
  const struct elf_section *x = ((const struct placement *)a)->section, *y = ((const struct placement *)b)->section;
  if (elf_executable(x) != elf_executable(y)) return elf_executable(x) ? -1 : 1;
  if (x->size != y->size) return x->size < y->size ? -1 : 1;
  return (x > y) - (x < y);
}

static size_t place(const struct layout *layout, struct elf_section *section, size_t at) {
  if (!section->mapped) return round_up(at, section->align);
  return round_up(at, layout->page) + (size_t)(section->offset % layout->page);
}

static void lay_out(struct elf_object *object, struct arena *arena, struct layout *layout) {
  layout->page = (size_t)sysconf(_SC_PAGESIZE);
  layout->placements = arena_array(arena, object->section_count, sizeof *layout->placements);
  for (uint32_t i = 1; i < object->section_count; i++) {
    struct elf_section *section = &object->sections[i];
    if (!elf_allocated(section)) continue;
    section->mapped = !elf_executable(section) && section->size >= MAP_MINIMUM && section->align <= layout->page &&
                      section->offset % section->align == 0 && !has_relocations(object, section);
    layout->placements[layout->count++].section = section;
  }
  qsort(layout->placements, layout->count, sizeof *layout->placements, compare_placements);
  size_t at = 0, i = 0;
  for (; i < layout->count && elf_executable(layout->placements[i].section); i++) {
    layout->placements[i].offset = place(layout, layout->placements[i].section, at);
    at = layout->placements[i].offset + layout->placements[i].section->size;
  }
  layout->code_end = layout->table_offset = round_up(at, layout->page);
  at = layout->table_offset + (size_t)object->symbol_count * sizeof(uint64_t);
  for (; i < layout->count; i++) {
    layout->placements[i].offset = place(layout, layout->placements[i].section, at);
    at = layout->placements[i].offset + layout->placements[i].section->size;
    if (layout->placements[i].section->mapped) at = round_up(at, layout->page);
  }
  layout->size = round_up(at, layout->page) + layout->page;
}

static enum status no_room(const struct elf_object *object, struct diag *diag) {
  return diag_fail(diag, STATUS_SYSTEM, "%s: cannot be loaded: %s", object->path, strerror(errno));
}

/* The largest alignment of a section is a huge page, the reservation is aligned to a small one: reserve more and start later.
 */
static enum status reserve(struct elf_object *object, const struct layout *layout, struct image *image, struct diag *diag) {
  size_t align = layout->page;
  for (size_t i = 0; i < layout->count; i++)
    if (layout->placements[i].section->align > align) align = (size_t)layout->placements[i].section->align;
  size_t size = layout->size + align - layout->page;
  uint8_t *at = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return no_room(object, diag);
  size_t skip = round_up((uintptr_t)at, align) - (uintptr_t)at;
  if (skip > 0) munmap(at, skip);
  if (size - skip > layout->size) munmap(at + skip + layout->size, size - skip - layout->size);
  image->base = at + skip;
  image->size = layout->size;
  image->table = image->base + layout->table_offset;
  image->code_bytes = layout->code_end;
  return STATUS_OK;
}

static enum status map_section(const struct elf_object *object, const struct layout *layout, const struct placement *placement,
                               const struct image *image, int descriptor, struct diag *diag) {
  size_t before = (size_t)(placement->section->offset % layout->page);
  uint8_t *at = mmap(image->base + placement->offset - before, (size_t)placement->section->size + before, PROT_READ,
                     MAP_PRIVATE | MAP_FIXED, descriptor, (off_t)(placement->section->offset - before));
  return at == MAP_FAILED ? no_room(object, diag) : STATUS_OK;
}

static enum status fill(const struct elf_object *object, const struct layout *layout, struct image *image, int descriptor,
                        struct diag *diag) {
  /* Everything up to the first mapped section is writable until it is relocated, and so is what lies between mapped ones. */
  if (mprotect(image->base, image->size, PROT_READ | PROT_WRITE) != 0) return no_room(object, diag);
  for (size_t i = 0; i < layout->count; i++) {
    const struct placement *placement = &layout->placements[i];
    placement->section->address = image->base + placement->offset;
    if (placement->section->mapped)
      TRY(map_section(object, layout, placement, image, descriptor, diag));
    else
      memcpy(placement->section->address, object->file.data + placement->section->offset, (size_t)placement->section->size);
  }
  for (uint32_t i = 0; i < object->symbol_count; i++) {
    uint64_t address = (uintptr_t)image_symbol(object, &object->symbols[i]);
    memcpy(image->table + i * sizeof address, &address, sizeof address);
  }
  return STATUS_OK;
}

static enum status protect(const struct elf_object *object, const struct image *image, struct diag *diag) {
  if (mprotect(image->base + image->code_bytes, image->size - image->code_bytes, PROT_READ) != 0) return no_room(object, diag);
  if (image->code_bytes > 0 && mprotect(image->base, image->code_bytes, PROT_READ | PROT_EXEC) != 0)
    return no_room(object, diag);
  return STATUS_OK;
}

uint8_t *image_symbol(const struct elf_object *object, const struct elf_symbol *symbol) {
  if (symbol->section == ELF_ABSOLUTE) return (uint8_t *)(uintptr_t)symbol->value;
  uint8_t *section = object->sections[symbol->section].address;
  return section != NULL ? section + symbol->value : NULL;
}

enum status image_map(struct elf_object *object, struct arena *arena, struct image *out_image, struct diag *diag) {
  *out_image = (struct image){NULL, 0, NULL, 0};
  struct layout layout = {NULL, 0, 0, 0, 0, 0};
  lay_out(object, arena, &layout);
  TRY(reserve(object, &layout, out_image, diag));
  int descriptor = open(object->path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return diag_fail(diag, STATUS_INPUT, "%s: cannot open: %s", object->path, strerror(errno));
  /* Opened a second time: it must still be the file that was checked, for a mapping past its end faults. */
  struct stat info;
  if (fstat(descriptor, &info) != 0 || (uint64_t)info.st_size != object->file.size) {
    close(descriptor);
    return diag_fail(diag, STATUS_INPUT, "%s: changed while it was read", object->path);
  }
  enum status status = fill(object, &layout, out_image, descriptor, diag);
  close(descriptor);
  TRY(status);
  TRY(image_relocate(object, out_image, diag));
  return protect(object, out_image, diag);
}

void image_unmap(struct image *image) {
  if (image->base != NULL) munmap(image->base, image->size);
  *image = (struct image){NULL, 0, NULL, 0};
}
