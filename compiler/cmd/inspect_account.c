#include "cmd/inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_values(const char *title, const struct account_value *values, int count) {
  for (int i = 0; i < count; i++) printf("%-12s %s: %s %s\n", title, values[i].name, values[i].dtype, values[i].shape);
}

static void print_fused(const char *how, const char *const *ops, int count) {
  for (int i = 0; i < count; i++) printf("%6s   %s %s\n", "", how, ops[i]);
}

static void print_node(const struct account_node *node) {
  char step[16] = "view";
  if (node->step >= 0) snprintf(step, sizeof step, "%d", node->step);
  printf("%6s %-24s %-44s %14" PRId64 "  %-14s", step, node->op, node->name, node->flops, node->shape);
  if (node->memory[0] != '\0') printf(" %s+%" PRId64 " (%" PRId64 " bytes)", node->memory, node->offset, node->bytes);
  if (node->first >= 0) printf(", live %d to %d", node->first, node->last);
  putchar('\n');
  print_fused("first", node->prologue, node->prologue_count);
  print_fused("then", node->epilogue, node->epilogue_count);
  for (int i = 0; i < node->source_count; i++)
    printf("%6s     = %-20s %-44s %14" PRId64 "\n", "", node->sources[i].op, node->sources[i].name, node->sources[i].flops);
}

static void print_phases(const struct account *account) {
  printf("\n%5s %6s %-12s %-44s %14s %12s %12s %12s\n", "phase", "step", "kind", "layer", "FLOPs", "bytes read", "written",
         "shared");
  for (int i = 0; i < account->phase_count; i++) {
    const struct account_phase *phase = &account->phases[i];
    printf("%5d %6d %-12s %-44s %14" PRId64 " %12" PRId64 " %12" PRId64 " %12" PRId64 "\n", i, phase->step, phase->kind,
           phase->name, phase->flops, phase->read_bytes, phase->write_bytes, phase->shared_bytes);
  }
  puts("Each phase is one parallel loop; FLOPs and bytes are of one image, shared ones (weights) are read once a group of "
       "images.");
}

static void print_products(const struct account *account) {
  int width = 5;
  for (int i = 0; i < account->product_count; i++)
    if ((int)strlen(account->products[i].layer) > width) width = (int)strlen(account->products[i].layer);
  printf("\n%5s %-10s %-*s %-9s %6s %6s %12s  %s\n", "step", "product", width, "layer", "precision", "k", "n", "bytes",
         "scheme");
  for (int i = 0; i < account->product_count; i++) {
    const struct account_product *product = &account->products[i];
    printf("%5d %-10s %-*s %-9s", product->step, product->op, width, product->layer, product->precision);
    if (product->bytes > 0)
      printf(" %6" PRId64 " %6" PRId64 " %12" PRId64, product->k, product->n, product->bytes);
    else
      printf(" %6s %6s %12s", "-", "-", "-");
    const char *separator = "  ";
    if (product->scales > 0) {
      printf("%s%" PRId64 " scales", separator, product->scales);
      separator = ", ";
    }
    if (product->hadamard > 1) {
      printf("%sHadamard %" PRId64, separator, product->hadamard);
      separator = ", ";
    }
    if (product->balanced) printf("%sbalanced", separator);
    putchar('\n');
  }
  puts("Bytes are those of the weights as the object holds them, with scales and padding.");
}

void inspect_values(const struct account *account) {
  print_values("input", account->inputs, account->input_count);
  print_values("output", account->outputs, account->output_count);
}

void inspect_account(const struct account *account) {
  printf("%-12s %" PRId64 "\n", "parameters", account->parameters);
  printf("%-12s %" PRId64 " an image as given, %" PRId64 " as compiled\n", "FLOPs", account->flops_as_given, account->flops);
  printf("%-12s %d nodes as given, %d as compiled, %d steps\n", "nodes", account->nodes_as_given, account->node_count,
         account->step_count);
  printf("%-12s %" PRId64 " bytes for batches up to %" PRId64 ", %" PRId64 " image%s at a time\n", "arena",
         account->arena_bytes, account->batch_max, account->group, account->group == 1 ? "" : "s");
  printf("%-12s %" PRId64 " bytes\n", "weights", account->weights_bytes);
  printf("\n%6s %-24s %-44s %14s  %-14s %s\n", "step", "op", "result", "FLOPs", "shape", "place of one group");
  for (int i = 0; i < account->node_count; i++) print_node(&account->nodes[i]);
  print_phases(account);
  print_products(account);
  printf("\n%d nodes of the graph became constants, %d are not needed by any output\n", account->folded, account->unneeded);
}
