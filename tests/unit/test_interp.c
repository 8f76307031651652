/* The interpreter on a block of a transformer: fused as plain, alone as in a batch, and the same bits on any number of threads.
 */
#include "interp/interp.h"
#include "support/graph_build.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { TOKENS = 19, DIM = 24, HIDDEN = 50, BATCH = 11 };
enum { IMAGE = 3 * 8 * 8, RESULT = DIM };

static struct build build;

static void open_graph(void) {
  build_init(&build);
}
static void close_graph(void) {
  build_deinit(&build);
}

TestSuite(interp, .init = open_graph, .fini = close_graph);

static struct value *add_linear(const char *name, struct value *from, const char *weight, const char *bias, unsigned seed) {
  struct value *w = build_random(&build, arena_printf(&build.arena, "%s.w", name), weight, seed);
  struct value *b = build_random(&build, arena_printf(&build.arena, "%s.b", name), bias, seed + 1);
  struct value *product = BUILD(&build, arena_printf(&build.arena, "%s.product", name), OP_mat_mul, from, w);
  return BUILD(&build, name, OP_add, product, b);
}

static struct value *add_norm(const char *name, struct value *from, unsigned seed) {
  struct value *scale = build_random(&build, arena_printf(&build.arena, "%s.scale", name), "float32[24]", seed);
  struct value *bias = build_random(&build, arena_printf(&build.arena, "%s.bias", name), "float32[24]", seed + 1);
  return BUILD(&build, name, OP_layer_normalization, from, scale, bias);
}

/* Patches of 2 x 2 plus a class token expanded per image; two blocks; the class token's row. */
static void add_model(void) {
  struct value *image = build_input(&build, "image", "float32[N,3,8,8]");
  struct value *filters = build_random(&build, "filters", "float32[24,3,2,2]", 1);
  struct node *conv = build_append(&build, "patches", OP_conv, BUILD_INPUTS(image, filters));
  node_set_ints(&build.graph, conv, "strides", (int64_t[]){2, 2}, 2);
  struct value *grid = build_infer(&build, conv);
  struct value *flat = BUILD(&build, "flat", OP_reshape, grid, BUILD_INTS(&build, "flat.shape", 0, DIM, -1));
  struct node *transpose = build_append(&build, "tokens", OP_transpose, BUILD_INPUTS(flat));
  node_set_ints(&build.graph, transpose, "perm", (int64_t[]){0, 2, 1}, 3);
  struct value *tokens = build_infer(&build, transpose);
  struct value *token_shape = BUILD_INTS(&build, "token.shape", 1, 3, DIM);
  token_shape->batched = true;
  struct value *table = build_random(&build, "table", "float32[1,1,24]", 2);
  struct value *doubled = BUILD(&build, "doubled", OP_add, table, table);
  struct value *prefix = BUILD(&build, "prefix", OP_expand, doubled, token_shape);
  struct node *concat = build_append(&build, "joined", OP_concat, BUILD_INPUTS(prefix, tokens));
  node_set_int(&build.graph, concat, "axis", 1);
  struct value *x = build_infer(&build, concat);
  for (unsigned block = 0; block < 2; block++) {
    struct value *norm = add_norm(arena_printf(&build.arena, "norm1.%u", block), x, 10 * block + 3);
    struct value *q =
        add_linear(arena_printf(&build.arena, "q.%u", block), norm, "float32[24,24]", "float32[24]", 10 * block + 4);
    struct value *name_k =
        add_linear(arena_printf(&build.arena, "k.%u", block), norm, "float32[24,24]", "float32[24]", 10 * block + 5);
    struct node *attention =
        build_append(&build, arena_printf(&build.arena, "mix.%u", block), OP_attention, BUILD_INPUTS(q, name_k, norm));
    node_set_int(&build.graph, attention, "q_num_heads", 4);
    x = BUILD(&build, arena_printf(&build.arena, "residual1.%u", block), OP_add, build_infer(&build, attention), x);
    struct value *hidden =
        add_linear(arena_printf(&build.arena, "fc1.%u", block), x, "float32[24,50]", "float32[50]", 10 * block + 6);
    struct value *active = BUILD(&build, arena_printf(&build.arena, "gelu.%u", block), OP_gelu, hidden);
    struct value *out =
        add_linear(arena_printf(&build.arena, "fc2.%u", block), active, "float32[50,24]", "float32[24]", 10 * block + 7);
    x = BUILD(&build, arena_printf(&build.arena, "residual2.%u", block), OP_add, out, x);
  }
  struct shape scalar = {0};
  struct value *first =
      graph_add_constant(&build.graph, "first", DTYPE_I64, &scalar, arena_alloc(&build.arena, sizeof(int64_t)));
  struct node *gather = build_append(&build, "y", OP_gather, BUILD_INPUTS(x, first));
  node_set_int(&build.graph, gather, "axis", 1);
  build_output(&build, build_infer(&build, gather));
  cr_assert_eq(verify_graph(&build.graph, "building"), STATUS_OK, "%s", build.diag.message);
}

