/* vitc compile: a graph becomes an object and its header. */
#include "cmd/calibration.h"
#include "cmd/command.h"
#include "cmd/compile_options.h"
#include "cmd/precisions.h"
#include "cmd/progress.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct options {
  const char *output, *header, *target, *disable, *dump_after, *name, *calibrate;
  struct word_list images;
  int precision, weights, emit, input;
  int64_t batch;
  double max_error; /* 0: not given */
  bool time_passes, profile;
};

enum { WEIGHTS_EMBED, WEIGHTS_EXTERNAL };
enum { INPUT_F32, INPUT_U8 };
enum { PRECISION_AUTO = PRECISION_COUNT };

/* The largest error that --precision auto allows where none is given. */
static const double MAX_ERROR = 0.1;

static const struct options defaults = {.target = "x86-64", .batch = 1};

#define AT(field) offsetof(struct options, field)
static const struct option_row rows[] = {
    {"output", 'o', OPTION_TEXT, "M.o", AT(output), 0, 0, "the file to write"},
    {"header", 0, OPTION_TEXT, "M.h", AT(header), 0, 0, "the header to write (the output's name with .h)"},
    {"precision", 0, OPTION_CHOICE, "fp32|bf16|int8|auto", AT(precision), 0, 0,
     "of the matrix products; auto: the cheapest of each that together hold --max-error (fp32)"},
    {"max-error", 0, OPTION_NUMBER, "E", AT(max_error), 0, 0,
     "with auto: largest error of an output over its standard deviation, seen on the images (0.1)"},
    {"images", 0, OPTION_LIST, "FILE...", AT(images), 0, 0, "with auto: what the errors are measured on (random pixels)"},
    {"calibrate", 0, OPTION_TEXT, "FOLDER", AT(calibrate), 0, 0,
     "of images, at most 64 of which are interpreted: rounds int8 weights for what the products see on them (no images)"},
    {"target", 0, OPTION_TEXT, "native|x86-64|TRIPLE", AT(target), 0, 0,
     "x86-64 holds AVX2 and AVX-512 code and picks when it runs; native is this CPU's alone (x86-64)"},
    {"batch", 0, OPTION_INTEGER, "N", AT(batch), 1, PLAN_BATCH_MAX, "the largest batch; smaller ones run too (1)"},
    {"weights", 0, OPTION_CHOICE, "embed|external", AT(weights), 0, 0,
     "in the object, or in a file beside it, the output's name with .weights (embed)"},
    {"emit", 0, OPTION_CHOICE, "obj|llvm-ir|asm", AT(emit), 0, 0, "the kind of the output (obj)"},
    {"input", 0, OPTION_CHOICE, "f32|u8", AT(input), 0, 0,
     "u8: the input is 8-bit pixels, (N, H, W, 3), normalised by the model (f32)"},
    {"name", 0, OPTION_TEXT, "NAME", AT(name), 0, 0, "prefix of the object's symbols (the graph's name)"},
    {"disable", 0, OPTION_TEXT, "PASS[,PASS]", AT(disable), 0, 0, "passes not to run"},
    {"dump-after", 0, OPTION_TEXT, "PASS|all", AT(dump_after), 0, 0,
     "print the graph after a pass to stdout; then -o may be left out, and nothing is emitted"},
    {"profile", 0, OPTION_FLAG, NULL, AT(profile), 0, 0,
     "also emit NAME_run_profiled, which counts the time of every phase: for 'vitc bench --per-op'"},
    {"time-passes", 0, OPTION_FLAG, NULL, AT(time_passes), 0, 0, "print the time of every pass to stderr"},
    {NULL, 0, OPTION_FLAG, NULL, 0, 0, 0, NULL},
};
#undef AT

static bool is_identifier(const char *name) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
  if (name[0] == '\0' || strchr(letters, name[0]) == NULL) return false;
  for (const char *c = name; *c != '\0'; c++)
    if (strchr(letters, *c) == NULL && strchr("0123456789", *c) == NULL) return false;
  return true;
}

static enum status check(const struct options *options, struct diag *diag) {
  if (options->name != NULL && !is_identifier(options->name))
    return diag_fail(diag, STATUS_USAGE, "compile: --name: '%s' is not a C identifier", options->name);
  if (options->precision != PRECISION_AUTO && (options->max_error != 0 || options->images.count > 0))
    return diag_fail(diag, STATUS_USAGE, "compile: --max-error and --images are for --precision auto");
  if (options->calibrate != NULL && options->precision != PRECISION_INT8 && options->precision != PRECISION_AUTO)
    return diag_fail(diag, STATUS_USAGE, "compile: --calibrate is for --precision int8 and auto");
  if (options->max_error < 0) return diag_fail(diag, STATUS_USAGE, "compile: --max-error: expected a number above 0");
  if (options->output == NULL && options->dump_after == NULL)
    return diag_fail(diag, STATUS_USAGE, "compile: no output given: expected -o M.o");
  return STATUS_OK;
}

