/* vitc preprocess: the pixels exactly as a model gets them. */
#include "base/npy.h"
#include "cmd/command.h"
#include "cmd/feed.h"
#include "driver.h"
#include "load/load.h"

struct options {
  const char *output;
};

static const struct options defaults = {NULL};

static const struct option_row rows[] = {
    {"output", 'o', OPTION_TEXT, "X.npy", offsetof(struct options, output), 0, 0, "the array to write"},
    {NULL, 0, OPTION_FLAG, NULL, 0, 0, 0, NULL},
};

static enum status write_pixels(const struct invocation *invocation, const vitc_model *model) {
  const struct options *options = invocation->options;
  const struct word_list image = {(const char **)(uintptr_t)&invocation->operands[1], 1};
  struct feed feed;
  enum status status = feed_images(model, invocation->operands[0], &image, &feed, invocation->diag);
  const vitc_tensor *tensor = &model->inputs[0];
  if (status == STATUS_OK)
    status = npy_write(options->output, tensor->dtype == VITC_U8 ? NPY_U8 : NPY_F32, (int)tensor->rank, tensor->dim,
                       feed.inputs[0], invocation->diag);
  feed_free(&feed);
  return status;
}

static enum status preprocess_for_graph(const struct invocation *invocation) {
  struct compilation compilation;
  vitc_model model;
  compilation_init(&compilation);
  const struct driver_options driver = {.name = NULL};
  enum status status = driver_load(&compilation, invocation->operands[0], &driver, invocation->diag);
  if (status == STATUS_OK) status = describe_graph(&compilation.graph, invocation->operands[0], &model, invocation->diag);
  if (status == STATUS_OK) status = write_pixels(invocation, &model);
  compilation_close(&compilation);
  return status;
}

static enum status preprocess_for_object(const struct invocation *invocation) {
  struct loaded loaded;
  TRY(load_object(invocation->operands[0], &loaded, invocation->diag));
  enum status status = write_pixels(invocation, &loaded.model);
  load_close(&loaded);
  return status;
}

static enum status run(const struct invocation *invocation) {
  const struct options *options = invocation->options;
  if (options->output == NULL)
    return diag_fail(invocation->diag, STATUS_USAGE, "preprocess: no output given: expected -o X.npy");
  enum load_kind kind;
  TRY(load_kind(invocation->operands[0], &kind, invocation->diag));
  return kind == LOAD_GRAPH ? preprocess_for_graph(invocation) : preprocess_for_object(invocation);
}

const struct command preprocess_command = {
    .name = "preprocess",
    .usage = "M.json|M.o IMAGE -o X.npy",
    .summary = "write the pixels of an image exactly as a model gets them",
    .details =
        "Decodes IMAGE (JPEG, PNG or WebP), turns it upright, resizes, crops and normalises it as the model says, and writes\n"
        "float32 (1, 3, H, W), or uint8 (1, H, W, 3) for an object that takes 8-bit pixels.",
    .operands_min = 2,
    .operands_max = 2,
    .options = rows,
    .defaults = &defaults,
    .options_size = sizeof defaults,
    .run = run,
};
