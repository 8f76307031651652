/* vitc bench: how fast a compiled model is here, and how far from what this machine can do. */
#include "cmd/bench.h"
#include "cmd/command.h"
#include "cmd/progress.h"
#include "cmd/temporary.h"
#include "cmd/worker.h"
#include "driver.h"
#include "driver_json.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
  struct word_list inputs;
  const char *output, *level, *weights;
  int64_t threads, batch, runs;
  double seconds;
  bool json, per_op, worker;
};

static const struct options defaults = {.batch = 1, .seconds = 5};

#define AT(field) offsetof(struct options, field)
static const struct option_row rows[] = {
    {"threads", 't', OPTION_INTEGER, "T", AT(threads), 1, VITC_THREADS_MAX, "threads to run on (every CPU)"},
    {"batch", 0, OPTION_INTEGER, "N", AT(batch), 1, 65536, "images of one inference (1)"},
    {"seconds", 0, OPTION_NUMBER, "S", AT(seconds), 0, 0, "time to measure for (5)"},
    {"runs", 0, OPTION_INTEGER, "N", AT(runs), 1, BENCH_RUNS_MAX, "inferences to measure, in place of --seconds"},
    {"per-op", 0, OPTION_FLAG, NULL, AT(per_op), 0, 0, "also the time of every phase; needs 'vitc compile --profile'"},
    {"json", 0, OPTION_FLAG, NULL, AT(json), 0, 0, "print JSON"},
    {"input", 'i', OPTION_LIST, "X.npy...", AT(inputs), 0, 0, "arrays to run on (random pixels)"},
    {"cpu", 0, OPTION_TEXT, "LEVEL", AT(level), 0, 0,
     "the code and the peak of this CPU level, of those that 'vitc inspect' names (the best one)"},
    {"weights", 0, OPTION_TEXT, "FILE", AT(weights), 0, 0, "external weights (the object's name with .weights)"},
    {"worker", 0, OPTION_FLAG, NULL, AT(worker), 0, 0, "run on request: read 'run N' and 'quit' from stdin"},
    {"output", 'o', OPTION_TEXT, "Y.npy", AT(output), 0, 0, "with --worker: where to write the outputs"},
    {NULL, 0, OPTION_FLAG, NULL, 0, 0, 0, NULL},
};
#undef AT

/* As the kernel names it, or "". */
static void cpu_name(char *name, size_t size) {
  FILE *file = fopen("/proc/cpuinfo", "r");
  char line[256];
  name[0] = '\0';
  while (file != NULL && name[0] == '\0' && fgets(line, sizeof line, file) != NULL) {
    const char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) == 0 && colon != NULL) snprintf(name, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
  }
  if (file != NULL) fclose(file);
  name[strcspn(name, "\n")] = '\0';
}

struct figures {
  double minimum, median, p99, images, gflops, gflops_as_given, share, share_median, share_as_given;
  double peaks[ARITHMETIC_COUNT], peaks_median[ARITHMETIC_COUNT]; /* operations a second */
  double ms_at_peaks;
  char cpu[128];
};

static struct figures summarize(const struct timings *timings, uint32_t batch) {
  const struct operations *operations = timings->operations;
  double flops = operations_sum(operations->image);
  struct figures figures = {.minimum = timings->milliseconds[0],
                            .median = quantile(timings->milliseconds, timings->count, 0.5),
                            .p99 = quantile(timings->milliseconds, timings->count, 0.99)};
  cpu_name(figures.cpu, sizeof figures.cpu);
  peaks_quantile(timings, 1, figures.peaks);
  peaks_quantile(timings, 0.5, figures.peaks_median);
  figures.images = batch / figures.median * 1e3;
  figures.gflops = flops * batch / figures.median / 1e6;
  figures.gflops_as_given = operations->as_given * batch / figures.median / 1e6;
  /* Best against best: what disturbs a shared machine only ever makes it slower. */
  figures.ms_at_peaks = operations_seconds(operations->image, figures.peaks) * batch * 1e3;
  figures.share = figures.ms_at_peaks / figures.minimum;
  figures.share_median = operations_seconds(operations->image, figures.peaks_median) * batch * 1e3 / figures.median;
  figures.share_as_given = flops > 0 ? figures.share * operations->as_given / flops : 0;
  return figures;
}

