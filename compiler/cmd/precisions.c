#include "cmd/precisions.h"

#include "cmd/interpret.h"
#include "cmd/machine.h"
#include "cmd/metrics.h"
#include "cmd/progress.h"
#include "cmd/temporary.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 4 };

/* A product, with what it costs and what its cheap form adds to the error of the outputs. */
struct product {
  const char *result;
  int64_t flops;
  double added; /* root of the difference of squares of the root mean square errors */
};

struct search {
  const struct precision_search *options;
  const struct driver_options *driver;
  struct arena *arena;
  struct diag *diag;
  vitc_model model;
  struct feed feed;
  struct results expected;
  struct product *products;
  struct plan_choice *choices; /* of the products, in the same order */
  int count;
  size_t runs, runs_max;
};

struct error {
  double largest, rms;
};

/* ---- what there is to choose */

static int list_products(const struct plan *plan, enum precision cheap, struct product *out_products, struct arena *arena) {
  int count = 0;
  for (int i = 0; i < plan->step_count; i++) {
    const struct step *step = &plan->steps[i];
    if (step->kind != STEP_GEMM || step->precision != cheap || step->node->outputs[0]->name == NULL) continue;
    const struct packed *b = &plan->packed[step->inputs[1].index];
    struct product *product = &out_products[count++];
    product->result = arena_strdup(arena, step->node->outputs[0]->name);
    product->flops = 2 * shape_elements(&step->out.shape) * b->k;
  }
  return count;
}

static enum status find_products(struct search *s, enum precision cheap) {
  struct compilation compilation;
  struct driver_options driver = *s->driver;
  driver.precision = cheap;
  driver.passes.dump_after = NULL;
  compilation_init(&compilation);
  enum status status = driver_load(&compilation, s->options->graph, &driver, s->diag);
  if (status == STATUS_OK) status = driver_optimize(&compilation, &driver, s->diag);
  if (status == STATUS_OK) {
    s->products = arena_array(s->arena, (size_t)compilation.plan.step_count + 1, sizeof *s->products);
    s->count = list_products(&compilation.plan, cheap, s->products, s->arena);
    s->choices = arena_array(s->arena, (size_t)s->count + 1, sizeof *s->choices);
    for (int i = 0; i < s->count; i++) s->choices[i].result = s->products[i].result;
  }
  compilation_close(&compilation);
  return status;
}

/* ---- one measurement */

static enum status interpret_expected(struct search *s) {
  struct compilation compilation;
  compilation_init(&compilation);
  enum status status = driver_load(&compilation, s->options->graph, s->driver, s->diag);
  if (status == STATUS_OK && s->driver->passes.input_u8) status = driver_input_u8(&compilation, s->diag);
  if (status == STATUS_OK) status = describe_graph(&compilation.graph, s->options->graph, &s->model, s->diag);
  const struct word_list *images = &s->options->images;
  if (status == STATUS_OK && images->count > 0)
    status = feed_images(&s->model, s->options->graph, images, &s->feed, s->diag);
  else if (status == STATUS_OK)
    status = feed_random(&s->model, IMAGES, (uint64_t)s->options->seed, &s->feed, s->diag);
  if (status == STATUS_OK) status = results_alloc(&s->model, s->options->graph, s->feed.batch, &s->expected, s->diag);
  if (status == STATUS_OK) status = interpret(&compilation.graph, &s->model, &s->feed, 0, &s->expected, s->diag);
  compilation_close(&compilation);
  return status;
}

static enum status compile_native(struct search *s, enum precision precision, bool chosen, struct machine *machine) {
  struct temporary temporary = {.descriptor = -1};
  struct compilation compilation;
  const struct machine_options how = {.threads = 0};
  compilation_init(&compilation);
  enum status status = temporary_open(&temporary, s->diag);
  struct driver_options driver = *s->driver;
  driver.precision = precision;
  driver.choices = chosen ? s->choices : NULL;
  driver.choice_count = chosen ? s->count : 0;
  driver.object = (struct object_options){.target = "native", .output_path = temporary.path};
  driver.passes.dump_after = NULL;
  driver.passes.time_stream = NULL;
  if (status == STATUS_OK) status = driver_compile(&compilation, s->options->graph, &driver, s->diag);
  if (status == STATUS_OK) status = machine_open(temporary.path, &how, machine, s->diag);
  compilation_close(&compilation);
  temporary_close(&temporary);
  return status;
}

