/* vitc predict: classes of images. */
#include "cmd/predict.h"
#include "cmd/command.h"
#include "cmd/images.h"
#include "cmd/machine.h"
#include "cmd/progress.h"
#include "json/labels.h"
#include "vitc/host.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
  const char *labels, *level, *weights;
  int format;
  int64_t top, threads;
};

static const struct options defaults = {.top = 5};

#define AT(field) offsetof(struct options, field)
static const struct option_row rows[] = {
    {"topk", 'k', OPTION_INTEGER, "K", AT(top), 1, 1 << 24, "how many classes to print (5)"},
    {"labels", 0, OPTION_TEXT, "FILE", AT(labels), 0, 0, "names of the classes, one a line or JSON (the model's own)"},
    {"format", 0, OPTION_CHOICE, "text|json|csv", AT(format), 0, 0, "of the answer (text)"},
    {"threads", 't', OPTION_INTEGER, "T", AT(threads), 1, VITC_THREADS_MAX, "threads to run on (every CPU)"},
    {"cpu", 0, OPTION_TEXT, "LEVEL", AT(level), 0, 0,
     "the code for this CPU level, of those that 'vitc inspect' names (the best one)"},
    {"weights", 0, OPTION_TEXT, "FILE", AT(weights), 0, 0, "external weights (the object's name with .weights)"},
    {NULL, 0, OPTION_FLAG, NULL, 0, 0, 0, NULL},
};
#undef AT

/* Images on their way: `window` at a time are decoded by all threads together, then run batch by batch. */
struct job {
  const struct options *options;
  struct arena arena;
  struct machine machine;
  const vitc_model *model;
  uint32_t classes, top;
  const char **labels;
  struct image_list images;
  size_t window;
  uint8_t *pixels;         /* (window, image) */
  struct diag *faults;     /* by image of the window */
  float *logits;           /* (batch_max, classes) */
  void *rest[VITC_IO_MAX]; /* the other outputs, not looked at */
  uint32_t *order;
  bool any_bad;
  size_t start; /* of the window */
};

static void report(struct job *job, const char *message) {
  fprintf(stderr, "vitc: %s\n", message);
  job->any_bad = true;
}

static void decode(void *context, uint32_t index) {
  struct job *job = context;
  enum status ignored = load_image_input(job->model, job->images.paths[job->start + index],
                                         job->pixels + index * job->model->inputs[0].image_bytes, &job->faults[index]);
  (void)ignored; /* the fault's status is looked at */
}

static enum status read_labels(struct job *job, struct diag *diag) {
  int count = (int)job->model->label_count;
  if (job->options->labels != NULL) {
    TRY(labels_read(job->options->labels, &job->arena, &job->labels, &count, diag));
    if (count != (int)job->classes)
      return diag_fail(diag, STATUS_INPUT, "%s: has %d labels, the model has %" PRIu32 " classes", job->options->labels, count,
                       job->classes);
  } else if (count == (int)job->classes) {
    job->labels = arena_array(&job->arena, (size_t)count, sizeof *job->labels);
    for (int i = 0; i < count; i++) job->labels[i] = vitc_label(job->model, (uint32_t)i);
  }
  return STATUS_OK;
}

static enum status check_model(struct job *job, const char *object, struct diag *diag) {
  const vitc_tensor *output = &job->model->outputs[0];
  TRY(check_image_input(job->model, object, diag));
  if (output->rank != 2 || output->dim[0] != 1 || output->dtype != VITC_F32 || output->dim[1] > INT32_MAX) {
    char shape[160];
    tensor_shape_text(output, shape, sizeof shape);
    return diag_fail(diag, STATUS_INPUT, "%s: is not a classifier: its output '%s' is %s, expected (N, classes)", object,
                     output->name, shape);
  }
  job->classes = (uint32_t)output->dim[1];
  job->top = job->options->top < job->classes ? (uint32_t)job->options->top : job->classes;
  return STATUS_OK;
}

static enum status allocate(struct job *job, struct diag *diag) {
  const vitc_model *model = job->model;
  size_t image = model->inputs[0].image_bytes;
  uint32_t batch = model->batch_max;
  /* At most so much memory for pixels that are waiting. */
  const size_t room = (size_t)1 << 30;
  size_t window = batch > job->machine.threads ? batch : job->machine.threads;
  if (window > job->images.count) window = job->images.count;
  if (window > room / image) window = room / image > 0 ? room / image : 1;
  job->window = window;
  if (batch > window) batch = (uint32_t)window;
  job->pixels = malloc(window * image);
  job->faults = calloc(window, sizeof *job->faults);
  job->logits = malloc((size_t)batch * model->outputs[0].image_bytes);
  job->order = malloc(job->top * sizeof *job->order);
  bool failed = job->pixels == NULL || job->faults == NULL || job->logits == NULL || job->order == NULL;
  for (uint32_t i = 1; i < model->output_count; i++) {
    job->rest[i] = malloc(batch * model->outputs[i].image_bytes);
    failed = failed || job->rest[i] == NULL;
  }
  return failed ? diag_fail(diag, STATUS_SYSTEM, "out of memory for %zu images", window) : STATUS_OK;
}

