/* Whole models in bf16 and int8 at every CPU level that this machine has: near the interpreter, and the same bits for every
 * number of threads and for an image alone or in any batch. */
#include "interp/interp.h"
#include "support/compiled.h"
#include "support/graph_build.h"
#include "support/vit_graph.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 3, GROUP = 2 };

/* Of random weights, whose errors are larger than trained ones'. */
static const double largest[PRECISION_COUNT] = {[PRECISION_BF16] = 0.05, [PRECISION_INT8] = 0.2};

struct run {
  const struct compiled *compiled;
  float *input, *wanted;
  size_t image_in, image_out;
};

static void run_model(const struct run *run, const char *level, uint32_t batch, uint32_t threads, float *got) {
  for (uint32_t first = 0; first < BATCH; first += batch) {
    uint32_t count = BATCH - first < batch ? BATCH - first : batch;
    const void *inputs[] = {run->input + first * run->image_in};
    void *outputs[] = {got + first * run->image_out};
    cr_assert(compiled_run(run->compiled, level, count, threads, inputs, outputs), "%s, batch %u, %u threads: wrote outside",
              level, count, threads);
  }
}

static void check_level(const struct run *run, const char *level, enum precision precision, const char *what) {
  size_t count = BATCH * run->image_out, bytes = count * sizeof(float);
  float *first = malloc(bytes), *got = malloc(bytes);
  run_model(run, level, BATCH, 1, first);
  double error = largest_error(first, run->wanted, count);
  cr_expect(error > 1e-5 && error <= largest[precision], "%s: %s is off by %.2e", what, level, error);
  for (uint32_t threads = 1; threads <= 8; threads = threads * 2 + 1)
    for (uint32_t batch = 1; batch <= BATCH; batch++) {
      run_model(run, level, batch, threads, got);
      cr_expect(memcmp(got, first, bytes) == 0, "%s: %s, batch %u, %u threads: other bits", what, level, batch, threads);
    }
  free(first);
  free(got);
}

static void check_model(const struct graph *graph, enum precision precision, const char *what) {
  struct pass_options passes = {0};
  struct compiled compiled;
  enum status status = compiled_open_precision(graph, &passes, BATCH, GROUP, precision, &compiled);
  cr_assert(status == STATUS_OK, "%s: %s", what, graph->diag->message);
  struct run run = {.compiled = &compiled};
  run.image_in = (size_t)shape_elements(&graph->inputs[0]->shape);
  run.image_out = (size_t)shape_elements(&graph->outputs[0]->shape);
  run.input = malloc(BATCH * run.image_in * sizeof(float));
  run.wanted = malloc(BATCH * run.image_out * sizeof(float));
  random_floats(run.input, BATCH * run.image_in, 7);
  const void *inputs[] = {run.input};
  void *outputs[] = {run.wanted};
  cr_assert(interp_run(graph, BATCH, inputs, outputs, 2, NULL, NULL, graph->diag) == STATUS_OK, "%s", graph->diag->message);
  const char *level;
  int levels = 0;
  for (; (level = compiled_level(&compiled, levels)) != NULL; levels++) check_level(&run, level, precision, what);
  cr_expect(levels > 0, "this CPU has none of the object's levels");
  free(run.input);
  free(run.wanted);
  compiled_close(&compiled);
}

static const struct vit_form forms[] = {
    {.height = 64, .width = 48, .patch = 16, .dim = 192, .heads = 3, .hidden = 384, .depth = 2, .classes = 100, .seed = 1},
    {.height = 64,
     .width = 48,
     .patch = 16,
     .dim = 100,
     .heads = 5,
     .hidden = 333,
     .depth = 2,
     .classes = 70,
     .qkv = QKV_SEPARATE,
     .pooling = POOL_MEAN},
    {.height = 224,
     .width = 224,
     .patch = 16,
     .dim = 96,
     .heads = 3,
     .hidden = 192,
     .depth = 1,
     .classes = 17,
     .layer_scale = true,
     .pooling = POOL_NONE},
    {.height = 33,
     .width = 44,
     .patch = 11,
     .dim = 128,
     .heads = 2,
     .hidden = 70,
     .depth = 2,
     .classes = 7,
     .attention = ATTENTION_RANK_4,
     .qkv = QKV_GATHER,
     .rotary = ROTARY_INTERLEAVED},
};

static void check_forms(enum precision precision) {
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    struct arena arena;
    arena_init(&arena);
    struct diag diag = {0};
    struct graph graph;
    make_vit_graph(&graph, &arena, &diag, &forms[i]);
    char what[32];
    snprintf(what, sizeof what, "%s, form %zu", precision_name(precision), i);
    check_model(&graph, precision, what);
    arena_deinit(&arena);
  }
}

Test(compiled_precision, bf16) {
  check_forms(PRECISION_BF16);
}

Test(compiled_precision, int8) {
  check_forms(PRECISION_INT8);
}
