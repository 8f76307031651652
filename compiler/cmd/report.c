/* vitc report: one page of pictures of a model. */
#include "cmd/report.h"

#include "base/span.h"
#include "cmd/command.h"
#include "cmd/page.h"
#include "cmd/progress.h"

#include <stdlib.h>
#include <string.h>

struct options {
  struct word_list inputs, images;
  const char *output, *level, *weights;
  int64_t threads, batch, seed, runs;
  double seconds;
  int precision;
};

static const struct options defaults = {.batch = 1, .seconds = 3};

#define AT(field) offsetof(struct options, field)
static const struct option_row rows[] = {
    {"output", 'o', OPTION_TEXT, "REPORT.html", AT(output), 0, 0, "the page"},
    {"input", 'i', OPTION_LIST, "X.npy...", AT(inputs), 0, 0,
     "arrays (N, ...) that errors are measured on, one for each input"},
    {"image", 0, OPTION_LIST, "FILE...", AT(images), 0, 0, "images, preprocessed as the model says (random pixels)"},
    {"batch", 0, OPTION_INTEGER, "N", AT(batch), 1, 65536, "number of random images (1)"},
    {"seed", 0, OPTION_INTEGER, "S", AT(seed), 0, INT64_MAX, "of the random images (0)"},
    {"precision", 0, OPTION_CHOICE, "fp32|bf16|int8", AT(precision), 0, 0, "of the graph when there is no M.o (fp32)"},
    {"seconds", 0, OPTION_NUMBER, "S", AT(seconds), 0, 0, "time to measure for, with a profiled M.o (3)"},
    {"runs", 0, OPTION_INTEGER, "N", AT(runs), 1, BENCH_RUNS_MAX, "inferences to measure, in place of --seconds"},
    {"threads", 't', OPTION_INTEGER, "T", AT(threads), 1, VITC_THREADS_MAX, "threads to run on (every CPU)"},
    {"cpu", 0, OPTION_TEXT, "LEVEL", AT(level), 0, 0,
     "the code for this CPU level, of those that 'vitc inspect' names (the best one)"},
    {"weights", 0, OPTION_TEXT, "FILE", AT(weights), 0, 0, "external weights (the object's name with .weights)"},
    {NULL, 0, OPTION_FLAG, NULL, 0, 0, 0, NULL},
};
#undef AT

/* The graph planned as the object is, and the account of the one that is shown. */
static enum status load(const struct invocation *invocation, struct report *report, struct account **out_object_account) {
  const struct options *options = invocation->options;
  struct diag *diag = invocation->diag;
  struct arena *arena = &report->compilation.arena;
  struct driver_options driver = {.precision = (enum precision)options->precision};
  *out_object_account = NULL;
  TRY(driver_load(&report->compilation, report->graph, &driver, diag));
  if (report->object != NULL) {
    const struct machine_options how = {
        .threads = options->threads, .level = options->level, .weights_path = options->weights, .check_weights = true};
    TRY(machine_open(report->object, &how, &report->machine, diag));
    const vitc_model *model = &report->machine.loaded.model;
    TRY(account_read(report->object, model->info, arena, &report->account, diag));
    TRY(account_precisions(report->object, &report->account, arena, &driver, diag));
    driver.batch_max = model->batch_max;
    driver.passes.input_u8 = model->inputs[0].dtype == VITC_U8 && report->compilation.graph.inputs[0]->dtype == DTYPE_F32;
    *out_object_account = &report->account;
  }
  TRY(driver_optimize(&report->compilation, &driver, diag));
  if (report->object != NULL) return STATUS_OK;
  return account_read(report->graph, driver_info(&report->compilation), arena, &report->account, diag);
}

static enum status read_feed(const struct invocation *invocation, struct report *report, const vitc_model *model,
                             struct feed *out_feed) {
  const struct options *options = invocation->options;
  report->pixels = options->inputs.count > 0   ? options->inputs.words[0]
                   : options->images.count > 0 ? options->images.words[0]
                                               : "random pixels";
  if (options->inputs.count > 0) return feed_npy(model, report->graph, &options->inputs, out_feed, invocation->diag);
  if (options->images.count > 0) return feed_images(model, report->graph, &options->images, out_feed, invocation->diag);
  return feed_random(model, (uint32_t)options->batch, (uint64_t)options->seed, out_feed, invocation->diag);
}

/* As bench --per-op, of the first image. */
static enum status measure_time(const struct invocation *invocation, struct report *report, const struct feed *feed) {
  const struct options *options = invocation->options;
  struct machine *machine = &report->machine;
  if (report->object == NULL || machine->profiled == NULL || report->account.phase_count == 0) return STATUS_OK;
  struct arena *arena = &report->compilation.arena;
  const struct bench_request request = {.seconds = options->seconds,
                                        .runs = (size_t)options->runs,
                                        .operations = &report->operations,
                                        .phase_count = report->account.phase_count};
  TRY(operations_of(report->object, &report->account, machine->level, arena, &report->operations, invocation->diag));
  struct feed first = *feed;
  struct results results = {.batch = 0};
  first.batch = 1;
  enum status status = results_alloc(&machine->loaded.model, report->object, 1, &results, invocation->diag);
  if (status == STATUS_OK) status = measure_timings(machine, &first, &results, &request, &report->timings, invocation->diag);
  if (status == STATUS_OK) profile_make(&report->timings, &report->account, 1, arena, &report->profile);
  results_free(&results);
  return status;
}

