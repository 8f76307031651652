#include "json/json.h"

#include "ir/ops.h"
#include "json/reader.h"
#include "safetensors/safetensors.h"

#include <string.h>

enum { FILE_BYTES_MAX = 64 << 20, NAME_MAX_LENGTH = 128, VERSION = 1 };

const char *reader_hint(const struct reader *reader, const char *nearest) {
  return nearest ? arena_printf(reader->graph->arena, "; did you mean \"%s\"?", nearest) : "";
}

static const char *list_name(const void *context, size_t i) {
  return ((const char *const *)context)[i];
}

static const char *value_name(const void *context, size_t i) {
  return ((struct value *const *)context)[i]->name;
}

const char *reader_nearest_value(const struct reader *r, const char *name) {
  struct value **values = arena_array(r->graph->arena, (size_t)r->graph->value_count, sizeof(struct value *));
  size_t count = 0;
  for (struct value *value = r->graph->values; value; value = value->next) values[count++] = value;
  return frontend_nearest(name, value_name, values, count);
}

enum status reader_check_keys(const struct reader *r, const cJSON *object, const char *where, const char *const *keys) {
  size_t count = 0;
  while (keys[count]) count++;
  const cJSON *item;
  cJSON_ArrayForEach(item, object) {
    const char *key = item->string;
    size_t i = 0;
    while (i < count && strcmp(keys[i], key)) i++;
    if (i == count && key[0] != '_' && strncmp(key, "x-", 2))
      return reject(r, "%sunknown key \"%s\"%s", where, key, reader_hint(r, frontend_nearest(key, list_name, keys, count)));
  }
  return STATUS_OK;
}

enum status reader_new_name(const struct reader *r, const cJSON *item, const char *where, const char **out_name) {
  if (!cJSON_IsString(item) || !*item->valuestring)
    return reject(r, "%sexpected a name, found %s", where, cJSON_IsString(item) ? "an empty string" : json_kind(item));
  const char *name = item->valuestring;
  if (graph_find(r->graph, name)) return reject(r, "%s\"%s\" is defined twice", where, name);
  if (weights_find(r->weights, name)) return reject(r, "%s\"%s\" is also a tensor of %s", where, name, r->blob);
  *out_name = name;
  return STATUS_OK;
}

static bool is_identifier(const char *name) {
  size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
  return length && length <= NAME_MAX_LENGTH && !name[length] && !(name[0] >= '0' && name[0] <= '9');
}

/* The head: what format this is, of which version, by what name. */
static enum status read_head(const struct reader *r, const cJSON *root, const char **out_name) {
  const cJSON *format = cJSON_GetObjectItemCaseSensitive(root, "format");
  if (!cJSON_IsString(format) || strcmp(format->valuestring, "vitc"))
    return reject(r, "expected \"format\": \"vitc\"; this is not a vitc model");
  int64_t version;
  if (!json_integer(cJSON_GetObjectItemCaseSensitive(root, "version"), &version))
    return reject(r, "version: expected the integer %d", VERSION);
  if (version != VERSION) return reject(r, "version: %lld, expected %d", (long long)version, VERSION);
  const cJSON *name = cJSON_GetObjectItemCaseSensitive(root, "name");
  if (!cJSON_IsString(name) || !is_identifier(name->valuestring))
    return reject(r, "name: expected a C identifier of at most %d characters", NAME_MAX_LENGTH);
  *out_name = name->valuestring;
  return STATUS_OK;
}

/* The blob lies beside the graph or below: a model that comes from elsewhere reads no other file of its user. */
static bool is_inside(const char *path) {
  if (!*path || *path == '/') return false;
  for (const char *part = path; part; part = strchr(part, '/')) {
    if (*part == '/') part++;
    size_t length = strcspn(part, "/");
    if (length == 0 || (length == 2 && !strncmp(part, "..", 2))) return false;
  }
  return true;
}

static enum status open_blob(struct reader *r, const cJSON *item) {
  struct arena *arena = r->graph->arena;
  if (cJSON_IsNull(item)) return STATUS_OK;
  if (item && (!cJSON_IsString(item) || !is_inside(item->valuestring)))
    return reject(r, "weights: expected null or a file's path relative to this one's folder, without \"..\"");
  if (item) {
    const char *slash = strrchr(r->file, '/');
    r->blob = arena_printf(arena, "%.*s%s", slash ? (int)(slash + 1 - r->file) : 0, r->file, item->valuestring);
  } else {
    size_t length = strlen(r->file);
    if (length > 5 && !strcmp(r->file + length - 5, ".json")) length -= 5;
    r->blob = arena_printf(arena, "%.*s.safetensors", (int)length, r->file);
  }
  TRY(safetensors_read(r->blob, r->weights, r->diag));
  return weights_index(r->weights, r->blob, r->diag);
}

