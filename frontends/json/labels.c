#include "json/labels.h"

#include "json/text.h"

#include <stdlib.h>
#include <string.h>

static const char *label_of(const cJSON *item) {
  while (cJSON_IsArray(item) && cJSON_GetArraySize(item) > 0) item = cJSON_GetArrayItem(item, cJSON_GetArraySize(item) - 1);
  return cJSON_IsString(item) ? item->valuestring : NULL;
}

/* The class of a member: its place in a list, its key in an object. -1: not a class number. */
static long class_of(const cJSON *root, const cJSON *item, long place) {
  if (cJSON_IsArray(root)) return place;
  char *end;
  long index = strtol(item->string, &end, 10);
  return end != item->string && *end == '\0' ? index : -1;
}

static enum status take_json(const char *path, const cJSON *root, struct arena *arena, const char ***out_labels, int *out_count,
                             struct diag *diag) {
  int count = cJSON_GetArraySize(root);
  const char **labels = arena_array(arena, (size_t)count + 1, sizeof *labels);
  long place = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, root) {
    long index = class_of(root, item, place);
    const char *label = label_of(item);
    if (label == NULL) return diag_fail(diag, STATUS_INPUT, "%s: label %ld is not a string", path, place);
    if (index < 0 || index >= count || labels[index] != NULL)
      return diag_fail(diag, STATUS_INPUT, "%s: the key '%s' is not a class number from 0 to %d, each once", path, item->string,
                       count - 1);
    labels[index] = arena_strdup(arena, label);
    place++;
  }
  *out_labels = labels;
  *out_count = count;
  return STATUS_OK;
}

static enum status take_lines(const char *path, struct span text, struct arena *arena, const char ***out_labels, int *out_count,
                              struct diag *diag) {
  size_t lines = 1;
  for (size_t i = 0; i < text.size; i++) {
    lines += text.data[i] == '\n';
    if (text.data[i] == '\0') return diag_fail(diag, STATUS_INPUT, "%s: is not text, expected one label a line", path);
  }
  const char **labels = arena_array(arena, lines, sizeof *labels);
  *out_count = 0;
  for (size_t at = 0; at < text.size;) {
    const uint8_t *end = memchr(text.data + at, '\n', text.size - at);
    size_t length = end != NULL ? (size_t)(end - text.data) - at : text.size - at;
    size_t shown = length > 0 && text.data[at + length - 1] == '\r' ? length - 1 : length;
    labels[(*out_count)++] = arena_strndup(arena, (const char *)text.data + at, shown);
    at += length + 1;
  }
  *out_labels = labels;
  return STATUS_OK;
}

enum status labels_read(const char *path, struct arena *arena, const char ***out_labels, int *out_count, struct diag *diag) {
  struct span text;
  TRY(span_map_file(path, &text, diag));
  size_t start = 0;
  while (start < text.size && strchr(" \t\r\n", text.data[start]) != NULL && text.data[start] != '\0') start++;
  enum status status;
  if (start < text.size && (text.data[start] == '[' || text.data[start] == '{')) {
    cJSON *root = NULL;
    status = json_parse(path, "", text, &root, diag);
    if (status == STATUS_OK) status = take_json(path, root, arena, out_labels, out_count, diag);
    cJSON_Delete(root);
  } else {
    status = take_lines(path, text, arena, out_labels, out_count, diag);
  }
  span_unmap(&text);
  if (status == STATUS_OK && *out_count == 0) return diag_fail(diag, STATUS_INPUT, "%s: holds no labels", path);
  return status;
}
