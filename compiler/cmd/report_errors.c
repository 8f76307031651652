#include "cmd/page.h"
#include "cmd/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The picture, in units of its SVG. */
static const int WIDTH = 1040, LEFT = 60, TOP = 14, PLOT_WIDTH = 960, PLOT_HEIGHT = 260;

enum { ROWS_SHOWN = 400, LARGEST_SHOWN = 8, POINTS_SHOWN = 4000 };

static const struct node_error **computing(const struct report *report, struct arena *scratch, int *out_count) {
  const struct node_error **errors = arena_array(scratch, (size_t)report->nodes.count + 1, sizeof *errors);
  *out_count = 0;
  for (int i = 0; i < report->nodes.count && *out_count < POINTS_SHOWN; i++)
    if (report->nodes.errors[i].computes) errors[(*out_count)++] = &report->nodes.errors[i];
  return errors;
}

/* ---- errors along the layers, on a logarithmic axis */

struct scale {
  double low, high; /* powers of ten */
};

static double y_of(const struct scale *scale, double error) {
  double at = log10(fmax(error, scale->low) / scale->low) / log10(scale->high / scale->low);
  return TOP + PLOT_HEIGHT * (1 - fmin(at, 1));
}

static double x_of(int i, int count) {
  return LEFT + (i + 0.5) * PLOT_WIDTH / count;
}

static struct scale scale_of(const struct node_error *const *errors, int count) {
  double low = INFINITY, high = 0;
  for (int i = 0; i < count; i++) {
    double pair[] = {errors[i]->own.rms, errors[i]->accumulated.rms};
    for (int k = 0; k < 2; k++) {
      if (!isfinite(pair[k]) || pair[k] <= 0) continue;
      low = fmin(low, pair[k]);
      high = fmax(high, pair[k]);
    }
  }
  if (!(high > 0)) return (struct scale){1e-7, 1};
  struct scale scale = {pow(10, floor(log10(low))), pow(10, ceil(log10(high)))};
  if (scale.high <= scale.low) scale.high = scale.low * 10;
  return scale;
}

static void draw_point(FILE *page, const struct node_error *error, double x, double y, const char *colour, double value) {
  fprintf(page, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\" fill=\"var(--%s)\" data-error=\"%.6g\"><title>", x, y, colour,
          value);
  page_text(page, error->layer);
  fprintf(page, ": own %.3e, accumulated %.3e</title></circle>\n", error->own.rms, error->accumulated.rms);
}

static void draw_errors(FILE *page, const struct node_error *const *errors, int count) {
  struct scale scale = scale_of(errors, count);
  page_svg(page, WIDTH, TOP + PLOT_HEIGHT + 30, "Own and accumulated error of every computed value, in run order");
  for (double y = scale.low; y <= scale.high * 1.0001; y *= 10)
    fprintf(page,
            "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text class=\"soft\" x=\"%d\" y=\"%.1f\" "
            "text-anchor=\"end\">%.0e</text>\n",
            LEFT, LEFT + PLOT_WIDTH, y_of(&scale, y), y_of(&scale, y), LEFT - 6, y_of(&scale, y) + 4, y);
  fputs("<polyline fill=\"none\" stroke=\"var(--a)\" stroke-width=\"1.5\" points=\"", page);
  for (int i = 0; i < count; i++) fprintf(page, "%.1f,%.1f ", x_of(i, count), y_of(&scale, errors[i]->accumulated.rms));
  fputs("\"/>\n", page);
  for (int i = 0; i < count; i++) {
    double x = x_of(i, count);
    draw_point(page, errors[i], x, y_of(&scale, errors[i]->accumulated.rms), "a", errors[i]->accumulated.rms);
    fprintf(page, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%d\" stroke=\"var(--b)\" stroke-opacity=\".35\"/>\n", x, x,
            y_of(&scale, errors[i]->own.rms), TOP + PLOT_HEIGHT);
    draw_point(page, errors[i], x, y_of(&scale, errors[i]->own.rms), "b", errors[i]->own.rms);
  }
  fprintf(page,
          "<text class=\"soft\" x=\"%d\" y=\"%d\">first value</text><text class=\"soft\" x=\"%d\" y=\"%d\" "
          "text-anchor=\"end\">last value</text>\n",
          LEFT, TOP + PLOT_HEIGHT + 18, LEFT + PLOT_WIDTH, TOP + PLOT_HEIGHT + 18);
  page_svg_end(page);
}

/* ---- tables */

static void error_cell(FILE *page, double error) {
  if (isfinite(error))
    fprintf(page, "<td><data value=\"%.12g\">%.2e</data></td>", error, error);
  else
    fputs("<td>not finite</td>", page);
}

static void outliers_cell(FILE *page, const struct range *range, struct arena *scratch) {
  fputs("<td class=\"w\">", page);
  page_text(page, range_outliers_text(range, scratch));
  fputs("</td>", page);
}

static void error_row(FILE *page, const struct node_error *error, const struct range *range, struct arena *scratch) {
  fputs("<tr><td>", page);
  page_text(page, error->layer);
  fputs("</td><td class=\"t\">", page);
  page_text(page, error->op);
  fputs("</td><td class=\"t\">", page);
  page_text(page, error->product != NULL ? error->product->precision : "");
  fputs("</td>", page);
  error_cell(page, error->accumulated.largest);
  error_cell(page, error->accumulated.rms);
  error_cell(page, error->own.largest);
  error_cell(page, error->own.rms);
  outliers_cell(page, range, scratch);
  fputs("</tr>\n", page);
}

