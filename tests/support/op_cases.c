#include "support/op_cases.h"

#include "base/span.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void give_up(const struct op_case_reader *reader, const char *what) {
  fprintf(stderr, "%s: %s, at: %.60s\n", reader->file, what, reader->at);
  abort();
}

const char *read_text(struct arena *arena, const char *path) {
  struct diag diag = {.status = STATUS_OK};
  struct span span;
  if (span_map_file(path, &span, &diag) != STATUS_OK) {
    fprintf(stderr, "%s\n", diag.message);
    abort();
  }
  const char *text = arena_strndup(arena, (const char *)span.data, span.size);
  span_unmap(&span);
  return text;
}

static void skip_space(struct op_case_reader *reader) {
  reader->at += strspn(reader->at, " \n");
}

static const char *word(struct op_case_reader *reader, struct arena *arena) {
  skip_space(reader);
  size_t length = strcspn(reader->at, " \n");
  if (length == 0) give_up(reader, "the file ends early");
  const char *text = arena_strndup(arena, reader->at, length);
  reader->at += length;
  return text;
}

static int64_t whole(struct op_case_reader *reader) {
  char *end;
  int64_t number = strtoll(reader->at, &end, 10);
  if (end == reader->at) give_up(reader, "expected an integer");
  reader->at = end;
  return number;
}

static double real(struct op_case_reader *reader) {
  char *end;
  double number = strtod(reader->at, &end);
  if (end == reader->at) give_up(reader, "expected a number");
  reader->at = end;
  return number;
}

static void read_element(struct op_case_reader *reader, enum dtype dtype, void *data, int64_t at) {
  switch (dtype) {
  case DTYPE_F32:
    ((float *)data)[at] = (float)real(reader);
    break;
  case DTYPE_F64:
    ((double *)data)[at] = real(reader);
    break;
  case DTYPE_F16:
  case DTYPE_BF16:
    ((uint16_t *)data)[at] = (uint16_t)whole(reader);
    break;
  case DTYPE_U8:
  case DTYPE_BOOL:
    ((uint8_t *)data)[at] = (uint8_t)whole(reader);
    break;
  case DTYPE_I8:
    ((int8_t *)data)[at] = (int8_t)whole(reader);
    break;
  case DTYPE_I32:
    ((int32_t *)data)[at] = (int32_t)whole(reader);
    break;
  case DTYPE_I64:
    ((int64_t *)data)[at] = whole(reader);
    break;
  case DTYPE_COUNT:
    break;
  }
}

/* The operand's type becomes a value's; its elements, when it has any, are returned. */
static const void *read_operand(struct op_case_reader *reader, struct arena *arena, int64_t batch, bool constant, bool elements,
                                struct value *out_value) {
  *out_value = (struct value){.name = word(reader, arena)};
  if (!dtype_parse(word(reader, arena), &out_value->dtype)) give_up(reader, "unknown dtype");
  out_value->batched = whole(reader) != 0;
  out_value->shape.rank = (int)whole(reader);
  if (out_value->shape.rank > RANK_MAX) give_up(reader, "rank is too large");
  for (int i = 0; i < out_value->shape.rank; i++) out_value->shape.dim[i] = whole(reader);
  if (!elements) return NULL;
  int64_t count = shape_elements(&out_value->shape) * (out_value->batched && !constant ? batch : 1);
  void *data = arena_array(arena, (size_t)count, dtype_size(out_value->dtype));
  for (int64_t i = 0; i < count; i++) read_element(reader, out_value->dtype, data, i);
  return data;
}

static void read_attr(struct op_case_reader *reader, struct graph *graph, struct node *node, const char *kind) {
  const char *name = word(reader, graph->arena);
  if (strcmp(kind, "int") == 0) {
    node_set_int(graph, node, name, whole(reader));
  } else if (strcmp(kind, "float") == 0) {
    node_set_float(graph, node, name, real(reader));
  } else if (strcmp(kind, "string") == 0) {
    node_set_string(graph, node, name, word(reader, graph->arena));
  } else if (strcmp(kind, "ints") == 0) {
    size_t count = (size_t)whole(reader);
    int64_t *ints = arena_array(graph->arena, count, sizeof *ints);
    for (size_t i = 0; i < count; i++) ints[i] = whole(reader);
    node_set_ints(graph, node, name, ints, count);
  } else if (strcmp(kind, "floats") == 0) {
    size_t count = (size_t)whole(reader);
    double *floats = arena_array(graph->arena, count, sizeof *floats);
    for (size_t i = 0; i < count; i++) floats[i] = real(reader);
    node_set_floats(graph, node, name, floats, count);
  } else {
    give_up(reader, "unknown word");
  }
}

