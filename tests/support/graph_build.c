#include "support/graph_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void give_up(const char *what, const char *detail) {
  fprintf(stderr, "test graph: %s: %s\n", what, detail);
  abort();
}

void build_init(struct build *build) {
  *build = (struct build){.diag = {.status = STATUS_OK}};
  arena_init(&build->arena);
  graph_init(&build->graph, &build->arena, &build->diag, "test", "test.json");
}

void build_deinit(struct build *build) {
  arena_deinit(&build->arena);
}

struct value *build_value(struct build *build, const char *name, const char *type) {
  const char *bracket = strchr(type, '[');
  if (bracket == NULL) give_up("type without [", type);
  char dtype_text[16] = "";
  snprintf(dtype_text, sizeof dtype_text, "%.*s", (int)(bracket - type), type);
  enum dtype dtype;
  if (!dtype_parse(dtype_text, &dtype)) give_up("unknown dtype", type);
  struct shape shape = {0};
  const char *at = bracket + 1;
  bool batched = *at == 'N';
  if (batched && (at[1] == ',' || at[1] == ']')) {
    shape.dim[shape.rank++] = 1;
    at++;
  } else if (batched) {
    at += strlen("N*");
  }
  while (*at != ']') {
    if (*at == ',') at++;
    char *end;
    shape.dim[shape.rank++] = strtoll(at, &end, 10);
    if (end == at || shape.rank > RANK_MAX) give_up("bad shape", type);
    at = end;
  }
  return graph_add_value(&build->graph, name, dtype, &shape, batched);
}

struct value *build_input(struct build *build, const char *name, const char *type) {
  struct value *value = build_value(build, name, type);
  if (build->graph.input_count == GRAPH_IO_MAX) give_up("too many inputs", name);
  build->graph.inputs[build->graph.input_count++] = value;
  return value;
}

struct value *build_constant(struct build *build, const char *name, const char *type, const void *data) {
  struct value *value = build_value(build, name, type);
  size_t bytes = (size_t)shape_elements(&value->shape) * dtype_size(value->dtype);
  void *copy = arena_alloc(&build->arena, bytes);
  if (bytes > 0) memcpy(copy, data, bytes);
  value->data = copy;
  return value;
}

void random_floats(float *floats, size_t count, unsigned seed) {
  uint64_t state = seed;
  for (size_t i = 0; i < count; i++) {
    state += 0x9e3779b97f4a7c15u;
    uint64_t mixed = (state ^ state >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    floats[i] = (float)(mixed >> 40) * 0x1p-23f - 1;
  }
}

struct value *build_random(struct build *build, const char *name, const char *type, unsigned seed) {
  struct value *value = build_value(build, name, type);
  size_t count = (size_t)shape_elements(&value->shape);
  float *data = arena_array(&build->arena, count, sizeof *data);
  random_floats(data, count, seed);
  value->data = data;
  return value;
}

struct value *build_ints(struct build *build, const char *name, const int64_t *ints, size_t count) {
  struct shape shape = {.rank = 1, .dim = {(int64_t)count}};
  int64_t *data = arena_array(&build->arena, count, sizeof *data);
  if (count > 0) memcpy(data, ints, count * sizeof *data);
  return graph_add_constant(&build->graph, name, DTYPE_I64, &shape, data);
}

void build_output(struct build *build, struct value *value) {
  if (build->graph.output_count == GRAPH_IO_MAX) give_up("too many outputs", value->name);
  build->graph.outputs[build->graph.output_count++] = value;
}

struct node *build_append(struct build *build, const char *output, enum op op, struct value *const *inputs, int input_count) {
  struct shape unknown = {0};
  struct value *value = graph_add_value(&build->graph, output, DTYPE_F32, &unknown, false);
  return graph_add_node(&build->graph, NULL, op, inputs, input_count, &value, 1);
}

struct value *build_infer(struct build *build, struct node *node) {
  if (infer_node(&build->graph, node) != STATUS_OK) give_up("cannot infer", build->diag.message);
  return node->outputs[0];
}

const char *build_text(struct build *build) {
  char *text = NULL;
  size_t size = 0;
  FILE *stream = open_memstream(&text, &size);
  if (stream == NULL) give_up("out of memory", "text");
  print_graph(&build->graph, stream);
  fclose(stream);
  const char *copy = arena_strdup(&build->arena, text);
  free(text);
  return copy;
}