/* A declared shape: axis 0 "N" for a tensor of each image. */
static enum status read_shape(const struct reader *r, const cJSON *array, const char *where, struct shape *out_shape,
                              bool *out_batched) {
  *out_shape = (struct shape){0};
  *out_batched = false;
  if (!cJSON_IsArray(array)) return reject(r, "%sexpected a shape, found %s", where, json_kind(array));
  int64_t elements = 1;
  const cJSON *item;
  cJSON_ArrayForEach(item, array) {
    int64_t dim;
    int axis = out_shape->rank;
    if (axis == RANK_MAX) return reject(r, "%sa shape of more than %d dimensions", where, RANK_MAX);
    if (axis == 0 && cJSON_IsString(item) && !strcmp(item->valuestring, "N")) {
      *out_batched = true;
      dim = 1;
    } else if (!json_integer(item, &dim) || dim < 1) {
      return reject(r, "%sshape[%d] is not an integer of at least 1%s", where, axis, axis ? "" : ", nor \"N\"");
    }
    if (__builtin_mul_overflow(elements, dim, &elements) || elements > INT32_MAX)
      return reject(r, "%sa shape of more than %d elements", where, INT32_MAX);
    out_shape->dim[out_shape->rank++] = dim;
  }
  return STATUS_OK;
}

static enum status read_input(const struct reader *r, const cJSON *item, const char *where) {
  static const char *const keys[] = {"name", "dtype", "shape", NULL};
  struct graph *graph = r->graph;
  if (!cJSON_IsObject(item)) return reject(r, "%sexpected an object of name, dtype and shape", where);
  TRY(reader_check_keys(r, item, where, keys));
  const char *name;
  TRY(reader_new_name(r, cJSON_GetObjectItemCaseSensitive(item, "name"), where, &name));
  const cJSON *text = cJSON_GetObjectItemCaseSensitive(item, "dtype");
  enum dtype dtype;
  if (!cJSON_IsString(text) || !dtype_parse(text->valuestring, &dtype) || (dtype != DTYPE_F32 && dtype != DTYPE_U8))
    return reject(r, "%sdtype: expected \"float32\" or \"uint8\"", where);
  struct shape shape;
  bool batched;
  TRY(read_shape(r, cJSON_GetObjectItemCaseSensitive(item, "shape"), where, &shape, &batched));
  if (!batched) return reject(r, "%sexpected a shape that begins with \"N\", the batch", where);
  graph->inputs[graph->input_count++] = graph_add_value(graph, name, dtype, &shape, true);
  return STATUS_OK;
}

static enum status check_list(const struct reader *r, const cJSON *array, const char *what) {
  int count = cJSON_GetArraySize(array);
  if (!cJSON_IsArray(array) || count < 1 || count > GRAPH_IO_MAX)
    return reject(r, "%s: expected an array of 1 to %d", what, GRAPH_IO_MAX);
  return STATUS_OK;
}

static enum status read_inputs(const struct reader *r, const cJSON *array) {
  TRY(check_list(r, array, "inputs"));
  int i = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, array) TRY(read_input(r, item, arena_printf(r->graph->arena, "inputs[%d]: ", i++)));
  return STATUS_OK;
}

static const char *shape_text(const struct reader *r, const struct shape *shape, bool batched) {
  const char *text = "[";
  for (int i = 0; i < shape->rank; i++) {
    const char *comma = i ? ", " : "";
    if (i || !batched)
      text = arena_printf(r->graph->arena, "%s%s%lld", text, comma, (long long)shape->dim[i]);
    else if (shape->dim[i] == 1)
      text = arena_printf(r->graph->arena, "%s\"N\"", text);
    else
      text = arena_printf(r->graph->arena, "%sN * %lld", text, (long long)shape->dim[i]);
  }
  return arena_printf(r->graph->arena, "%s]", text);
}

static enum status check_declared(const struct reader *r, const cJSON *item, const struct value *value, const char *where) {
  const cJSON *text = cJSON_GetObjectItemCaseSensitive(item, "dtype");
  enum dtype dtype;
  if (text && (!cJSON_IsString(text) || !dtype_parse(text->valuestring, &dtype)))
    return reject(r, "%sdtype: expected a dtype's name, as \"float32\"", where);
  if (text && dtype != value->dtype)
    return reject(r, "%s\"%s\" is declared %s, the nodes make it %s", where, value->name, text->valuestring,
                  dtype_name(value->dtype));
  const cJSON *dims = cJSON_GetObjectItemCaseSensitive(item, "shape");
  struct shape shape;
  bool batched;
  if (!dims) return STATUS_OK;
  TRY(read_shape(r, dims, where, &shape, &batched));
  if (batched != value->batched || !shape_equal(&shape, &value->shape))
    return reject(r, "%s\"%s\" is declared %s, the nodes make it %s", where, value->name, shape_text(r, &shape, batched),
                  shape_text(r, &value->shape, value->batched));
  return STATUS_OK;
}

