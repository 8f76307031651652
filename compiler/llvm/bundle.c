#include "llvm/bundle.h"

#include "base/span.h"
#include "ir/ops.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* runtime/include/vitc/model.h, byte by byte, from the build. */
static const char model_header[] = {
#include "model_header.inc"
    , 0};

struct bundle {
  FILE *out;
  const struct plan *plan;
  const struct graph *graph;
  bool external_weights;
  char upper[256];
};

static void upper_case(const char *name, char *out, size_t size) {
  size_t i = 0;
  for (; name[i] != '\0' && i + 1 < size; i++) {
    unsigned char c = (unsigned char)name[i];
    out[i] = isalnum(c) ? (char)toupper(c) : '_';
  }
  out[i] = '\0';
}

/* A parameter's name from a value's: a C identifier that is no keyword and none of the other parameters. */
static void parameter_name(const char *prefix, int index, int count, char *out, size_t size) {
  if (count == 1)
    snprintf(out, size, "%s", prefix);
  else
    snprintf(out, size, "%s%d", prefix, index);
}

static const char *c_type(const struct value *value) {
  return value->dtype == DTYPE_U8 ? "uint8_t" : "float";
}

/* A value's name in a comment, which it must neither end nor seem to begin. */
static void write_name(FILE *out, const char *name) {
  for (const char *c = name; *c != '\0'; c++) {
    bool mark = c > name && ((c[-1] == '*' && *c == '/') || (c[-1] == '/' && *c == '*'));
    if (mark) fputc(' ', out);
    fputc((unsigned char)*c < ' ' ? ' ' : *c, out);
  }
}

static void describe_tensor(struct bundle *b, const char *parameter, const struct value *value) {
  fprintf(b->out, " *   %-8s \"", parameter);
  write_name(b->out, value->name);
  fprintf(b->out, "\" %s (batch", value->dtype == DTYPE_U8 ? "uint8" : "float32");
  if (value->shape.dim[0] != 1) fprintf(b->out, " * %lld", (long long)value->shape.dim[0]);
  for (int i = 1; i < value->shape.rank; i++) fprintf(b->out, ", %lld", (long long)value->shape.dim[i]);
  fprintf(b->out, "), row-major\n");
}

static void define(struct bundle *b, const char *name, int64_t value, const char *what) {
  fprintf(b->out, "#define %s_%s %lldu /* ", b->upper, name, (long long)value);
  write_name(b->out, what);
  fputs(" */\n", b->out);
}

static void write_constants(struct bundle *b) {
  const struct value *input = b->graph->inputs[0], *output = b->graph->outputs[0];
  define(b, "BATCH_MAX", b->plan->batch_max, "images of one call");
  fprintf(b->out, "#define %s_ARENA_BYTES ((size_t)%lldu) /* of the arena, for any batch up to the largest */\n", b->upper,
          (long long)b->plan->arena_bytes);
  fprintf(b->out, "#define %s_WEIGHTS_BYTES ((uint64_t)%lldu)\n", b->upper, (long long)b->plan->weights_bytes);
  if (input->shape.rank == 4) {
    bool last = input->dtype == DTYPE_U8; /* uint8 is (N, H, W, C), float32 (N, C, H, W) */
    define(b, "INPUT_CHANNELS", input->shape.dim[last ? 3 : 1], "of one pixel");
    define(b, "INPUT_HEIGHT", input->shape.dim[last ? 1 : 2], "pixels");
    define(b, "INPUT_WIDTH", input->shape.dim[last ? 2 : 3], "pixels");
  }
  define(b, "INPUT_ELEMENTS", shape_elements(&input->shape), "of one image");
  define(b, "OUTPUT_ELEMENTS", shape_elements(&output->shape), "of one image");
  if (output->shape.rank == 2) define(b, "CLASSES", output->shape.dim[1], "columns of the output");
  for (int i = 1; i < b->graph->output_count; i++) {
    char name[64];
    snprintf(name, sizeof name, "OUTPUT%d_ELEMENTS", i);
    define(b, name, shape_elements(&b->graph->outputs[i]->shape), b->graph->outputs[i]->name);
  }
}

static void write_run(struct bundle *b) {
  const struct graph *graph = b->graph;
  char name[32];
  fprintf(b->out, "/* Runs the model on `batch` images (1 .. %s_BATCH_MAX).\n", b->upper);
  for (int i = 0; i < graph->input_count; i++) {
    parameter_name("input", i, graph->input_count, name, sizeof name);
    describe_tensor(b, name, graph->inputs[i]);
  }
  for (int i = 0; i < graph->output_count; i++) {
    parameter_name("output", i, graph->output_count, name, sizeof name);
    describe_tensor(b, name, graph->outputs[i]);
  }
  fprintf(b->out, " *   arena    %s_ARENA_BYTES bytes aligned to VITC_ALIGNMENT; contents don't matter before or after\n",
          b->upper);
  if (b->external_weights)
    fprintf(b->out, " *   weights  the weights file's %s_WEIGHTS_BYTES bytes, aligned to VITC_ALIGNMENT; only read\n",
            b->upper);
  fprintf(b->out,
          " *   parallel your threads, or NULL for the calling thread alone; the result has the same bits either way\n");
  fprintf(b->out,
          " * No parameter may overlap another. Returns VITC_OK, or VITC_E_* with the outputs untouched. Reentrant: each\n");
  fprintf(b->out, " * concurrent call needs an arena of its own. Neither allocates nor makes system calls. */\n");
  fprintf(b->out, "int %s_run(", graph->name);
  for (int i = 0; i < graph->input_count; i++) {
    parameter_name("input", i, graph->input_count, name, sizeof name);
    fprintf(b->out, "const %s *%s, ", c_type(graph->inputs[i]), name);
  }
  for (int i = 0; i < graph->output_count; i++) {
    parameter_name("output", i, graph->output_count, name, sizeof name);
    fprintf(b->out, "%s *%s, ", c_type(graph->outputs[i]), name);
  }
  fprintf(b->out, "uint32_t batch, void *arena, %sconst vitc_parallel *parallel);\n\n",
          b->external_weights ? "const void *weights, " : "");
  fprintf(
      b->out,
      "/* Fills the descriptor for generic hosts: names, shapes, preprocessing, labels. abi_version is VITC_ABI_VERSION;\n");
  fprintf(b->out, " * the pointers in it live as long as the program. Returns VITC_OK, VITC_E_NULL or VITC_E_ABI. */\n");
  fprintf(b->out, "int %s_describe(vitc_model *out_model, uint32_t abi_version);\n", graph->name);
}

static void write_header(struct bundle *b) {
  fprintf(b->out, "/* %s.h: a model compiled by vitc. Link the object that was written with this header. C11 or C++. */\n",
          b->graph->name);
  fprintf(b->out, "#ifndef VITC_MODEL_%s_H\n#define VITC_MODEL_%s_H\n\n", b->upper, b->upper);
  fputs(model_header, b->out);
  fprintf(b->out, "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
  write_constants(b);
  fputc('\n', b->out);
  write_run(b);
  fprintf(b->out, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
}

enum status bundle_write_header(const struct plan *plan, bool external_weights, const char *path, struct diag *diag) {
  struct output output;
  TRY(output_open(&output, path, diag));
  struct bundle bundle = {.out = output.stream, .plan = plan, .graph = plan->graph, .external_weights = external_weights};
  upper_case(plan->graph->name, bundle.upper, sizeof bundle.upper);
  write_header(&bundle);
  enum status status = output_commit(&output, diag);
  output_discard(&output);
  return status;
}