static void range_row(FILE *page, const char *layer, const char *what, const struct range *range, double crest, double worst,
                      double quantized, struct arena *scratch) {
  const double numbers[] = {range->minimum, range->maximum, range->rms, crest, worst};
  fputs("<tr><td>", page);
  page_text(page, layer);
  fputs("</td><td class=\"w\">", page);
  page_text(page, what);
  fputs("</td>", page);
  for (int i = 0; i < 5; i++) {
    fputs("<td>", page);
    page_number(page, numbers[i]);
    fputs("</td>", page);
  }
  fputs("<td>", page);
  if (quantized > 0) page_number(page, quantized);
  fputs("</td>", page);
  outliers_cell(page, range, scratch);
  fputs("</tr>\n", page);
}

static void range_rows(FILE *page, const struct node_error *error, struct arena *scratch) {
  for (int i = 0; i < error->operand_count; i++) {
    const struct node_operand *operand = &error->operands[i];
    range_row(page, i == 0 ? error->layer : "", operand->name, &operand->range, operand->range.row_crest,
              operand->range.row_crest_worst, operand->quantized_crest, scratch);
  }
  if (error->has_weights)
    range_row(page, "", "weights", &error->weights, error->weights.channel_crest, error->weights.channel_crest_worst, 0,
              scratch);
}

static void error_table(FILE *page, const struct node_error *const *errors, int count, bool of_operands,
                        struct arena *scratch) {
  fprintf(page,
          "<div class=\"scroll\"><table>\n<tr><th>layer</th><th class=\"t\">op</th><th class=\"t\">precision</th>"
          "<th>largest</th><th>rms</th><th>own largest</th><th>own rms</th><th class=\"t\">%s channels far from the "
          "median</th></tr>\n",
          of_operands ? "its operand's" : "the result's");
  for (int i = 0; i < count; i++)
    error_row(page, errors[i], of_operands && errors[i]->operand_count > 0 ? &errors[i]->operands[0].range : &errors[i]->result,
              scratch);
  fputs("</table></div>\n", page);
}

static int by_own(const void *a, const void *b) {
  double x = (*(const struct node_error *const *)a)->own.rms, y = (*(const struct node_error *const *)b)->own.rms;
  return (x < y) - (x > y);
}

static void largest_table(FILE *page, const struct node_error *const *errors, int count, struct arena *scratch) {
  const struct node_error **sorted = arena_array(scratch, (size_t)count + 1, sizeof *sorted);
  memcpy(sorted, errors, (size_t)count * sizeof *sorted);
  qsort(sorted, (size_t)count, sizeof *sorted, by_own);
  fputs("<h3>Largest own errors</h3>\n", page);
  error_table(page, sorted, count < LARGEST_SHOWN ? count : LARGEST_SHOWN, true, scratch);
}

static void tables(FILE *page, const struct node_error *const *errors, int count, struct arena *scratch) {
  int shown = count < ROWS_SHOWN ? count : ROWS_SHOWN;
  largest_table(page, errors, count, scratch);
  fputs("<details><summary>Errors of all layers</summary>\n", page);
  error_table(page, errors, shown, false, scratch);
  fputs("</details>\n<details><summary>Ranges and outlier channels</summary>\n<p class=\"soft\">What products multiply and "
        "normalisations read. Crest: the largest value of a row (of weights: of a column) over its root mean square, mean and "
        "worst; in int8 also of the worst row as it is quantised. Channels (of weights: columns) with their largest value over "
        "the "
        "median channel's, where that is at least twice.</p>\n<div class=\"scroll\"><table>\n<tr><th>layer</th><th class=\"t\">"
        "operand</th><th>least</th><th>largest</th><th>rms</th><th>crest</th><th>worst</th><th>as int8</th><th "
        "class=\"t\">outlier "
        "channels</th></tr>\n",
        page);
  for (int i = 0; i < shown; i++) range_rows(page, errors[i], scratch);
  fputs("</table></div>\n</details>\n", page);
  if (shown < count)
    fprintf(page, "<p class=\"soft\">The first %d values are listed; <code>vitc compare --per-node</code> has all.</p>\n",
            shown);
}

void report_errors(FILE *page, const struct report *report, struct arena *scratch) {
  int count;
  const struct node_error **errors = computing(report, scratch, &count);
  page_section(page, "errors", "Errors by layer");
  fprintf(page, "<p>Against the interpreter, over the standard deviation of each value, on %u image%s: ", report->images,
          report->images == 1 ? "" : "s");
  page_text(page, report->pixels);
  fputs(". A value's own error is what its node makes of exact operands; the accumulated one holds all that came before "
        "it.</p>\n",
        page);
  if (report->object == NULL) {
    fputs("<p class=\"missing\">No object was given: these are the errors of the graph compiled in ", page);
    page_text(page, report->account.precision);
    fputs(".</p>\n", page);
  }
  if (count > 0) {
    fputs("<p class=\"soft\"><span class=\"key\" style=\"background:var(--a);margin-left:0\"></span>accumulated, rms<span "
          "class=\"key\" style=\"background:var(--b)\"></span>own, rms</p>\n",
          page);
    draw_errors(page, errors, count);
    tables(page, errors, count, scratch);
  }
  page_section_end(page);
}
