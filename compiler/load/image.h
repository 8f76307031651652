/* The object in memory: its sections placed, relocated and protected.
 *
 * Order in memory: code, the global offset table, constants from the smallest to the largest. So everything but the largest
 * section (the weights) is within 2 GiB of the code, and the weights are reached through the table whatever their size.
 * Large constants without relocations are mapped from the file; everything else is copied. */
#ifndef VITC_LOAD_IMAGE_H
#define VITC_LOAD_IMAGE_H

#include "load/elf.h"

struct image {
  uint8_t *base;
  size_t size;
  uint8_t *table; /* one address per symbol of the object */
  size_t code_bytes;
};

/* Places and relocates; sets the sections' addresses. After a failure image_unmap is still needed. */
MUST_USE enum status image_map(struct elf_object *object, struct arena *arena, struct image *out_image, struct diag *diag);
void image_unmap(struct image *image); /* also on a zeroed struct */

/* Applies all relocations to the sections in memory, which must be writable. */
MUST_USE enum status image_relocate(const struct elf_object *object, const struct image *image, struct diag *diag);

/* Address of a symbol, or NULL when its section is not in memory. */
uint8_t *image_symbol(const struct elf_object *object, const struct elf_symbol *symbol);

#endif