static enum status read_output(const struct reader *r, const cJSON *item, const char *where) {
  static const char *const keys[] = {"name", "dtype", "shape", NULL};
  struct graph *graph = r->graph;
  const cJSON *name = item;
  if (cJSON_IsObject(item)) {
    TRY(reader_check_keys(r, item, where, keys));
    name = cJSON_GetObjectItemCaseSensitive(item, "name");
  }
  if (!cJSON_IsString(name)) return reject(r, "%sexpected a name, or an object with one", where);
  struct value *value = graph_find(graph, name->valuestring);
  if (value && value->data) return reject(r, "%s\"%s\" is a constant, not an output of any node", where, value->name);
  if (!value)
    return reject(r, "%s\"%s\" is not an output of any node%s", where, name->valuestring,
                  reader_hint(r, reader_nearest_value(r, name->valuestring)));
  for (int i = 0; i < graph->output_count; i++)
    if (graph->outputs[i] == value) return reject(r, "%s\"%s\" is already outputs[%d]", where, value->name, i);
  graph->outputs[graph->output_count++] = value;
  return cJSON_IsObject(item) ? check_declared(r, item, value, where) : STATUS_OK;
}

static enum status read_outputs(const struct reader *r, const cJSON *array) {
  TRY(check_list(r, array, "outputs"));
  int i = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, array) TRY(read_output(r, item, arena_printf(r->graph->arena, "outputs[%d]: ", i++)));
  return STATUS_OK;
}

static enum status read_model(struct reader *r, const cJSON *root, struct arena *arena) {
  static const char *const keys[] = {"format",  "version", "name",       "weights", "inputs",
                                     "outputs", "nodes",   "preprocess", "labels",  NULL};
  const char *name = "";
  graph_init(r->graph, arena, r->diag, name, r->file);
  if (!cJSON_IsObject(root)) return reject(r, "expected an object, found %s", json_kind(root));
  TRY(read_head(r, root, &name));
  r->graph->name = arena_strdup(arena, name);
  TRY(reader_check_keys(r, root, "", keys));
  TRY(open_blob(r, cJSON_GetObjectItemCaseSensitive(root, "weights")));
  TRY(read_inputs(r, cJSON_GetObjectItemCaseSensitive(root, "inputs")));
  r->nodes = cJSON_GetObjectItemCaseSensitive(root, "nodes");
  TRY(reader_nodes(r));
  TRY(read_outputs(r, cJSON_GetObjectItemCaseSensitive(root, "outputs")));
  TRY(reader_preprocess(r, cJSON_GetObjectItemCaseSensitive(root, "preprocess")));
  TRY(reader_labels(r, cJSON_GetObjectItemCaseSensitive(root, "labels")));
  return verify_graph(r->graph, "loading");
}

enum status json_load(const char *path, struct arena *arena, struct weights *weights, struct graph *out_graph,
                      struct diag *diag) {
  struct reader reader = {.file = path, .graph = out_graph, .weights = weights, .diag = diag};
  struct span file;
  TRY(span_map_file(path, &file, diag));
  cJSON *root = NULL;
  enum status status = file.size <= FILE_BYTES_MAX
                           ? json_parse(path, "", file, &root, diag)
                           : diag_fail(diag, STATUS_INPUT, "%s: a graph of more than %d MiB", path, FILE_BYTES_MAX >> 20);
  span_unmap(&file);
  if (status == STATUS_OK) status = read_model(&reader, root, arena);
  cJSON_Delete(root);
  return status;
}

bool json_probe(const char *source, const struct import_options *options) {
  size_t length = source ? strlen(source) : 0;
  return !options->init_random && length > 5 && !strcmp(source + length - 5, ".json");
}

enum status json_import(const char *source, const struct import_options *options, struct arena *arena, struct weights *weights,
                        struct graph *out_graph, struct diag *diag) {
  if (options->arch || options->image_height || options->num_classes >= 0 || options->output_count)
    return diag_fail(diag, STATUS_USAGE, "%s: a vitc model has its architecture, image size, classes and outputs already",
                     source);
  TRY(json_load(source, arena, weights, out_graph, diag));
  if (options->name) out_graph->name = arena_strdup(arena, options->name);
  return STATUS_OK;
}
