/* The account of phases and what bench makes of it: everything about time stamps that does not depend on how fast the machine
 * is. */
#include "cmd/bench.h"
#include "cmd/command.h"
#include "cmd/temporary.h"
#include "driver.h"
#include "support/vit_graph.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct vit_form form = {.height = 32,
                                     .width = 48,
                                     .patch = 16,
                                     .dim = 96,
                                     .heads = 3,
                                     .hidden = 200,
                                     .depth = 3,
                                     .classes = 10,
                                     .pooling = POOL_MEAN,
                                     .seed = 5};

static struct diag diag;

static void optimize_with(struct compilation *compilation, const struct driver_options *options) {
  diag = (struct diag){STATUS_OK, ""};
  compilation_init(compilation);
  make_vit_graph(&compilation->graph, &compilation->arena, &diag, &form);
  cr_assert_eq(driver_optimize(compilation, options, &diag), STATUS_OK, "%s", diag.message);
}

static void optimize(struct compilation *compilation, int64_t batch_max) {
  optimize_with(compilation, &(struct driver_options){.batch_max = batch_max});
}

static void read_account(struct compilation *compilation, struct account *account) {
  cr_assert_eq(account_read("m.o", driver_info(compilation), &compilation->arena, account, &diag), STATUS_OK, "%s",
               diag.message);
}

Test(bench, account_has_the_phases_of_the_plan) {
  struct compilation compilation;
  struct account account;
  optimize(&compilation, 4);
  read_account(&compilation, &account);
  const struct plan *plan = &compilation.plan;
  int count = 0;
  for (int i = 0; i < plan->step_count; i++) {
    const char *kinds[OBJECT_PHASES_MAX];
    int phases = object_phases(&plan->steps[i], kinds);
    for (int k = 0; k < phases; k++, count++) {
      cr_assert_lt(count, account.phase_count);
      cr_expect_eq(account.phases[count].step, i);
      cr_expect_str_eq(account.phases[count].kind, kinds[k]);
      cr_expect_eq(account.phases[count].batched, plan->steps[i].batched);
    }
  }
  cr_expect_eq(count, account.phase_count);
  cr_expect_eq(account.step_count, plan->step_count);
  cr_expect_eq(account.arena_bytes, plan->arena_bytes);
  cr_expect_eq(account.batch_max, 4);
  cr_expect_eq(account.group, plan->group);
  int nodes = 0; /* without those that only turn weights around, which packing does */
  for (const struct node *node = compilation.graph.first; node != NULL; node = node->next)
    nodes += node->op != OP_transpose || node->inputs[0]->data == NULL;
  cr_expect_eq(account.node_count, nodes);
  cr_expect_str_eq(account.outputs[0].shape, "Nx10");
  cr_expect_str_eq(account.inputs[0].shape, "Nx3x32x48");
  int steps = 0, sources = 0;
  for (int i = 0; i < account.node_count; i++) {
    steps += account.nodes[i].step >= 0;
    sources += account.nodes[i].source_count;
  }
  cr_expect_gt(steps, 0);
  cr_expect_eq(sources + account.folded + account.unneeded, account.nodes_as_given);
  compilation_close(&compilation);
}

static const struct account_phase *find(const struct account *account, const char *kind, const char *name) {
  for (int i = 0; i < account->phase_count; i++)
    if (strcmp(account->phases[i].kind, kind) == 0 && strcmp(account->phases[i].name, name) == 0) return &account->phases[i];
  return NULL;
}

/* A ViT that averages its tokens computes every row: patches, and in each block query, key and value, both products of
 * attention, the projection and the two layers of the MLP; then the head. */
