/* vitc bench: how fast a compiled model is here, and how far from what this machine can do. */
#include "cmd/command.h"
#include "cmd/machine.h"
#include "cmd/peak.h"
#include "cmd/progress.h"
#include "cmd/worker.h"
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
  bool json, worker;
};

static const struct options defaults = {.batch = 1, .seconds = 5};

enum { RUNS_MIN = 3, RUNS_MAX = 1 << 20 };

#define AT(field) offsetof(struct options, field)
static const struct option_row rows[] = {
    {"threads", 't', OPTION_INTEGER, "T", AT(threads), 1, VITC_THREADS_MAX, "threads to run on (every CPU)"},
    {"batch", 0, OPTION_INTEGER, "N", AT(batch), 1, 65536, "images of one inference (1)"},
    {"seconds", 0, OPTION_NUMBER, "S", AT(seconds), 0, 0, "time to measure for (5)"},
    {"runs", 0, OPTION_INTEGER, "N", AT(runs), 1, RUNS_MAX, "inferences to measure, in place of --seconds"},
    {"json", 0, OPTION_FLAG, NULL, AT(json), 0, 0, "print JSON"},
    {"input", 'i', OPTION_LIST, "X.npy...", AT(inputs), 0, 0, "arrays to run on (random pixels)"},
    {"cpu", 0, OPTION_TEXT, "LEVEL", AT(level), 0, 0, "the code for this CPU level, avx2 or avx512 (the best one)"},
    {"weights", 0, OPTION_TEXT, "FILE", AT(weights), 0, 0, "external weights (the object's name with .weights)"},
    {"worker", 0, OPTION_FLAG, NULL, AT(worker), 0, 0, "run on request: read 'run N' and 'quit' from stdin"},
    {"output", 'o', OPTION_TEXT, "Y.npy", AT(output), 0, 0, "with --worker: where to write the outputs"},
    {NULL, 0, OPTION_FLAG, NULL, 0, 0, 0, NULL},
};
#undef AT

struct timings {
  double *milliseconds; /* sorted */
  size_t count;
  double *peaks; /* operations a second; sorted, one a round */
  size_t peak_count;
};

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t count, double share) {
  size_t at = (size_t)(share * (double)count);
  return sorted[at < count ? at : count - 1];
}

/* Operations of one image in the compiler's account, where the first of each key is the whole model's: those that are computed
 * ("flops"), or those of the model as given, with the rows that no output needs ("flops_as_given"). */
static double flops_of(const vitc_model *model, const char *key) {
  const char *at = model->info != NULL ? strstr(model->info, key) : NULL;
  return at != NULL ? strtod(at + strlen(key), NULL) : 0;
}

static const char computed[] = "\"flops\":", as_given[] = "\"flops_as_given\":";

/* Peak resident memory of this process in bytes, or 0. */
static double peak_memory(void) {
  FILE *file = fopen("/proc/self/status", "r");
  char line[256];
  double kilobytes = 0;
  while (file != NULL && fgets(line, sizeof line, file) != NULL)
    if (sscanf(line, "VmHWM: %lf", &kilobytes) == 1) break;
  if (file != NULL) fclose(file);
  return kilobytes * 1024;
}

/* Rounds of some inferences and a short look at the peak, so that both see the same clock and the same neighbours. */
static enum status measure_timings(const struct options *options, const struct machine *machine, const struct feed *feed,
                                   struct results *results, struct timings *timings, struct diag *diag) {
  const double round_seconds = 0.25, peak_seconds = 0.02;
  const vitc_parallel *parallel = machine->pool != NULL ? &machine->parallel : NULL;
  size_t limit = options->runs > 0 ? (size_t)options->runs : RUNS_MAX;
  TRY(machine_run(machine, feed, results, diag)); /* touches every page */
  double begin = seconds_now();
  while (timings->count < limit) {
    if (timings->peak_count < RUNS_MAX) timings->peaks[timings->peak_count++] = measure_peak(parallel, peak_seconds);
    TRY(machine_run(machine, feed, results, diag)); /* back to the model's caches and branches */
    double round = seconds_now(), now = round;
    while (timings->count < limit && now - round < round_seconds) {
      TRY(machine_run(machine, feed, results, diag));
      double end = seconds_now();
      timings->milliseconds[timings->count++] = (end - now) * 1e3;
      now = end;
    }
    if (options->runs == 0 && timings->count >= RUNS_MIN && now - begin >= options->seconds) break;
  }
  qsort(timings->milliseconds, timings->count, sizeof *timings->milliseconds, compare_doubles);
  qsort(timings->peaks, timings->peak_count, sizeof *timings->peaks, compare_doubles);
  return STATUS_OK;
}

struct figures {
  double minimum, median, p99, images, gflops, gflops_as_given, peak, share, share_as_given, memory;
};