static struct driver_options driver_options_of(const struct options *options, struct arena *arena) {
  struct driver_options driver = {.name = options->name, .batch_max = options->batch};
  driver.passes.disabled = split_words(options->disable, arena, &driver.passes.disabled_count);
  driver.passes.dump_after = options->dump_after;
  driver.passes.dump_stream = stdout;
  driver.passes.time_stream = options->time_passes ? stderr : NULL;
  if (options->precision != PRECISION_AUTO) driver.precision = (enum precision)options->precision;
  driver.passes.input_u8 = options->input == INPUT_U8;
  driver.object.target = options->target;
  driver.object.emit = (enum emit_kind)options->emit;
  driver.object.external_weights = options->weights == WEIGHTS_EXTERNAL;
  driver.object.profile = options->profile;
  driver.object.output_path = options->output;
  driver.object.header_path = options->header;
  if (options->output != NULL && options->header == NULL && driver.object.emit == EMIT_OBJECT)
    driver.object.header_path = with_extension(options->output, ".h", arena);
  if (options->output != NULL && driver.object.external_weights)
    driver.object.weights_path = with_extension(options->output, ".weights", arena);
  return driver;
}

/* Whether one of them written would be the other, by whatever path. */
static bool same_file(const char *a, const char *b) {
  struct stat first, second;
  if (a == NULL || b == NULL) return false;
  if (strcmp(a, b) == 0) return true;
  return stat(a, &first) == 0 && stat(b, &second) == 0 && S_ISREG(first.st_mode) && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

static enum status check_paths(const char *model, const struct object_options *object, struct arena *arena, struct diag *diag) {
  const char *const paths[] = {model, with_extension(model, ".safetensors", arena), object->output_path, object->header_path,
                               object->weights_path};
  for (int i = 2; i < 5; i++) /* what is read may be named twice */
    for (int k = 0; k < i; k++)
      if (same_file(paths[i], paths[k])) return diag_fail(diag, STATUS_USAGE, "compile: '%s' would be written over", paths[i]);
  return STATUS_OK;
}

static enum status run(const struct invocation *invocation) {
  const struct options *options = invocation->options;
  TRY(check(options, invocation->diag));
  struct compilation compilation;
  compilation_init(&compilation);
  struct driver_options driver = driver_options_of(options, &compilation.arena);
  const struct precision_search search = {.graph = invocation->operands[0],
                                          .images = options->images,
                                          .max_error = options->max_error > 0 ? options->max_error : MAX_ERROR};
  enum status status = check_paths(invocation->operands[0], &driver.object, &compilation.arena, invocation->diag);
  progress_begin("compiling");
  struct calibration calibration;
  if (status == STATUS_OK && options->calibrate != NULL) {
    status = calibrate_on_images(invocation->operands[0], options->calibrate, &driver, &compilation.arena, &calibration,
                                 invocation->diag);
    driver.calibration = &calibration;
  }
  if (status == STATUS_OK && options->precision == PRECISION_AUTO)
    status = choose_precisions(&search, &driver, &compilation.arena, invocation->diag);
  if (status == STATUS_OK && options->output != NULL) {
    status = driver_compile(&compilation, invocation->operands[0], &driver, invocation->diag);
  } else if (status == STATUS_OK) {
    status = driver_load(&compilation, invocation->operands[0], &driver, invocation->diag);
    if (status == STATUS_OK) status = driver_optimize(&compilation, &driver, invocation->diag);
  }
  progress_end();
  compilation_close(&compilation);
  return status;
}

const struct command compile_command = {
    .name = "compile",
    .usage = "M.json -o M.o [--batch N] [--target native|x86-64|TRIPLE] [--weights embed|external]",
    .summary = "make an object and its header of a graph",
    .details = "Compiles the graph M.json, with its weights, to an object without undefined symbols and a plain C header that "
               "says how\n"
               "to call it. Every output appears whole or not at all; equal inputs and options give equal bytes.",
    .operands_min = 1,
    .operands_max = 1,
    .options = rows,
    .defaults = &defaults,
    .options_size = sizeof defaults,
    .run = run,
};
