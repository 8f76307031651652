#include "cmd/layers.h"

#include <string.h>

const char *layer_kind(const char *name, struct arena *arena) {
  char *kind = arena_strdup(arena, name), *out = kind;
  for (const char *at = name; *at != '\0';) {
    size_t part = strcspn(at, "./"), digits = strspn(at, "0123456789");
    if (part > 0 && part == digits) {
      *out++ = '*';
    } else {
      memmove(out, at, part);
      out += part;
    }
    at += part;
    if (*at != '\0') *out++ = *at++;
  }
  *out = '\0';
  return kind;
}