static struct figures summarize(const struct timings *timings, const vitc_model *model, uint32_t batch) {
  struct figures figures = {.minimum = timings->milliseconds[0],
                            .median = quantile(timings->milliseconds, timings->count, 0.5),
                            .p99 = quantile(timings->milliseconds, timings->count, 0.99),
                            .peak = timings->peaks[timings->peak_count - 1] / 1e9,
                            .memory = peak_memory()};
  figures.images = batch / figures.median * 1e3;
  figures.gflops = flops_of(model, computed) * batch / figures.median / 1e6;
  figures.gflops_as_given = flops_of(model, as_given) * batch / figures.median / 1e6;
  /* Best against best: what disturbs a shared machine only ever makes it slower. */
  double best = figures.peak > 0 ? figures.median / figures.minimum / figures.peak : 0;
  figures.share = best * figures.gflops;
  figures.share_as_given = best * figures.gflops_as_given;
  return figures;
}

static void print_text(const struct figures *figures, const struct timings *timings, const struct machine *machine,
                       uint32_t batch) {
  printf("%s, batch %" PRIu32 ", threads %" PRIu32 ", %zu runs\n", machine->loaded.model.name, batch, machine->threads,
         timings->count);
  printf("latency      min %.3f ms, median %.3f ms, p99 %.3f ms\n", figures->minimum, figures->median, figures->p99);
  printf("throughput   %.2f images/s, %.1f GFLOP/s (at the median)\n", figures->images, figures->gflops);
  printf("peak         %.1f GFLOP/s of fp32 multiply-adds measured between the runs\n", figures->peak);
  printf("share        %.1f%% of the peak (at the min)\n", 100 * figures->share);
  printf("as given     %.1f GFLOP/s, %.1f%% of the peak, counting also what no output needs\n", figures->gflops_as_given,
         100 * figures->share_as_given);
  printf("peak memory  %.1f MiB, of it %.1f MiB arena and %.1f MiB weights\n", figures->memory / 0x1p20,
         (double)machine->loaded.model.arena_bytes / 0x1p20, (double)machine->loaded.model.weights_bytes / 0x1p20);
}

static void print_member(const char *name, double number) {
  printf(",\"%s\":", name);
  json_number(stdout, number);
}

static void print_json(const struct figures *figures, const struct timings *timings, const struct machine *machine,
                       uint32_t batch) {
  const vitc_model *model = &machine->loaded.model;
  fputs("{\"model\":", stdout);
  json_string(stdout, model->name);
  fputs(",\"precision\":", stdout);
  json_string(stdout, model->precision);
  printf(",\"batch\":%" PRIu32 ",\"threads\":%" PRIu32 ",\"runs\":%zu", batch, machine->threads, timings->count);
  print_member("min_ms", figures->minimum);
  print_member("median_ms", figures->median);
  print_member("p99_ms", figures->p99);
  print_member("images_per_second", figures->images);
  print_member("gflop_per_image", flops_of(model, computed) / 1e9);
  print_member("gflop_per_image_as_given", flops_of(model, as_given) / 1e9);
  print_member("gflops", figures->gflops);
  print_member("gflops_as_given", figures->gflops_as_given);
  print_member("peak_gflops", figures->peak);
  print_member("share_of_peak", figures->share);
  print_member("share_of_peak_as_given", figures->share_as_given);
  print_member("peak_memory_bytes", figures->memory);
  print_member("arena_bytes", (double)model->arena_bytes);
  puts("}");
}

static enum status measure_and_print(const struct options *options, const struct machine *machine, const struct feed *feed,
                                     struct results *results, struct diag *diag) {
  struct timings timings = {.milliseconds = malloc(RUNS_MAX * sizeof(double)), .peaks = malloc(RUNS_MAX * sizeof(double))};
  enum status status = STATUS_OK;
  if (timings.milliseconds == NULL || timings.peaks == NULL) status = diag_fail(diag, STATUS_SYSTEM, "out of memory");
  progress_begin("measuring");
  if (status == STATUS_OK) status = measure_timings(options, machine, feed, results, &timings, diag);
  progress_end();
  if (status == STATUS_OK) {
    struct figures figures = summarize(&timings, &machine->loaded.model, feed->batch);
    (options->json ? print_json : print_text)(&figures, &timings, machine, feed->batch);
  }
  free(timings.milliseconds);
  free(timings.peaks);
  return status;
}

static enum status bench(const struct invocation *invocation, struct machine *machine, struct feed *feed,
                         struct results *results) {
  const struct options *options = invocation->options;
  const char *object = invocation->operands[0];
  struct diag *diag = invocation->diag;
  const struct machine_options how = {.threads = options->threads, .level = options->level, .weights_path = options->weights};
  TRY(machine_open(object, &how, machine, diag));
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
    .usage = "M.o [--threads T] [--batch N] [--json]",
    .summary = "measure a compiled model's speed and its share of the machine's peak",
    .details =
        "Runs a compiled model again and again and prints latency, images a second, GFLOP/s, the share of the fp32 peak of\n"
        "this machine (a loop of multiply-adds on registers, measured on as many threads between the runs) and the\n"
        "peak resident memory of the process.",
    .operands_min = 1,
    .operands_max = 1,
    .options = rows,
    .defaults = &defaults,
    .options_size = sizeof defaults,
    .run = run,
};
