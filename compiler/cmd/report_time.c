#include "cmd/page.h"
#include "cmd/report.h"

#include <math.h>
#include <string.h>

/* The picture, in units of its SVG. */
static const int WIDTH = 1040, LEFT = 60, TOP = 14, PLOT_WIDTH = 960, PLOT_HEIGHT = 320;

enum { PHASES_SHOWN = 2000, LABELS = 6, KINDS_FIRST = 12, KINDS_SHOWN = 1000 };

static void missing(FILE *page, const struct report *report) {
  fputs("<p class=\"missing\">Times are missing: ", page);
  fputs(report->object == NULL ? "no object was given" : "the object was compiled without time stamps", page);
  fputs(". They come with an object that counts the time of its phases:</p>\n<p><code>vitc compile ", page);
  page_text(page, report->graph);
  fputs(" -o profiled.o --profile</code><br /><code>vitc report ", page);
  page_text(page, report->graph);
  fputs(" profiled.o -o report.html</code></p>\n", page);
}

/* Colours by what a phase does. */
static const char *colour_of(const struct phase_figures *figures) {
  if (strcmp(figures->kind, "gemm") == 0 || strcmp(figures->kind, "conv") == 0) return "a";
  if (strcmp(figures->kind, "attention") == 0 || strcmp(figures->kind, "pack keys") == 0) return "b";
  return strcmp(figures->kind, "layer norm") == 0 ? "c" : "e";
}

/* One inference from left to right. */
static void strip(FILE *page, const struct report *report) {
  const struct profile *profile = &report->profile;
  double sum = 0, x = 0;
  for (int i = 0; i < profile->phase_count; i++) sum += profile->phases[i].ms;
  if (!(sum > 0)) return;
  page_svg(page, WIDTH, 44, "The phases of one inference, as wide as they take time");
  int count = profile->phase_count < PHASES_SHOWN ? profile->phase_count : PHASES_SHOWN;
  for (int i = 0; i < count; i++) {
    const struct phase_figures *phase = &profile->phases[i];
    double width = phase->ms / sum * WIDTH;
    fprintf(page,
            "<rect x=\"%.2f\" y=\"6\" width=\"%.2f\" height=\"32\" fill=\"var(--%s)\" stroke=\"var(--card)\" "
            "stroke-width=\".5\"><title>",
            x, width, colour_of(phase));
    page_text(page, phase->kind);
    fputc(' ', page);
    page_text(page, phase->name);
    fprintf(page, ": %.4f ms</title></rect>\n", phase->ms);
    x += width;
  }
  page_svg_end(page);
}

/* ---- roofline: logarithmic axes */

struct roofline {
  double peaks[ARITHMETIC_COUNT], bandwidth; /* FLOP/s and bytes/s, medians; 0: no operations in it */
  double x_low, x_high, y_low, y_high;
};

static double x_of(const struct roofline *r, double intensity) {
  return LEFT + PLOT_WIDTH * log(intensity / r->x_low) / log(r->x_high / r->x_low);
}

static double y_of(const struct roofline *r, double gflops) {
  return TOP + PLOT_HEIGHT * (1 - log(gflops / r->y_low) / log(r->y_high / r->y_low));
}

static double power_below(double x) {
  return pow(10, floor(log10(x)));
}

static bool on_roofline(const struct phase_figures *figures) {
  return figures->flops > 0 && figures->bytes > 0 && figures->gflops > 0;
}

static struct roofline roofline_of(const struct report *report) {
  const struct timings *timings = &report->timings;
  struct roofline r = {
      .bandwidth = quantile(timings->bandwidths, timings->round_count, 0.5), .x_low = INFINITY, .y_low = INFINITY};
  peaks_quantile(timings, 0.5, r.peaks);
  for (int i = 0; i < ARITHMETIC_COUNT; i++) {
    if (timings->operations->image[i] <= 0 && i != (int)timings->own_arithmetic) r.peaks[i] = 0;
    if (!(r.peaks[i] > 0)) continue;
    double ridge = r.bandwidth > 0 ? r.peaks[i] / r.bandwidth : 1;
    r.x_low = fmin(r.x_low, ridge);
    r.x_high = fmax(r.x_high, ridge);
    r.y_low = fmin(r.y_low, r.peaks[i] / 1e9);
    r.y_high = fmax(r.y_high, r.peaks[i] / 1e9);
  }
  for (int i = 0; i < report->profile.kind_count; i++) {
    const struct phase_figures *figures = &report->profile.kinds[i];
    if (!on_roofline(figures)) continue;
    r.x_low = fmin(r.x_low, figures->flops / figures->bytes);
    r.x_high = fmax(r.x_high, figures->flops / figures->bytes);
    r.y_low = fmin(r.y_low, figures->gflops);
    r.y_high = fmax(r.y_high, figures->gflops);
  }
  r.x_low = power_below(r.x_low);
  r.y_low = power_below(r.y_low);
  r.x_high *= 3;
  r.y_high *= 1.6;
  return r;
}

