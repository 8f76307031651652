/* Whole models through the compiler: right at every CPU level that this machine has, the same bits for every number of threads
 * and for an image alone or in any batch, with any pass switched off. */
#include "interp/interp.h"
#include "support/compiled.h"
#include "support/graph_build.h"
#include "support/vit_graph.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdlib.h>
#include <string.h>

static const double TOLERANCE = 2e-5;

/* One set of images and the outputs wanted of it, output after output. */
struct run {
  float *input, *wanted, *got;
  size_t image_in, image_out[GRAPH_IO_MAX], total_out; /* total_out: of one image, all outputs */
  int outputs;
  uint32_t batch;
};

static void place_outputs(const struct run *run, float *base, uint32_t first, void **out_places) {
  for (int o = 0; o < run->outputs; o++) {
    out_places[o] = base + first * run->image_out[o];
    base += run->batch * run->image_out[o];
  }
}

static void run_init(struct run *run, const struct graph *graph, uint32_t batch) {
  *run = (struct run){.outputs = graph->output_count, .batch = batch};
  run->image_in = (size_t)shape_elements(&graph->inputs[0]->shape);
  for (int o = 0; o < run->outputs; o++) {
    run->image_out[o] = (size_t)shape_elements(&graph->outputs[o]->shape);
    run->total_out += run->image_out[o];
  }
  run->input = calloc(batch * run->image_in, sizeof(float));
  run->wanted = calloc(batch * run->total_out, sizeof(float));
  run->got = calloc(batch * run->total_out, sizeof(float));
  random_floats(run->input, batch * run->image_in, 7);
  const void *inputs[] = {run->input};
  void *outputs[GRAPH_IO_MAX];
  place_outputs(run, run->wanted, 0, outputs);
  cr_assert(interp_run(graph, batch, inputs, outputs, 2, NULL, NULL, graph->diag) == STATUS_OK, "%s", graph->diag->message);
}

static void run_deinit(struct run *run) {
  free(run->input);
  free(run->wanted);
  free(run->got);
}

/* The images, `batch` at a time, into `got`. */
static void run_model(const struct compiled *compiled, const struct run *run, const char *level, uint32_t batch,
                      uint32_t threads, float *got) {
  for (uint32_t first = 0; first < run->batch; first += batch) {
    uint32_t count = run->batch - first < batch ? run->batch - first : batch;
    const void *inputs[] = {run->input + first * run->image_in};
    void *outputs[GRAPH_IO_MAX];
    place_outputs(run, got, first, outputs);
    cr_assert(compiled_run(compiled, level, count, threads, inputs, outputs), "%s, batch %u, %u threads: wrote outside", level,
              count, threads);
  }
}

static void expect_bits(const struct compiled *compiled, const struct run *run, const char *level) {
  static const uint32_t threads[] = {1, 2, 3, 8, 64};
  size_t bytes = run->batch * run->total_out * sizeof(float);
  float *got = malloc(bytes);
  for (size_t t = 0; t < sizeof threads / sizeof *threads; t++)
    for (uint32_t batch = 1; batch <= run->batch; batch++) {
      run_model(compiled, run, level, batch, threads[t], got);
      cr_expect(memcmp(got, run->got, bytes) == 0, "%s, batch %u, %u threads: other bits", level, batch, threads[t]);
    }
  free(got);
}

/* With `bits` in groups of two images, so that three are a whole group and a part of one. */
static void check_model(const struct graph *graph, const struct pass_options *passes, const char *what, bool bits) {
  enum { BATCH = 3 };
  struct compiled compiled;
  cr_assert(compiled_open(graph, passes, BATCH, bits ? 2 : 0, &compiled) == STATUS_OK, "%s: %s", what, graph->diag->message);
  struct run run;
  run_init(&run, graph, BATCH);
  const char *level;
  int levels = 0;
  for (; (level = compiled_level(&compiled, levels)) != NULL; levels++) {
    run_model(&compiled, &run, level, BATCH, 1, run.got);
    double error = largest_error(run.got, run.wanted, BATCH * run.total_out);
    cr_expect(error <= TOLERANCE, "%s: %s is off by %.2e", what, level, error);
    if (bits) expect_bits(&compiled, &run, level);
  }
  cr_expect(levels > 0, "this CPU has none of the object's levels");
  run_deinit(&run);
  compiled_close(&compiled);
}