static void run(const struct graph *graph, const float *images, int64_t batch, int threads, float *out) {
  cr_assert_eq(interp_run(graph, batch, (const void *[]){images}, (void *[]){out}, threads, NULL, NULL, &build.diag), STATUS_OK,
               "%s", build.diag.message);
}

Test(interp, same_bits_in_any_batch_on_any_threads) {
  static float images[BATCH * IMAGE], alone[BATCH * RESULT], together[BATCH * RESULT];
  add_model();
  random_floats(images, BATCH * IMAGE, 77);
  for (int i = 0; i < BATCH; i++) run(&build.graph, images + i * IMAGE, 1, 1, alone + i * RESULT);
  cr_expect_arr_neq(alone, alone + RESULT, sizeof(float) * RESULT);
  static const int BATCHES[] = {1, 3, 8, BATCH}, THREADS[] = {1, 2, 3, 8, 20};
  for (size_t i = 0; i < sizeof BATCHES / sizeof *BATCHES; i++) {
    for (size_t j = 0; j < sizeof THREADS / sizeof *THREADS; j++) {
      memset(together, 0, sizeof together);
      run(&build.graph, images, BATCHES[i], THREADS[j], together);
      cr_expect_arr_eq(together, alone, (size_t)BATCHES[i] * RESULT * sizeof(float), "batch %d, %d threads", BATCHES[i],
                       THREADS[j]);
    }
  }
}

static void fuse(const char *host, const char *fused, int running) {
  graph_fuse_epilogue(&build.graph, graph_find(&build.graph, host)->producer, graph_find(&build.graph, fused)->producer,
                      running);
}

Test(interp, fused_chains_change_nothing) {
  static float images[3 * IMAGE], plain[3 * RESULT], fused[3 * RESULT];
  add_model();
  random_floats(images, 3 * IMAGE, 78);
  run(&build.graph, images, 3, 2, plain);
  fuse("q.0.product", "q.0", 0);
  fuse("fc1.0.product", "fc1.0", 0);
  fuse("fc1.0", "gelu.0", 0);
  fuse("fc2.0.product", "fc2.0", 0);
  fuse("fc2.0", "residual2.0", 0);
  fuse("mix.1", "residual1.1", 0);
  /* Only q is left to read this norm: k takes the other block's, v the residual. */
  node_set_input(graph_find(&build.graph, "k.1.product")->producer, 0, graph_find(&build.graph, "residual2.0"));
  node_set_input(graph_find(&build.graph, "residual1.1")->producer, 2, graph_find(&build.graph, "residual2.0"));
  cr_assert_eq(verify_graph(&build.graph, "fusing"), STATUS_OK, "%s", build.diag.message);
  static float before[3 * RESULT];
  run(&build.graph, images, 3, 1, before);
  cr_expect_arr_neq(before, plain, sizeof plain);
  graph_fuse_prologue(&build.graph, graph_find(&build.graph, "q.1.product")->producer,
                      graph_find(&build.graph, "norm1.1")->producer, 0);
  cr_assert_eq(verify_graph(&build.graph, "fusing"), STATUS_OK, "%s", build.diag.message);
  for (int threads = 1; threads < 4; threads++) {
    run(&build.graph, images, 3, threads, fused);
    cr_expect_arr_eq(fused, before, sizeof before, "%d threads", threads);
  }
}

