/* How commands spell what the driver wants: names of files and lists of words. */
#ifndef VITC_CMD_COMPILE_OPTIONS_H
#define VITC_CMD_COMPILE_OPTIONS_H

#include "driver.h"

/* The words of a comma-separated list; NULL gives none. Empty words are dropped. */
const char *const *split_words(const char *list, struct arena *arena, int *out_count);

/* "a/b.o" with ".h" is "a/b.h"; a name without an extension gets it appended. */
char *with_extension(const char *path, const char *extension, struct arena *arena);

#endif
