#include "cmd/compare_nodes.h"
#include "cmd/layers.h"
#include "driver_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SHOWN = 5, NAME_MAX_WIDTH = 60 };

/* ---- order */

static int by_own(const void *a, const void *b) {
  double x = (*(const struct node_error *const *)a)->own.rms, y = (*(const struct node_error *const *)b)->own.rms;
  return (x < y) - (x > y);
}

static int by_accumulated(const void *a, const void *b) {
  double x = (*(const struct node_error *const *)a)->accumulated.rms,
         y = (*(const struct node_error *const *)b)->accumulated.rms;
  return (x < y) - (x > y);
}

/* The errors to show, in the order to show them in. */
static const struct node_error **select_errors(const struct node_comparison *nodes, enum node_order order, int64_t top,
                                               struct arena *arena, int *out_count) {
  const struct node_error **selected = arena_array(arena, (size_t)nodes->count + 1, sizeof *selected);
  int count = 0;
  for (int i = 0; i < nodes->count; i++)
    if (order == ORDER_RUN || nodes->errors[i].computes) selected[count++] = &nodes->errors[i];
  if (order != ORDER_RUN) qsort(selected, (size_t)count, sizeof(selected[0]), order == ORDER_OWN ? by_own : by_accumulated);
  *out_count = top > 0 && top < count ? (int)top : count;
  return selected;
}

/* ---- text */

static int name_width(const struct node_error *const *errors, int count, bool layers) {
  size_t width = 5;
  for (int i = 0; i < count; i++) {
    size_t length = strlen(layers ? errors[i]->layer : errors[i]->name);
    if (length > width) width = length;
  }
  return width < NAME_MAX_WIDTH ? (int)width : NAME_MAX_WIDTH;
}

static const char *precision_of(const struct node_error *error) {
  return error->product != NULL ? error->product->precision : "";
}

static void print_errors(const struct node_error *const *errors, int count) {
  int width = name_width(errors, count, false);
  printf("\n%-*s %-20s %-9s %12s %12s %12s %12s\n", width, "value", "op", "precision", "max err/std", "rms err/std", "own max",
         "own rms");
  for (int i = 0; i < count; i++) {
    const struct node_error *error = errors[i];
    printf("%-*s %-20s %-9s %12.3e %12.3e", width, error->name, error->op, precision_of(error), error->accumulated.largest,
           error->accumulated.rms);
    if (error->computes)
      printf(" %12.3e %12.3e\n", error->own.largest, error->own.rms);
    else
      printf(" %12s %12s\n", "-", "-");
  }
}

static void print_range(const char *what, int width, const struct range *range, double crest, double worst, double quantized,
                        struct arena *arena) {
  printf("  %-*s %10.4g %10.4g %10.4g %7.1f %7.1f", width, what, range->minimum, range->maximum, range->rms, crest, worst);
  if (quantized > 0)
    printf(" %7.1f", quantized);
  else
    printf(" %7s", "-");
  printf("  %s", range_outliers_text(range, arena));
  if (range->not_finite > 0) printf(", %zu not finite", range->not_finite);
  putchar('\n');
}

static void print_node_ranges(const struct node_error *error, int width, struct arena *arena) {
  printf("%s%s%s", error->layer, error->product != NULL ? ", " : "", precision_of(error));
  if (error->computes) printf(", own error %.3e", error->own.rms);
  putchar('\n');
  for (int i = 0; i < error->operand_count; i++) {
    const struct node_operand *operand = &error->operands[i];
    print_range(operand->name, width, &operand->range, operand->range.row_crest, operand->range.row_crest_worst,
                operand->quantized_crest, arena);
  }
  if (error->has_weights)
    print_range("(weights)", width, &error->weights, error->weights.channel_crest, error->weights.channel_crest_worst, 0,
                arena);
  if (error->adds_residual) {
    char name[256];
    snprintf(name, sizeof name, "= %s", error->name);
    print_range(name, width, &error->result, error->result.row_crest, error->result.row_crest_worst, 0, arena);
  }
}

static void print_ranges(const char *title, const struct node_error *const *errors, int count, struct arena *arena) {
  int width = name_width(errors, count, false);
  printf("\n%s\n  %-*s %10s %10s %10s %7s %7s %7s  %s\n", title, width, "operand", "min", "max", "rms", "crest", "worst",
         "int8", "channels far from the median");
  for (int i = 0; i < count; i++)
    if (errors[i]->operand_count > 0) print_node_ranges(errors[i], width, arena);
}

/* ---- alike layers */

struct kind {
  const char *name, *precision;
  int count;
  double squares, accumulated; /* of own rms errors; the largest */
  const struct node_error *worst;
};

static int worst_first(const void *a, const void *b) {
  double x = ((const struct kind *)a)->squares, y = ((const struct kind *)b)->squares;
  return (x < y) - (x > y);
}

