#include "cmd/compile_options.h"

#include <string.h>

const char *const *split_words(const char *list, struct arena *arena, int *out_count) {
  *out_count = 0;
  if (list == NULL) return NULL;
  const char **words = arena_array(arena, strlen(list) + 1, sizeof *words);
  for (const char *at = list; *at != '\0'; at += *at == ',') {
    size_t length = strcspn(at, ",");
    if (length > 0) words[(*out_count)++] = arena_strndup(arena, at, length);
    at += length;
  }
  return words;
}

char *with_extension(const char *path, const char *extension, struct arena *arena) {
  const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path, *dot = strrchr(name, '.');
  size_t stem = dot != NULL && dot != name ? (size_t)(dot - path) : strlen(path);
  return arena_printf(arena, "%.*s%s", (int)stem, path, extension);
}
