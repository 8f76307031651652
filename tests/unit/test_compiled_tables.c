/* Constants with one row a token, which objects of low precision hold in bf16: what is computed with them is exact of the
 * rounded table, at every CPU level that this machine has. */
#include "interp/interp.h"
#include "plan/plan.h"
#include "support/bf16.h"
#include "support/compiled.h"
#include "support/graph_build.h"

#include <criterion/criterion.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 3 };

struct table {
  const char *input, *type; /* of x and of the constant */
  size_t elements, columns; /* of x */
};

static const struct table tables[] = {
    {"float32[N,197,37]", "float32[1,197,37]", 197 * 37, 37},
    {"float32[N,40,48]", "float32[40,48]", 40 * 48, 48},
    {"float32[N,1030,3]", "float32[1,1030,3]", 1030 * 3, 3},
    {"float32[N,2,600]", "float32[1,2,600]", 1200, 600},
};

static void run_graph(struct build *build, enum precision precision, const float *input, size_t outputs, const float *wanted,
                      const char *what) {
  struct pass_options passes = {0};
  struct compiled compiled;
  enum status status = compiled_open_precision(&build->graph, &passes, BATCH, 0, precision, &compiled);
  cr_assert(status == STATUS_OK, "%s: %s", what, build->diag.message);
  float *got = malloc(BATCH * outputs * sizeof *got);
  const char *level;
  int levels = 0;
  for (; (level = compiled_level(&compiled, levels)) != NULL; levels++)
    for (uint32_t threads = 1; threads <= 3; threads += 2) {
      const void *inputs[] = {input};
      void *results[] = {got};
      memset(got, 0, BATCH * outputs * sizeof *got);
      cr_assert(compiled_run(&compiled, level, BATCH, threads, inputs, results), "%s: %s wrote outside", what, level);
      for (size_t i = 0; i < BATCH * outputs; i++)
        cr_assert(got[i] == wanted[i], "%s: %s, element %zu is %.9g, not %.9g", what, level, i, (double)got[i],
                  (double)wanted[i]);
    }
  cr_expect(levels > 0, "this CPU has none of the object's levels");
  free(got);
  compiled_close(&compiled);
}

static float held(float value, enum precision precision) {
  return precision == PRECISION_FP32 ? value : from_bf16(to_bf16(value));
}

static float combine(enum op op, float a, float b) {
  return op == OP_add ? a + b : op == OP_sub ? a - b : a * b;
}

/* x op table, or table op x. */
static void check_elementwise(const struct table *table, enum op op, bool table_first, enum precision precision) {
  struct build build;
  build_init(&build);
  struct value *x = build_input(&build, "x", table->input), *t = build_random(&build, "t", table->type, 5);
  struct value *first = table_first ? t : x, *second = table_first ? x : t;
  build_output(&build, BUILD(&build, "y", op, first, second));
  float *input = malloc(BATCH * table->elements * sizeof *input), *wanted = malloc(BATCH * table->elements * sizeof *wanted);
  random_floats(input, BATCH * table->elements, 9);
  for (size_t i = 0; i < BATCH * table->elements; i++) {
    float constant = held(((const float *)t->data)[i % table->elements], precision);
    wanted[i] = table_first ? combine(op, constant, input[i]) : combine(op, input[i], constant);
  }
  char what[96];
  snprintf(what, sizeof what, "%s %s %s%s", precision_name(precision), op_info(op)->name, table->type,
           table_first ? " first" : "");
  run_graph(&build, precision, input, table->elements, wanted, what);
  free(input);
  free(wanted);
  build_deinit(&build);
}

Test(compiled_tables, elementwise) {
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
    check_elementwise(&tables[i], OP_add, i % 2 == 0, PRECISION_BF16);
    check_elementwise(&tables[i], OP_mul, i % 2 == 1, PRECISION_INT8);
  }
  check_elementwise(&tables[0], OP_sub, false, PRECISION_BF16);
  check_elementwise(&tables[0], OP_sub, true, PRECISION_INT8);
  check_elementwise(&tables[0], OP_add, false, PRECISION_FP32);
}

/* Small integers, and a table of 11 bits: sums are exact in any order, but for the table's rounding. */
Test(compiled_tables, after_a_product) {
  static const size_t rows[] = {197, 1, 21}, columns[] = {37, 1100, 64};
  enum { K = 20 };
  for (int i = 0; i < 3; i++) {
    struct build build;
    build_init(&build);
    size_t m = rows[i], n = columns[i];
    char type[3][32];
    snprintf(type[0], sizeof type[0], "float32[N,%zu,%d]", m, K);
    snprintf(type[1], sizeof type[1], "float32[%d,%zu]", K, n);
    snprintf(type[2], sizeof type[2], "float32[1,%zu,%zu]", m, n);
    float *b = malloc(K * n * sizeof *b), *input = malloc(BATCH * m * K * sizeof *input),
          *wanted = malloc(BATCH * m * n * sizeof *b);
    for (size_t j = 0; j < K * n; j++) b[j] = (float)((int)(j * 7 % 11) - 5);
    for (size_t j = 0; j < BATCH * m * K; j++) input[j] = (float)((int)(j * 5 % 13) - 6);
    struct value *x = build_input(&build, "x", type[0]), *w = build_constant(&build, "w", type[1], b);
    struct value *t = build_random(&build, "t", type[2], 3);
    for (size_t j = 0; j < m * n; j++) ((float *)t->data)[j] = truncf(((const float *)t->data)[j] * 1024) / 1024;
    build_output(&build, BUILD(&build, "y", OP_add, BUILD(&build, "product", OP_mat_mul, x, w), t));
    for (size_t j = 0; j < BATCH * m * n; j++) {
      float sum = 0, table = ((const float *)t->data)[j % (m * n)];
      for (size_t k = 0; k < K; k++) sum += input[j / n * K + k] * b[k * n + j % n];
      wanted[j] = sum + (m > 1 ? held(table, PRECISION_BF16) : table); /* one row is a bias, which stays as it is */
    }
    char what[64];
    snprintf(what, sizeof what, "a product of %zu x %zu", m, n);
    run_graph(&build, i == 2 ? PRECISION_INT8 : PRECISION_BF16, input, m * n, wanted, what);
    free(b);
    free(input);
    free(wanted);
    build_deinit(&build);
  }
}

