#include "cmd/compare_nodes.h"

#include "cmd/node_graph.h"
#include "cmd/object_weights.h"
#include "cmd/progress.h"
#include "cmd/temporary.h"
#include "ir/ops.h"

#include <string.h>

/* Results of one image that one compiled graph gives: what does not fit goes to another. */
enum { CHUNK_ELEMENTS = 1 << 27 };

/* ---- precisions */

static const struct account_product *product_named(const struct account_product *products, int count, const char *name) {
  for (int i = 0; i < count; i++)
    if (strcmp(products[i].name, name) == 0) return &products[i];
  return NULL;
}

/* The products of graph and object must be the same ones. */
static enum status check_products(const struct node_request *request, const struct account_product *products, int count,
                                  struct diag *diag) {
  const struct account *account = request->account;
  for (int i = 0; i < count; i++) {
    const struct account_product *other = product_named(account->products, account->product_count, products[i].name);
    if (other == NULL)
      return diag_fail(diag, STATUS_INPUT, "%s: was not compiled from %s: it has no product '%s'", request->object,
                       request->graph, products[i].name);
    if (other->k != products[i].k || other->n != products[i].n)
      return diag_fail(diag, STATUS_INPUT, "%s: was not compiled from %s: its product '%s' has other weights", request->object,
                       request->graph, products[i].name);
  }
  for (int i = 0; i < account->product_count; i++)
    if (product_named(products, count, account->products[i].name) == NULL)
      return diag_fail(diag, STATUS_INPUT, "%s: was not compiled from %s: its product '%s' is not in the graph",
                       request->object, request->graph, account->products[i].name);
  return STATUS_OK;
}

enum status account_precisions(const char *file, const struct account *account, struct arena *arena,
                               struct driver_options *driver, struct diag *diag) {
  struct plan_choice *choices = arena_array(arena, (size_t)account->product_count + 1, sizeof *choices);
  driver->precision = PRECISION_FP32;
  for (int i = 0; i < account->product_count; i++) {
    choices[i].result = account->products[i].name;
    if (!precision_named(account->products[i].precision, &choices[i].precision))
      return diag_fail(diag, STATUS_INPUT, "%s: its product '%s' is in an unknown precision '%s'", file,
                       account->products[i].name, account->products[i].precision);
    if (choices[i].precision > driver->precision) driver->precision = choices[i].precision;
  }
  driver->choices = choices;
  driver->choice_count = account->product_count;
  return STATUS_OK;
}

/* The fused graph with a plan, and the precisions of its products as choices, which hold whatever the outputs are. */
static enum status fuse(const struct node_request *request, struct compilation *fused, struct plan_options *out_plan,
                        struct account_product **out_products, int *out_count, struct diag *diag) {
  struct driver_options driver = {.precision = request->precision};
  TRY(driver_load(fused, request->graph, &driver, diag));
  driver.passes.input_u8 = request->input_u8 && fused->graph.inputs[0]->dtype == DTYPE_F32;
  if (request->account != NULL) TRY(account_precisions(request->object, request->account, &fused->arena, &driver, diag));
  TRY(driver_optimize(fused, &driver, diag));
  *out_count = driver_products(fused, out_products);
  if (request->account != NULL) TRY(check_products(request, *out_products, *out_count, diag));
  struct plan_choice *choices = arena_array(&fused->arena, (size_t)*out_count + 1, sizeof *choices);
  for (int i = 0; i < *out_count; i++) {
    choices[i].result = (*out_products)[i].name;
    if (!precision_named((*out_products)[i].precision, &choices[i].precision)) choices[i].precision = PRECISION_FP32;
  }
  *out_plan =
      (struct plan_options){.batch_max = 1, .precision = driver.precision, .choices = choices, .choice_count = *out_count};
  return STATUS_OK;
}

/* ---- running the nodes */

/* Everything of one comparison. */
struct work {
  const struct node_request *request;
  struct compilation *fused;
  struct plan_options plan;
  struct calibration weights; /* of int8 products, as the object holds them; none without it */
  struct node_values values;
  struct node_comparison *nodes;
  size_t done, total; /* compilations */
  struct diag *diag;
};

static enum status open_graph(const struct work *work, const struct graph *graph, struct arena *arena,
                              struct machine *machine) {
  struct plan plan;
  struct temporary temporary = {.descriptor = -1};
  enum status status = plan_graph(graph, &work->plan, arena, &plan);
  if (status == STATUS_OK) calibration_apply(&work->weights, &plan);
  if (status == STATUS_OK) status = temporary_open(&temporary, work->diag);
  const struct object_options object = {.output_path = temporary.path,
                                        .target = work->request->how.level == NULL ? "native" : NULL};
  if (status == STATUS_OK) status = object_write(graph, &plan, &object, work->diag);
  if (status == STATUS_OK) status = machine_open(temporary.path, &work->request->how, machine, work->diag);
  temporary_close(&temporary);
  return status;
}

/* Value `list[i]` of all images, from rows of `stride` floats. */
static float *gather(const float *rows, size_t stride, size_t offset, size_t elements, uint32_t batch, struct arena *scratch) {
  float *values = arena_array(scratch, elements * sizeof *values, batch);
  for (size_t image = 0; image < batch; image++)
    memcpy(values + image * elements, rows + image * stride + offset, elements * sizeof *values);
  return values;
}