static void print_one(struct job *job, const char *path, float *logits) {
  vitc_top_k(logits, job->classes, job->top, job->order);
  vitc_softmax(logits, job->classes, logits);
  predict_print((enum predict_format)job->options->format,
                &(struct prediction){path, job->top, job->order, logits, (const char *const *)job->labels});
}

/* Broken images leave a gap: the others move up, so that batches stay full. */
static enum status run_window(struct job *job, size_t count, struct diag *diag) {
  const vitc_model *model = job->model;
  size_t image = model->inputs[0].image_bytes, good = 0;
  const char **paths = arena_array(&job->arena, count, sizeof *paths);
  for (size_t i = 0; i < count; i++) {
    if (job->faults[i].status != STATUS_OK) {
      if (job->faults[i].status == STATUS_SYSTEM) return diag_fail(diag, STATUS_SYSTEM, "%s", job->faults[i].message);
      report(job, job->faults[i].message);
      continue;
    }
    if (good != i) memcpy(job->pixels + good * image, job->pixels + i * image, image);
    paths[good++] = job->images.paths[job->start + i];
  }
  for (size_t done = 0; done < good;) {
    uint32_t batch = good - done < model->batch_max ? (uint32_t)(good - done) : model->batch_max;
    const void *inputs[1] = {job->pixels + done * image};
    void *outputs[VITC_IO_MAX];
    memcpy(outputs, job->rest, sizeof outputs);
    outputs[0] = job->logits;
    TRY(machine_call(&job->machine, inputs, outputs, batch, diag));
    for (uint32_t i = 0; i < batch; i++) print_one(job, paths[done + i], job->logits + (size_t)i * job->classes);
    done += batch;
  }
  return STATUS_OK;
}

static enum status predict_all(struct job *job, struct diag *diag) {
  predict_begin((enum predict_format)job->options->format);
  for (job->start = 0; job->start < job->images.count; job->start += job->window) {
    size_t count = job->images.count - job->start < job->window ? job->images.count - job->start : job->window;
    memset(job->faults, 0, count * sizeof *job->faults);
    if (job->machine.pool != NULL)
      job->machine.parallel.run(job->machine.parallel.pool, (uint32_t)count, decode, job);
    else
      for (size_t i = 0; i < count; i++) decode(job, (uint32_t)i);
    progress_clear();
    TRY(run_window(job, count, diag));
    fflush(stdout);
    progress_count(job->start + count, job->images.count);
  }
  predict_end((enum predict_format)job->options->format);
  return STATUS_OK;
}

static enum status predict(const struct invocation *invocation, struct job *job) {
  const struct options *options = invocation->options;
  const char *object = invocation->operands[0];
  struct diag *diag = invocation->diag;
  const struct machine_options how = {.threads = options->threads, .level = options->level, .weights_path = options->weights};
  TRY(machine_open(object, &how, &job->machine, diag));
  job->model = &job->machine.loaded.model;
  TRY(check_model(job, object, diag));
  TRY(read_labels(job, diag));
  for (int i = 1; i < invocation->operand_count; i++) {
    const char *path = invocation->operands[i];
    size_t before = job->images.count;
    int error = list_images(&job->images, path, &job->arena);
    if (error != 0) report(job, arena_printf(&job->arena, "%s: cannot read: %s", path, strerror(error)));
    if (error == 0 && job->images.count == before) report(job, arena_printf(&job->arena, "%s: holds no image", path));
  }
  if (job->images.count > 0) TRY(allocate(job, diag));
  TRY(predict_all(job, diag));
  return job->any_bad ? STATUS_NO : STATUS_OK;
}

static enum status run(const struct invocation *invocation) {
  struct job job = {.options = invocation->options};
  arena_init(&job.arena);
  progress_begin("predicting");
  enum status status = predict(invocation, &job);
  progress_end();
  free(job.pixels);
  free(job.faults);
  free(job.logits);
  free(job.order);
  for (int i = 0; i < VITC_IO_MAX; i++) free(job.rest[i]);
  machine_close(&job.machine);
  arena_deinit(&job.arena);
  return status;
}

const struct command predict_command = {
    .name = "predict",
    .usage = "M.o IMAGE|FOLDER... [--topk K] [--labels FILE] [--format text|json|csv]",
    .summary = "name the classes of images, with probabilities",
    .details =
        "Decodes and preprocesses images as the model says and prints the most probable classes of each. Folders are searched\n"
        "for .jpg, .jpeg, .png and .webp files, in sorted order. An image that cannot be read is reported on stderr and\n"
        "skipped, and the exit status is then 1.",
    .operands_min = 2,
    .operands_max = -1,
    .options = rows,
    .defaults = &defaults,
    .options_size = sizeof defaults,
    .run = run,
};
