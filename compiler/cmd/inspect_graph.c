#include "cmd/inspect.h"

#include "ir/ops.h"

#include <inttypes.h>
#include <stdio.h>

static void shape_text(const struct value *value, char *text, size_t size) {
  size_t used = 0;
  text[0] = '\0';
  for (int i = 0; i < value->shape.rank && used < size; i++) {
    const char *separator = i > 0 ? "x" : "";
    int64_t dim = value->shape.dim[i];
    int length = i > 0 || !value->batched ? snprintf(text + used, size - used, "%s%" PRId64, separator, dim)
                 : dim == 1               ? snprintf(text + used, size - used, "N")
                                          : snprintf(text + used, size - used, "%" PRId64 "N", dim);
    used += (size_t)length;
  }
}

static void print_values(const char *title, struct value *const *values, int count) {
  for (int i = 0; i < count; i++) {
    char shape[160];
    shape_text(values[i], shape, sizeof shape);
    printf("%-12s %s: %s %s\n", title, values[i]->name, dtype_name(values[i]->dtype), shape);
  }
}

static void print_place(const struct node_place *place) {
  if (place->memory[0] == '\0') return;
  printf("%s+%" PRId64 " (%" PRId64 " bytes)", place->memory, place->offset, place->bytes);
  if (place->first >= 0) printf(", live %d to %d", place->first, place->last);
}

static void print_fused(const char *how, struct node *const *fused, int count) {
  for (int i = 0; i < count; i++) printf("%6s   %s %s\n", "", how, op_info(fused[i]->op)->name);
}

static void print_sources(const struct compilation *compilation, const struct node *host) {
  for (const struct node *node = compilation->original.first; node != NULL; node = node->next) {
    bool folded;
    if (driver_fused_into(compilation, node, &folded) != host) continue;
    printf("%6s     = %-20s %-44s %14" PRId64 "\n", "", op_info(node->op)->name, node->outputs[0]->name, node_flops(node));
  }
}

static void print_node(const struct compilation *compilation, const struct node *node) {
  char shape[160], step[16] = "view";
  shape_text(node->outputs[0], shape, sizeof shape);
  struct node_place place = driver_place(compilation, node);
  if (place.step >= 0) snprintf(step, sizeof step, "%d", place.step);
  printf("%6s %-24s %-44s %14" PRId64 "  %-14s ", step, op_info(node->op)->name, node->outputs[0]->name, node_flops(node),
         shape);
  print_place(&place);
  putchar('\n');
  print_fused("first", node->prologue, node->prologue_count);
  print_fused("then", node->epilogue, node->epilogue_count);
  print_sources(compilation, node);
}

static void print_gone(const struct compilation *compilation) {
  int folded_count = 0, unneeded = 0;
  for (const struct node *node = compilation->original.first; node != NULL; node = node->next) {
    bool folded;
    if (driver_fused_into(compilation, node, &folded) != NULL) continue;
    folded_count += folded;
    unneeded += !folded;
  }
  printf("\n%d nodes of the graph became constants, %d are not needed by any output\n", folded_count, unneeded);
}

void inspect_graph(struct compilation *compilation) {
  const struct graph *original = &compilation->original, *graph = &compilation->graph;
  const struct plan *plan = &compilation->plan;
  printf("%-12s %s (%s)\n", "model", original->name, original->file);
  print_values("input", original->inputs, original->input_count);
  print_values("output", original->outputs, original->output_count);
  printf("%-12s %" PRId64 "\n", "parameters", graph_parameters(original));
  printf("%-12s %" PRId64 " an image as given, %" PRId64 " as compiled\n", "FLOPs", graph_flops(original), graph_flops(graph));
  printf("%-12s %d nodes as given, %d as compiled, %d steps\n", "nodes", original->node_count, graph->node_count,
         plan->step_count);
  printf("%-12s %" PRId64 " bytes for batches up to %" PRId64 ", %" PRId64 " image%s at a time\n", "arena", plan->arena_bytes,
         plan->batch_max, plan->group, plan->group == 1 ? "" : "s");
  printf("%-12s %" PRId64 " bytes\n", "weights", plan->weights_bytes);
  if (original->label_count > 0) printf("%-12s %d\n", "labels", original->label_count);
  printf("\n%6s %-24s %-44s %14s  %-14s %s\n", "step", "op", "result", "FLOPs", "shape", "place of one group");
  for (const struct node *node = graph->first; node != NULL; node = node->next) print_node(compilation, node);
  print_gone(compilation);
}