static void draw_roofline_axes(FILE *page, const struct roofline *r) {
  for (double x = r->x_low; x <= r->x_high; x *= 10)
    fprintf(page,
            "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/><text class=\"soft\" x=\"%.1f\" y=\"%d\" "
            "text-anchor=\"middle\">%g</text>\n",
            x_of(r, x), x_of(r, x), TOP, TOP + PLOT_HEIGHT, x_of(r, x), TOP + PLOT_HEIGHT + 16, x);
  for (double y = r->y_low; y <= r->y_high; y *= 10)
    fprintf(page,
            "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text class=\"soft\" x=\"%d\" y=\"%.1f\" "
            "text-anchor=\"end\">%g</text>\n",
            LEFT, LEFT + PLOT_WIDTH, y_of(r, y), y_of(r, y), LEFT - 6, y_of(r, y) + 4, y);
  fprintf(page,
          "<text class=\"soft\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">FLOP for each byte moved</text><text class=\"soft\" "
          "x=\"%d\" y=\"10\">GFLOP/s</text>\n",
          LEFT + PLOT_WIDTH / 2, TOP + PLOT_HEIGHT + 32, 2);
}

static void draw_roof(FILE *page, const struct roofline *r, enum arithmetic arithmetic) {
  if (!(r->bandwidth > 0) || !(r->peaks[arithmetic] > 0)) return;
  double ridge = r->peaks[arithmetic] / r->bandwidth, peak = r->peaks[arithmetic] / 1e9;
  double left = fmax(r->x_low, r->y_low * 1e9 / r->bandwidth);
  fprintf(page,
          "<polyline points=\"%.1f,%.1f %.1f,%.1f %.1f,%.1f\" fill=\"none\" stroke=\"var(--soft)\" stroke-width=\"1.5\"/>"
          "<text class=\"soft\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.1f GFLOP/s in %s</text>\n",
          x_of(r, left), y_of(r, left * r->bandwidth / 1e9), x_of(r, ridge), y_of(r, peak), x_of(r, r->x_high), y_of(r, peak),
          (double)(LEFT + PLOT_WIDTH), y_of(r, peak) - 6, peak, arithmetic_name(arithmetic));
}

/* Labels that stand already. */
struct labels {
  int count;
  double x[LABELS], y[LABELS];
};

static bool is_free(const struct labels *labels, double x, double y) {
  const double width = 180, height = 12;
  for (int i = 0; i < labels->count; i++)
    if (fabs(labels->x[i] - x) < width && fabs(labels->y[i] - y) < height) return false;
  return true;
}

/* Beside the circle, or where there is room above or below. */
static void draw_label(FILE *page, struct labels *labels, const char *name, double x, double y, double radius) {
  double at = y + 4;
  for (int i = 1; !is_free(labels, x, at) && i < 4 * LABELS; i++) at = y + 4 + (i % 2 != 0 ? 6.5 : -6.5) * (i + 1) / 2 * 2;
  labels->x[labels->count] = x;
  labels->y[labels->count++] = at;
  fprintf(page,
          "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"var(--soft)\" stroke-opacity=\".6\"/><text "
          "x=\"%.1f\" y=\"%.1f\">",
          x + radius, x + 34, y, at - 4, x + 37, at);
  page_short(page, name, 28);
  fputs("</text>\n", page);
}

