/* inspect --ranges: how far the weights of a fused graph reach, which needs no input. */
#include "cmd/inspect.h"
#include "cmd/ranges.h"
#include "driver_json.h"
#include "ir/ops.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The columns of a product's weights, or the channels of a normalisation's gain. */
struct line {
  const char *name;
  bool gain;
  int64_t rows, columns;
  struct range range;
};

static struct line *add_gain(struct line *line, const struct node *norm, struct arena *arena) {
  const struct value *gain = norm->op == OP_layer_normalization && norm->input_count > 1 ? norm->inputs[1] : NULL;
  if (gain == NULL || gain->data == NULL || gain->dtype != DTYPE_F32) return line;
  size_t count = (size_t)shape_elements(&gain->shape);
  const struct range_array array = {
      .data = gain->data, .outer = 1, .rows = 1, .channels = count, .row_stride = count, .channel_stride = 1};
  *line = (struct line){gain->name, true, 1, (int64_t)count, range_of(&array, arena)};
  return line + 1;
}

/* In run order. */
static struct line *find_lines(struct compilation *compilation, int *out_count) {
  const struct plan *plan = &compilation->plan;
  struct arena *arena = &compilation->arena;
  struct account_product *products;
  int product_count = driver_products(compilation, &products), next = 0;
  struct line *lines = arena_array(arena, 2 * (size_t)plan->step_count + 1, sizeof *lines), *line = lines;
  for (int i = 0; i < plan->step_count; i++) {
    const struct step *step = &plan->steps[i];
    if (step->kind == STEP_ROWS) line = add_gain(line, step->node, arena);
    if (next == product_count || products[next].step != i) continue;
    const struct account_product *product = &products[next++];
    if (step->has_layer_norm) line = add_gain(line, step->node->prologue[0], arena);
    if (product->bytes == 0) continue;
    *line++ = (struct line){product->layer, false, product->k, product->n,
                            range_of_packed(&plan->packed[step->inputs[1].index], arena)};
  }
  *out_count = (int)(line - lines);
  return lines;
}

void inspect_ranges(struct compilation *compilation) {
  int count, width = 5;
  const struct line *lines = find_lines(compilation, &count);
  for (int i = 0; i < count; i++)
    if ((int)strlen(lines[i].name) > width) width = (int)strlen(lines[i].name);
  printf("\n%-*s %-8s %12s %10s %10s %10s %7s %7s  %s\n", width, "layer", "holds", "shape", "min", "max", "rms", "crest",
         "worst", "columns far from the median");
  for (int i = 0; i < count; i++) {
    const struct range *range = &lines[i].range;
    char shape[64];
    snprintf(shape, sizeof shape, "%" PRId64 "x%" PRId64, lines[i].rows, lines[i].columns);
    printf("%-*s %-8s %12s %10.4g %10.4g %10.4g", width, lines[i].name, lines[i].gain ? "gain" : "weights", shape,
           range->minimum, range->maximum, range->rms);
    if (lines[i].gain)
      printf(" %7s %7.1f", "-", range->crest);
    else
      printf(" %7.1f %7.1f", range->channel_crest, range->channel_crest_worst);
    printf("  %s\n", range_outliers_text(range, &compilation->arena));
  }
  puts("Crest: largest over root mean square of a column, mean and worst (of a gain: of all of it). Columns (of a gain: "
       "channels)\n"
       "are followed by their largest value over the median one's.");
}

void inspect_ranges_json(struct compilation *compilation) {
  int count;
  const struct line *lines = find_lines(compilation, &count);
  fputs("\"ranges\":[", stdout);
  for (int i = 0; i < count; i++) {
    fputs(i > 0 ? ",\n{\"layer\":" : "\n{\"layer\":", stdout);
    json_string(stdout, lines[i].name);
    printf(",\"holds\":\"%s\",\"rows\":%" PRId64 ",\"columns\":%" PRId64 ",\"range\":", lines[i].gain ? "gain" : "weights",
           lines[i].rows, lines[i].columns);
    range_print_json(&lines[i].range);
    putchar('}');
  }
  putchar(']');
}
