#include "cmd/images.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 64 };

static void append(struct image_list *list, const char *path, struct arena *arena) {
  if (list->count == list->capacity) {
    size_t capacity = list->capacity > 0 ? 2 * list->capacity : 64;
    const char **paths = arena_array(arena, capacity, sizeof *paths);
    if (list->count > 0) memcpy(paths, list->paths, list->count * sizeof *paths);
    list->paths = paths;
    list->capacity = capacity;
  }
  list->paths[list->count++] = arena_strdup(arena, path);
}

static bool is_image_name(const char *name) {
  static const char *const extensions[] = {".jpg", ".jpeg", ".png", ".webp"};
  const char *dot = strrchr(name, '.');
  for (size_t i = 0; dot != NULL && i < sizeof extensions / sizeof extensions[0]; i++)
    if (strcasecmp(dot, extensions[i]) == 0) return true;
  return false;
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_listed(const struct dirent *entry) {
  return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int search(struct image_list *list, const char *folder, struct arena *arena, int depth) {
  if (depth > DEPTH_MAX) return ELOOP;
  struct dirent **entries;
  int count = scandir(folder, &entries, is_listed, by_bytes);
  if (count < 0) return errno;
  int error = 0;
  size_t length = strlen(folder);
  const char *slash = length > 0 && folder[length - 1] == '/' ? "" : "/";
  for (int i = 0; i < count; i++) {
    const char *path = arena_printf(arena, "%s%s%s", folder, slash, entries[i]->d_name);
    struct stat link, info;
    if (error == 0 && lstat(path, &link) == 0 && stat(path, &info) == 0) {
      if (S_ISDIR(link.st_mode))
        error = search(list, path, arena, depth + 1);
      else if (S_ISREG(info.st_mode) && is_image_name(path))
        append(list, path, arena);
    }
    free(entries[i]);
  }
  free(entries);
  return error;
}

int list_images(struct image_list *list, const char *path, struct arena *arena) {
  struct stat info;
  if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return search(list, path, arena, 0);
  append(list, path, arena);
  return 0;
}
