/* vitc run: a graph in the interpreter, or an object as compiled. */
#include "cmd/command.h"
#include "cmd/feed.h"
#include "cmd/interpret.h"
#include "cmd/machine.h"
#include "cmd/progress.h"

#include <stdbool.h>

struct options {
  struct word_list inputs, images;
  const char *output, *level, *weights;
  int64_t threads;
};

static const struct options defaults = {.threads = 0};

#define AT(field) offsetof(struct options, field)
static const struct option_row rows[] = {
    {"input", 'i', OPTION_LIST, "X.npy...", AT(inputs), 0, 0, "one array (N, ...) for each of the model's inputs"},
    {"image", 0, OPTION_LIST, "FILE...", AT(images), 0, 0, "images, preprocessed as the model says: one batch"},
    {"output", 'o', OPTION_TEXT, "Y.npy", AT(output), 0, 0,
     "the file to write; Y.NAME.npy for each of several outputs, / in names as _ (print them as text)"},
    {"threads", 't', OPTION_INTEGER, "T", AT(threads), 1, VITC_THREADS_MAX, "threads to run on (every CPU)"},
    {"cpu", 0, OPTION_TEXT, "LEVEL", AT(level), 0, 0,
     "an object's code for this CPU level, of those that 'vitc inspect' names (the best one)"},
    {"weights", 0, OPTION_TEXT, "FILE", AT(weights), 0, 0, "external weights (the object's name with .weights)"},
    {NULL, 0, OPTION_FLAG, NULL, 0, 0, 0, NULL},
};
#undef AT

static enum status read_feed(const struct invocation *invocation, const vitc_model *model, struct feed *out_feed) {
  const struct options *options = invocation->options;
  const char *file = invocation->operands[0];
  if (options->inputs.count > 0) return feed_npy(model, file, &options->inputs, out_feed, invocation->diag);
  return feed_images(model, file, &options->images, out_feed, invocation->diag);
}

static enum status give_results(const struct invocation *invocation, const vitc_model *model, const struct results *results) {
  const struct options *options = invocation->options;
  if (options->output != NULL) return results_write(model, results, options->output, invocation->diag);
  progress_end();
  results_print(model, results);
  return STATUS_OK;
}

static enum status run_graph(const struct invocation *invocation, struct compilation *compilation, struct feed *feed,
                             struct results *results) {
  const struct options *options = invocation->options;
  const char *file = invocation->operands[0];
  const struct driver_options driver = {.name = NULL};
  vitc_model model;
  if (options->level != NULL)
    return diag_fail(invocation->diag, STATUS_USAGE, "run: --cpu is for objects, %s is a graph", file);
  TRY(driver_load(compilation, file, &driver, invocation->diag));
  TRY(describe_graph(&compilation->graph, file, &model, invocation->diag));
  TRY(read_feed(invocation, &model, feed));
  TRY(results_alloc(&model, file, feed->batch, results, invocation->diag));
  TRY(interpret(&compilation->graph, &model, feed, options->threads, results, invocation->diag));
  return give_results(invocation, &model, results);
}

static enum status run_object(const struct invocation *invocation, struct machine *machine, struct feed *feed,
                              struct results *results) {
  const struct options *options = invocation->options;
  const char *file = invocation->operands[0];
  const struct machine_options how = {.threads = options->threads, .level = options->level, .weights_path = options->weights};
  TRY(machine_open(file, &how, machine, invocation->diag));
  const vitc_model *model = &machine->loaded.model;
  TRY(read_feed(invocation, model, feed));
  TRY(results_alloc(model, file, feed->batch, results, invocation->diag));
  TRY(machine_run(machine, feed, results, invocation->diag));
  return give_results(invocation, model, results);
}

static enum status run(const struct invocation *invocation) {
  const struct options *options = invocation->options;
  if ((options->inputs.count > 0) == (options->images.count > 0))
    return diag_fail(invocation->diag, STATUS_USAGE, "run: expected either --input X.npy or --image FILE...");
  enum load_kind kind;
  TRY(load_kind(invocation->operands[0], &kind, invocation->diag));
  struct feed feed = {.batch = 0};
  struct results results = {.batch = 0};
  struct compilation compilation;
  struct machine machine = {.run = NULL};
  compilation_init(&compilation);
  progress_begin("running");
  enum status status = kind == LOAD_GRAPH ? run_graph(invocation, &compilation, &feed, &results)
                                          : run_object(invocation, &machine, &feed, &results);
  progress_end();
  results_free(&results);
  feed_free(&feed);
  machine_close(&machine);
  compilation_close(&compilation);
  return status;
}

const struct command run_command = {
    .name = "run",
    .usage = "M.json|M.o --input X.npy|--image FILE... [--output Y.npy]",
    .summary = "run a graph in the interpreter, or an object as compiled",
    .details =
        "Runs a model on arrays or images. A graph (M.json) runs in the interpreter, which is slow and says what is right; an\n"
        "object (M.o) runs as compiled, batch after batch of the size that it was compiled for. Arrays are float32, or uint8\n"
        "where the object takes 8-bit pixels. Without --output every output is printed, one line an image.",
    .operands_min = 1,
    .operands_max = 1,
    .options = rows,
    .defaults = &defaults,
    .options_size = sizeof defaults,
    .run = run,
};
