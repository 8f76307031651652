#include "ir/ops.h"
#include "json/emit.h"
#include "json/json.h"
#include "safetensors/safetensors.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Constants of at most this many integers are written into the graph: shapes, axes, bounds of slices. */
enum { INLINE_INTS_MAX = 64 };

struct writer {
  const struct graph *graph;
  FILE *stream;
  bool *seen;          /* by value id: constants that have been written, or are in the blob */
  struct weight *blob; /* in the order of the file */
  size_t blob_count;
  const char *blamed;    /* for an element that no model should hold */
  const char *separator; /* before the next node */
};

static bool fits_double(const int64_t *ints, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (ints[i] > (int64_t)1 << 53 || ints[i] < -((int64_t)1 << 53)) return false;
  return true;
}

static bool is_inline(const struct value *value) {
  int64_t count = shape_elements(&value->shape);
  if (value->batched) return true;
  if (value->dtype == DTYPE_F32) return value->shape.rank == 0 && !value->deferred;
  return value->dtype == DTYPE_I64 && value->shape.rank <= 1 && count >= 1 && count <= INLINE_INTS_MAX &&
         fits_double(value->data, count);
}

static void write_ints(FILE *stream, const int64_t *ints, size_t count, bool batched) {
  fputc('[', stream);
  for (size_t i = 0; i < count; i++) {
    if (i) fputs(", ", stream);
    if (i == 0 && batched)
      fputs("\"N\"", stream);
    else
      fprintf(stream, "%lld", (long long)ints[i]);
  }
  fputc(']', stream);
}

static void write_floats(FILE *stream, const double *floats, size_t count) {
  fputc('[', stream);
  for (size_t i = 0; i < count; i++) {
    if (i) fputs(", ", stream);
    emit_double(stream, floats[i]);
  }
  fputc(']', stream);
}

static void write_attr(FILE *stream, const struct attr *attr) {
  emit_string(stream, attr->name);
  fputs(": ", stream);
  switch (attr->kind) {
  case ATTR_INT:
    fprintf(stream, "%lld", (long long)attr->i);
    break;
  case ATTR_FLOAT:
    emit_double(stream, attr->f);
    break;
  case ATTR_INTS:
    write_ints(stream, attr->ints, attr->count, false);
    break;
  case ATTR_FLOATS:
    write_floats(stream, attr->floats, attr->count);
    break;
  case ATTR_STRING:
    emit_string(stream, attr->string);
    break;
  }
}

static void write_names(FILE *stream, struct value *const *values, int count) {
  fputc('[', stream);
  for (int i = 0; i < count; i++) {
    if (i) fputs(", ", stream);
    emit_string(stream, values[i] ? values[i]->name : "");
  }
  fputc(']', stream);
}

static void write_constant(struct writer *w, const struct value *value) {
  FILE *stream = w->stream;
  fprintf(stream, "%s    {\"op\": \"Constant\", \"inputs\": [], \"outputs\": [", w->separator);
  emit_string(stream, value->name);
  fputs("], \"attrs\": {", stream);
  if (value->dtype == DTYPE_F32) {
    fputs("\"value_float\": ", stream);
    emit_float(stream, *(const float *)value->data);
  } else if (value->shape.rank == 0) {
    fprintf(stream, "\"value_int\": %lld", (long long)*(const int64_t *)value->data);
  } else {
    fputs("\"value_ints\": ", stream);
    write_ints(stream, value->data, (size_t)value->shape.dim[0], value->batched);
  }
  fputs("}}", stream);
  w->separator = ",\n";
}

static void write_node(struct writer *w, const struct node *node) {
  for (int i = 0; i < node->input_count; i++) {
    const struct value *value = node->inputs[i];
    if (!value || !value->data || w->seen[value->id]) continue;
    w->seen[value->id] = true;
    write_constant(w, value);
  }
  fprintf(w->stream, "%s    {\"op\": \"%s\", \"inputs\": ", w->separator, op_info(node->op)->name);
  write_names(w->stream, node->inputs, node->input_count);
  fputs(", \"outputs\": ", w->stream);
  write_names(w->stream, node->outputs, node->output_count);
  for (int i = 0; i < node->attr_count; i++) {
    fputs(i ? ", " : ", \"attrs\": {", w->stream);
    write_attr(w->stream, &node->attrs[i]);
  }
  fputs(node->attr_count ? "}}" : "}", w->stream);
  w->separator = ",\n";
}

