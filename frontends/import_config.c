#include "import_config.h"

#include "json/text.h"

#include <stdlib.h>
#include <string.h>

enum status config_open(const char *folder, const char *name, struct arena *arena, struct config *out_config,
                        struct diag *diag) {
  *out_config = (struct config){.file = arena_printf(arena, "%s/%s", folder, name), .where = "", .arena = arena, .diag = diag};
  struct span text;
  TRY(span_map_file(out_config->file, &text, diag));
  enum status status = json_parse(out_config->file, "", text, &out_config->root, diag);
  span_unmap(&text);
  if (status != STATUS_OK) return status;
  out_config->json = out_config->root;
  if (cJSON_IsObject(out_config->json)) return STATUS_OK;
  return diag_fail(diag, STATUS_INPUT, "%s: expected an object, not %s", out_config->file, json_kind(out_config->json));
}

void config_close(struct config *config) {
  cJSON_Delete(config->root);
  config->root = NULL;
  config->json = NULL;
}

const cJSON *config_get(const struct config *config, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(config->json, key);
  return item && !cJSON_IsNull(item) ? item : NULL;
}

enum status config_reject(const struct config *config, const char *key, const char *expected) {
  const cJSON *item = config_get(config, key);
  char *text = item && !cJSON_IsObject(item) && !cJSON_IsArray(item) ? cJSON_PrintUnformatted(item) : NULL;
  enum status status = diag_fail(config->diag, STATUS_INPUT, "%s: %s%s is %.60s, expected %s", config->file, config->where, key,
                                 text   ? text
                                 : item ? json_kind(item)
                                        : "missing",
                                 expected);
  free(text);
  return status;
}

enum status config_child(const struct config *config, const char *key, struct config *out_child) {
  *out_child = *config;
  out_child->root = NULL;
  out_child->json = config_get(config, key);
  out_child->where = arena_printf(config->arena, "%s%s.", config->where, key);
  if (out_child->json && !cJSON_IsObject(out_child->json)) return config_reject(config, key, "an object");
  return STATUS_OK;
}

static bool integer_in(const cJSON *item, int64_t min, int64_t max, int64_t *out) {
  int64_t integer;
  if (!json_integer(item, &integer) || integer < min || integer > max) return false;
  *out = integer;
  return true;
}

enum status config_integer(const struct config *config, const char *key, int64_t min, int64_t max, int64_t *out) {
  const cJSON *item = config_get(config, key);
  if (!item || integer_in(item, min, max, out)) return STATUS_OK;
  return config_reject(config, key,
                       arena_printf(config->arena, "an integer from %lld to %lld", (long long)min, (long long)max));
}

enum status config_flag(const struct config *config, const char *key, bool *out) {
  const cJSON *item = config_get(config, key);
  if (!item) return STATUS_OK;
  if (!cJSON_IsBool(item)) return config_reject(config, key, "true or false");
  *out = cJSON_IsTrue(item);
  return STATUS_OK;
}

enum status config_real(const struct config *config, const char *key, double min, double max, double *out) {
  const cJSON *item = config_get(config, key);
  if (!item) return STATUS_OK;
  if (!cJSON_IsNumber(item) || !(item->valuedouble >= min && item->valuedouble <= max))
    return config_reject(config, key, arena_printf(config->arena, "a number from %g to %g", min, max));
  *out = item->valuedouble;
  return STATUS_OK;
}

enum status config_text(const struct config *config, const char *key, const char **out) {
  const cJSON *item = config_get(config, key);
  if (!item) return STATUS_OK;
  if (!cJSON_IsString(item)) return config_reject(config, key, "a string");
  *out = arena_strdup(config->arena, item->valuestring);
  return STATUS_OK;
}

enum status config_rgb(const struct config *config, const char *key, double min, double max, double *out) {
  const cJSON *item = config_get(config, key), *element;
  if (!item) return STATUS_OK;
  int count = 0;
  bool good = cJSON_IsArray(item) && cJSON_GetArraySize(item) == 3;
  if (!good) item = NULL;
  cJSON_ArrayForEach(element, item) {
    good = good && cJSON_IsNumber(element) && element->valuedouble >= min && element->valuedouble <= max;
    out[count++] = element->valuedouble;
  }
  return good ? STATUS_OK : config_reject(config, key, "three numbers, for red, green and blue");
}