Test(bench, products_of_a_vit_in_closed_form) {
  struct compilation compilation;
  struct account account;
  optimize(&compilation, 1);
  read_account(&compilation, &account);
  int64_t patches = 2 * 3, tokens = patches + 1, dim = form.dim, hidden = form.hidden, products = 0;
  int64_t block = tokens * dim * 3 * dim + 2 * tokens * tokens * dim + tokens * dim * dim + 2 * tokens * dim * hidden;
  for (int i = 0; i < account.phase_count; i++) {
    const struct account_phase *phase = &account.phases[i];
    bool product = strcmp(phase->kind, "gemm") == 0 || strcmp(phase->kind, "attention") == 0;
    if (product) products += phase->flops;
    if (strcmp(phase->kind, "pack keys") == 0 || strcmp(phase->kind, "copy") == 0) cr_expect_eq(phase->flops, 0);
  }
  cr_expect_eq(products, 2 * (patches * 3 * 16 * 16 * dim + form.depth * block + dim * form.classes));
  const struct account_phase *attention = NULL;
  for (int i = 0; i < account.phase_count; i++)
    if (strcmp(account.phases[i].kind, "attention") == 0) attention = &account.phases[i];
  cr_assert_not_null(attention);
  cr_expect_eq(attention->flops, 2 * 2 * tokens * tokens * dim);
  cr_expect_eq(attention->read_bytes, 3 * tokens * dim * 4);
  cr_expect_eq(attention->write_bytes, tokens * dim * 4);
  cr_expect_eq(attention->shared_bytes, 0);
  const struct account_phase *head = find(&account, "gemm", "head");
  cr_assert_not_null(head);
  cr_expect_eq(head->flops, 2 * dim * form.classes);
  cr_expect_eq(head->read_bytes, dim * 4);
  cr_expect_eq(head->write_bytes, form.classes * 4);
  cr_expect_eq(head->shared_bytes, (dim + 1) * form.classes * 4);
  compilation_close(&compilation);
}

/* ---- what operations are executed in */

/* Multiply-adds of the form, by the layer: each is two operations. */
enum { PATCHES = 2 * 3, TOKENS = PATCHES + 1, DIM = 96, HIDDEN = 200, DEPTH = 3, CLASSES = 10 };
static const double linear = 2.0 * (PATCHES * 768 * DIM + DEPTH * TOKENS * (3 * DIM * DIM + DIM * DIM + 2 * DIM * HIDDEN)),
                    fc1 = 2.0 * TOKENS * DIM * HIDDEN, attention = 2.0 * DEPTH * 2 * TOKENS * TOKENS * DIM,
                    head = 2.0 * DIM * CLASSES;

/* Biases, positions, residuals and GELU are one an element, the two normalisations of a block and the last one five, and the
 * mean one an element that it reads. The class token with its position is a constant. */
static const double vectors = 2 * PATCHES * DIM + DEPTH * TOKENS * (2 * 5 * DIM + 3 * DIM + 4 * DIM + 2 * HIDDEN) +
                              TOKENS * 5 * DIM + TOKENS * DIM + CLASSES;

static void expect_operations(struct compilation *compilation, const struct account *account, enum target_level_id level,
                              const double *expected) {
  struct operations operations;
  cr_assert_eq(operations_of("m.o", account, &target_levels[level], &compilation->arena, &operations, &diag), STATUS_OK, "%s",
               diag.message);
  for (int i = 0; i < ARITHMETIC_COUNT; i++)
    cr_expect_eq(operations.image[i], expected[i], "%s at %s: %.0f, not %.0f", arithmetic_name((enum arithmetic)i),
                 target_levels[level].name, operations.image[i], expected[i]);
  cr_expect_eq(operations_sum(operations.image), (double)account->flops);
  cr_expect_eq(operations.as_given, (double)account->flops_as_given);
}

#define OPERATIONS(...) ((const double[ARITHMETIC_COUNT]){__VA_ARGS__})
#define FP32 [ARITHMETIC_FP32]
#define BF16 [ARITHMETIC_BF16]
#define INT16 [ARITHMETIC_INT16]
#define INT8 [ARITHMETIC_INT8]

