/* Every golden case of an op that a model can compute at run time, as a compiled model of that one op. */
#include "support/compiled.h"
#include "support/op_cases.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <glob.h>
#include <stdlib.h>
#include <string.h>

static bool computes(struct op_case *one) {
  if (one->fails != NULL || one->node->op == OP_constant) return false;
  cr_assert(infer_node(&one->build.graph, one->node) == STATUS_OK, "%s: %s", one->name, one->build.diag.message);
  for (int i = 0; i < one->node->output_count; i++) {
    const struct value *output = one->node->outputs[i];
    if (output == NULL || output->dtype != DTYPE_F32 || output->shape.rank == 0 || shape_elements(&output->shape) == 0)
      return false;
  }
  return true;
}

/* Ops that compiled code refuses, with a message; anything else must compile. */
static bool may_be_refused(const char *message) {
  static const char *const reasons[] = {"two-dimensional",     "powers of 2",    "transA",
                                        "constant B in Gemm",  "rank 2 or more", "of shape (N, ..)",
                                        "by constant indices", "a C of one row", "takes float32 or uint8"};
  for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
    if (strstr(message, reasons[i]) != NULL) return true;
  return false;
}

/* An operand that is the same for all images is a constant of a model; with the passes off it is still computed with at run
 * time. */
static void make_constants(struct op_case *one) {
  struct graph *graph = &one->build.graph;
  int kept = 0;
  for (int i = 0; i < graph->input_count; i++) {
    if (graph->inputs[i]->batched) {
      graph->inputs[kept++] = graph->inputs[i];
      continue;
    }
    for (int j = 0; j < one->node->input_count; j++)
      if (one->node->inputs[j] == graph->inputs[i]) graph->inputs[i]->data = one->inputs[j];
  }
  graph->input_count = kept;
  if (kept > 0) return;
  struct shape shape = {1, {1}}; /* a model has an input, if only for its batch */
  graph->inputs[graph->input_count++] = graph_add_value(graph, "unused", DTYPE_F32, &shape, true);
}

static void compare(const struct op_case *one, const struct compiled *compiled, const char *level) {
  const void *inputs[CASE_OPERANDS_MAX];
  void *outputs[CASE_OPERANDS_MAX];
  int count = 0;
  const float unused[8] = {0};
  if (one->build.graph.inputs[0]->producer == NULL && strcmp(one->build.graph.inputs[0]->name, "unused") == 0)
    inputs[count++] = unused;
  for (int i = 0; i < one->node->input_count; i++) {
    const struct value *value = one->node->inputs[i];
    if (value != NULL && value->data == NULL) inputs[count++] = one->inputs[i];
  }
  for (int i = 0; i < one->node->output_count; i++)
    outputs[i] = calloc((size_t)(shape_elements(&one->node->outputs[i]->shape) * one->batch), sizeof(float));
  cr_expect(compiled_run(compiled, level, (uint32_t)one->batch, 2, inputs, outputs), "%s: %s wrote outside", one->name, level);
  for (int i = 0; i < one->node->output_count; i++) {
    size_t elements = (size_t)(shape_elements(&one->node->outputs[i]->shape) * one->batch);
    double error = largest_error(outputs[i], one->wanted_data[i], elements);
    cr_expect(error <= 2e-5, "%s: %s is off by %.2e", one->name, level, error);
    free(outputs[i]);
  }
}

static int check_case(struct op_case *one) {
  if (!computes(one)) return 0;
  struct graph *graph = &one->build.graph;
  graph->output_count = one->node->output_count;
  for (int i = 0; i < graph->output_count; i++) graph->outputs[i] = one->node->outputs[i];
  make_constants(one);
  const char *names[64];
  struct pass_options passes = {.disabled = names};
  while (pass_at(passes.disabled_count) != NULL) {
    names[passes.disabled_count] = pass_at(passes.disabled_count)->name;
    passes.disabled_count++;
  }
  struct compiled compiled;
  if (compiled_open(graph, &passes, one->batch, 0, &compiled) != STATUS_OK) {
    cr_expect(may_be_refused(graph->diag->message), "%s: %s", one->name, graph->diag->message);
    return 0;
  }
  const char *level;
  for (int i = 0; (level = compiled_level(&compiled, i)) != NULL; i++) compare(one, &compiled, level);
  compiled_close(&compiled);
  return 1;
}

Test(compiled, ops) {
  glob_t files;
  cr_assert(glob(VITC_SOURCE_DIR "/tests/golden/ops/*.txt", 0, NULL, &files) == 0);
  int compiled = 0;
  for (size_t i = 0; i < files.gl_pathc; i++) {
    struct arena arena;
    arena_init(&arena);
    struct op_case_reader reader = {.at = read_text(&arena, files.gl_pathv[i]), .file = files.gl_pathv[i]};
    struct op_case one;
    while (op_case_next(&reader, &one)) {
      compiled += check_case(&one);
      build_deinit(&one.build);
    }
    arena_deinit(&arena);
  }
  globfree(&files);
  cr_expect(compiled >= 60, "only %d cases could be compiled", compiled);
}