/* An output whose axis 0 is N times more than one row has no shape that the format can say: its name stands alone. */
static void write_tensor(FILE *stream, const struct value *value) {
  if (value->batched && value->shape.rank && value->shape.dim[0] != 1) {
    emit_string(stream, value->name);
    return;
  }
  fputs("{\"name\": ", stream);
  emit_string(stream, value->name);
  fprintf(stream, ", \"dtype\": \"%s\", \"shape\": ", dtype_name(value->dtype));
  write_ints(stream, value->shape.dim, (size_t)value->shape.rank, value->batched);
  fputc('}', stream);
}

static void write_tensors(FILE *stream, const char *key, struct value *const *values, int count) {
  fprintf(stream, "  \"%s\": [", key);
  for (int i = 0; i < count; i++) {
    if (i) fputs(", ", stream);
    write_tensor(stream, values[i]);
  }
  fputs("],\n", stream);
}

static void write_crop(FILE *stream, const struct vitc_preprocess *p) {
  if (p->crop_height == 0) return;
  if (p->resize == VITC_RESIZE_ASPECT || p->resize == VITC_RESIZE_LIMITED)
    fprintf(stream, ", \"multiple\": %u", p->crop_height);
  else if (p->crop_floor == VITC_CROP_PAD)
    fprintf(stream, ", \"pad\": [%u, %u]", p->crop_height, p->crop_width);
  else
    fprintf(stream, ", \"crop\": [%u, %u], \"crop_rounding\": \"%s\"", p->crop_height, p->crop_width,
            p->crop_floor ? "floor" : "half_even");
}

static void write_preprocess(FILE *stream, const struct vitc_preprocess *p) {
  static const char *const resizes[] = {"", "none", "shortest", "exact", "longest", "keep_aspect", "limited"};
  static const char *const filters[] = {"nearest", "bilinear", "bicubic", "lanczos"};
  static const char *const arithmetics[] = {"torchvision", "transformers", "float"};
  if (p->resize == VITC_RESIZE_UNKNOWN) return;
  fprintf(stream, "  \"preprocess\": {\"resize\": \"%s\"", resizes[p->resize]);
  bool edge = p->resize == VITC_RESIZE_SHORTEST || p->resize == VITC_RESIZE_LONGEST;
  bool one_edge = edge && (p->resize_width == p->resize_height || p->resize_width == 0);
  if (one_edge) fprintf(stream, ", \"size\": %u", p->resize_height);
  if (p->resize != VITC_RESIZE_NONE && !one_edge) fprintf(stream, ", \"size\": [%u, %u]", p->resize_height, p->resize_width);
  if (p->resize != VITC_RESIZE_NONE) fprintf(stream, ", \"filter\": \"%s\"", filters[p->filter]);
  write_crop(stream, p);
  fprintf(stream, ",\n                 \"arithmetic\": \"%s\", \"rescale\": ", arithmetics[p->arithmetic]);
  emit_double(stream, p->rescale);
  fputs(", \"mean\": ", stream);
  write_floats(stream, p->mean, 3);
  fputs(", \"std\": ", stream);
  write_floats(stream, p->std, 3);
  fputs("},\n", stream);
}

static void write_graph(struct writer *w, const char *blob_name) {
  const struct graph *graph = w->graph;
  FILE *stream = w->stream;
  fprintf(stream, "{\n  \"format\": \"vitc\",\n  \"version\": 1,\n  \"name\": \"%s\",\n  \"weights\": ", graph->name);
  if (w->blob_count)
    emit_string(stream, blob_name);
  else
    fputs("null", stream);
  fputs(",\n", stream);
  write_tensors(stream, "inputs", graph->inputs, graph->input_count);
  write_tensors(stream, "outputs", graph->outputs, graph->output_count);
  write_preprocess(stream, &graph->preprocess);
  fputs("  \"nodes\": [", stream);
  w->separator = "\n";
  for (const struct node *node = graph->first; node; node = node->next) write_node(w, node);
  fputs("\n  ]", stream);
  for (int i = 0; i < graph->label_count; i++) {
    fputs(i ? ",\n    " : ",\n  \"labels\": [\n    ", stream);
    emit_string(stream, graph->labels[i]);
  }
  fputs(graph->label_count ? "\n  ]\n}\n" : "\n}\n", stream);
}