Test(bench, operations_of_fp32_and_bf16) {
  struct compilation compilation;
  struct account account;
  const double products = linear + attention + head;
  optimize(&compilation, 1);
  read_account(&compilation, &account);
  expect_operations(&compilation, &account, LEVEL_avx2, OPERATIONS(FP32 = products + vectors));
  expect_operations(&compilation, &account, LEVEL_avx512, OPERATIONS(FP32 = products + vectors));
  compilation_close(&compilation);
  optimize_with(&compilation, &(struct driver_options){.precision = PRECISION_BF16});
  read_account(&compilation, &account);
  expect_operations(&compilation, &account, LEVEL_avx2, OPERATIONS(FP32 = products + vectors));
  expect_operations(&compilation, &account, LEVEL_avx512, OPERATIONS(FP32 = products + vectors));
  expect_operations(&compilation, &account, LEVEL_avx512bf16, OPERATIONS(FP32 = vectors, BF16 = products));
  expect_operations(&compilation, &account, LEVEL_amx, OPERATIONS(FP32 = vectors, BF16 = products));
  compilation_close(&compilation);
}

/* Ten classes are few: the head is bf16 in an int8 model, as attention is. */
Test(bench, operations_of_int8) {
  struct compilation compilation;
  struct account account;
  optimize_with(&compilation, &(struct driver_options){.precision = PRECISION_INT8});
  read_account(&compilation, &account);
  const double widened = attention + head + vectors;
  expect_operations(&compilation, &account, LEVEL_avx2, OPERATIONS(FP32 = widened, INT16 = linear));
  expect_operations(&compilation, &account, LEVEL_avxvnni, OPERATIONS(FP32 = widened, INT8 = linear));
  expect_operations(&compilation, &account, LEVEL_avx512vnni, OPERATIONS(FP32 = widened, INT8 = linear));
  expect_operations(&compilation, &account, LEVEL_avx512bf16,
                    OPERATIONS(FP32 = vectors, BF16 = attention + head, INT8 = linear));
  expect_operations(&compilation, &account, LEVEL_amx, OPERATIONS(FP32 = vectors, BF16 = attention + head, INT8 = linear));
  compilation_close(&compilation);
}

/* The result of a block's fc1, which its width tells. */
static const char *fc1_of(struct compilation *compilation, int block) {
  struct account_product *products;
  int count = driver_products(compilation, &products);
  for (int i = 0; i < count; i++)
    if (products[i].n == HIDDEN && block-- == 0) return products[i].name;
  cr_assert_fail("the graph has no such block");
  return NULL;
}

/* Products chosen one by one: the first fc1 in fp32, the second in bf16. */
Test(bench, operations_of_a_mixed_model) {
  struct compilation plain, compilation;
  struct account account;
  optimize_with(&plain, &(struct driver_options){.precision = PRECISION_INT8});
  const struct plan_choice choices[] = {{fc1_of(&plain, 0), PRECISION_FP32}, {fc1_of(&plain, 1), PRECISION_BF16}};
  optimize_with(&compilation, &(struct driver_options){.precision = PRECISION_INT8, .choices = choices, .choice_count = 2});
  read_account(&compilation, &account);
  cr_expect_str_eq(account.precision, "mixed");
  const double rest = linear - 2 * fc1, bf16 = attention + head + fc1;
  expect_operations(&compilation, &account, LEVEL_avx2, OPERATIONS(FP32 = vectors + fc1 + bf16, INT16 = rest));
  expect_operations(&compilation, &account, LEVEL_avx512vnni, OPERATIONS(FP32 = vectors + fc1 + bf16, INT8 = rest));
  expect_operations(&compilation, &account, LEVEL_amx, OPERATIONS(FP32 = vectors + fc1, BF16 = bf16, INT8 = rest));
  compilation_close(&plain);
  compilation_close(&compilation);
}

Test(bench, unknown_precisions_are_refused) {
  struct arena arena;
  struct operations operations;
  arena_init(&arena);
  struct account_phase phase = {.name = "fc1", .precision = "int4", .flops = 7};
  const struct account account = {.phase_count = 1, .phases = &phase, .flops = 9};
  diag = (struct diag){STATUS_OK, ""};
  cr_expect_eq(operations_of("m.o", &account, &target_levels[LEVEL_amx], &arena, &operations, &diag), STATUS_INPUT);
  cr_expect_str_eq(diag.message, "m.o: its phase 'fc1' is in an unknown precision 'int4'");
  phase.precision = "int8";
  cr_assert_eq(operations_of("m.o", &account, NULL, &arena, &operations, &diag), STATUS_OK); /* no level runs here */
  cr_expect_eq(operations.image[ARITHMETIC_FP32], 9);
  arena_deinit(&arena);
}

