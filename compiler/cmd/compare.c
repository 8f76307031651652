/* vitc compare: the compiled model against the interpreter. */
#include "cmd/command.h"
#include "cmd/compare_nodes.h"
#include "cmd/feed.h"
#include "cmd/interpret.h"
#include "cmd/machine.h"
#include "cmd/metrics.h"
#include "cmd/progress.h"
#include "cmd/temporary.h"
#include "driver_json.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct options {
  struct word_list inputs, images;
  const char *level, *weights;
  int64_t threads, batch, seed;
  double tolerance; /* 0: by precision */
  int precision;
  int64_t top;
  int sort;
  bool per_node, json;
};

static const struct options defaults = {.batch = 1};

/* The contract's bounds. */
static const double tolerances[PRECISION_COUNT] = {[PRECISION_FP32] = 2e-5, [PRECISION_BF16] = 8e-2, [PRECISION_INT8] = 2e-1};

#define AT(field) offsetof(struct options, field)
static const struct option_row rows[] = {
    {"input", 'i', OPTION_LIST, "X.npy...", AT(inputs), 0, 0, "one array (N, ...) for each of the model's inputs"},
    {"image", 0, OPTION_LIST, "FILE...", AT(images), 0, 0, "images, preprocessed as the model says (random pixels)"},
    {"batch", 0, OPTION_INTEGER, "N", AT(batch), 1, 65536, "number of random images (1)"},
    {"seed", 0, OPTION_INTEGER, "S", AT(seed), 0, INT64_MAX, "of the random images (0)"},
    {"tolerance", 0, OPTION_NUMBER, "E", AT(tolerance), 0, 0,
     "largest absolute error over the output's standard deviation that passes (fp32 2e-5, bf16 8e-2, int8 2e-1)"},
    {"precision", 0, OPTION_CHOICE, "fp32|bf16|int8", AT(precision), 0, 0, "that the graph is compiled in without M.o (fp32)"},
    {"per-node", 0, OPTION_FLAG, NULL, AT(per_node), 0, 0, "also where the error enters: every value that survives fusion"},
    {"sort", 0, OPTION_CHOICE, "run|own|accumulated", AT(sort), 0, 0, "order of the values of --per-node, largest first (run)"},
    {"top", 0, OPTION_INTEGER, "N", AT(top), 1, 1000000, "print only the first N values of --per-node (all)"},
    {"json", 0, OPTION_FLAG, NULL, AT(json), 0, 0, "print JSON"},
    {"threads", 't', OPTION_INTEGER, "T", AT(threads), 1, VITC_THREADS_MAX, "threads to run on (every CPU)"},
    {"cpu", 0, OPTION_TEXT, "LEVEL", AT(level), 0, 0,
     "the code for this CPU level, of those that 'vitc inspect' names (the best one)"},
    {"weights", 0, OPTION_TEXT, "FILE", AT(weights), 0, 0, "external weights (the object's name with .weights)"},
    {NULL, 0, OPTION_FLAG, NULL, 0, 0, 0, NULL},
};
#undef AT

/* Everything of one comparison, freed together. */
struct comparison {
  struct compilation compilation;
  struct machine machine;
  struct feed feed;
  struct results expected, actual;
};

static enum status compile_and_open(const struct invocation *invocation, const char *graph, const struct machine_options *how,
                                    struct machine *machine) {
  struct temporary temporary = {.descriptor = -1};
  struct compilation compilation;
  compilation_init(&compilation);
  enum status status = temporary_open(&temporary, invocation->diag);
  const struct options *options = invocation->options;
  const struct driver_options driver = {
      .batch_max = options->batch,
      .precision = (enum precision)options->precision,
      .object = {.output_path = temporary.path, .target = how->level == NULL ? "native" : NULL}};
  if (status == STATUS_OK) status = driver_compile(&compilation, graph, &driver, invocation->diag);
  if (status == STATUS_OK) status = machine_open(temporary.path, how, machine, invocation->diag);
  compilation_close(&compilation);
  temporary_close(&temporary);
  return status;
}

static enum status same_tensors(const char *graph, const char *object, const vitc_tensor *a, const vitc_tensor *b,
                                uint32_t count, uint32_t other_count, const char *kind, struct diag *diag) {
  if (count != other_count)
    return diag_fail(diag, STATUS_INPUT, "%s: has %" PRIu32 " %ss, %s has %" PRIu32, object, other_count, kind, graph, count);
  for (uint32_t i = 0; i < count; i++) {
    char expected[160], found[160];
    tensor_shape_text(&a[i], expected, sizeof expected);
    tensor_shape_text(&b[i], found, sizeof found);
    if (a[i].dtype != b[i].dtype || strcmp(expected, found) != 0)
      return diag_fail(diag, STATUS_INPUT, "%s: its %s '%s' is %s, '%s' of %s is %s", object, kind, b[i].name, found, a[i].name,
                       graph, expected);
  }
  return STATUS_OK;
}

