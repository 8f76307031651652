#include "vitc/host.h"

#include <stdlib.h>
#include <sys/mman.h>

/* From this size on a huge page is worth its alignment. */
#define HUGE_PAGE ((size_t)2 << 20)

static size_t rounded(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

/* Maps a huge page more than asked for and gives back what lies outside the aligned part. */
static void *map_aligned(size_t bytes) {
  size_t mapped = bytes + HUGE_PAGE;
  char *start = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return NULL;
  size_t before = (HUGE_PAGE - (uintptr_t)start % HUGE_PAGE) % HUGE_PAGE, after = HUGE_PAGE - before;
  if (before) munmap(start, before);
  if (after) munmap(start + before + bytes, after);
#if defined(MADV_HUGEPAGE)
  madvise(start + before, bytes, MADV_HUGEPAGE);
#endif
  return start + before;
}

void *vitc_arena_alloc(size_t bytes) {
  if (bytes > SIZE_MAX / 2) return NULL;
  if (bytes >= HUGE_PAGE) return map_aligned(rounded(bytes, HUGE_PAGE));
  void *arena = NULL;
  return posix_memalign(&arena, VITC_ALIGNMENT, bytes ? bytes : VITC_ALIGNMENT) == 0 ? arena : NULL;
}

void vitc_arena_free(void *arena, size_t bytes) {
  if (arena && bytes >= HUGE_PAGE)
    munmap(arena, rounded(bytes, HUGE_PAGE));
  else
    free(arena);
}
