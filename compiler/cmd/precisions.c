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

/* Random images where none are given; units that are split. */
enum { IMAGES = 4, SPLIT_UNITS = 2 };

struct product {
  const char *result;
  int64_t flops, k, n;
  int index;    /* in order of execution */
  double added; /* by the unit that it was last measured in */
  int alike;    /* other products of that unit */
};

/* Products that become cheap together: alike ones of neighbouring layers, and single ones where it is close. */
struct unit {
  int first, count; /* of the search's products */
  int64_t flops;
  double added; /* what its cheap form adds to the error of the outputs: root of the difference of squares of the root mean
                   square errors */
};

struct search {
  const struct precision_search *options;
  const struct driver_options *driver;
  struct arena *arena;
  struct diag *diag;
  vitc_model model;
  struct feed feed;
  struct results expected;
  struct product *products;    /* alike ones side by side */
  struct plan_choice *choices; /* of the products, in the same order */
  struct unit *units;
  int count, unit_count;
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
    *product = (struct product){.k = b->k, .n = b->n, .index = i};
    product->result = arena_strdup(arena, step->node->outputs[0]->name);
    product->flops = 2 * shape_elements(&step->out.shape) * b->k;
  }
  return count;
}

static int by_likeness(const void *a, const void *b) {
  const struct product *x = a, *y = b;
  if (x->k != y->k) return x->k < y->k ? -1 : 1;
  if (x->n != y->n) return x->n < y->n ? -1 : 1;
  return x->index - y->index;
}

static void add_unit(struct search *s, int first, int count) {
  struct unit *unit = &s->units[s->unit_count++];
  *unit = (struct unit){.first = first, .count = count};
  for (int i = first; i < first + count; i++) unit->flops += s->products[i].flops;
}

/* Units of about the root of all products: as many measurements as products in one. */
static void list_units(struct search *s) {
  int most = (int)ceil(sqrt(s->count));
  s->units = arena_array(s->arena, 2 * (size_t)s->count + 1, sizeof *s->units);
  s->unit_count = 0;
  for (int first = 0, count; first < s->count; first += count) {
    const struct product *products = s->products + first;
    count = 1;
    while (count < most && first + count < s->count && products[count].k == products[0].k && products[count].n == products[0].n)
      count++;
    add_unit(s, first, count);
  }
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
    qsort(s->products, (size_t)s->count, sizeof *s->products, by_likeness);
    for (int i = 0; i < s->count; i++) s->choices[i].result = s->products[i].result;
    list_units(s);
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
  const struct unit *x = a, *y = b;
  double left = x->added * x->added * (double)y->flops, right = y->added * y->added * (double)x->flops;
  if (left != right) return left < right ? -1 : 1;
  return x->first - y->first;
}

/* The products of units [first, end) cheap, all others dear. */
static void choose(struct search *s, int first, int end, enum precision cheap, enum precision dear) {
  for (int i = 0; i < s->count; i++) s->choices[i].precision = dear;
  for (int u = first; u < end; u++)
    for (int i = 0; i < s->units[u].count; i++) s->choices[s->units[u].first + i].precision = cheap;
}

/* Measures units [first, end) one by one and orders them. */
static enum status find_added(struct search *s, int first, int end, enum precision cheap, enum precision dear, double base) {
  for (int u = first; u < end; u++) {
    struct error error;
    choose(s, u, u + 1, cheap, dear);
    TRY(measure_error(s, cheap, true, &error));
    struct unit *unit = &s->units[u];
    unit->added = sqrt(fmax(error.rms * error.rms - base * base, 0));
    for (int i = unit->first; i < unit->first + unit->count; i++) {
      s->products[i].added = unit->added;
      s->products[i].alike = unit->count - 1;
    }
  }
  qsort(s->units + first, (size_t)(end - first), sizeof *s->units, by_price);
  return STATUS_OK;
}

/* The most units in the cheap precision that hold the error; the first *holds do, all `fails` do not. */
static enum status bisect(struct search *s, int fails, enum precision cheap, enum precision dear, int *holds) {
  while (fails - *holds > 1) {
    int middle = (*holds + fails) / 2;
    struct error error;
    choose(s, 0, middle, cheap, dear);
    TRY(measure_error(s, cheap, true, &error));
    if (error.largest <= s->options->max_error)
      *holds = middle;
    else
      fails = middle;
  }
  return STATUS_OK;
}

/* The first units that do not hold the error fall into their products, which come next; the others stay dear. */
static enum status split_next(struct search *s, int holds, enum precision cheap, enum precision dear, double base) {
  int end = holds + SPLIT_UNITS < s->unit_count ? holds + SPLIT_UNITS : s->unit_count, split = s->unit_count;
  for (int u = holds; u < end; u++)
    for (int i = 0; i < s->units[u].count; i++) add_unit(s, s->units[u].first + i, 1);
  int count = s->unit_count - split;
  memmove(s->units + holds, s->units + split, (size_t)count * sizeof *s->units);
  s->unit_count = holds + count;
  s->runs_max = s->runs + (size_t)count + 4;
  return find_added(s, holds, s->unit_count, cheap, dear, base);
}

/* As many products in the cheap precision as hold the error. Leaves the choices. */
static enum status search_units(struct search *s, enum precision cheap, enum precision dear, bool *out_all, bool *out_none) {
  struct error error;
  int holds = 0;
  *out_none = false;
  choose(s, 0, s->unit_count, cheap, dear);
  TRY(measure_error(s, cheap, true, &error));
  *out_all = error.largest <= s->options->max_error;
  if (*out_all) return STATUS_OK;
  choose(s, 0, 0, cheap, dear);
  TRY(measure_error(s, cheap, true, &error));
  *out_none = error.largest > s->options->max_error;
  if (*out_none) return STATUS_OK;
  double base = error.rms;
  TRY(find_added(s, 0, s->unit_count, cheap, dear, base));
  TRY(bisect(s, s->unit_count, cheap, dear, &holds));
  TRY(split_next(s, holds, cheap, dear, base));
  TRY(bisect(s, s->unit_count + 1, cheap, dear, &holds));
  choose(s, 0, holds, cheap, dear);
  return STATUS_OK;
}

static void print_choices(const struct search *s) {
  progress_clear();
  for (int i = 0; i < s->count; i++) {
    const struct product *product = &s->products[i];
    fprintf(stderr, "%-40s %-5s adds %.2e", product->result, precision_name(s->choices[i].precision), product->added);
    if (product->alike > 0) fprintf(stderr, " with %d alike", product->alike);
    fputc('\n', stderr);
  }
}

static enum status search_all(struct search *s, struct driver_options *driver) {
  static const enum precision steps[][2] = {{PRECISION_INT8, PRECISION_BF16}, {PRECISION_BF16, PRECISION_FP32}};
  TRY(interpret_expected(s));
  for (int i = 0; i < 2; i++) {
    bool all, none;
    TRY(find_products(s, steps[i][0]));
    s->runs = 0;
    s->runs_max = 2 * (size_t)s->unit_count + 8;
    TRY(search_units(s, steps[i][0], steps[i][1], &all, &none));
    if (none) continue;
    driver->precision = steps[i][0];
    if (all) {
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