static const struct vit_form small = {
    .height = 32, .width = 48, .patch = 16, .dim = 100, .heads = 5, .hidden = 333, .depth = 2, .classes = 10, .seed = 1};

Test(compiled, forms_of_attention_and_projections) {
  for (int attention = ATTENTION_OP; attention <= ATTENTION_QUERY; attention++)
    for (int qkv = QKV_SPLIT; qkv <= QKV_SPLIT_5D; qkv++) {
      struct vit_form form = small;
      form.attention = (enum attention_form)attention;
      form.qkv = (enum qkv_form)qkv;
      form.decomposed_ops = qkv == QKV_SEPARATE;
      form.plain_weights = attention == ATTENTION_POST;
      struct arena arena;
      arena_init(&arena);
      struct diag diag = {0};
      struct graph graph;
      make_vit_graph(&graph, &arena, &diag, &form);
      struct pass_options passes = {0};
      char what[64];
      snprintf(what, sizeof what, "attention %d, qkv %d", attention, qkv);
      check_model(&graph, &passes, what, attention == ATTENTION_OP);
      arena_deinit(&arena);
    }
}

static const struct vit_form forms[] = {
    {.height = 32,
     .width = 32,
     .patch = 16,
     .dim = 64,
     .heads = 4,
     .hidden = 128,
     .depth = 1,
     .classes = 1000,
     .pooling = POOL_MEAN},
    {.height = 48,
     .width = 32,
     .patch = 16,
     .dim = 37,
     .heads = 1,
     .hidden = 5,
     .depth = 2,
     .classes = 3,
     .pooling = POOL_DISTILLED},
    {.height = 224,
     .width = 224,
     .patch = 16,
     .dim = 48,
     .heads = 3,
     .hidden = 96,
     .depth = 1,
     .classes = 17,
     .layer_scale = true},
    {.height = 30,
     .width = 45,
     .patch = 15,
     .dim = 20,
     .heads = 2,
     .hidden = 40,
     .depth = 3,
     .classes = 1,
     .no_qkv_bias = true},
    {.height = 16,
     .width = 16,
     .patch = 4,
     .dim = 24,
     .heads = 3,
     .hidden = 48,
     .depth = 1,
     .classes = 9,
     .pooling = POOL_NONE},
    {.height = 48,
     .width = 40,
     .patch = 8,
     .dim = 84,
     .heads = 6,
     .hidden = 50,
     .depth = 2,
     .classes = 5,
     .rotary = ROTARY_HALVES},
    {.height = 33,
     .width = 44,
     .patch = 11,
     .dim = 135,
     .heads = 3,
     .hidden = 50,
     .depth = 2,
     .classes = 7,
     .qkv = QKV_SEPARATE,
     .no_key_bias = true,
     .rotary = ROTARY_INTERLEAVED,
     .pooling = POOL_MEAN},
    {.height = 33,
     .width = 44,
     .patch = 11,
     .dim = 64,
     .heads = 2,
     .hidden = 50,
     .depth = 1,
     .classes = 7,
     .attention = ATTENTION_RANK_4,
     .qkv = QKV_GATHER,
     .rotary = ROTARY_INTERLEAVED},
};

Test(compiled, poolings_and_sizes) {
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    struct arena arena;
    arena_init(&arena);
    struct diag diag = {0};
    struct graph graph;
    make_vit_graph(&graph, &arena, &diag, &forms[i]);
    struct pass_options passes = {0};
    char what[32];
    snprintf(what, sizeof what, "form %zu", i);
    check_model(&graph, &passes, what, true);
    arena_deinit(&arena);
  }
}

Test(compiled, any_pass_off) {
  const char *names[64];
  int count = 0;
  for (; pass_at(count) != NULL; count++) names[count] = pass_at(count)->name;
  for (int off = 0; off <= count; off++) {
    struct vit_form form = small;
    form.attention = ATTENTION_POST;
    form.decomposed_ops = true;
    struct arena arena;
    arena_init(&arena);
    struct diag diag = {0};
    struct graph graph;
    make_vit_graph(&graph, &arena, &diag, &form);
    struct pass_options passes = {.disabled = off < count ? &names[off] : names, .disabled_count = off < count ? 1 : count};
    check_model(&graph, &passes, off < count ? names[off] : "all passes", off == count);
    arena_deinit(&arena);
  }
}
