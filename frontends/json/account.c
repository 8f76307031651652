#include "json/account.h"

#include "json/text.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

/* Goes on past what is missing and remembers the first of it: the account is used only when nothing was. */
struct reading {
  struct arena *arena;
  const char *missing, *kind;
};

static void note_missing(struct reading *reading, const char *key, const char *kind) {
  if (reading->missing != NULL) return;
  reading->missing = key;
  reading->kind = kind;
}

static int64_t get_integer(struct reading *reading, const cJSON *object, const char *key) {
  int64_t integer = 0;
  if (!json_integer(cJSON_GetObjectItemCaseSensitive(object, key), &integer) || integer < 0)
    note_missing(reading, key, "count");
  return integer;
}

static int get_int(struct reading *reading, const cJSON *object, const char *key) {
  int64_t integer = get_integer(reading, object, key);
  if (integer > INT_MAX) note_missing(reading, key, "count");
  return integer > INT_MAX ? 0 : (int)integer;
}

static const char *get_text(struct reading *reading, const cJSON *object, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
  if (cJSON_IsString(item)) return arena_strdup(reading->arena, item->valuestring);
  note_missing(reading, key, "string");
  return "";
}

static bool get_bool(struct reading *reading, const cJSON *object, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
  if (!cJSON_IsBool(item)) note_missing(reading, key, "true or false");
  return cJSON_IsTrue(item);
}

static const cJSON *get_array(struct reading *reading, const cJSON *object, const char *key, int *out_count) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
  *out_count = cJSON_IsArray(item) ? cJSON_GetArraySize(item) : 0;
  if (!cJSON_IsArray(item)) note_missing(reading, key, "array");
  return item;
}

/* ["N", 3, 4] as "Nx3x4" */
static const char *get_shape(struct reading *reading, const cJSON *object) {
  int count;
  const cJSON *item, *array = get_array(reading, object, "shape", &count);
  const char *text = "";
  cJSON_ArrayForEach(item, array) {
    const char *separator = text[0] != '\0' ? "x" : "";
    int64_t dim;
    if (cJSON_IsString(item))
      text = arena_printf(reading->arena, "%s%s%s", text, separator, item->valuestring);
    else if (json_integer(item, &dim))
      text = arena_printf(reading->arena, "%s%s%" PRId64, text, separator, dim);
    else
      note_missing(reading, "shape", "list of dimensions");
  }
  return text;
}

static struct account_value *get_values(struct reading *reading, const cJSON *object, const char *key, int *out_count) {
  const cJSON *item, *array = get_array(reading, object, key, out_count);
  struct account_value *values = arena_array(reading->arena, (size_t)*out_count + 1, sizeof *values), *value = values;
  cJSON_ArrayForEach(item, array) {
    *value++ = (struct account_value){
        .name = get_text(reading, item, "name"), .dtype = get_text(reading, item, "dtype"), .shape = get_shape(reading, item)};
  }
  return values;
}

/* Absent when empty. */
static const char **get_words(struct reading *reading, const cJSON *object, const char *key, int *out_count) {
  *out_count = 0;
  if (cJSON_GetObjectItemCaseSensitive(object, key) == NULL) return NULL;
  const cJSON *item, *array = get_array(reading, object, key, out_count);
  const char **words = arena_array(reading->arena, (size_t)*out_count + 1, sizeof *words), **word = words;
  cJSON_ArrayForEach(item, array) {
    if (!cJSON_IsString(item)) note_missing(reading, key, "list of strings");
    *word++ = cJSON_IsString(item) ? arena_strdup(reading->arena, item->valuestring) : "";
  }
  return words;
}

static const struct account_source *get_sources(struct reading *reading, const cJSON *object, int *out_count) {
  const cJSON *item, *array = get_array(reading, object, "computes", out_count);
  struct account_source *sources = arena_array(reading->arena, (size_t)*out_count + 1, sizeof *sources), *source = sources;
  cJSON_ArrayForEach(item, array) {
    *source++ = (struct account_source){.op = get_text(reading, item, "op"),
                                        .name = get_text(reading, item, "name"),
                                        .flops = get_integer(reading, item, "flops")};
  }
  return sources;
}

static void read_node(struct reading *reading, const cJSON *object, struct account_node *out_node) {
  struct account_node node = {.op = get_text(reading, object, "op"),
                              .name = get_text(reading, object, "name"),
                              .shape = get_shape(reading, object),
                              .flops = get_integer(reading, object, "flops"),
                              .step = -1,
                              .memory = "",
                              .first = -1,
                              .last = -1};
  if (cJSON_GetObjectItemCaseSensitive(object, "step") != NULL) node.step = get_int(reading, object, "step");
  if (cJSON_GetObjectItemCaseSensitive(object, "memory") != NULL) {
    node.memory = get_text(reading, object, "memory");
    node.offset = get_integer(reading, object, "offset");
    node.bytes = get_integer(reading, object, "bytes");
  }
  const cJSON *live = cJSON_GetObjectItemCaseSensitive(object, "live");
  int64_t first = 0, last = 0;
  if (live != NULL) {
    if (!json_integer(cJSON_GetArrayItem(live, 0), &first) || !json_integer(cJSON_GetArrayItem(live, 1), &last) || first < 0 ||
        last < first || last > INT_MAX)
      note_missing(reading, "live", "pair of steps");
    node.first = (int)(first & INT_MAX);
    node.last = (int)(last & INT_MAX);
  }
  node.prologue = get_words(reading, object, "prologue", &node.prologue_count);
  node.epilogue = get_words(reading, object, "epilogue", &node.epilogue_count);
  node.sources = get_sources(reading, object, &node.source_count);
  *out_node = node;
}

