#include "cmd/compare_nodes.h"

#include "cmd/progress.h"
#include "cmd/temporary.h"
#include "driver_json.h"
#include "interp/interp.h"
#include "ir/ops.h"
#include "vitc/host.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* One value that survives fusion: what the interpreter made of it, and what the compiled model does. */
struct survivor {
  const struct value *value;
  const float *expected;
  uint32_t batch; /* 1 when the value is the same for all images */
};

struct survivors {
  struct arena *arena;
  struct survivor *list;
  int count;
};

static void keep(void *context, const struct value *value, const void *data, int64_t batch) {
  struct survivors *survivors = context;
  for (int i = 0; i < survivors->count; i++) {
    if (survivors->list[i].value != value) continue;
    size_t bytes = (size_t)shape_elements(&value->shape) * sizeof(float) * (size_t)(value->batched ? batch : 1);
    float *copy = arena_alloc(survivors->arena, bytes);
    memcpy(copy, data, bytes);
    survivors->list[i].expected = copy;
    survivors->list[i].batch = (uint32_t)(value->batched ? batch : 1);
  }
}

static void list_survivors(const struct graph *fused, struct survivors *survivors) {
  survivors->list = arena_array(survivors->arena, (size_t)fused->node_count + 1, sizeof *survivors->list);
  for (const struct node *node = fused->first; node != NULL; node = node->next)
    if (node->outputs[0]->dtype == DTYPE_F32 && node->outputs[0]->batched && node->outputs[0]->shape.rank > 0)
      survivors->list[survivors->count++].value = node->outputs[0];
}

static enum status interpret_all(const struct graph *fused, const struct feed *feed, int64_t threads,
                                 struct survivors *survivors, struct diag *diag) {
  const void *inputs[VITC_IO_MAX];
  void *outputs[VITC_IO_MAX];
  for (int i = 0; i < fused->input_count; i++) inputs[i] = feed->inputs[i];
  for (int i = 0; i < fused->output_count; i++)
    outputs[i] = arena_array(survivors->arena, feed->batch,
                             (size_t)shape_elements(&fused->outputs[i]->shape) * dtype_size(fused->outputs[i]->dtype));
  int count = threads > 0 ? (int)threads : (int)vitc_cpu_count();
  return interp_run(fused, feed->batch, inputs, outputs, count, keep, survivors, diag);
}

/* The fused graph with other outputs, and without what they do not need. */
static enum status with_outputs(const struct graph *fused, const struct survivor *chunk, int count, struct arena *arena,
                                struct graph *out_graph, struct diag *diag) {
  graph_copy(fused, arena, out_graph);
  out_graph->diag = diag;
  out_graph->output_count = count;
  for (int i = 0; i < count; i++) out_graph->outputs[i] = graph_find(out_graph, chunk[i].value->name);
  TRY(pass_eliminate_dead(out_graph));
  return verify_graph(out_graph, "the choice of outputs");
}

static enum status open_chunk(const struct graph *fused, enum precision precision, const struct survivor *chunk, int count,
                              const struct machine_options *how, struct machine *machine, struct diag *diag) {
  struct arena arena;
  struct graph graph;
  struct plan plan;
  struct temporary temporary = {.descriptor = -1};
  const struct plan_options plan_options = {.batch_max = 1, .precision = precision};
  arena_init(&arena);
  enum status status = with_outputs(fused, chunk, count, &arena, &graph, diag);
  if (status == STATUS_OK) status = plan_graph(&graph, &plan_options, &arena, &plan);
  if (status == STATUS_OK) status = temporary_open(&temporary, diag);
  const struct object_options object = {.output_path = temporary.path};
  if (status == STATUS_OK) status = object_write(&graph, &plan, &object, diag);
  if (status == STATUS_OK) status = machine_open(temporary.path, how, machine, diag);
  temporary_close(&temporary);
  arena_deinit(&arena);
  return status;
}