Test(bench, seconds_at_the_peaks) {
  const double *peaks = OPERATIONS(FP32 = 10, BF16 = 20, INT8 = 40);
  cr_expect_eq(operations_seconds(OPERATIONS(FP32 = 5, BF16 = 5, INT8 = 10), peaks), 1);
  cr_expect_eq(operations_seconds(OPERATIONS(INT8 = 10), peaks), 0.25);
  cr_expect_eq(operations_seconds(OPERATIONS(FP32 = 5, INT16 = 1), peaks), 0); /* a peak that nobody measured */
}

/* ---- reading accounts */

static void expect_refused(const char *text, const char *part) {
  struct arena arena;
  struct account account;
  arena_init(&arena);
  diag = (struct diag){STATUS_OK, ""};
  cr_expect_eq(account_read("m.o", text, &arena, &account, &diag), STATUS_INPUT);
  cr_expect_not_null(strstr(diag.message, part), "'%s' is not in '%s'", part, diag.message);
  cr_expect_eq(strncmp(diag.message, "m.o: ", 5), 0);
  arena_deinit(&arena);
}

/* The account of a model with `from` replaced by `to`. */
static void expect_refused_with(const char *info, const char *from, const char *to, const char *part) {
  const char *at = strstr(info, from);
  cr_assert_not_null(at, "%s", from);
  size_t size = strlen(info) + strlen(to) + 1;
  char *text = malloc(size);
  cr_assert_not_null(text);
  snprintf(text, size, "%.*s%s%s", (int)(at - info), info, to, at + strlen(from));
  expect_refused(text, part);
  free(text);
}

Test(bench, malformed_accounts_are_refused) {
  struct compilation compilation;
  optimize(&compilation, 1);
  const char *info = driver_info(&compilation);
  expect_refused(NULL, "no account");
  expect_refused("", "account, ");
  expect_refused("{}", "no string 'name'");
  expect_refused("[]", "no string 'name'");
  expect_refused_with(info, "\"group\":", "\"grope\":", "'group'");
  expect_refused_with(info, "\"steps\":", "\"steps\":-", "no count 'steps'");
  expect_refused_with(info, "\"steps\":", "\"steps\":99999999999999999", "line 1");
  expect_refused_with(info, "\"steps\":", "\"steps\":4000000000,\"x\":", "no count 'steps'");
  expect_refused_with(info, "\"phases\":[", "\"phases\":[7,", "'step'");
  expect_refused_with(info, "\"phases\":[", "\"phases\":3,\"x\":[", "no array 'phases'");
  expect_refused_with(info, "\"batched\":true", "\"batched\":1", "'batched'");
  expect_refused_with(info, "\"precision\":\"fp32\",\"batched\"", "\"batched\"", "no string 'precision'");
  expect_refused_with(info, "\"live\":[", "\"live\":[\"a\",", "'live'");
  expect_refused_with(info, "\"live\":[", "\"live\":[9,2],\"x\":[", "'live'");
  expect_refused_with(info, "\"flops\":", "\"flops\":1.5,\"x\":", "no count 'flops'");
  compilation_close(&compilation);
}

/* ---- what is made of the ticks */

/* Two runs of four phases and the time between them, at half a nanosecond a tick; the int8 peak is 10 GFLOP/s and fp32's 2,
 * memory gives 1 GB/s. */