static void read_phase(struct reading *reading, const cJSON *object, struct account_phase *out_phase) {
  *out_phase = (struct account_phase){.step = get_int(reading, object, "step"),
                                      .kind = get_text(reading, object, "phase"),
                                      .op = get_text(reading, object, "op"),
                                      .name = get_text(reading, object, "name"),
                                      .precision = get_text(reading, object, "precision"),
                                      .batched = get_bool(reading, object, "batched"),
                                      .flops = get_integer(reading, object, "flops"),
                                      .read_bytes = get_integer(reading, object, "read_bytes"),
                                      .write_bytes = get_integer(reading, object, "write_bytes"),
                                      .shared_bytes = get_integer(reading, object, "shared_bytes")};
}

static void read_product(struct reading *reading, const cJSON *object, struct account_product *out_product) {
  *out_product = (struct account_product){.step = get_int(reading, object, "step"),
                                          .op = get_text(reading, object, "op"),
                                          .name = get_text(reading, object, "name"),
                                          .layer = get_text(reading, object, "layer"),
                                          .precision = get_text(reading, object, "precision"),
                                          .k = get_integer(reading, object, "k"),
                                          .n = get_integer(reading, object, "n"),
                                          .offset = get_integer(reading, object, "offset"),
                                          .bytes = get_integer(reading, object, "bytes"),
                                          .scales = get_integer(reading, object, "scales"),
                                          .hadamard = get_integer(reading, object, "hadamard"),
                                          .balanced = get_bool(reading, object, "balanced")};
}

static void read_tree(struct reading *reading, const cJSON *root, struct account *out) {
  *out = (struct account){.name = get_text(reading, root, "name"),
                          .precision = get_text(reading, root, "precision"),
                          .parameters = get_integer(reading, root, "parameters"),
                          .flops = get_integer(reading, root, "flops"),
                          .flops_as_given = get_integer(reading, root, "flops_as_given"),
                          .batch_max = get_integer(reading, root, "batch_max"),
                          .group = get_integer(reading, root, "group"),
                          .arena_bytes = get_integer(reading, root, "arena_bytes"),
                          .weights_bytes = get_integer(reading, root, "weights_bytes"),
                          .step_count = get_int(reading, root, "steps"),
                          .nodes_as_given = get_int(reading, root, "nodes_as_given"),
                          .folded = get_int(reading, root, "folded"),
                          .unneeded = get_int(reading, root, "unneeded")};
  out->inputs = get_values(reading, root, "inputs", &out->input_count);
  out->outputs = get_values(reading, root, "outputs", &out->output_count);
  const cJSON *item, *array = get_array(reading, root, "phases", &out->phase_count);
  out->phases = arena_array(reading->arena, (size_t)out->phase_count + 1, sizeof *out->phases);
  int i = 0;
  cJSON_ArrayForEach(item, array) read_phase(reading, item, &out->phases[i++]);
  array = get_array(reading, root, "products", &out->product_count);
  out->products = arena_array(reading->arena, (size_t)out->product_count + 1, sizeof *out->products);
  i = 0;
  cJSON_ArrayForEach(item, array) read_product(reading, item, &out->products[i++]);
  array = get_array(reading, root, "nodes", &out->node_count);
  out->nodes = arena_array(reading->arena, (size_t)out->node_count + 1, sizeof *out->nodes);
  i = 0;
  cJSON_ArrayForEach(item, array) read_node(reading, item, &out->nodes[i++]);
  if (out->group < 1) note_missing(reading, "group", "positive count");
}

enum status account_read(const char *file, const char *text, struct arena *arena, struct account *out_account,
                         struct diag *diag) {
  *out_account = (struct account){.name = ""};
  if (text == NULL) return diag_fail(diag, STATUS_INPUT, "%s: holds no account of the model (vitc_model.info)", file);
  cJSON *root;
  TRY(json_parse(file, "account, ", (struct span){(const uint8_t *)text, strlen(text)}, &root, diag));
  struct reading reading = {.arena = arena};
  read_tree(&reading, root, out_account);
  cJSON_Delete(root);
  if (reading.missing == NULL) return STATUS_OK;
  return diag_fail(diag, STATUS_INPUT, "%s: its account has no %s '%s': compile the model again", file, reading.kind,
                   reading.missing);
}