static const char *level_name(const struct machine *machine) {
  return machine->level != NULL ? machine->level->name : "none";
}

static bool is_mixed(const struct timings *timings) {
  int count = 0;
  for (int i = 0; i < ARITHMETIC_COUNT; i++) count += timings->operations->image[i] > 0;
  return count > 1;
}

/* The model's own first. */
static void print_peaks(const struct figures *figures, const struct timings *timings) {
  const double *image = timings->operations->image, flops = operations_sum(image);
  for (int i = 0; i < ARITHMETIC_COUNT; i++) {
    int at = i == 0 ? (int)timings->own_arithmetic : i <= (int)timings->own_arithmetic ? i - 1 : i;
    if (timings->peaks[at] == NULL) continue;
    printf("%-12s %.1f GFLOP/s best, %.1f median, of %s multiply-adds measured between the runs", i == 0 ? "peak" : "",
           figures->peaks[at] / 1e9, figures->peaks_median[at] / 1e9, arithmetic_name((enum arithmetic)at));
    if (is_mixed(timings)) printf("; %.2f%% of the operations", 100 * image[at] / flops);
    putchar('\n');
  }
}

static void print_text(const struct figures *figures, const struct timings *timings, const struct machine *machine,
                       uint32_t batch) {
  const vitc_model *model = &machine->loaded.model;
  printf("%s, batch %" PRIu32 ", threads %" PRIu32 ", %zu runs, %s code\n", model->name, batch, machine->threads,
         timings->count, level_name(machine));
  printf("CPU          %s\n", figures->cpu);
  printf("latency      min %.3f ms, median %.3f ms, p99 %.3f ms\n", figures->minimum, figures->median, figures->p99);
  printf("throughput   %.2f images/s, %.1f GFLOP/s (at the median)\n", figures->images, figures->gflops);
  print_peaks(figures, timings);
  printf("share        %.1f%% at the min, of the best peak; %.1f%% at the median, of the median peak%s\n", 100 * figures->share,
         100 * figures->share_median, is_mixed(timings) ? "; each operation of its own" : "");
  printf("as given     %.1f GFLOP/s, %.1f%% of the best peak at the min, counting also what no output needs\n",
         figures->gflops_as_given, 100 * figures->share_as_given);
  printf("peak memory  %.1f MiB, of it %.1f MiB arena and %.1f MiB weights\n", timings->memory / 0x1p20,
         (double)model->arena_bytes / 0x1p20, (double)model->weights_bytes / 0x1p20);
}

static void print_member(const char *name, double number) {
  printf(",\"%s\":", name);
  json_number(stdout, number);
}

static void print_json_peaks(const struct figures *figures, const struct timings *timings) {
  const char *separator = ",\"peaks\":{";
  for (int i = 0; i < ARITHMETIC_COUNT; i++) {
    if (timings->peaks[i] == NULL) continue;
    printf("%s\"%s\":{\"gflop_per_image\":", separator, arithmetic_name((enum arithmetic)i));
    json_number(stdout, timings->operations->image[i] / 1e9);
    print_member("peak_gflops", figures->peaks[i] / 1e9);
    print_member("peak_median_gflops", figures->peaks_median[i] / 1e9);
    putchar('}');
    separator = ",";
  }
  putchar('}');
}