static enum status compare_chunk(const struct survivor *chunk, int count, const struct feed *feed,
                                 const struct machine *machine, struct node_comparison *nodes, struct diag *diag) {
  const vitc_model *model = &machine->loaded.model;
  struct results results;
  enum status status = results_alloc(model, machine->loaded.object.path, feed->batch, &results, diag);
  if (status == STATUS_OK) status = machine_run(machine, feed, &results, diag);
  for (int i = 0; status == STATUS_OK && i < count; i++) {
    const struct value *value = chunk[i].value;
    size_t elements = chunk[i].batch * (size_t)shape_elements(&value->shape);
    nodes->errors[nodes->count++] = (struct node_error){value->name, op_info(value->producer->op)->name,
                                                        measure(chunk[i].expected, results.outputs[i], 1, elements, false)};
  }
  results_free(&results);
  return status;
}

static enum status compare_fused(struct compilation *compilation, struct compilation *fused, enum precision precision,
                                 const struct feed *feed, const struct machine_options *how, struct node_comparison *out_nodes,
                                 struct diag *diag) {
  struct survivors survivors = {.arena = &fused->arena};
  list_survivors(&fused->graph, &survivors);
  TRY(interpret_all(&fused->graph, feed, how->threads, &survivors, diag));
  out_nodes->errors = arena_array(&compilation->arena, (size_t)survivors.count + 1, sizeof *out_nodes->errors);
  for (int done = 0; done < survivors.count; done += VITC_IO_MAX) {
    int count = survivors.count - done < VITC_IO_MAX ? survivors.count - done : VITC_IO_MAX;
    struct machine machine = {.run = NULL};
    progress_count((size_t)done, (size_t)survivors.count);
    enum status status = open_chunk(&fused->graph, precision, survivors.list + done, count, how, &machine, diag);
    if (status == STATUS_OK) status = compare_chunk(survivors.list + done, count, feed, &machine, out_nodes, diag);
    machine_close(&machine);
    TRY(status);
  }
  for (int i = 0; i < out_nodes->count; i++)
    out_nodes->errors[i].name = arena_strdup(&compilation->arena, out_nodes->errors[i].name);
  return STATUS_OK;
}

enum status compare_nodes(const char *path, struct compilation *compilation, enum precision precision, const struct feed *feed,
                          const struct machine_options *how, struct node_comparison *out_nodes, struct diag *diag) {
  *out_nodes = (struct node_comparison){0, NULL};
  struct compilation fused;
  compilation_init(&fused);
  struct driver_options options = {.name = NULL};
  enum status status = driver_load(&fused, path, &options, diag);
  if (status == STATUS_OK) {
    options.passes.input_u8 = compilation->graph.inputs[0]->dtype == DTYPE_U8 && fused.graph.inputs[0]->dtype == DTYPE_F32;
    status = driver_optimize(&fused, &options, diag);
  }
  if (status == STATUS_OK) status = compare_fused(compilation, &fused, precision, feed, how, out_nodes, diag);
  compilation_close(&fused);
  return status;
}

void print_nodes(const struct node_comparison *nodes) {
  printf("\n%-40s %-20s %12s %12s\n", "value", "op", "max err/std", "rms err/std");
  for (int i = 0; i < nodes->count; i++)
    printf("%-40s %-20s %12.3e %12.3e\n", nodes->errors[i].name, nodes->errors[i].op, nodes->errors[i].metrics.largest,
           nodes->errors[i].metrics.rms);
}

void print_nodes_json(const struct node_comparison *nodes) {
  fputs(",\"nodes\":[", stdout);
  for (int i = 0; i < nodes->count; i++) {
    const struct node_error *error = &nodes->errors[i];
    fputs(i > 0 ? ",{\"name\":" : "{\"name\":", stdout);
    json_string(stdout, error->name);
    printf(",\"op\":\"%s\",\"max_error_over_std\":", error->op);
    json_number(stdout, error->metrics.largest);
    fputs(",\"rms_error_over_std\":", stdout);
    json_number(stdout, error->metrics.rms);
    putchar('}');
  }
  putchar(']');
}