static void roofline(FILE *page, const struct report *report) {
  const struct profile *profile = &report->profile;
  struct roofline r = roofline_of(report);
  fputs(
      "<h3>Roofline</h3>\n<p class=\"soft\">Alike phases of all layers: larger circles take more time. The lines are what the "
      "machine can do: the median peaks of its multiply-adds, in each precision that the code computes in, and the median "
      "speed of reading memory that no cache holds; what caches hold can be above it.</p>\n",
      page);
  page_svg(page, WIDTH, TOP + PLOT_HEIGHT + 40, "Roofline: operations a byte across, speed up");
  draw_roofline_axes(page, &r);
  for (int i = 0; i < ARITHMETIC_COUNT; i++) draw_roof(page, &r, (enum arithmetic)i);
  struct labels labels = {.count = 0};
  for (int i = 0; i < profile->kind_count; i++) {
    const struct phase_figures *kind = &profile->kinds[i];
    if (!on_roofline(kind)) continue;
    double x = x_of(&r, kind->flops / kind->bytes), y = y_of(&r, kind->gflops), radius = 3 + 18 * sqrt(fmin(kind->share, 1));
    fprintf(page,
            "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"var(--%s)\" fill-opacity=\".6\" stroke=\"var(--card)\"><title>",
            x, y, radius, colour_of(kind));
    page_text(page, kind->name);
    fprintf(page, ": %.4f ms, %.1f GFLOP/s</title></circle>\n", kind->ms, kind->gflops);
    if (labels.count < LABELS) draw_label(page, &labels, kind->name, x, y, radius);
  }
  page_svg_end(page);
}

static void figure(FILE *page, double number, const char *format, double factor) {
  fprintf(page, "<td><data value=\"%.12g\">", number);
  fprintf(page, format[0] == '%' ? "%.1f%%" : "%.3f", number * factor);
  fputs("</data></td>", page);
}

static void table_row(FILE *page, const struct phase_figures *figures) {
  fputs("<tr><td>", page);
  page_text(page, figures->name);
  if (figures->count > 1 && figures->kind[0] != '\0') fprintf(page, " &#215;%d", figures->count);
  fputs("</td><td class=\"t\">", page);
  page_text(page, figures->kind);
  fputs("</td>", page);
  figure(page, figures->ms, "ms", 1);
  figure(page, figures->share, "%", 100);
  fputs("<td>", page);
  page_flops(page, figures->flops);
  fputs("</td><td>", page);
  page_bytes(page, (int64_t)figures->bytes);
  fputs("</td><td>", page);
  page_number(page, figures->gflops);
  fprintf(page, "</td><td>%s</td>", figures->flops > 0 ? figures->executed_in : "");
  figure(page, figures->of_peak, "%", 100);
  fputs("<td>", page);
  page_number(page, figures->gbps);
  fputs("</td>", page);
  figure(page, figures->of_read, "%", 100);
  fputs("</tr>\n", page);
}

/* total NULL: none */
static void table(FILE *page, const struct phase_figures *kinds, int count, const struct phase_figures *total) {
  int shown = count < KINDS_SHOWN ? count : KINDS_SHOWN;
  fputs("<div class=\"scroll\"><table>\n<tr><th>layers</th><th class=\"t\">phase</th><th>ms</th><th>time</th><th>work</th>"
        "<th>bytes</th><th>GFLOP/s</th><th>in</th><th>of peak</th><th>GB/s</th><th>of read</th></tr>\n",
        page);
  for (int i = 0; i < shown; i++) table_row(page, &kinds[i]);
  if (total != NULL) table_row(page, total);
  fputs("</table></div>\n", page);
}

void report_time(FILE *page, const struct report *report) {
  page_section(page, "time", "Time");
  if (report->timings.phase_count == 0) {
    missing(page, report);
    page_section_end(page);
    return;
  }
  const struct timings *timings = &report->timings;
  const struct machine *machine = &report->machine;
  fprintf(page, "<p>One image, %u thread%s, %s code: least %.3f ms, median %.3f ms of ", machine->threads,
          machine->threads == 1 ? "" : "s", machine->level != NULL ? machine->level->name : "no", timings->milliseconds[0],
          quantile(timings->milliseconds, timings->count, 0.5));
  page_count(page, (int64_t)timings->count);
  fputs(" runs. Each stripe is a phase, in the order in which they run.</p>\n<p class=\"soft\"><span class=\"key\" "
        "style=\"background:var(--a);margin-left:0\"></span>product<span class=\"key\" "
        "style=\"background:var(--b)\"></span>attention"
        "<span class=\"key\" style=\"background:var(--c)\"></span>layer norm<span class=\"key\" "
        "style=\"background:var(--e)\"></span>other</p>\n",
        page);
  strip(page, report);
  roofline(page, report);
  const struct profile *profile = &report->profile;
  int first = profile->kind_count < KINDS_FIRST ? profile->kind_count : KINDS_FIRST;
  fputs("<h3>Alike phases</h3>\n", page);
  table(page, profile->kinds, first, &profile->total);
  if (first < profile->kind_count) {
    fprintf(page, "<details><summary>%d more, which take less time</summary>\n", profile->kind_count - first);
    table(page, profile->kinds + first, profile->kind_count - first, NULL);
    fputs("</details>\n", page);
  }
  page_section_end(page);
}
