/* Context-lifetime allocation: everything that a compilation builds (graph, names, attributes, plan) lives in one arena and is
 * freed with it. Memory comes zeroed. Out of memory prints one line and exits with status 4, so no caller checks for NULL. */
#ifndef VITC_BASE_ARENA_H
#define VITC_BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
  struct arena_block *blocks;
};

void arena_init(struct arena *arena);
void arena_deinit(struct arena *arena);

/* Zeroed, aligned to 64 bytes when `size` is at least 64, else to 16. */
void *arena_alloc(struct arena *arena, size_t size);

/* Zeroed array; an overflowing product is out of memory. */
void *arena_array(struct arena *arena, size_t count, size_t size);

char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t length);

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
char *
arena_printf(struct arena *arena, const char *format, ...);

#endif