static void print_json(const struct figures *figures, const struct timings *timings, const struct machine *machine,
                       uint32_t batch) {
  const vitc_model *model = &machine->loaded.model;
  fputs("{\"model\":", stdout);
  json_string(stdout, model->name);
  fputs(",\"precision\":", stdout);
  json_string(stdout, model->precision);
  fputs(",\"cpu\":", stdout);
  json_string(stdout, figures->cpu);
  printf(",\"level\":\"%s\",\"batch\":%" PRIu32 ",\"threads\":%" PRIu32 ",\"runs\":%zu", level_name(machine), batch,
         machine->threads, timings->count);
  print_member("min_ms", figures->minimum);
  print_member("median_ms", figures->median);
  print_member("p99_ms", figures->p99);
  print_member("images_per_second", figures->images);
  print_member("gflop_per_image", operations_sum(timings->operations->image) / 1e9);
  print_member("gflop_per_image_as_given", timings->operations->as_given / 1e9);
  print_member("gflops", figures->gflops);
  print_member("gflops_as_given", figures->gflops_as_given);
  const enum arithmetic own = timings->own_arithmetic;
  printf(",\"peak_precision\":\"%s\"", arithmetic_name(own));
  print_member("peak_gflops", figures->peaks[own] / 1e9);
  print_member("peak_median_gflops", figures->peaks_median[own] / 1e9);
  print_json_peaks(figures, timings);
  print_member("ms_at_peaks", figures->ms_at_peaks);
  print_member("share_of_peak", figures->share);
  print_member("share_of_peak_at_median", figures->share_median);
  print_member("share_of_peak_as_given", figures->share_as_given);
  print_member("peak_memory_bytes", timings->memory);
  print_member("arena_bytes", (double)model->arena_bytes);
}

static void print(const struct options *options, const struct machine *machine, const struct timings *timings,
                  const struct account *account, uint32_t batch) {
  struct figures figures = summarize(timings, batch);
  struct arena arena;
  struct profile profile;
  arena_init(&arena);
  if (options->per_op) profile_make(timings, account, batch, &arena, &profile);
  (options->json ? print_json : print_text)(&figures, timings, machine, batch);
  if (options->per_op) (options->json ? profile_print_json : profile_print)(&profile, timings);
  if (options->json) puts("}");
  arena_deinit(&arena);
}

static enum status measure_and_print(const struct options *options, struct machine *machine, const struct feed *feed,
                                     struct results *results, struct diag *diag) {
  const char *object = machine->loaded.object.path;
  struct account account;
  struct operations operations;
  struct timings timings;
  if (options->per_op && machine->profiled == NULL)
    return diag_fail(diag, STATUS_USAGE, "%s: has no time stamps for --per-op: compile it with 'vitc compile --profile'",
                     object);
  TRY(account_read(object, machine->loaded.model.info, &machine->loaded.arena, &account, diag));
  TRY(operations_of(object, &account, machine->level, &machine->loaded.arena, &operations, diag));
  const struct bench_request request = {.seconds = options->seconds,
                                        .runs = (size_t)options->runs,
                                        .operations = &operations,
                                        .phase_count = options->per_op ? account.phase_count : 0};
  progress_begin("measuring");
  enum status status = measure_timings(machine, feed, results, &request, &timings, diag);
  progress_end();
  if (status == STATUS_OK) print(options, machine, &timings, &account, feed->batch);
  timings_free(&timings);
  return status;
}

/* A graph is compiled for this run alone. */
static enum status compile_and_open(const struct invocation *invocation, const struct machine_options *how,
                                    struct machine *machine) {
  const struct options *options = invocation->options;
  struct temporary temporary = {.descriptor = -1};
  struct compilation compilation;
  compilation_init(&compilation);
  enum status status = temporary_open(&temporary, invocation->diag);
  const struct driver_options driver = {.batch_max = options->batch,
                                        .object = {.output_path = temporary.path, .profile = options->per_op}};
  progress_begin("compiling");
  if (status == STATUS_OK) status = driver_compile(&compilation, invocation->operands[0], &driver, invocation->diag);
  progress_end();
  if (status == STATUS_OK) status = machine_open(temporary.path, how, machine, invocation->diag);
  compilation_close(&compilation);
  temporary_close(&temporary);
  return status;
}

