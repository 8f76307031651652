#include "driver.h"

#include "driver_json.h"
#include "ir/ops.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int64_t graph_flops(const struct graph *graph) {
  int64_t flops = 0;
  for (const struct node *node = graph->first; node != NULL; node = node->next) flops += node_flops(node);
  return flops;
}

int64_t graph_parameters(const struct graph *graph) {
  int64_t parameters = 0;
  for (const struct value *value = graph->values; value != NULL; value = value->next)
    if (value->data != NULL && value->dtype == DTYPE_F32 && graph_count_uses(graph, value) > 0)
      parameters += shape_elements(&value->shape);
  return parameters;
}

static const struct node *first_user(const struct graph *graph, const struct value *value) {
  for (const struct node *node = graph->first; node != NULL; node = node->next)
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i] == value) return node;
  return NULL;
}

/* A movement of weights alone that packing does: nothing runs for it. */
static bool is_packed(const struct compilation *compilation, const struct node *node) {
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] != NULL && node->inputs[i]->data == NULL) return false;
  return node->input_count > 0 && compilation->plan.views[node->outputs[0]->id].memory == MEMORY_NONE;
}

/* A result keeps its name through the passes, so the first result downstream that still exists belongs to the host. */
const struct node *driver_fused_into(const struct compilation *compilation, const struct node *original, bool *out_folded) {
  *out_folded = false;
  for (const struct node *node = original; node != NULL; node = first_user(&compilation->original, node->outputs[0])) {
    const struct value *value = graph_find(&compilation->graph, node->outputs[0]->name);
    if (value == NULL) continue;
    *out_folded = value->data != NULL || (value->producer != NULL && is_packed(compilation, value->producer));
    if (*out_folded) return NULL;
    if (value->producer != NULL) return value->producer;
  }
  return NULL;
}

struct node_place driver_place(const struct compilation *compilation, const struct node *node) {
  static const char *const memories[] = {[MEMORY_NONE] = "",
                                         [MEMORY_ARENA] = "arena",
                                         [MEMORY_INPUT] = "input",
                                         [MEMORY_OUTPUT] = "output",
                                         [MEMORY_WEIGHTS] = "weights"};
  const struct plan *plan = &compilation->plan;
  const struct view *view = &plan->views[node->outputs[0]->id];
  struct node_place place = {.step = -1, .memory = memories[view->memory], .first = -1, .last = -1};
  for (int i = 0; i < plan->step_count; i++)
    if (plan->steps[i].node == node) place.step = i;
  if (view->memory == MEMORY_NONE) return place;
  const int64_t element = (int64_t)dtype_size(view->dtype);
  place.offset = view->offset * element;
  place.bytes = shape_elements(&view->shape) * element;
  if (view->memory == MEMORY_ARENA) {
    const struct buffer *buffer = &plan->buffers[view->index];
    place.offset += buffer->offset;
    /* The plan counts nodes; views among them are no steps. */
    for (int i = 0; i < plan->step_count; i++) {
      if (plan->steps[i].node_index >= buffer->first && place.first < 0) place.first = i;
      if (plan->steps[i].node_index <= buffer->last) place.last = i;
    }
  }
  return place;
}

static void write_shape(FILE *stream, const struct value *value) {
  fputs(value->batched ? "[\"N" : "[", stream);
  for (int i = 0; i < value->shape.rank; i++) {
    int64_t dim = value->shape.dim[i];
    if (i == 0 && value->batched) {
      if (dim != 1) fprintf(stream, "*%" PRId64, dim);
      fputc('"', stream);
    } else {
      fprintf(stream, "%s%" PRId64, i > 0 ? "," : "", dim);
    }
  }
  fputc(']', stream);
}

static void write_values(FILE *stream, const char *key, struct value *const *values, int count) {
  fprintf(stream, "\"%s\":[", key);
  for (int i = 0; i < count; i++) {
    fputs(i > 0 ? ",{\"name\":" : "{\"name\":", stream);
    json_string(stream, values[i]->name);
    fprintf(stream, ",\"dtype\":\"%s\",\"shape\":", dtype_name(values[i]->dtype));
    write_shape(stream, values[i]);
    fputc('}', stream);
  }
  fputs("],\n", stream);
}

static void write_ops(FILE *stream, const char *key, struct node *const *nodes, int count) {
  if (count == 0) return;
  fprintf(stream, ",\"%s\":[", key);
  for (int i = 0; i < count; i++) fprintf(stream, "%s\"%s\"", i > 0 ? "," : "", op_info(nodes[i]->op)->name);
  fputc(']', stream);
}

/* hosts[i]: what the i-th node of the original became. */
static void write_sources(FILE *stream, const struct compilation *compilation, const struct node *const *hosts,
                          const struct node *host) {
  fputs(",\"computes\":[", stream);
  const char *separator = "";
  for (const struct node *node = compilation->original.first; node != NULL; node = node->next) {
    if (*hosts++ != host) continue;
    fprintf(stream, "%s{\"op\":\"%s\",\"name\":", separator, op_info(node->op)->name);
    json_string(stream, node->outputs[0]->name);
    fprintf(stream, ",\"flops\":%" PRId64 "}", node_flops(node));
    separator = ",";
  }
  fputc(']', stream);
}

static const struct node **find_hosts(struct compilation *compilation, int *out_folded, int *out_unneeded) {
  const struct node **hosts = arena_array(&compilation->arena, (size_t)compilation->original.node_count + 1, sizeof *hosts);
  int i = 0;
  *out_folded = *out_unneeded = 0;
  for (const struct node *node = compilation->original.first; node != NULL; node = node->next, i++) {
    bool folded;
    hosts[i] = driver_fused_into(compilation, node, &folded);
    *out_folded += hosts[i] == NULL && folded;
    *out_unneeded += hosts[i] == NULL && !folded;
  }
  return hosts;
}

