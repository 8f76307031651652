/* Every op against ONNX's reference evaluator (tests/golden/ops/OP.txt), and what ops must refuse (tests/golden/ops/rejected).
 */
#include "interp/interp.h"
#include "support/op_cases.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define GOLDEN VITC_SOURCE_DIR "/tests/golden/ops/"

static size_t image_bytes(const struct value *value) {
  return (size_t)shape_elements(&value->shape) * dtype_size(value->dtype);
}

static size_t batch_bytes(const struct value *value, int64_t batch) {
  return image_bytes(value) * (value->batched && value->data == NULL ? (size_t)batch : 1);
}

static double as_double(enum dtype dtype, const void *data, size_t at) {
  return dtype == DTYPE_F32 ? (double)((const float *)data)[at] : ((const double *)data)[at];
}

/* Floats may differ by 1e-6 of the wanted values' standard deviation and by the last digit; all else is equal bit for bit. */
static bool close_enough(const struct value *value, const void *got, const void *wanted, size_t bytes) {
  if (value->dtype != DTYPE_F32 && value->dtype != DTYPE_F64) return memcmp(got, wanted, bytes) == 0;
  size_t count = bytes / dtype_size(value->dtype);
  double sum = 0, squares = 0, last_digit = value->dtype == DTYPE_F32 ? 1.2e-7 : 2.3e-16;
  double share = value->dtype == DTYPE_F32 ? 1e-6 : 1e-14;
  for (size_t i = 0; i < count; i++) {
    double element = as_double(value->dtype, wanted, i);
    if (!isfinite(element)) continue;
    sum += element / (double)count;
    squares += element * element / (double)count;
  }
  double deviation = sqrt(fmax(0, squares - sum * sum));
  for (size_t i = 0; i < count; i++) {
    double a = as_double(value->dtype, got, i), b = as_double(value->dtype, wanted, i);
    if (a == b || (isnan(a) && isnan(b))) continue;
    if (!(fabs(a - b) <= share * deviation + last_digit * fabs(b))) return false;
  }
  return true;
}

/* The node by its own eval, an image at a time. */
static void eval_images(const struct op_case *op_case, void *const *outputs) {
  const struct node *node = op_case->node;
  for (int64_t image = 0; image < op_case->batch; image++) {
    const void *in[CASE_OPERANDS_MAX] = {NULL};
    void *out[CASE_OPERANDS_MAX] = {NULL};
    for (int i = 0; i < node->input_count; i++) {
      const struct value *value = node->inputs[i];
      if (value == NULL) continue;
      bool moves = value->batched && value->data == NULL;
      in[i] = (const char *)op_case->inputs[i] + (moves ? (size_t)image * image_bytes(value) : 0);
    }
    for (int i = 0; i < node->output_count; i++)
      if (node->outputs[i] != NULL)
        out[i] = (char *)outputs[i] + (node->outputs[i]->batched ? (size_t)image * image_bytes(node->outputs[i]) : 0);
    op_info(node->op)->eval(node, in, out);
  }
}

/* The same node as a graph of its own, on threads. */
static void interpret(struct op_case *op_case, int threads, void *const *outputs) {
  const void *in[GRAPH_IO_MAX];
  void *out[GRAPH_IO_MAX];
  int in_count = 0, out_count = 0;
  for (int i = 0; i < op_case->node->input_count; i++)
    if (op_case->node->inputs[i] != NULL && op_case->node->inputs[i]->data == NULL) in[in_count++] = op_case->inputs[i];
  for (int i = 0; i < op_case->node->output_count; i++)
    if (op_case->node->outputs[i] != NULL) out[out_count++] = outputs[i];
  struct diag *diag = &op_case->build.diag;
  cr_assert_eq(interp_run(&op_case->build.graph, op_case->batch, in, out, threads, NULL, NULL, diag), STATUS_OK, "%s",
               diag->message);
}

static void *room(struct op_case *op_case, const struct value *value) {
  return arena_alloc(&op_case->build.arena, batch_bytes(value, op_case->batch));
}

static void check_case(struct op_case *op_case, const char *op) {
  struct graph *graph = &op_case->build.graph;
  struct node *node = op_case->node;
  enum status status = infer_node(graph, node);
  cr_expect_eq(status, STATUS_OK, "%s %s: %s", op, op_case->name, op_case->build.diag.message);
  if (status != STATUS_OK) return;
  cr_expect_eq(verify_graph(graph, "test"), STATUS_OK, "%s %s: %s", op, op_case->name, op_case->build.diag.message);
  void *outputs[CASE_OPERANDS_MAX] = {NULL}, *interpreted[CASE_OPERANDS_MAX] = {NULL};
  for (int i = 0; i < node->output_count; i++) {
    const struct value *output = node->outputs[i], *wanted = op_case->wanted[i];
    if (output == NULL) continue;
    bool same =
        output->dtype == wanted->dtype && output->batched == wanted->batched && shape_equal(&output->shape, &wanted->shape);
    cr_expect(same, "%s %s: dtype, batch or shape of output %d", op, op_case->name, i);
    if (!same) return;
    outputs[i] = room(op_case, output);
    interpreted[i] = room(op_case, output);
  }
  eval_images(op_case, outputs);
  interpret(op_case, 3, interpreted);
  for (int i = 0; i < node->output_count; i++) {
    if (outputs[i] == NULL) continue;
    size_t bytes = batch_bytes(node->outputs[i], op_case->batch);
    cr_expect(close_enough(node->outputs[i], outputs[i], op_case->wanted_data[i], bytes), "%s %s: output %d", op, op_case->name,
              i);
    cr_expect_arr_eq(interpreted[i], outputs[i], bytes, "%s %s: interpreter's output %d", op, op_case->name, i);
  }
}

Test(ops, match_onnx) {
  struct arena arena;
  arena_init(&arena);
  for (int op = 0; op < OP_COUNT; op++) {
    const char *name = op_info((enum op)op)->name;
    const char *path = arena_printf(&arena, GOLDEN "%s.txt", name);
    struct op_case_reader reader = {read_text(&arena, path), path};
    struct op_case op_case;
    int cases = 0;
    while (op_case_next(&reader, &op_case)) {
      check_case(&op_case, name);
      build_deinit(&op_case.build);
      cases++;
    }
    cr_expect_gt(cases, 0, "%s has no case", name);
  }
  arena_deinit(&arena);
}

Test(ops, refuse) {
  struct arena arena;
  arena_init(&arena);
  struct op_case_reader reader = {read_text(&arena, GOLDEN "rejected"), GOLDEN "rejected"};
  struct op_case op_case;
  int cases = 0;
  while (op_case_next(&reader, &op_case)) {
    struct diag *diag = &op_case.build.diag;
    enum status status = infer_node(&op_case.build.graph, op_case.node);
    const char *wanted = arena_printf(&arena, "test.json: node 'o0' (%s): %s", op_info(op_case.node->op)->name, op_case.fails);
    cr_expect_eq(status, STATUS_INPUT, "%s was accepted", op_case.name);
    cr_expect_str_eq(diag->message, wanted, "%s", op_case.name);
    build_deinit(&op_case.build);
    cases++;
  }
  cr_expect_gt(cases, 50);
  arena_deinit(&arena);
}