static enum status prepare(const struct invocation *invocation, struct comparison *comparison, vitc_model *out_model) {
  const struct options *options = invocation->options;
  struct diag *diag = invocation->diag;
  const char *graph = invocation->operands[0], *object = invocation->operand_count > 1 ? invocation->operands[1] : NULL;
  const struct driver_options driver = {.name = NULL};
  const struct machine_options how = {
      .threads = options->threads, .level = options->level, .weights_path = options->weights, .check_weights = object != NULL};
  TRY(driver_load(&comparison->compilation, graph, &driver, diag));
  if (object != NULL)
    TRY(machine_open(object, &how, &comparison->machine, diag));
  else
    TRY(compile_and_open(invocation, graph, &how, &comparison->machine));
  const vitc_model *compiled = &comparison->machine.loaded.model;
  struct graph *interpreted = &comparison->compilation.graph;
  if (compiled->inputs[0].dtype == VITC_U8 && interpreted->inputs[0]->dtype == DTYPE_F32)
    TRY(driver_input_u8(&comparison->compilation, diag));
  TRY(describe_graph(interpreted, graph, out_model, diag));
  if (object == NULL) return STATUS_OK;
  TRY(same_tensors(graph, object, out_model->inputs, compiled->inputs, out_model->input_count, compiled->input_count, "input",
                   diag));
  return same_tensors(graph, object, out_model->outputs, compiled->outputs, out_model->output_count, compiled->output_count,
                      "output", diag);
}

static enum status read_feed(const struct invocation *invocation, const vitc_model *model, struct feed *out_feed) {
  const struct options *options = invocation->options;
  const char *file = invocation->operands[0];
  if (options->inputs.count > 0) return feed_npy(model, file, &options->inputs, out_feed, invocation->diag);
  if (options->images.count > 0) return feed_images(model, file, &options->images, out_feed, invocation->diag);
  return feed_random(model, (uint32_t)options->batch, (uint64_t)options->seed, out_feed, invocation->diag);
}

static void print_text(const vitc_model *model, const struct metrics *metrics) {
  printf("%-24s %12s %12s %12s %8s %8s\n", "output", "max err/std", "rms err/std", "cosine", "top-1", "top-5");
  for (uint32_t i = 0; i < model->output_count; i++) {
    printf("%-24s %12.3e %12.3e %12.9f", model->outputs[i].name, metrics[i].largest, metrics[i].rms, metrics[i].cosine);
    if (metrics[i].has_top) printf(" %7.2f%% %7.2f%%", 100 * metrics[i].top1, 100 * metrics[i].top5);
    putchar('\n');
  }
}

static void print_member(const char *name, double number) {
  printf(",\"%s\":", name);
  json_number(stdout, number);
}

static void print_json(const vitc_model *model, const struct metrics *metrics) {
  fputs("\"outputs\":[", stdout);
  for (uint32_t i = 0; i < model->output_count; i++) {
    fputs(i > 0 ? ",{\"name\":" : "{\"name\":", stdout);
    json_string(stdout, model->outputs[i].name);
    print_member("max_error_over_std", metrics[i].largest);
    print_member("rms_error_over_std", metrics[i].rms);
    print_member("std", metrics[i].deviation);
    print_member("cosine", metrics[i].cosine);
    if (metrics[i].has_top) {
      print_member("top1", metrics[i].top1);
      print_member("top5", metrics[i].top5);
    }
    putchar('}');
  }
  putchar(']');
}

static enum status find_nodes(const struct invocation *invocation, struct comparison *comparison,
                              struct node_comparison *out_nodes) {
  const struct options *options = invocation->options;
  const struct machine *machine = &comparison->machine;
  struct arena *arena = &comparison->compilation.arena;
  struct account account;
  struct node_request request = {.graph = invocation->operands[0],
                                 .precision = (enum precision)options->precision,
                                 .input_u8 = machine->loaded.model.inputs[0].dtype == VITC_U8,
                                 .feed = &comparison->feed,
                                 .how = {.threads = options->threads, .level = options->level}};
  if (invocation->operand_count > 1) {
    request.object = invocation->operands[1];
    TRY(account_read(request.object, machine->loaded.model.info, arena, &account, invocation->diag));
    request.account = &account;
    request.machine = machine;
  }
  return compare_nodes(&request, arena, out_nodes, invocation->diag);
}