static void write_node(FILE *stream, const struct compilation *compilation, const struct node *const *hosts,
                       const struct node *node) {
  fprintf(stream, "{\"op\":\"%s\",\"name\":", op_info(node->op)->name);
  json_string(stream, node->outputs[0]->name);
  fputs(",\"shape\":", stream);
  write_shape(stream, node->outputs[0]);
  fprintf(stream, ",\"flops\":%" PRId64, node_flops(node));
  write_ops(stream, "prologue", node->prologue, node->prologue_count);
  write_ops(stream, "epilogue", node->epilogue, node->epilogue_count);
  write_sources(stream, compilation, hosts, node);
  struct node_place place = driver_place(compilation, node);
  if (place.step >= 0) fprintf(stream, ",\"step\":%d", place.step);
  if (place.memory[0] != '\0')
    fprintf(stream, ",\"memory\":\"%s\",\"offset\":%" PRId64 ",\"bytes\":%" PRId64, place.memory, place.offset, place.bytes);
  if (place.first >= 0) fprintf(stream, ",\"live\":[%d,%d]", place.first, place.last);
  fputc('}', stream);
}

static void write_phases(FILE *stream, struct compilation *compilation) {
  struct account_phase *phases;
  int count = driver_phases(compilation, &phases);
  fputs("\"phases\":[", stream);
  for (int i = 0; i < count; i++) {
    const struct account_phase *phase = &phases[i];
    fprintf(stream, "%s{\"step\":%d,\"phase\":\"%s\",\"op\":\"%s\",\"name\":", i == 0 ? "\n" : ",\n", phase->step, phase->kind,
            phase->op);
    json_string(stream, phase->name);
    fprintf(stream,
            ",\"precision\":\"%s\",\"batched\":%s,\"flops\":%" PRId64 ",\"read_bytes\":%" PRId64 ",\"write_bytes\":%" PRId64
            ",\"shared_bytes\":%" PRId64 "}",
            phase->precision, phase->batched ? "true" : "false", phase->flops, phase->read_bytes, phase->write_bytes,
            phase->shared_bytes);
  }
  fputs("\n],\n", stream);
}

static void write_products(FILE *stream, struct compilation *compilation) {
  struct account_product *products;
  int count = driver_products(compilation, &products);
  fputs("\"products\":[", stream);
  for (int i = 0; i < count; i++) {
    const struct account_product *product = &products[i];
    fprintf(stream, "%s{\"step\":%d,\"op\":\"%s\",\"name\":", i == 0 ? "\n" : ",\n", product->step, product->op);
    json_string(stream, product->name);
    fputs(",\"layer\":", stream);
    json_string(stream, product->layer);
    fprintf(stream,
            ",\"precision\":\"%s\",\"k\":%" PRId64 ",\"n\":%" PRId64 ",\"offset\":%" PRId64 ",\"bytes\":%" PRId64
            ",\"scales\":%" PRId64 ",\"hadamard\":%" PRId64 ",\"balanced\":%s}",
            product->precision, product->k, product->n, product->offset, product->bytes, product->scales, product->hadamard,
            product->balanced ? "true" : "false");
  }
  fputs("\n],\n", stream);
}

static void write_nodes(FILE *stream, const struct compilation *compilation, const struct node *const *hosts) {
  fputs("\"nodes\":[", stream);
  const char *separator = "\n";
  for (const struct node *node = compilation->graph.first; node != NULL; node = node->next) {
    if (is_packed(compilation, node)) continue;
    fputs(separator, stream);
    write_node(stream, compilation, hosts, node);
    separator = ",\n";
  }
  fputs("\n]}\n", stream);
}

const char *driver_info(struct compilation *compilation) {
  char *text = NULL;
  size_t size = 0;
  FILE *stream = open_memstream(&text, &size);
  if (stream == NULL) exit(STATUS_SYSTEM);
  const struct graph *graph = &compilation->graph;
  const struct plan *plan = &compilation->plan;
  int folded, unneeded;
  const struct node **hosts = find_hosts(compilation, &folded, &unneeded);
  fputs("{\"name\":", stream);
  json_string(stream, graph->name);
  fprintf(stream,
          ",\"precision\":\"%s\",\"parameters\":%" PRId64 ",\"flops\":%" PRId64 ",\"flops_as_given\":%" PRId64
          ",\"batch_max\":%" PRId64 ",\"group\":%" PRId64 ",\"arena_bytes\":%" PRId64 ",\"weights_bytes\":%" PRId64
          ",\"steps\":%d,\"nodes_as_given\":%d,\"folded\":%d,\"unneeded\":%d,\n",
          plan_precision_name(plan), graph_parameters(&compilation->original), graph_flops(graph),
          graph_flops(&compilation->original), plan->batch_max, plan->group, plan->arena_bytes, plan->weights_bytes,
          plan->step_count, compilation->original.node_count, folded, unneeded);
  write_values(stream, "inputs", graph->inputs, graph->input_count);
  write_values(stream, "outputs", graph->outputs, graph->output_count);
  write_phases(stream, compilation);
  write_products(stream, compilation);
  write_nodes(stream, compilation, hosts);
  fclose(stream);
  const char *copy = arena_strndup(&compilation->arena, text, size);
  free(text);
  return copy;
}
