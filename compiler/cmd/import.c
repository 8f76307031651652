/* vitc import: any source becomes a graph and its weights. */
#include "cmd/command.h"
#include "cmd/progress.h"
#include "driver.h"
#include "json/json.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct options {
  const char *graph, *arch, *init, *outputs;
  int size[2];
  int64_t classes, seed;
  bool list, verbose;
};

static const struct options defaults = {.classes = -1};

#define AT(field) offsetof(struct options, field)
static const struct option_row rows[] = {
    {"graph", 'o', OPTION_TEXT, "M.json", AT(graph), 0, 0, "the graph to write, with M.safetensors beside it"},
    {"arch", 0, OPTION_TEXT, "NAME", AT(arch), 0, 0, "the architecture, where the source does not tell it (--list)"},
    {"image-size", 0, OPTION_SIZE, "HxW", AT(size), 0, 0, "another input size; the position table is resampled"},
    {"num-classes", 0, OPTION_INTEGER, "N", AT(classes), 0, 1 << 24, "another number of classes; 0: features, no head"},
    {"output", 0, OPTION_TEXT, "NAME,...", AT(outputs), 0, 0,
     "what the graph gives: logits, features, tokens, attention:LAYER, a value's name (the source's answer)"},
    {"init", 0, OPTION_TEXT, "random", AT(init), 0, 0, "draw the weights instead of reading them"},
    {"seed", 0, OPTION_INTEGER, "S", AT(seed), 0, INT64_MAX, "of --init random (0)"},
    {"list", 0, OPTION_FLAG, NULL, AT(list), 0, 0, "print the sources, the families and the architectures"},
    {"verbose", 'v', OPTION_FLAG, NULL, AT(verbose), 0, 0, "print every tensor that the model takes"},
    {NULL, 0, OPTION_FLAG, NULL, 0, 0, 0, NULL},
};
#undef AT

static void print_list(void) {
  puts("Sources:");
  for (int i = 0; frontend_at(i) != NULL; i++) printf("  %-14s %s\n", frontend_at(i)->name, frontend_at(i)->description);
  puts("\nModel types of transformers (model_type of config.json):");
  static const char *const types[] = {
#define MODEL_TYPE(name, ...) name,
#include "huggingface/models.def"
#undef MODEL_TYPE
  };
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) printf("  %s\n", types[i]);
  puts("\nNames of tensors that state dicts may have:");
  static const char *const families[] = {
#define FAMILY(id, name, ...) name,
#include "families.def"
#undef FAMILY
  };
  for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) printf("  %s\n", families[i]);
  puts("\nArchitectures: a size, with the patch for the dots, and for timm's names _224 or another resolution:");
  static const char *const archs[] = {
#define ARCH(prefix, ...) prefix,
#include "archs.def"
  };
  for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
    if (i == 0 || strcmp(archs[i], archs[i - 1]) != 0) printf("  %s..\n", archs[i]);
  }
  static const char *const whole[] = {
#define NAMED(name, ...) name,
#include "archs.def"
#define EVA_ARCH(name, ...) name,
#include "eva/archs.def"
#undef EVA_ARCH
  };
  for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) printf("  %s\n", whole[i]);
  puts("Between patch and resolution may stand:");
  static const char *const styles[] = {
#define STYLE(id, group, middle, ...) middle,
#include "archs.def"
  };
  for (size_t i = 0; i < sizeof styles / sizeof styles[0]; i++)
    if (*styles[i]) printf("  %s\n", styles[i]);
}

/* The words of --output, at its commas. */
static enum status split_outputs(const struct invocation *invocation, struct arena *arena, struct import_options *out_import) {
  const struct options *options = invocation->options;
  if (options->outputs == NULL) return STATUS_OK;
  const char **words = arena_array(arena, strlen(options->outputs) + 1, sizeof *words);
  for (char *word = arena_strdup(arena, options->outputs), *next; word != NULL; word = next) {
    next = strchr(word, ',');
    if (next != NULL) *next++ = '\0';
    if (*word == '\0')
      return diag_fail(invocation->diag, STATUS_USAGE, "import: --output: expected names with commas between, not '%s'",
                       options->outputs);
    words[out_import->output_count++] = word;
  }
  out_import->outputs = words;
  return STATUS_OK;
}

static enum status check(const struct invocation *invocation, struct import_options *out_import) {
  const struct options *options = invocation->options;
  struct diag *diag = invocation->diag;
  if (options->graph == NULL) return diag_fail(diag, STATUS_USAGE, "import: no output given: expected -o M.json");
  size_t length = strlen(options->graph);
  if (length < 6 || strcmp(options->graph + length - 5, ".json") != 0)
    return diag_fail(diag, STATUS_USAGE, "import: the output '%s' does not end in .json", options->graph);
  if (options->init != NULL && strcmp(options->init, "random") != 0)
    return diag_fail(diag, STATUS_USAGE, "import: --init: '%s' is not random", options->init);
  if (invocation->operand_count == 0 && options->init == NULL)
    return diag_fail(diag, STATUS_USAGE, "import: no source given: expected a file or a folder, or --init random with --arch");
  if (invocation->operand_count == 0 && options->arch == NULL)
    return diag_fail(diag, STATUS_USAGE, "import: --init random needs --arch (see 'vitc import --list')");
  *out_import = (struct import_options){.arch = options->arch,
                                        .image_height = options->size[0],
                                        .image_width = options->size[1],
                                        .num_classes = (int)options->classes,
                                        .init_random = options->init != NULL,
                                        .seed = (uint64_t)options->seed,
                                        .verbose = true,
                                        .list_tensors = options->verbose};
  return STATUS_OK;
}

static enum status import(const struct invocation *invocation, struct compilation *compilation) {
  const struct options *options = invocation->options;
  struct import_options import_options;
  TRY(check(invocation, &import_options));
  TRY(split_outputs(invocation, &compilation->arena, &import_options));
  import_options.name = frontend_identifier(&compilation->arena, options->graph);
  const char *source = invocation->operand_count > 0 ? invocation->operands[0] : NULL;
  TRY(frontend_import(source, &import_options, &compilation->arena, &compilation->weights, &compilation->graph,
                      invocation->diag));
  TRY(json_write(&compilation->graph, options->graph, invocation->diag));
  fprintf(stderr, "%s: %" PRId64 " parameters, %.2f GFLOP an image\n", options->graph, graph_parameters(&compilation->graph),
          (double)graph_flops(&compilation->graph) / 1e9);
  return STATUS_OK;
}

static enum status run(const struct invocation *invocation) {
  const struct options *options = invocation->options;
  if (options->list) {
    print_list();
    return STATUS_OK;
  }
  struct compilation compilation;
  compilation_init(&compilation);
  progress_begin("importing");
  enum status status = import(invocation, &compilation);
  progress_end();
  compilation_close(&compilation);
  return status;
}

const struct command import_command = {
    .name = "import",
    .usage = "[SOURCE] -o M.json [--arch NAME] [--init random --seed S]",
    .summary = "make a graph and its weights of a model from elsewhere",
    .details =
        "Reads a model as its makers publish it (see --list for what is read) and writes the graph M.json with its weights\n"
        "M.safetensors beside it, both whole or neither. The graph is named after the file. What was recognised is told on\n"
        "stderr. Without SOURCE, --init random draws the weights of --arch from --seed.",
    .operands_min = 0,
    .operands_max = 1,
    .options = rows,
    .defaults = &defaults,
    .options_size = sizeof defaults,
    .run = run,
};