Test(bench, figures_in_closed_form) {
  const struct account_phase product = {.kind = "gemm",
                                        .op = "MatMul",
                                        .precision = "int8",
                                        .batched = true,
                                        .flops = 1000000,
                                        .read_bytes = 3000,
                                        .write_bytes = 1000,
                                        .shared_bytes = 2000};
  struct account_phase phases[] = {
      product,
      product,
      {.kind = "copy", .op = "Concat", .name = "table", .precision = "fp32", .write_bytes = 500, .shared_bytes = 500},
      {.kind = "attention", .op = "Attention", .name = "heads", .precision = "bf16", .batched = true, .flops = 100000}};
  phases[0].name = "blocks.0.fc1";
  phases[1].name = "blocks.11.fc1";
  const struct account account = {.group = 2, .phase_count = 4, .phases = phases, .flops = 2200000};
  struct arena arena;
  struct profile profile;
  struct operations operations;
  arena_init(&arena);
  diag = (struct diag){STATUS_OK, ""};
  cr_assert_eq(operations_of("m.o", &account, &target_levels[LEVEL_avx512vnni], &arena, &operations, &diag), STATUS_OK);
  cr_expect_eq(operations.image[ARITHMETIC_FP32], 200000); /* attention's, and 100000 that no phase has */
  cr_expect_eq(operations.image[ARITHMETIC_INT8], 2000000);
  double milliseconds[] = {1, 1}, int8_peaks[] = {8e9, 1e10, 1e10}, fp32_peaks[] = {1e9, 2e9, 3e9},
         bandwidths[] = {1e9, 1e9, 1e9};
  uint64_t ticks[] = {800000, 800000, 100000, 400000, 2200000, 800000, 1200000, 100000, 400000, 2600000};
  const struct timings timings = {.count = 2,
                                  .milliseconds = milliseconds,
                                  .round_count = 3,
                                  .operations = &operations,
                                  .own_arithmetic = ARITHMETIC_INT8,
                                  .peaks = {[ARITHMETIC_INT8] = int8_peaks, [ARITHMETIC_FP32] = fp32_peaks},
                                  .bandwidths = bandwidths,
                                  .phase_count = 4,
                                  .ticks = ticks,
                                  .ns_per_tick = 0.5};
  profile_make(&timings, &account, 3, &arena, &profile); /* three images: two groups */
  cr_assert_eq(profile.phase_count, 4);
  cr_expect_float_eq(profile.total.ms, 1.3, 1e-12);
  cr_expect_float_eq(profile.phases[0].ms, 0.4, 1e-12);
  cr_expect_float_eq(profile.phases[1].ms, 0.6, 1e-12);
  cr_expect_float_eq(profile.phases[0].flops, 3e6, 0);
  cr_expect_float_eq(profile.phases[0].bytes, 3 * 4000 + 2 * 2000, 0);
  cr_expect_float_eq(profile.phases[0].gflops, 7.5, 1e-9);
  cr_expect_float_eq(profile.phases[0].of_peak, 0.75, 1e-9);
  cr_expect_str_eq(profile.phases[0].executed_in, "int8");
  cr_expect_float_eq(profile.phases[0].gbps, 0.04, 1e-9);
  cr_expect_float_eq(profile.phases[0].of_read, 0.04, 1e-9);
  cr_expect_float_eq(profile.phases[0].share, 0.4 / 1.3, 1e-9);
  cr_expect_float_eq(profile.phases[2].bytes, 2 * 1000, 0);
  cr_expect_str_eq(profile.phases[3].executed_in, "fp32");
  cr_expect_float_eq(profile.phases[3].gflops, 1.5, 1e-9);
  cr_expect_float_eq(profile.phases[3].of_peak, 0.75, 1e-9);
  cr_expect_float_eq(profile.outside_ms, 0.05, 1e-12);
  cr_assert_eq(profile.kind_count, 3);
  cr_expect_str_eq(profile.kinds[0].name, "blocks.*.fc1");
  cr_expect_eq(profile.kinds[0].count, 2);
  cr_expect_float_eq(profile.kinds[0].ms, 1.0, 1e-12);
  cr_expect_float_eq(profile.kinds[0].gflops, 6, 1e-9);
  cr_expect_float_eq(profile.kinds[0].of_peak, 0.6, 1e-9);
  cr_expect_str_eq(profile.kinds[0].executed_in, "int8");
  cr_expect_str_eq(profile.kinds[2].name, "table");
  cr_expect_float_eq(profile.total.flops, 6.3e6, 0);
  cr_expect_str_eq(profile.total.executed_in, "mixed");
  cr_expect_float_eq(profile.total.of_peak, (0.6 + 0.15) / 1.3, 1e-9); /* 6e6 at 10 GFLOP/s and 3e5 at 2 */
  arena_deinit(&arena);
}

