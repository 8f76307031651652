#include "ir/ops.h"

#include <inttypes.h>
#include <string.h>

enum { PRINTED_ELEMENTS_MAX = 8 };

static const char *short_dtype(enum dtype dtype) {
  static const char *const NAMES[DTYPE_COUNT] = {"f32", "f16", "bf16", "f64", "u8", "i8", "i32", "i64", "bool"};
  return NAMES[dtype];
}

static void print_type(const struct value *value, FILE *stream) {
  fprintf(stream, "%s[", short_dtype(value->dtype));
  for (int i = 0; i < value->shape.rank; i++) {
    if (i > 0) fputc(',', stream);
    bool symbol = i == 0 && value->batched && value->data == NULL;
    if (symbol) fputs(value->shape.dim[0] == 1 ? "N" : "N*", stream);
    if (!symbol || value->shape.dim[0] != 1) fprintf(stream, "%" PRId64, value->shape.dim[i]);
  }
  fputc(']', stream);
}

/* Names may hold anything; a quote keeps a line parseable. */
static void print_name(const char *name, FILE *stream) {
  bool plain = *name != '\0' && strcspn(name, " \t\"\\%,(){}=") == strlen(name);
  fputc('%', stream);
  if (!plain) fputc('"', stream);
  for (; *name != '\0'; name++) {
    unsigned char c = (unsigned char)*name;
    if (c < 0x20 || c == 0x7f)
      fprintf(stream, "\\x%02x", c);
    else if (c == '"' || c == '\\')
      fprintf(stream, "\\%c", c);
    else
      fputc(c, stream);
  }
  if (!plain) fputc('"', stream);
}

static void print_ints(const struct value *value, int64_t count, FILE *stream) {
  fputs(" = {", stream);
  for (int64_t i = 0; i < count; i++) {
    if (i > 0) fputs(", ", stream);
    int32_t narrow;
    int64_t wide;
    if (value->dtype == DTYPE_I32) {
      memcpy(&narrow, (const char *)value->data + i * 4, sizeof narrow);
      wide = narrow;
    } else {
      memcpy(&wide, (const char *)value->data + i * 8, sizeof wide);
    }
    if (i == 0 && value->batched)
      fputc('N', stream);
    else
      fprintf(stream, "%" PRId64, wide);
  }
  fputc('}', stream);
}

static void print_constants(const struct graph *graph, FILE *stream) {
  for (const struct value *value = graph->values; value != NULL; value = value->next) {
    if (value->data == NULL || graph_count_uses(graph, value) == 0) continue;
    fputs("constant ", stream);
    print_name(value->name, stream);
    fputc(':', stream);
    print_type(value, stream);
    int64_t count = shape_elements(&value->shape);
    if ((value->dtype == DTYPE_I32 || value->dtype == DTYPE_I64) && count <= PRINTED_ELEMENTS_MAX)
      print_ints(value, count, stream);
    fputc('\n', stream);
  }
}

static void print_attr(const struct attr *attr, FILE *stream) {
  fprintf(stream, "%s=", attr->name);
  switch (attr->kind) {
  case ATTR_INT:
    fprintf(stream, "%" PRId64, attr->i);
    break;
  case ATTR_FLOAT:
    fprintf(stream, "%.9g", attr->f);
    break;
  case ATTR_STRING:
    fprintf(stream, "%s", attr->string);
    break;
  case ATTR_INTS:
  case ATTR_FLOATS:
    fputc('[', stream);
    for (size_t i = 0; i < attr->count; i++) {
      if (i > 0) fputc(',', stream);
      if (attr->kind == ATTR_INTS)
        fprintf(stream, "%" PRId64, attr->ints[i]);
      else
        fprintf(stream, "%.9g", attr->floats[i]);
    }
    fputc(']', stream);
    break;
  }
}

static bool is_default(const struct attr *attr, const struct attr_spec *spec) {
  if (spec->required || attr->kind != spec->kind) return false;
  switch (attr->kind) {
  case ATTR_INT:
    return attr->i == spec->i;
  case ATTR_FLOAT:
    return attr->f == spec->f;
  case ATTR_STRING:
    return strcmp(attr->string, spec->string) == 0;
  default:
    return false;
  }
}

/* In the order of ops.def, so that the text does not depend on the order in which they were set. */
static void print_attrs(const struct node *node, FILE *stream) {
  const char *before = " {";
  for (const struct attr_spec *spec = op_info(node->op)->attrs; spec->name != NULL; spec++) {
    const struct attr *attr = node_attr(node, spec->name);
    /* Constant's value is its attribute, whatever the default. */
    if (attr == NULL || (node->op != OP_constant && is_default(attr, spec))) continue;
    fputs(before, stream);
    print_attr(attr, stream);
    before = ", ";
  }
  if (before[0] == ',') fputc('}', stream);
}

static void print_call(const struct node *node, const char *null_text, FILE *stream) {
  fprintf(stream, "%s(", op_info(node->op)->name);
  for (int i = 0; i < node->input_count; i++) {
    if (i > 0) fputs(", ", stream);
    if (node->inputs[i] != NULL) {
      print_name(node->inputs[i]->name, stream);
    } else {
      /* Of a fused node, only the first missing input is the running value. */
      fputs(null_text, stream);
      null_text = "-";
    }
  }
  fputc(')', stream);
  print_attrs(node, stream);
  fputc('\n', stream);
}

static void print_node(const struct node *node, FILE *stream) {
  for (int i = 0; i < node->output_count; i++) {
    if (i > 0) fputs(", ", stream);
    if (node->outputs[i] == NULL) {
      fputc('-', stream);
      continue;
    }
    print_name(node->outputs[i]->name, stream);
    fputc(':', stream);
    print_type(node->outputs[i], stream);
  }
  fputs(" = ", stream);
  print_call(node, "-", stream);
  for (int i = 0; i < node->prologue_count; i++) {
    fputs("  prologue ", stream);
    print_call(node->prologue[i], "_", stream);
  }
  for (int i = 0; i < node->epilogue_count; i++) {
    fputs("  epilogue ", stream);
    print_call(node->epilogue[i], "_", stream);
  }
}

void print_graph(const struct graph *graph, FILE *stream) {
  fprintf(stream, "graph %s\n", graph->name);
  for (int i = 0; i < graph->input_count; i++) {
    fputs("input ", stream);
    print_name(graph->inputs[i]->name, stream);
    fputc(':', stream);
    print_type(graph->inputs[i], stream);
    fputc('\n', stream);
  }
  print_constants(graph, stream);
  for (const struct node *node = graph->first; node != NULL; node = node->next) print_node(node, stream);
  for (int i = 0; i < graph->output_count; i++) {
    fputs("output ", stream);
    print_name(graph->outputs[i]->name, stream);
    fputc('\n', stream);
  }
}
