#include "base/arena.h"

#include "base/diag.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 64 * 1024, LINE_BYTES = 64, WORD_BYTES = 16 };

struct arena_block {
  struct arena_block *next;
  size_t used, capacity; /* in bytes, after `bytes` */
  char *bytes;           /* aligned to LINE_BYTES */
};

/* Under AddressSanitizer each allocation has a block of its own, so that a run past its end is seen. */
#if defined(__SANITIZE_ADDRESS__)
#define SHARES_BLOCKS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHARES_BLOCKS 0
#endif
#endif
#ifndef SHARES_BLOCKS
#define SHARES_BLOCKS 1
#endif

static _Noreturn void out_of_memory(void) {
  fputs("vitc: out of memory\n", stderr);
  exit(STATUS_SYSTEM);
}

static size_t align_up(size_t size, size_t alignment) {
  return (size + alignment - 1) / alignment * alignment;
}

static struct arena_block *add_block(struct arena *arena, size_t capacity) {
  if (capacity > PTRDIFF_MAX - LINE_BYTES - sizeof(struct arena_block)) out_of_memory();
  struct arena_block *block = calloc(1, sizeof *block + LINE_BYTES + capacity);
  if (block == NULL) out_of_memory();
  block->capacity = capacity;
  block->bytes = (char *)align_up((uintptr_t)(block + 1), LINE_BYTES);
  block->next = arena->blocks;
  arena->blocks = block;
  return block;
}

void arena_init(struct arena *arena) {
  arena->blocks = NULL;
}

void arena_deinit(struct arena *arena) {
  while (arena->blocks != NULL) {
    struct arena_block *next = arena->blocks->next;
    free(arena->blocks);
    arena->blocks = next;
  }
}

void *arena_alloc(struct arena *arena, size_t size) {
  if (size == 0) size = 1;
  if (!SHARES_BLOCKS || size > BLOCK_BYTES / 4) {
    /* A block of its own goes behind the one that is being filled. */
    struct arena_block *filling = arena->blocks;
    struct arena_block *own = add_block(arena, size);
    own->used = size;
    if (filling != NULL) {
      arena->blocks = filling;
      own->next = filling->next;
      filling->next = own;
    }
    return own->bytes;
  }
  size_t alignment = size >= LINE_BYTES ? LINE_BYTES : WORD_BYTES;
  struct arena_block *block = arena->blocks;
  if (block == NULL || align_up(block->used, alignment) > block->capacity ||
      size > block->capacity - align_up(block->used, alignment))
    block = add_block(arena, BLOCK_BYTES);
  size_t at = align_up(block->used, alignment);
  block->used = at + size;
  return block->bytes + at;
}

void *arena_array(struct arena *arena, size_t count, size_t size) {
  if (size != 0 && count > PTRDIFF_MAX / size) out_of_memory();
  return arena_alloc(arena, count * size);
}

char *arena_strndup(struct arena *arena, const char *text, size_t length) {
  char *copy = arena_alloc(arena, length + 1);
  if (length > 0) memcpy(copy, text, length);
  return copy;
}

char *arena_strdup(struct arena *arena, const char *text) {
  return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (length < 0) out_of_memory();
  char *text = arena_alloc(arena, (size_t)length + 1);
  vsnprintf(text, (size_t)length + 1, format, again);
  va_end(again);
  return text;
}