static struct kind *find_kinds(const struct node_comparison *nodes, struct arena *arena, int *out_count) {
  struct kind *kinds = arena_array(arena, (size_t)nodes->count + 1, sizeof *kinds);
  int count = 0;
  for (int i = 0; i < nodes->count; i++) {
    const struct node_error *error = &nodes->errors[i];
    if (!error->computes) continue;
    const char *name = layer_kind(error->layer, arena);
    int at = 0;
    while (at < count && (strcmp(kinds[at].name, name) != 0 || strcmp(kinds[at].precision, precision_of(error)) != 0)) at++;
    struct kind *kind = &kinds[at];
    if (at == count) kinds[count++] = (struct kind){.name = name, .precision = precision_of(error), .worst = error};
    kind->count++;
    kind->squares += error->own.rms * error->own.rms;
    kind->accumulated = fmax(kind->accumulated, error->accumulated.rms);
    if (error->own.rms > kind->worst->own.rms) kind->worst = error;
  }
  qsort(kinds, (size_t)count, sizeof *kinds, worst_first);
  *out_count = count;
  return kinds;
}

static void print_kinds(const struct node_comparison *nodes, struct arena *arena) {
  int count;
  const struct kind *kinds = find_kinds(nodes, arena, &count);
  printf("\n%-52s %-9s %5s %12s %12s  %s\n", "alike layers", "precision", "count", "mean own", "largest own", "in");
  for (int i = 0; i < count; i++)
    printf("%-52s %-9s %5d %12.3e %12.3e  %s\n", kinds[i].name, kinds[i].precision, kinds[i].count,
           sqrt(kinds[i].squares / kinds[i].count), kinds[i].worst->own.rms, kinds[i].worst->layer);
}

void print_nodes(const struct node_comparison *nodes, enum node_order order, int64_t top) {
  struct arena arena;
  int count, first;
  arena_init(&arena);
  const struct node_error **errors = select_errors(nodes, order, top, &arena, &count);
  print_errors(errors, count);
  puts("Own errors are those of a node with exact operands. Values without one only move elements.");
  print_ranges("ranges", errors, count, &arena);
  puts("Crest: largest over root mean square of a row (of weights: a column), mean and worst; int8: the worst row as it is\n"
       "quantised. Channels (of weights: columns) are followed by their largest value over the median channel's.");
  print_kinds(nodes, &arena);
  if (order != ORDER_OWN) {
    errors = select_errors(nodes, ORDER_OWN, FIRST_SHOWN, &arena, &first);
    print_ranges("largest own errors", errors, first, &arena);
  }
  arena_deinit(&arena);
}

/* ---- JSON */

static void member(const char *name, double number) {
  printf(",\"%s\":", name);
  json_number(stdout, number);
}

static void print_product_json(const struct account_product *product) {
  printf(",\"product\":{\"precision\":\"%s\",\"layer\":", product->precision);
  json_string(stdout, product->layer);
  printf(",\"k\":%lld,\"n\":%lld,\"hadamard\":%lld,\"balanced\":%s}", (long long)product->k, (long long)product->n,
         (long long)product->hadamard, product->balanced ? "true" : "false");
}

static void print_error_json(const struct node_error *error) {
  fputs("{\"name\":", stdout);
  json_string(stdout, error->name);
  printf(",\"op\":\"%s\"", error->op);
  member("max_error_over_std", error->accumulated.largest);
  member("rms_error_over_std", error->accumulated.rms);
  if (error->computes) {
    member("own_max_error_over_std", error->own.largest);
    member("own_rms_error_over_std", error->own.rms);
  }
  member("std", error->accumulated.deviation);
  if (error->product != NULL) print_product_json(error->product);
  fputs(",\"result\":", stdout);
  range_print_json(&error->result);
  fputs(",\"operands\":[", stdout);
  for (int i = 0; i < error->operand_count; i++) {
    fputs(i > 0 ? ",{\"name\":" : "{\"name\":", stdout);
    json_string(stdout, error->operands[i].name);
    if (error->operands[i].quantized_crest > 0) member("quantized_row_crest_max", error->operands[i].quantized_crest);
    fputs(",\"range\":", stdout);
    range_print_json(&error->operands[i].range);
    putchar('}');
  }
  putchar(']');
  if (error->has_weights) {
    fputs(",\"weights\":", stdout);
    range_print_json(&error->weights);
  }
  putchar('}');
}

void print_nodes_json(const struct node_comparison *nodes) {
  fputs(",\n\"nodes\":[", stdout);
  for (int i = 0; i < nodes->count; i++) {
    fputs(i > 0 ? ",\n" : "\n", stdout);
    print_error_json(&nodes->errors[i]);
  }
  putchar(']');
}