static void measure_values(const struct work *work, const struct node_value *list, const int *at, int count, bool own,
                           const float *results, size_t stride) {
  const struct node_values *exact = &work->values;
  size_t offset = 0;
  for (int i = 0; i < count; i++) {
    struct arena scratch;
    arena_init(&scratch);
    size_t elements = list[i].elements;
    const float *expected = gather(exact->data, exact->stride, list[i].offset, elements, exact->batch, &scratch);
    const float *actual = gather(results, stride, offset, elements, exact->batch, &scratch);
    struct node_error *error = &work->nodes->errors[at[i]];
    *(own ? &error->own : &error->accumulated) = measure(expected, actual, 1, exact->batch * elements, false);
    arena_deinit(&scratch);
    offset += elements;
  }
}

/* Compiles and runs one part: `count` values, whose errors are at `at`. */
static enum status run_part(struct work *work, const struct node_value *list, const int *at, int count, bool own) {
  struct arena arena;
  struct graph graph;
  struct machine machine = {.run = NULL};
  struct results results = {.batch = 0};
  arena_init(&arena);
  struct feed feed = *work->request->feed;
  progress_count(work->done++, work->total);
  enum status status =
      node_graph_make(&work->fused->graph, list, count, own ? &work->values : NULL, &arena, &graph, work->diag);
  if (status == STATUS_OK) status = open_graph(work, &graph, &arena, &machine);
  if (status == STATUS_OK && own) feed.inputs[graph.input_count - 1] = work->values.data;
  const vitc_model *model = &machine.loaded.model;
  if (status == STATUS_OK) status = results_alloc(model, work->request->graph, feed.batch, &results, work->diag);
  if (status == STATUS_OK) status = machine_run(&machine, &feed, &results, work->diag);
  if (status == STATUS_OK) measure_values(work, list, at, count, own, results.outputs[0], tensor_elements(&model->outputs[0]));
  results_free(&results);
  machine_close(&machine);
  arena_deinit(&arena);
  return status;
}

static enum status run_parts(struct work *work, bool own) {
  const struct node_values *values = &work->values;
  struct node_value *list = arena_array(&work->fused->arena, (size_t)values->count + 1, sizeof *list);
  int *at = arena_array(&work->fused->arena, (size_t)values->count + 1, sizeof *at), count = 0;
  size_t elements = 0;
  for (int i = 0; i < values->count; i++) {
    if (own && !work->nodes->errors[i].computes) continue;
    if (count > 0 && elements + values->list[i].elements > CHUNK_ELEMENTS) {
      TRY(run_part(work, list, at, count, own));
      count = 0;
      elements = 0;
    }
    list[count] = values->list[i];
    at[count++] = i;
    elements += values->list[i].elements;
  }
  return count > 0 ? run_part(work, list, at, count, own) : STATUS_OK;
}

/* ---- all of it */

static bool adds_residual(const struct node *node) {
  for (int i = 0; i < node->epilogue_count; i++)
    for (int j = 0; j < node->epilogue[i]->input_count && node->epilogue[i]->op == OP_add; j++) {
      const struct value *operand = node->epilogue[i]->inputs[j];
      if (operand != NULL && operand->data == NULL && operand->batched) return true;
    }
  return false;
}

static void list_errors(struct work *work, const struct account_product *products, int product_count, struct arena *arena) {
  const struct node_values *values = &work->values;
  struct account_product *kept = arena_array(arena, (size_t)product_count + 1, sizeof *kept);
  for (int i = 0; i < product_count; i++) {
    kept[i] = products[i];
    kept[i].name = arena_strdup(arena, products[i].name);
    kept[i].layer = arena_strdup(arena, products[i].layer);
  }
  work->nodes->errors = arena_array(arena, (size_t)values->count + 1, sizeof *work->nodes->errors);
  for (int i = 0; i < values->count; i++) {
    const struct value *value = values->list[i].value;
    struct node_error *error = &work->nodes->errors[work->nodes->count++];
    error->name = arena_strdup(arena, value->name);
    error->op = op_info(value->producer->op)->name;
    error->computes = node_computes(value->producer);
    error->product = product_named(kept, product_count, value->name);
    error->layer = error->product != NULL ? error->product->layer : error->name;
    error->adds_residual = adds_residual(value->producer);
  }
}

static enum status compare_fused(struct work *work, struct arena *arena) {
  struct account_product *products;
  int product_count;
  TRY(fuse(work->request, work->fused, &work->plan, &products, &product_count, work->diag));
  if (work->request->machine != NULL)
    TRY(object_weights_read(work->request->machine, work->request->account, &work->fused->arena, &work->weights, work->diag));
  TRY(node_values_interpret(&work->fused->graph, work->request->feed, work->request->how.threads, &work->fused->arena,
                            &work->values, work->diag));
  list_errors(work, products, product_count, arena);
  work->total = 2 * (1 + work->values.stride / CHUNK_ELEMENTS);
  TRY(run_parts(work, false));
  TRY(run_parts(work, true));
  return find_ranges(work->fused, &work->values, work->request->feed, work->nodes, arena, work->diag);
}

enum status compare_nodes(const struct node_request *request, struct arena *arena, struct node_comparison *out_nodes,
                          struct diag *diag) {
  *out_nodes = (struct node_comparison){0, NULL};
  struct compilation fused;
  compilation_init(&fused);
  struct work work = {.request = request, .fused = &fused, .nodes = out_nodes, .diag = diag};
  enum status status = compare_fused(&work, arena);
  compilation_close(&fused);
  return status;
}
