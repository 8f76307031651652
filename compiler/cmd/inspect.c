/* vitc inspect: what a graph or an object is made of. */
#include "cmd/command.h"
#include "cmd/inspect.h"
#include "load/load.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct options {
  int64_t batch;
  int precision;
  bool json, ranges;
};

static const struct options defaults = {.batch = 1};

#define AT(field) offsetof(struct options, field)
static const struct option_row rows[] = {
    {"json", 0, OPTION_FLAG, NULL, AT(json), 0, 0, "print JSON"},
    {"batch", 0, OPTION_INTEGER, "N", AT(batch), 1, PLAN_BATCH_MAX, "plan a graph for this largest batch (1)"},
    {"precision", 0, OPTION_CHOICE, "fp32|bf16|int8", AT(precision), 0, 0, "plan a graph in this precision (fp32)"},
    {"ranges", 0, OPTION_FLAG, NULL, AT(ranges), 0, 0, "also how far a graph's weights reach, and which columns"},
    {NULL, 0, OPTION_FLAG, NULL, 0, 0, 0, NULL},
};
#undef AT

static enum status print_graph(struct compilation *compilation, struct diag *diag) {
  const struct graph *original = &compilation->original;
  struct account account;
  TRY(account_read(original->file, driver_info(compilation), &compilation->arena, &account, diag));
  printf("%-12s %s (%s)\n", "model", original->name, original->file);
  inspect_values(&account);
  if (original->label_count > 0) printf("%-12s %d\n", "labels", original->label_count);
  inspect_account(&account);
  return STATUS_OK;
}

static void print_graph_json(struct compilation *compilation, bool ranges) {
  const char *info = driver_info(compilation);
  if (!ranges) {
    fputs(info, stdout);
    return;
  }
  printf("%.*s,\n", (int)(strrchr(info, '}') - info), info);
  inspect_ranges_json(compilation);
  puts("}");
}

static enum status inspect_graph_file(const struct invocation *invocation) {
  const struct options *options = invocation->options;
  const struct driver_options driver = {.batch_max = options->batch, .precision = (enum precision)options->precision};
  struct compilation compilation;
  compilation_init(&compilation);
  enum status status = driver_load(&compilation, invocation->operands[0], &driver, invocation->diag);
  if (status == STATUS_OK) status = driver_optimize(&compilation, &driver, invocation->diag);
  if (status == STATUS_OK && options->json) print_graph_json(&compilation, options->ranges);
  if (status == STATUS_OK && !options->json) status = print_graph(&compilation, invocation->diag);
  if (status == STATUS_OK && !options->json && options->ranges) inspect_ranges(&compilation);
  compilation_close(&compilation);
  return status;
}

static enum status inspect_object_file(const struct invocation *invocation) {
  const struct options *options = invocation->options;
  struct loaded loaded;
  struct account account;
  if (options->ranges || options->precision != 0)
    return diag_fail(invocation->diag, STATUS_USAGE, "inspect: --ranges and --precision are for a graph");
  TRY(load_object(invocation->operands[0], &loaded, invocation->diag));
  enum status status = STATUS_OK;
  const char *info = loaded.model.info;
  if (options->json)
    inspect_object_json(&loaded);
  else if (info != NULL)
    status = account_read(invocation->operands[0], info, &loaded.arena, &account, invocation->diag);
  if (status == STATUS_OK && !options->json) inspect_object(&loaded, info != NULL ? &account : NULL);
  load_close(&loaded);
  return status;
}

static enum status run(const struct invocation *invocation) {
  enum load_kind kind;
  TRY(load_kind(invocation->operands[0], &kind, invocation->diag));
  return kind == LOAD_GRAPH ? inspect_graph_file(invocation) : inspect_object_file(invocation);
}

const struct command inspect_command = {
    .name = "inspect",
    .usage = "M.json|M.o [--json] [--ranges]",
    .summary = "show shapes, parameters, FLOPs, fusions, the arena's plan and the CPU paths",
    .details =
        "Of a graph: its inputs, outputs, parameters and FLOPs, and how it would be compiled: every step with the operations\n"
        "that were fused into it, its FLOPs for one image, and where its result lives in the arena and during which steps;\n"
        "then the phases (parallel loops) that the steps become, which 'vitc bench --per-op' measures;\n"
        "and every product with its precision, the bytes of its weights, and in int8 its scales, the blocks of its Hadamard\n"
        "transform and whether channels are balanced between a LayerNormalization and the weights.\n"
        "Of an object: its description, sections and CPU paths, and the same of how it was compiled.",
    .operands_min = 1,
    .operands_max = 1,
    .options = rows,
    .defaults = &defaults,
    .options_size = sizeof defaults,
    .run = run,
};