static struct value *add_operand(struct op_case_reader *reader, struct op_case *op_case, const char *kind,
                                 const void **out_data) {
  struct graph *graph = &op_case->build.graph;
  bool constant = strcmp(kind, "constant") == 0;
  struct value read;
  const void *data = read_operand(reader, graph->arena, op_case->batch, constant, strcmp(kind, "typed") != 0, &read);
  struct value *value = graph_add_value(graph, read.name, read.dtype, &read.shape, read.batched);
  *out_data = data;
  if (constant)
    value->data = data;
  else
    graph->inputs[graph->input_count++] = value;
  return value;
}

static const char *rest_of_line(struct op_case_reader *reader, struct arena *arena) {
  skip_space(reader);
  size_t length = strcspn(reader->at, "\n");
  const char *text = arena_strndup(arena, reader->at, length);
  reader->at += length;
  return text;
}

/* Made at the end, when the numbers of inputs and outputs are known; the attributes wait in `attrs`. */
static void finish_case(struct op_case *op_case, enum op op, struct value *const *inputs, int input_count,
                        const struct node *attrs) {
  struct graph *graph = &op_case->build.graph;
  struct value *outputs[CASE_OPERANDS_MAX];
  struct shape unknown = {0};
  int count = op_case->fails != NULL && op_case->wanted_count == 0 ? 1 : op_case->wanted_count;
  for (int i = 0; i < count; i++) {
    outputs[i] = NULL;
    if (op_case->wanted[i] == NULL && op_case->fails == NULL) continue;
    outputs[i] = graph_add_value(graph, arena_printf(graph->arena, "o%d", i), DTYPE_F32, &unknown, false);
    if (op_case->fails == NULL) graph->outputs[graph->output_count++] = outputs[i];
  }
  op_case->node = graph_add_node(graph, NULL, op, inputs, input_count, outputs, count);
  op_case->node->attrs = attrs->attrs;
  op_case->node->attr_count = attrs->attr_count;
}

bool op_case_next(struct op_case_reader *reader, struct op_case *out_case) {
  skip_space(reader);
  if (*reader->at == '\0') return false;
  *out_case = (struct op_case){.batch = 1};
  build_init(&out_case->build);
  struct arena *arena = &out_case->build.arena;
  struct value *inputs[CASE_OPERANDS_MAX];
  struct node attrs = {.op = OP_constant};
  int input_count = 0;
  enum op op;
  if (strcmp(word(reader, arena), "case") != 0) give_up(reader, "expected a case");
  out_case->name = word(reader, arena);
  if (!op_parse(word(reader, arena), &op)) give_up(reader, "unknown op");
  out_case->batch = whole(reader);
  for (const char *kind; strcmp(kind = word(reader, arena), "end") != 0;) {
    if (input_count == CASE_OPERANDS_MAX || out_case->wanted_count == CASE_OPERANDS_MAX) give_up(reader, "too many operands");
    if (strcmp(kind, "fails") == 0) {
      out_case->fails = rest_of_line(reader, arena);
    } else if (strcmp(kind, "outputs") == 0) {
      out_case->wanted_count = (int)whole(reader);
    } else if (strcmp(kind, "omitted") == 0) {
      /* Outputs follow the inputs, and the first of them is never omitted. */
      if (out_case->wanted_count > 0)
        out_case->wanted_count++;
      else
        inputs[input_count++] = NULL;
    } else if (strcmp(kind, "output") == 0) {
      struct value *wanted = arena_alloc(arena, sizeof *wanted);
      out_case->wanted_data[out_case->wanted_count] = read_operand(reader, arena, out_case->batch, false, true, wanted);
      out_case->wanted[out_case->wanted_count++] = wanted;
    } else if (strcmp(kind, "input") == 0 || strcmp(kind, "constant") == 0 || strcmp(kind, "typed") == 0) {
      inputs[input_count] = add_operand(reader, out_case, kind, &out_case->inputs[input_count]);
      input_count++;
    } else {
      read_attr(reader, &out_case->build.graph, &attrs, kind);
    }
  }
  finish_case(out_case, op, inputs, input_count, &attrs);
  return true;
}