static enum status find_errors(const struct invocation *invocation, struct report *report, const struct account *account,
                               const struct feed *feed) {
  const struct options *options = invocation->options;
  const struct node_request request = {.graph = report->graph,
                                       .object = report->object,
                                       .account = account,
                                       .machine = report->object != NULL ? &report->machine : NULL,
                                       .precision = (enum precision)options->precision,
                                       .input_u8 = report->compilation.graph.inputs[0]->dtype == DTYPE_U8,
                                       .feed = feed,
                                       .how = {.threads = options->threads, .level = options->level}};
  report->images = feed->batch;
  return compare_nodes(&request, &report->compilation.arena, &report->nodes, invocation->diag);
}

static enum status write_page(const struct invocation *invocation, const struct report *report) {
  const struct options *options = invocation->options;
  struct output output = {.stream = NULL};
  struct arena scratch;
  TRY(output_open(&output, options->output, invocation->diag));
  arena_init(&scratch);
  FILE *page = output.stream;
  page_open(page, report->account.name);
  fputs("<h1>", page);
  page_text(page, report->account.name);
  fputs("</h1>\n<nav><a href=\"#summary\">Summary</a> <a href=\"#time\">Time</a> <a href=\"#errors\">Errors</a> <a "
        "href=\"#arena\">Arena</a> <a href=\"#graph\">Graph</a></nav>\n",
        page);
  report_summary(page, report);
  report_time(page, report);
  report_errors(page, report, &scratch);
  report_arena(page, report);
  report_graph(page, report, &scratch);
  page_close(page);
  arena_deinit(&scratch);
  enum status status = output_commit(&output, invocation->diag);
  output_discard(&output);
  return status;
}

static enum status make(const struct invocation *invocation, struct report *report, struct feed *feed) {
  struct account *account;
  vitc_model described;
  TRY(load(invocation, report, &account));
  const vitc_model *model = &report->machine.loaded.model;
  if (report->object == NULL) {
    TRY(describe_graph(&report->compilation.original, report->graph, &described, invocation->diag));
    model = &described;
  }
  TRY(read_feed(invocation, report, model, feed));
  TRY(find_errors(invocation, report, account, feed));
  TRY(measure_time(invocation, report, feed));
  return write_page(invocation, report);
}

static enum status run(const struct invocation *invocation) {
  const struct options *options = invocation->options;
  if (options->output == NULL)
    return diag_fail(invocation->diag, STATUS_USAGE, "report: no output given: expected -o REPORT.html");
  if (options->inputs.count > 0 && options->images.count > 0)
    return diag_fail(invocation->diag, STATUS_USAGE, "report: expected either --input X.npy or --image FILE...");
  if (invocation->operand_count > 1 && options->precision != 0)
    return diag_fail(invocation->diag, STATUS_USAGE, "report: --precision is for a graph without M.o, which has its own");
  for (int i = 0; i < invocation->operand_count; i++)
    if (strcmp(invocation->operands[i], options->output) == 0)
      return diag_fail(invocation->diag, STATUS_USAGE, "report: '%s' would be written over", options->output);
  struct report report = {.graph = invocation->operands[0],
                          .object = invocation->operand_count > 1 ? invocation->operands[1] : NULL};
  struct feed feed = {.batch = 0};
  compilation_init(&report.compilation);
  progress_begin("reporting");
  enum status status = make(invocation, &report, &feed);
  progress_end();
  timings_free(&report.timings);
  feed_free(&feed);
  machine_close(&report.machine);
  compilation_close(&report.compilation);
  return status;
}

const struct command report_command = {
    .name = "report",
    .usage = "M.json [M.o] -o REPORT.html [--image FILE...]",
    .summary = "write one page with pictures of a model: graph, arena, time, errors",
    .details = "One HTML file that needs nothing else: what 'vitc inspect' says of the model; the time of its phases against "
               "the roofline,\n"
               "as 'vitc bench --per-op' measures it, when M.o comes from 'vitc compile --profile'; the errors of every value "
               "and the\n"
               "ranges behind them, as 'vitc compare --per-node' has them, on the input or on random pixels; the arena over "
               "time; and\n"
               "the fused graph, with layers that repeat drawn once. Without M.o the graph is compiled for the errors.",
    .operands_min = 1,
    .operands_max = 2,
    .options = rows,
    .defaults = &defaults,
    .options_size = sizeof defaults,
    .run = run,
};
