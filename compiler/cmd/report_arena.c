#include "cmd/page.h"
#include "cmd/report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The picture, in units of its SVG. */
static const int WIDTH = 1040, LEFT = 70, TOP = 14, PLOT_WIDTH = 950, PLOT_HEIGHT = 340;

enum { BUFFERS_SHOWN = 2000 };

/* Live range in steps; the plan counts nodes, and views among them are no steps. */
static bool steps_of(const struct plan *plan, const struct buffer *buffer, int *out_first, int *out_last) {
  *out_first = *out_last = -1;
  for (int i = 0; i < plan->step_count; i++) {
    int index = plan->steps[i].node_index;
    if (index >= buffer->first && index <= buffer->last && *out_first < 0) *out_first = i;
    if (index <= buffer->last) *out_last = i;
  }
  return *out_first >= 0 && *out_last >= *out_first;
}

/* What makes the buffer's first value: scratch of a step, or the result of a node. */
static const char *colour_of(const struct account *account, const struct buffer *buffer) {
  for (int i = 0; i < account->node_count; i++) {
    if (strcmp(account->nodes[i].name, buffer->name) != 0) continue;
    const char *op = account->nodes[i].op;
    if (strcmp(op, "MatMul") == 0 || strcmp(op, "Gemm") == 0 || strcmp(op, "Conv") == 0) return "a";
    return strcmp(op, "Attention") == 0 ? "b" : "c";
  }
  return "e";
}

static int larger_first(const void *a, const void *b) {
  const struct buffer *x = *(const struct buffer *const *)a, *y = *(const struct buffer *const *)b;
  if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
  return (x > y) - (x < y);
}

static void draw_axes(FILE *page, const struct plan *plan) {
  const bool large = plan->arena_bytes >= 1 << 22;
  for (int i = 0; i <= 4; i++) {
    double y = TOP + PLOT_HEIGHT * (1 - i / 4.0);
    fprintf(page,
            "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text class=\"soft\" x=\"%d\" y=\"%.1f\" "
            "text-anchor=\"end\">%.3g %s</text>\n",
            LEFT, LEFT + PLOT_WIDTH, y, y, LEFT - 6, y + 4, (double)plan->arena_bytes * i / 4 / (large ? 0x1p20 : 0x1p10),
            large ? "MiB" : "KiB");
  }
  int every = plan->step_count / 12 + 1;
  for (int i = 0; i < plan->step_count; i += every)
    fprintf(page, "<text class=\"soft\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d</text>\n",
            LEFT + (i + 0.5) * PLOT_WIDTH / plan->step_count, TOP + PLOT_HEIGHT + 16, i);
  fprintf(page, "<text class=\"soft\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>\n", LEFT + PLOT_WIDTH / 2,
          TOP + PLOT_HEIGHT + 32);
}

static void draw_buffer(FILE *page, const struct report *report, const struct buffer *buffer) {
  const struct plan *plan = &report->compilation.plan;
  int first, last;
  if (!steps_of(plan, buffer, &first, &last)) return;
  double scale = (double)PLOT_HEIGHT / (double)plan->arena_bytes, unit = (double)PLOT_WIDTH / plan->step_count;
  double height = (double)buffer->bytes * scale;
  fprintf(page,
          "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"var(--%s)\" fill-opacity=\".55\" "
          "stroke=\"var(--card)\" stroke-width=\".6\" data-offset=\"%" PRId64 "\" data-bytes=\"%" PRId64
          "\" data-live=\"%d %d\"><title>",
          LEFT + first * unit, TOP + PLOT_HEIGHT - (double)buffer->offset * scale - height, (last - first + 1) * unit, height,
          colour_of(&report->account, buffer), buffer->offset, buffer->bytes, first, last);
  page_text(page, buffer->name);
  fprintf(page, ": %" PRId64 " bytes at %" PRId64 ", live in steps %d to %d</title></rect>\n", buffer->bytes, buffer->offset,
          first, last);
}

/* Most bytes that are live at once. */
static int64_t most_live(const struct plan *plan, int *out_step) {
  int64_t *live = calloc((size_t)plan->step_count + 1, sizeof *live), most = 0;
  *out_step = 0;
  for (int i = 0; live != NULL && i < plan->buffer_count; i++) {
    int first, last;
    if (!steps_of(plan, &plan->buffers[i], &first, &last)) continue;
    for (int step = first; step <= last; step++) live[step] += plan->buffers[i].bytes;
  }
  for (int step = 0; live != NULL && step < plan->step_count; step++) {
    if (live[step] <= most) continue;
    most = live[step];
    *out_step = step;
  }
  free(live);
  return most;
}

static void draw(FILE *page, const struct report *report) {
  const struct plan *plan = &report->compilation.plan;
  const struct buffer **order = calloc((size_t)plan->buffer_count + 1, sizeof(struct buffer *));
  if (order == NULL) return;
  for (int i = 0; i < plan->buffer_count; i++) order[i] = &plan->buffers[i];
  qsort(order, (size_t)plan->buffer_count, sizeof(struct buffer *), larger_first);
  int shown = plan->buffer_count < BUFFERS_SHOWN ? plan->buffer_count : BUFFERS_SHOWN;
  page_svg(page, WIDTH, TOP + PLOT_HEIGHT + 40, "Live ranges of buffers in the arena: steps across, bytes up");
  draw_axes(page, plan);
  for (int i = 0; i < shown; i++) draw_buffer(page, report, order[i]);
  page_svg_end(page);
  free(order);
}

void report_arena(FILE *page, const struct report *report) {
  const struct plan *plan = &report->compilation.plan;
  page_section(page, "arena", "Arena over time");
  if (plan->arena_bytes == 0 || plan->step_count == 0) {
    fputs("<p>This model needs no arena.</p>\n", page);
    page_section_end(page);
    return;
  }
  int step;
  int64_t most = most_live(plan, &step);
  fputs("<p>", page);
  page_bytes(page, plan->arena_bytes);
  fputs(" for one group of images, in ", page);
  page_count(page, plan->buffer_count);
  fputs(" buffers; at most ", page);
  page_bytes(page, most);
  fprintf(page,
          " are live at once, first in step %d. Each rectangle is a buffer: the steps in which it is live, and the bytes "
          "that it takes.</p>\n<p class=\"soft\"><span class=\"key\" style=\"background:var(--a);margin-left:0\"></span>product"
          "<span class=\"key\" style=\"background:var(--b)\"></span>attention<span class=\"key\" "
          "style=\"background:var(--c)\"></span>other results<span class=\"key\" "
          "style=\"background:var(--e)\"></span>scratch</p>\n",
          step);
  if (plan->arena_bytes != report->account.arena_bytes)
    fputs("<p class=\"missing\">The object was compiled by another version, with another arena: this is the plan of this "
          "one.</p>\n",
          page);
  draw(page, report);
  if (plan->buffer_count > BUFFERS_SHOWN) fprintf(page, "<p class=\"soft\">The largest %d are drawn.</p>\n", BUFFERS_SHOWN);
  page_section_end(page);
}
