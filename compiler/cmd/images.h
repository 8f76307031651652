/* Image files named on a command line: files as they are, folders searched. */
#ifndef VITC_CMD_IMAGES_H
#define VITC_CMD_IMAGES_H

#include "base/arena.h"

#include <stddef.h>

struct image_list {
  const char **paths; /* in the arena */
  size_t count, capacity;
};

/* Appends `path`; for a folder the .jpg, .jpeg, .png and .webp files below it, any case, in bytewise order of their paths'
 * parts. Links to folders inside are not followed. Returns 0, or an errno when a folder cannot be read. */
int list_images(struct image_list *list, const char *path, struct arena *arena);

#endif