static enum status compare(const struct invocation *invocation, struct comparison *comparison) {
  const struct options *options = invocation->options;
  const char *graph = invocation->operands[0];
  vitc_model model;
  TRY(prepare(invocation, comparison, &model));
  TRY(read_feed(invocation, &model, &comparison->feed));
  TRY(results_alloc(&model, graph, comparison->feed.batch, &comparison->expected, invocation->diag));
  TRY(results_alloc(&model, graph, comparison->feed.batch, &comparison->actual, invocation->diag));
  TRY(machine_run(&comparison->machine, &comparison->feed, &comparison->actual, invocation->diag));
  TRY(interpret(&comparison->compilation.graph, &model, &comparison->feed, options->threads, &comparison->expected,
                invocation->diag));
  struct metrics metrics[VITC_IO_MAX];
  bool within = true;
  const enum precision precision = machine_precision(&comparison->machine);
  const double tolerance = options->tolerance > 0 ? options->tolerance : tolerances[precision];
  for (uint32_t i = 0; i < model.output_count; i++) {
    metrics[i] = measure(comparison->expected.outputs[i], comparison->actual.outputs[i], comparison->feed.batch,
                         tensor_elements(&model.outputs[i]), model.outputs[i].rank == 2);
    within = within && metrics[i].largest <= tolerance;
  }
  struct node_comparison nodes = {.count = 0};
  if (options->per_node) TRY(find_nodes(invocation, comparison, &nodes));
  progress_end();
  if (options->json) {
    printf("{\"model\":");
    json_string(stdout, model.name);
    printf(",\"batch\":%" PRIu32, comparison->feed.batch);
    print_member("tolerance", tolerance);
    printf(",\"within\":%s,", within ? "true" : "false");
    print_json(&model, metrics);
    if (options->per_node) print_nodes_json(&nodes);
    puts("}");
  } else {
    print_text(&model, metrics);
    if (options->per_node) print_nodes(&nodes, (enum node_order)options->sort, options->top);
  }
  if (within) return STATUS_OK;
  return diag_fail(invocation->diag, STATUS_NO, "%s: past the tolerance of %g", graph, tolerance);
}

static enum status run(const struct invocation *invocation) {
  const struct options *options = invocation->options;
  if (options->inputs.count > 0 && options->images.count > 0)
    return diag_fail(invocation->diag, STATUS_USAGE, "compare: expected either --input X.npy or --image FILE...");
  if (!options->per_node && (options->sort != 0 || options->top != 0))
    return diag_fail(invocation->diag, STATUS_USAGE, "compare: --sort and --top are for --per-node");
  struct comparison comparison = {.feed = {.batch = 0}};
  compilation_init(&comparison.compilation);
  progress_begin("comparing");
  enum status status = compare(invocation, &comparison);
  progress_end();
  results_free(&comparison.expected);
  results_free(&comparison.actual);
  feed_free(&comparison.feed);
  machine_close(&comparison.machine);
  compilation_close(&comparison.compilation);
  return status;
}

const struct command compare_command = {
    .name = "compare",
    .usage = "M.json [M.o] [--input X.npy|--image FILE...] [--tolerance E]",
    .summary = "measure the compiled model's error against the interpreter",
    .details =
        "Runs the graph in the interpreter and as compiled, on the same pixels, and prints for every output the largest and "
        "the\n"
        "root mean square error over the output's standard deviation, the cosine, and how often the classes agree. Without\n"
        "M.o the graph is compiled for this. Exit status 1 when an error is past the tolerance.\n\n"
        "--per-node says where the error enters. For every value that survives fusion: its error, which holds what came\n"
        "with its operands, and its node's own error, which the compiled node makes of exact operands, both over the value's\n"
        "standard deviation. Then, for products, attention and normalisations, how far the operands (normalised where that is\n"
        "fused), the weights and the sums with a residual reach: least and largest value, root mean square, and the crest of\n"
        "rows (of weights: columns), that is their largest value over their root mean square: what an int8 scale has to\n"
        "span, also as it is after the scheme's transforms. Channels (of weights: columns) that reach twice as far as the\n"
        "median channel are named. Then layers that are alike are summed. Products have the precision that M.o gives them.",
    .operands_min = 1,
    .operands_max = 2,
    .options = rows,
    .defaults = &defaults,
    .options_size = sizeof defaults,
    .run = run,
};