static enum status bench(const struct invocation *invocation, struct machine *machine, struct feed *feed,
                         struct results *results) {
  const struct options *options = invocation->options;
  const char *object = invocation->operands[0];
  struct diag *diag = invocation->diag;
  const struct machine_options how = {.threads = options->threads, .level = options->level, .weights_path = options->weights};
  enum load_kind kind;
  TRY(load_kind(object, &kind, diag));
  TRY(kind == LOAD_GRAPH ? compile_and_open(invocation, &how, machine) : machine_open(object, &how, machine, diag));
  const vitc_model *model = &machine->loaded.model;
  if (options->inputs.count > 0)
    TRY(feed_npy(model, object, &options->inputs, feed, diag));
  else
    TRY(feed_random(model, (uint32_t)options->batch, 0, feed, diag));
  if (options->inputs.count > 0 && options->worker && feed->batch != options->batch)
    return diag_fail(diag, STATUS_USAGE, "%s: holds %" PRIu32 " images, but --batch is %" PRId64, options->inputs.words[0],
                     feed->batch, options->batch);
  if (feed->batch > model->batch_max)
    return diag_fail(diag, STATUS_USAGE, "%s: was compiled for batches up to %" PRIu32 ", not %" PRIu32, object,
                     model->batch_max, feed->batch);
  TRY(results_alloc(model, object, feed->batch, results, diag));
  if (options->worker) return work(machine, feed, results, options->output, diag);
  return measure_and_print(options, machine, feed, results, diag);
}

static enum status run(const struct invocation *invocation) {
  struct machine machine = {.run = NULL};
  struct feed feed = {.batch = 0};
  struct results results = {.batch = 0};
  enum status status = bench(invocation, &machine, &feed, &results);
  results_free(&results);
  feed_free(&feed);
  machine_close(&machine);
  return status;
}

const struct command bench_command = {
    .name = "bench",
    .usage = "M.o|M.json [--threads T] [--batch N] [--runs N] [--per-op] [--json]",
    .summary = "measure a compiled model's speed and its share of the machine's peak",
    .details =
        "Runs a compiled model again and again and prints latency, images a second, GFLOP/s, the share of the peak of this\n"
        "machine and the peak resident memory of the process. A graph is compiled first, for this run alone. What disturbs a\n"
        "shared machine only makes it slower: the min of the latency over the best peak is what the code can do. --runs 500\n"
        "gives a p99 that means something.\n\n"
        "The peak of a precision is a loop of its multiply-adds on registers, measured on as many threads between the runs. "
        "The\n"
        "share is the time that all operations would take at the peak of what each is executed in, over the time that they\n"
        "took: int8 products in int8, or in int16 where the CPU level has no products of bytes; bf16 ones, attention's of an\n"
        "int8 model too, in bf16, or in fp32 where the level widens them; everything that is not a product in fp32.\n\n"
        "GFLOP/s count what is computed: two operations for each multiply-add of a product (as many rows as really are\n"
        "computed), five for each element of a normalisation or softmax, one for other arithmetic.\n\n"
        "--per-op prints for each phase (one parallel loop: a product with all that was fused into it, the normalisation\n"
        "before it, attention) the median over the runs of its time, read from the time stamp counter before and after it,\n"
        "so with the start of the threads and the wait for the last one; its GFLOP/s, where what is fused into a product is\n"
        "not counted, and the precision that these are executed in; and GB/s of what it has to read and write once: "
        "activations\n"
        "of every image, weights once a group of images. Both are compared with the median of that precision's peak and of "
        "the\n"
        "speed of reading memory that no cache holds; what caches hold can be faster. Then phases that are alike in all layers "
        "are summed. 'Outside of phases' is all else\n"
        "between the call and its return. The object must come from 'vitc compile --profile'.",
    .operands_min = 1,
    .operands_max = 1,
    .options = rows,
    .defaults = &defaults,
    .options_size = sizeof defaults,
    .run = run,
};