struct taps {
  char names[4096];
  int64_t batch;
  float copied[3 * RESULT];
};

static void record(void *context, const struct value *value, const void *data, int64_t batch) {
  struct taps *taps = context;
  strcat(taps->names, value->name);
  strcat(taps->names, " ");
  taps->batch = batch;
  if (strcmp(value->name, "y") == 0) memcpy(taps->copied, data, sizeof taps->copied);
}

Test(interp, taps_see_each_value_once) {
  static float images[3 * IMAGE], out[3 * RESULT];
  static struct taps taps;
  add_model();
  fuse("fc1.0.product", "fc1.0", 0);
  fuse("fc1.0", "gelu.0", 0);
  random_floats(images, 3 * IMAGE, 79);
  cr_assert_eq(interp_run(&build.graph, 3, (const void *[]){images}, (void *[]){out}, 2, record, &taps, &build.diag),
               STATUS_OK);
  const char *start =
      "image patches flat tokens doubled prefix joined norm1.0 q.0.product q.0 k.0.product k.0 mix.0 residual1.0 gelu.0 ";
  cr_expect_eq(strncmp(taps.names, start, strlen(start)), 0, "%s", taps.names);
  cr_expect_eq(taps.batch, 3);
  cr_expect_arr_eq(taps.copied, out, sizeof out);
}

Test(interp, outputs_may_be_inputs_constants_and_shared) {
  struct value *x = build_input(&build, "x", "float32[N,4]");
  struct value *w = build_random(&build, "w", "float32[3]", 1);
  struct value *y = BUILD(&build, "y", OP_neg, x);
  struct value *twice = BUILD(&build, "twice", OP_add, w, w);
  build_output(&build, x);
  build_output(&build, w);
  build_output(&build, y);
  build_output(&build, y);
  build_output(&build, twice);
  BUILD(&build, "unused", OP_exp, x);
  static float in[10 * 4], same[10 * 4], negated[2][10 * 4], weights[3], doubled[3];
  random_floats(in, 40, 5);
  void *outputs[] = {same, weights, negated[0], negated[1], doubled};
  cr_assert_eq(interp_run(&build.graph, 10, (const void *[]){in}, outputs, 2, NULL, NULL, &build.diag), STATUS_OK);
  cr_expect_arr_eq(same, in, sizeof in);
  cr_expect_arr_eq(weights, w->data, sizeof weights);
  for (int i = 0; i < 40; i++) cr_expect(negated[0][i] == -in[i] && negated[1][i] == -in[i]);
  for (int i = 0; i < 3; i++) cr_expect(doubled[i] == 2 * weights[i]);
}

/* A product of the interpreter's is the exact sum, rounded once: long double as the judge. */
Test(interp, products_are_rounded_once) {
  enum { ROWS = 13, INNER = 700, COLUMNS = 9 };
  struct value *a = build_input(&build, "a", "float32[13,700]"), *w = build_random(&build, "w", "float32[700,9]", 3);
  build_output(&build, BUILD(&build, "y", OP_mat_mul, a, w));
  static float in[ROWS * INNER], out[ROWS * COLUMNS];
  random_floats(in, ROWS * INNER, 4);
  run(&build.graph, in, 1, 3, out);
  for (int i = 0; i < ROWS; i++) {
    for (int j = 0; j < COLUMNS; j++) {
      long double sum = 0;
      for (int k = 0; k < INNER; k++)
        sum += (long double)in[i * INNER + k] * (long double)((const float *)w->data)[k * COLUMNS + j];
      cr_expect_float_eq((double)out[i * COLUMNS + j], (double)(float)sum, 1e-9 + 6e-8 * fabs((double)sum));
    }
  }
}