Test(compiled_tables, part_of_a_concat) {
  enum { ROWS = 33, COLUMNS = 37, LEFT = 2 };
  struct build build;
  build_init(&build);
  struct value *x = build_input(&build, "x", "float32[N,2,37]"), *t = build_random(&build, "t", "float32[N,33,37]", 3);
  t->batched = false;
  t->shape.dim[0] = 1;
  struct node *node = build_append(&build, "y", OP_concat, BUILD_INPUTS(x, t));
  node_set_int(&build.graph, node, "axis", 1);
  build_output(&build, build_infer(&build, node));
  static float input[BATCH * LEFT * COLUMNS], wanted[BATCH * (LEFT + ROWS) * COLUMNS];
  random_floats(input, BATCH * LEFT * COLUMNS, 2);
  for (size_t g = 0; g < BATCH; g++)
    for (size_t i = 0; i < (LEFT + ROWS) * COLUMNS; i++)
      wanted[g * (LEFT + ROWS) * COLUMNS + i] = i < LEFT * COLUMNS
                                                    ? input[g * LEFT * COLUMNS + i]
                                                    : held(((const float *)t->data)[i - LEFT * COLUMNS], PRECISION_BF16);
  run_graph(&build, PRECISION_BF16, input, (LEFT + ROWS) * COLUMNS, wanted, "concat");
  build_deinit(&build);
}

/* What bf16 would make infinite stays as it is. */
Test(compiled_tables, numbers_past_bf16) {
  enum { COUNT = 40 * 48 };
  static const float large[] = {-FLT_MAX, FLT_MAX, -0x1.ffp127f, 0x1.fep127f};
  for (int i = 0; i < 4; i++) {
    struct build build;
    build_init(&build);
    static float constant[COUNT], input[BATCH * COUNT], wanted[BATCH * COUNT];
    random_floats(constant, COUNT, 4);
    random_floats(input, BATCH * COUNT, 6);
    constant[77] = large[i];
    struct value *x = build_input(&build, "x", "float32[N,40,48]"),
                 *t = build_constant(&build, "t", "float32[40,48]", constant);
    build_output(&build, BUILD(&build, "y", OP_add, x, t));
    for (size_t j = 0; j < BATCH * COUNT; j++)
      wanted[j] = input[j] + held(constant[j % COUNT], i < 3 ? PRECISION_FP32 : PRECISION_BF16);
    run_graph(&build, PRECISION_BF16, input, COUNT, wanted, "large numbers");
    build_deinit(&build);
  }
}

/* Attention's additive mask, one row a query, in two bytes an element. */
Test(compiled_tables, biases_of_attention) {
  enum { ROWS = 41, WIDTH = 32, HEADS = 2, ELEMENTS = ROWS * WIDTH, BIASES = HEADS * ROWS * ROWS };
  struct build build;
  build_init(&build);
  struct value *x = build_input(&build, "x", "float32[N,41,32]"), *bias = build_random(&build, "bias", "float32[1,2,41,41]", 3);
  ((float *)bias->data)[5] = -INFINITY;
  struct node *node = build_append(&build, "y", OP_attention, BUILD_INPUTS(x, x, x, bias));
  node_set_int(&build.graph, node, "q_num_heads", HEADS);
  node_set_int(&build.graph, node, "kv_num_heads", HEADS);
  build_output(&build, build_infer(&build, node));
  static float input[BATCH * ELEMENTS], wanted[BATCH * ELEMENTS], got[BATCH * ELEMENTS];
  random_floats(input, BATCH * ELEMENTS, 2);
  const void *inputs[] = {input};
  void *exact[] = {wanted}, *results[] = {got};
  cr_assert(interp_run(&build.graph, BATCH, inputs, exact, 1, NULL, NULL, &build.diag) == STATUS_OK);
  struct pass_options passes = {0};
  struct compiled compiled;
  enum status status = compiled_open_precision(&build.graph, &passes, BATCH, 0, PRECISION_BF16, &compiled);
  cr_assert(status == STATUS_OK, "%s", build.diag.message);
  cr_expect_eq(compiled.loaded.model.weights_bytes, (BIASES + PACK_TABLE_ROOM + 31) / 32 * 64);
  const char *level;
  for (int i = 0; (level = compiled_level(&compiled, i)) != NULL; i++) {
    cr_assert(compiled_run(&compiled, level, BATCH, 2, inputs, results), "%s wrote outside", level);
    double error = largest_error(got, wanted, BATCH * ELEMENTS);
    cr_expect(error > 1e-5 && error <= 0.02, "%s is off by %.2e", level, error);
  }
  compiled_close(&compiled);
  build_deinit(&build);
}