static enum status measure_error(struct search *s, enum precision precision, bool chosen, struct error *out_error) {
  struct machine machine = {.run = NULL};
  struct results actual = {.batch = 0};
  progress_count(s->runs++, s->runs_max);
  enum status status = compile_native(s, precision, chosen, &machine);
  if (status == STATUS_OK) status = results_alloc(&s->model, s->options->graph, s->feed.batch, &actual, s->diag);
  if (status == STATUS_OK) status = machine_run(&machine, &s->feed, &actual, s->diag);
  *out_error = (struct error){0, 0};
  for (uint32_t i = 0; status == STATUS_OK && i < s->model.output_count; i++) {
    struct metrics metrics =
        measure(s->expected.outputs[i], actual.outputs[i], s->feed.batch, tensor_elements(&s->model.outputs[i]), false);
    out_error->largest = fmax(out_error->largest, metrics.largest);
    out_error->rms = fmax(out_error->rms, metrics.rms);
  }
  results_free(&actual);
  machine_close(&machine);
  return status;
}

/* ---- the search */

/* Least error for the operations that it makes cheap first. */
static int by_price(const void *a, const void *b) {
  const struct product *x = a, *y = b;
  double left = x->added * x->added * (double)y->flops, right = y->added * y->added * (double)x->flops;
  if (left != right) return left < right ? -1 : 1;
  return strcmp(x->result, y->result);
}

static void choose_first(struct search *s, int count, enum precision cheap, enum precision dear) {
  for (int i = 0; i < s->count; i++) s->choices[i] = (struct plan_choice){s->products[i].result, i < count ? cheap : dear};
}

static enum status find_added(struct search *s, enum precision cheap, enum precision dear, double base) {
  for (int i = 0; i < s->count; i++) {
    struct error error;
    for (int k = 0; k < s->count; k++) s->choices[k].precision = k == i ? cheap : dear;
    TRY(measure_error(s, cheap, true, &error));
    s->products[i].added = sqrt(fmax(error.rms * error.rms - base * base, 0));
  }
  qsort(s->products, (size_t)s->count, sizeof *s->products, by_price);
  return STATUS_OK;
}

/* The most products in the cheap precision that hold the error; -1 when not even none does. */
static enum status search_count(struct search *s, enum precision cheap, enum precision dear, int *out_count) {
  struct error error;
  *out_count = s->count;
  choose_first(s, s->count, cheap, dear);
  TRY(measure_error(s, cheap, true, &error));
  if (error.largest <= s->options->max_error) return STATUS_OK;
  *out_count = -1;
  choose_first(s, 0, cheap, dear);
  TRY(measure_error(s, cheap, true, &error));
  if (error.largest > s->options->max_error) return STATUS_OK;
  TRY(find_added(s, cheap, dear, error.rms));
  int holds = 0, fails = s->count;
  while (fails - holds > 1) {
    int middle = (holds + fails) / 2;
    choose_first(s, middle, cheap, dear);
    TRY(measure_error(s, cheap, true, &error));
    *(error.largest <= s->options->max_error ? &holds : &fails) = middle;
  }
  *out_count = holds;
  choose_first(s, holds, cheap, dear);
  return STATUS_OK;
}

static void print_choices(const struct search *s) {
  progress_clear();
  for (int i = 0; i < s->count; i++)
    fprintf(stderr, "%-40s %-5s adds %.2e\n", s->choices[i].result, precision_name(s->choices[i].precision),
            s->products[i].added);
}

static enum status search_all(struct search *s, struct driver_options *driver) {
  static const enum precision steps[][2] = {{PRECISION_INT8, PRECISION_BF16}, {PRECISION_BF16, PRECISION_FP32}};
  TRY(interpret_expected(s));
  for (int i = 0; i < 2; i++) {
    int count;
    TRY(find_products(s, steps[i][0]));
    s->runs = 0;
    s->runs_max = (size_t)s->count + 8;
    TRY(search_count(s, steps[i][0], steps[i][1], &count));
    if (count < 0) continue;
    driver->precision = steps[i][0];
    if (count == s->count) {
      progress_clear();
      fprintf(stderr, "every product in %s\n", precision_name(steps[i][0]));
      return STATUS_OK;
    }
    driver->choices = s->choices;
    driver->choice_count = s->count;
    print_choices(s);
    return STATUS_OK;
  }
  driver->precision = PRECISION_FP32;
  progress_clear();
  fputs("every product in fp32\n", stderr);
  return STATUS_OK;
}

enum status choose_precisions(const struct precision_search *search, struct driver_options *driver, struct arena *arena,
                              struct diag *diag) {
  struct search s = {.options = search, .driver = driver, .arena = arena, .diag = diag};
  enum status status = search_all(&s, driver);
  feed_free(&s.feed);
  results_free(&s.expected);
  return status;
}