/* Larger elements first, so that every tensor is aligned; equal ones in order of use. */
static int compare_sizes(const void *a, const void *b) {
  const struct weight *x = *(const struct weight *const *)a, *y = *(const struct weight *const *)b;
  size_t x_size = dtype_size(weight_graph_dtype(x)), y_size = dtype_size(weight_graph_dtype(y));
  if (x_size != y_size) return x_size > y_size ? -1 : 1;
  return x < y ? -1 : x > y;
}

static enum status collect_blob(struct writer *w, struct weight *used, const char *path, struct diag *diag) {
  size_t count = 0;
  for (const struct node *node = w->graph->first; node; node = node->next) {
    assert(node->prologue_count == 0 && node->epilogue_count == 0);
    for (int i = 0; i < node->input_count; i++) {
      const struct value *value = node->inputs[i];
      if (!value || !value->data || w->seen[value->id] || is_inline(value)) continue;
      w->seen[value->id] = true;
      if (value->deferred) w->blamed = w->graph->file;
      enum dtype dtype = value->deferred ? value->stored : value->dtype;
      used[count++] = (struct weight){value->name, dtype, value->shape, value->data};
    }
  }
  const struct weight **order = calloc(count + 1, sizeof(struct weight *));
  if (!order) return diag_fail(diag, STATUS_SYSTEM, "%s: out of memory", path);
  for (size_t i = 0; i < count; i++) order[i] = &used[i];
  qsort(order, count, sizeof *order, compare_sizes);
  for (size_t i = 0; i < count; i++) w->blob[i] = *order[i];
  w->blob_count = count;
  free(order);
  return STATUS_OK;
}

/* Both files are complete before the first of them appears; the graph, which names the blob, appears last. */
static enum status write_files(struct writer *w, const char *path, const char *blob_path, struct diag *diag) {
  struct output json = {0}, blob = {0};
  const char *slash = strrchr(blob_path, '/');
  enum status status = output_open(&json, path, diag);
  if (status == STATUS_OK && w->blob_count) {
    status = output_open(&blob, blob_path, diag);
    if (status == STATUS_OK) status = safetensors_write_graph(&blob, w->blob, w->blob_count, w->blamed, diag);
  }
  if (status == STATUS_OK) {
    w->stream = json.stream;
    write_graph(w, slash ? slash + 1 : blob_path);
    if (fflush(json.stream)) status = diag_fail(diag, STATUS_SYSTEM, "%s: cannot write", path);
  }
  if (status == STATUS_OK && w->blob_count) status = output_commit(&blob, diag);
  if (status == STATUS_OK) {
    status = output_commit(&json, diag);
    if (status != STATUS_OK && w->blob_count) unlink(blob_path);
  }
  output_discard(&blob);
  output_discard(&json);
  return status;
}

enum status json_write(const struct graph *graph, const char *path, struct diag *diag) {
  size_t length = strlen(path), values = (size_t)graph->value_count + 1;
  if (length <= 5 || strcmp(path + length - 5, ".json") || path[length - 6] == '/')
    return diag_fail(diag, STATUS_USAGE, "%s: expected a name that ends in .json", path);
  struct writer writer = {
      .graph = graph, .blamed = path, .seen = calloc(values, sizeof(bool)), .blob = calloc(values, sizeof(struct weight))};
  struct weight *used = calloc(values, sizeof *used);
  struct arena arena;
  arena_init(&arena);
  enum status status = writer.seen && writer.blob && used ? collect_blob(&writer, used, path, diag)
                                                          : diag_fail(diag, STATUS_SYSTEM, "%s: out of memory", path);
  if (status == STATUS_OK)
    status = write_files(&writer, path, arena_printf(&arena, "%.*s.safetensors", (int)(length - 5), path), diag);
  arena_deinit(&arena);
  free(used);
  free(writer.seen);
  free(writer.blob);
  return status;
}