Test(bench, quantiles) {
  double values[] = {5, 1, 4, 2, 3};
  sort_doubles(values, 5);
  cr_expect_eq(quantile(values, 5, 0.5), 3);
  cr_expect_eq(quantile(values, 5, 0), 1);
  cr_expect_eq(quantile(values, 5, 0.99), 5);
  cr_expect_eq(quantile(values, 5, 1), 5);
}

/* ---- a profiled object */

static void open_object(struct compilation *compilation, bool profile, const char *level, struct temporary *temporary,
                        struct machine *machine) {
  cr_assert_eq(temporary_open(temporary, &diag), STATUS_OK, "%s", diag.message);
  const struct driver_options options = {.object = {.output_path = temporary->path, .profile = profile}};
  const struct machine_options how = {.threads = 2, .level = level};
  cr_assert_eq(driver_emit(compilation, &options, &diag), STATUS_OK, "%s", diag.message);
  cr_assert_eq(machine_open(temporary->path, &how, machine, &diag), STATUS_OK, "%s", diag.message);
}

Test(bench, counters_count_and_change_no_bits) {
  struct compilation compilation;
  struct temporary files[2];
  struct machine machine[2];
  struct feed feed = {.batch = 0};
  struct results results[2];
  optimize(&compilation, 2);
  for (int i = 0; i < 2; i++) open_object(&compilation, i == 1, i == 1 ? "avx2" : NULL, &files[i], &machine[i]);
  cr_expect_null(machine[0].profiled);
  cr_assert_not_null(machine[1].profiled);
  cr_expect_not_null(load_profiled(&machine[1].loaded, NULL));
  cr_expect_null(load_profiled(&machine[1].loaded, "args"));
  cr_expect_str_eq(machine[1].level->name, "avx2");
  for (int i = 0; load_level_at(&machine[1].loaded, i) != NULL; i++)
    cr_expect_str_neq(load_level_at(&machine[1].loaded, i), "profiled");
  struct account account;
  cr_assert_eq(account_read("m.o", machine[1].loaded.model.info, &compilation.arena, &account, &diag), STATUS_OK);
  uint64_t counters[256] = {0};
  cr_assert_leq(account.phase_count, 255);
  cr_assert_eq(feed_random(&machine[0].loaded.model, 2, 1, &feed, &diag), STATUS_OK);
  for (int i = 0; i < 2; i++) cr_assert_eq(results_alloc(&machine[i].loaded.model, "m.o", 2, &results[i], &diag), STATUS_OK);
  cr_assert_eq(machine_run(&machine[1], &feed, &results[0], &diag), STATUS_OK); /* without counters */
  machine[1].counters = counters;
  cr_assert_eq(machine_run(&machine[1], &feed, &results[1], &diag), STATUS_OK);
  for (int i = 0; i < account.phase_count; i++) cr_expect_gt(counters[i], 0, "phase %d", i);
  cr_expect_eq(counters[account.phase_count], 0);
  cr_expect_eq(memcmp(results[0].outputs[0], results[1].outputs[0], 2 * machine[0].loaded.model.outputs[0].image_bytes), 0);
  for (int i = 0; i < 2; i++) {
    results_free(&results[i]);
    machine_close(&machine[i]);
    temporary_close(&files[i]);
  }
  feed_free(&feed);
  compilation_close(&compilation);
}

static enum status run_bench(int argc, char **argv) {
  struct parsed parsed;
  diag = (struct diag){STATUS_OK, ""};
  cr_assert_eq(command_parse(&bench_command, argc, argv, &parsed, &diag), PARSE_RUN, "%s", diag.message);
  enum status status = bench_command.run(&parsed.invocation);
  parsed_free(&parsed);
  return status;
}

Test(bench, per_op_needs_a_profiled_object) {
  struct compilation compilation;
  struct temporary file;
  struct machine machine;
  optimize(&compilation, 1);
  open_object(&compilation, false, NULL, &file, &machine);
  char *argv[] = {"bench", file.path, "--per-op", "--threads", "1", "--runs", "3", NULL};
  cr_expect_eq(run_bench(7, argv), STATUS_USAGE);
  cr_expect_not_null(strstr(diag.message, "vitc compile --profile"), "%s", diag.message);
  machine_close(&machine);
  temporary_close(&file);
  compilation_close(&compilation);
}