static enum status read_size(const struct config *config, const struct config_field *field, int64_t *out) {
  const cJSON *item = config_get(config, field->key);
  if (integer_in(item, field->min, field->max, &out[0])) {
    out[1] = out[0];
    return STATUS_OK;
  }
  if (cJSON_IsArray(item) && cJSON_GetArraySize(item) == 2 &&
      integer_in(cJSON_GetArrayItem(item, 0), field->min, field->max, &out[0]) &&
      integer_in(cJSON_GetArrayItem(item, 1), field->min, field->max, &out[1]))
    return STATUS_OK;
  return config_reject(config, field->key,
                       arena_printf(config->arena, "a number or two from %lld to %lld, height and width", (long long)field->min,
                                    (long long)field->max));
}

static bool is_nothing(const cJSON *item) {
  return cJSON_IsFalse(item) || (cJSON_IsNumber(item) && item->valuedouble == 0) ||
         (cJSON_IsString(item) && !*item->valuestring);
}

static enum status read_field(const struct config *config, const struct config_field *field, void *out_struct) {
  const cJSON *item = config_get(config, field->key);
  void *member = (char *)out_struct + field->offset;
  if (!item) return STATUS_OK;
  switch (field->kind) {
  case CONFIG_COUNT:
    return config_integer(config, field->key, field->min, field->max, member);
  case CONFIG_FLAG:
    return config_flag(config, field->key, member);
  case CONFIG_REAL:
    return config_real(config, field->key, 1e-30, 1e6, member);
  case CONFIG_SIZE:
    return read_size(config, field, member);
  case CONFIG_ABSENT:
    return is_nothing(item) ? STATUS_OK : config_reject(config, field->key, "none: models with it are not supported");
  case CONFIG_PRESENT:
    return cJSON_IsTrue(item) ? STATUS_OK : config_reject(config, field->key, "true: models without it are not supported");
  case CONFIG_IGNORED:
    return STATUS_OK;
  }
  return STATUS_OK;
}

enum status config_read(const struct config *config, const struct config_field *fields, size_t count, bool closed,
                        void *out_struct) {
  const cJSON *item;
  for (size_t i = 0; i < count; i++) TRY(read_field(config, &fields[i], out_struct));
  if (!closed) return STATUS_OK;
  cJSON_ArrayForEach(item, config->json) {
    size_t i = 0;
    while (i < count && strcmp(fields[i].key, item->string) != 0) i++;
    if (i == count && !cJSON_IsNull(item))
      return diag_fail(config->diag, STATUS_INPUT, "%s: %s%s is not supported", config->file, config->where, item->string);
  }
  return STATUS_OK;
}

enum status config_labels(const struct config *config, const char *key, struct labels *out_labels) {
  const cJSON *map = config_get(config, key), *item;
  if (!map) return STATUS_OK;
  int count = cJSON_IsObject(map) || cJSON_IsArray(map) ? cJSON_GetArraySize(map) : 0, next = 0;
  const char *expected = "the names of all classes, numbered from 0";
  if (count == 0) return cJSON_IsObject(map) || cJSON_IsArray(map) ? STATUS_OK : config_reject(config, key, expected);
  const char **labels = arena_array(config->arena, (size_t)count, sizeof *labels);
  cJSON_ArrayForEach(item, map) {
    char *end = NULL;
    long index = item->string ? strtol(item->string, &end, 10) : next++;
    bool numbered = !item->string || (end != item->string && *end == '\0');
    if (!numbered || index < 0 || index >= count || labels[index] || !cJSON_IsString(item))
      return config_reject(config, key, expected);
    labels[index] = arena_strdup(config->arena, item->valuestring);
  }
  *out_labels = (struct labels){.count = count, .names = labels};
  return STATUS_OK;
}
