/* The fused graph, top to bottom: a box a step, repeated layers once. */
#include "cmd/fold.h"
#include "cmd/layers.h"
#include "cmd/page.h"
#include "cmd/report.h"
#include "ir/ops.h"

#include <string.h>

/* The picture, in units of its SVG. */
static const int BOX_X = 70, BOX_WIDTH = 560, BOX_HEIGHT = 46, GAP = 20, WIDTH = 760, LANES = 6, LANE_WIDTH = 14;

enum { BOXES_SHOWN = 400 };

/* A node that becomes a step. */
struct box {
  const struct node *node;
  int shown; /* the box that stands for it; -1: not drawn */
  double y;  /* of the top, when it is its own */
};

struct picture {
  const struct report *report;
  struct arena *scratch;
  struct box *boxes;
  int count, fold_count;
  struct fold *folds;
  int *by_value; /* by value id: the box that computes it, through views; -1: none */
  double height;
};

static bool is_view(const struct compilation *compilation, const struct node *node) {
  const struct plan *plan = &compilation->plan;
  for (int i = 0; i < plan->step_count; i++)
    if (plan->steps[i].node == node) return false;
  return true;
}

static void list_boxes(struct picture *p) {
  const struct graph *graph = &p->report->compilation.graph;
  p->boxes = arena_array(p->scratch, (size_t)graph->node_count + 1, sizeof *p->boxes);
  p->by_value = arena_array(p->scratch, (size_t)graph->value_count + 1, sizeof *p->by_value);
  for (int i = 0; i < graph->value_count; i++) p->by_value[i] = -1;
  for (const struct node *node = graph->first; node != NULL; node = node->next) {
    bool view = is_view(&p->report->compilation, node);
    const struct value *from = node->input_count > 0 ? node->inputs[0] : NULL;
    int box = view ? (from != NULL ? p->by_value[from->id] : -1) : p->count;
    if (!view) p->boxes[p->count++] = (struct box){.node = node, .shown = -1};
    for (int i = 0; i < node->output_count; i++)
      if (node->outputs[i] != NULL) p->by_value[node->outputs[i]->id] = box;
  }
}

/* Alike in op, shape, what is fused, and name but for the layer's number. */
static const char *key_of(const struct node *node, struct arena *arena) {
  const struct value *result = node->outputs[0];
  const char *key = arena_printf(arena, "%s %s", op_info(node->op)->name, layer_kind(result->name, arena));
  for (int i = 0; i < result->shape.rank; i++) key = arena_printf(arena, "%s %lld", key, (long long)result->shape.dim[i]);
  return arena_printf(arena, "%s %d %d", key, node->prologue_count, node->epilogue_count);
}

static void lay_out(struct picture *p) {
  const char **keys = arena_array(p->scratch, (size_t)p->count + 1, sizeof *keys);
  for (int i = 0; i < p->count; i++) keys[i] = key_of(p->boxes[i].node, p->scratch);
  p->folds = find_folds(keys, p->count, p->scratch, &p->fold_count);
  double y = 24;
  int drawn = 0;
  for (int f = 0; f < p->fold_count; f++) {
    const struct fold *fold = &p->folds[f];
    if (fold->times > 1) y += GAP;
    for (int i = 0; i < fold->period; i++) {
      if (drawn++ < BOXES_SHOWN) {
        p->boxes[fold->first + i].y = y;
        y += BOX_HEIGHT + GAP;
      }
      for (int k = 0; k < fold->times && drawn <= BOXES_SHOWN; k++)
        p->boxes[fold->first + k * fold->period + i].shown = fold->first + i;
    }
    if (fold->times > 1) y += GAP;
  }
  p->height = y;
}

/* ---- edges */

static void draw_edge(FILE *page, const struct picture *p, int from, int to, int *lane) {
  double y1 = p->boxes[from].y + BOX_HEIGHT, y2 = p->boxes[to].y;
  if (y2 > y1 && y2 - y1 <= 3 * GAP + 1) {
    fprintf(page, "<line x1=\"%d\" x2=\"%d\" y1=\"%.0f\" y2=\"%.0f\" stroke=\"var(--soft)\" marker-end=\"url(#tip)\"/>\n",
            BOX_X + BOX_WIDTH / 2, BOX_X + BOX_WIDTH / 2, y1, y2 - 2);
    return;
  }
  double x = BOX_X + BOX_WIDTH, out = x + 16 + LANE_WIDTH * (*lane)++ % (LANES * LANE_WIDTH);
  fprintf(page,
          "<path d=\"M%.0f %.0f H%.0f V%.0f H%.0f\" fill=\"none\" stroke=\"var(--soft)\" stroke-dasharray=\"4 3\" "
          "marker-end=\"url(#tip)\"/>\n",
          x, y1 - 10, out, y2 + 10, x + 2);
}

static void draw_edges_of(FILE *page, const struct picture *p, int to, const struct node *node, unsigned char *drawn,
                          int *lane) {
  for (int i = 0; i < node->input_count; i++) {
    const struct value *value = node->inputs[i];
    int box = value != NULL ? p->by_value[value->id] : -1;
    if (box < 0 || p->boxes[box].shown < 0) continue;
    int from = p->boxes[box].shown;
    if (from >= to || drawn[from] != 0) continue;
    drawn[from] = 1;
    draw_edge(page, p, from, to, lane);
  }
}

static void draw_edges(FILE *page, const struct picture *p) {
  int lane = 0;
  for (int i = 0; i < p->count; i++) {
    if (p->boxes[i].shown != i) continue;
    unsigned char *drawn = arena_array(p->scratch, (size_t)p->count, 1);
    const struct node *node = p->boxes[i].node;
    draw_edges_of(page, p, i, node, drawn, &lane);
    for (int k = 0; k < node->prologue_count; k++) draw_edges_of(page, p, i, node->prologue[k], drawn, &lane);
    for (int k = 0; k < node->epilogue_count; k++) draw_edges_of(page, p, i, node->epilogue[k], drawn, &lane);
  }
}

/* ---- boxes */

static const char *colour_of(const struct node *node) {
  if (node->op == OP_mat_mul || node->op == OP_gemm || node->op == OP_conv) return "a";
  return node->op == OP_attention ? "b" : (op_info(node->op)->flags & OP_MOVES) != 0 ? "e" : "c";
}

static void write_fused(FILE *page, const struct node *node) {
  for (int i = 0; i < node->prologue_count; i++) fprintf(page, "%s &#x2192; ", op_info(node->prologue[i]->op)->name);
  fprintf(page, "%s", op_info(node->op)->name);
  for (int i = 0; i < node->epilogue_count; i++) fprintf(page, " &#x2192; %s", op_info(node->epilogue[i]->op)->name);
}

static const char *precision_of(const struct account *account, const char *name) {
  for (int i = 0; i < account->product_count; i++)
    if (strcmp(account->products[i].name, name) == 0) return account->products[i].precision;
  return NULL;
}

static void draw_box(FILE *page, const struct picture *p, const struct box *box) {
  const struct value *result = box->node->outputs[0];
  const char *precision = precision_of(&p->report->account, result->name);
  fprintf(page,
          "<g><rect x=\"%d\" y=\"%.0f\" width=\"%d\" height=\"%d\" rx=\"7\" fill=\"var(--paper)\" stroke=\"var(--%s)\"/><rect "
          "x=\"%d\" y=\"%.0f\" width=\"5\" height=\"%d\" rx=\"2\" fill=\"var(--%s)\"/><title>",
          BOX_X, box->y, BOX_WIDTH, BOX_HEIGHT, colour_of(box->node), BOX_X, box->y, BOX_HEIGHT, colour_of(box->node));
  page_text(page, result->name);
  fprintf(page, "</title><text x=\"%d\" y=\"%.0f\" style=\"font-size:13px\">", BOX_X + 16, box->y + 19);
  page_short(page, result->name, 62);
  fprintf(page, "</text><text class=\"soft\" x=\"%d\" y=\"%.0f\">", BOX_X + 16, box->y + 36);
  write_fused(page, box->node);
  fprintf(page, "</text><text class=\"soft\" x=\"%d\" y=\"%.0f\" text-anchor=\"end\">", BOX_X + BOX_WIDTH - 10, box->y + 36);
  if (precision != NULL) fprintf(page, "%s, ", precision);
  fputc(result->batched ? 'N' : '1', page);
  for (int i = result->batched ? 1 : 0; i < result->shape.rank; i++)
    fprintf(page, "&#215;%lld", (long long)result->shape.dim[i]);
  fprintf(page, ", %.3g MFLOP</text></g>\n", (double)node_flops(box->node) / 1e6);
}

static void draw_fold(FILE *page, const struct picture *p, const struct fold *fold) {
  const struct box *first = &p->boxes[fold->first], *last = &p->boxes[fold->first + fold->period - 1];
  if (fold->times < 2 || last->shown < 0) return;
  double top = first->y - 14, height = last->y + BOX_HEIGHT + 14 - top;
  fprintf(page,
          "<rect x=\"%d\" y=\"%.0f\" width=\"%d\" height=\"%.0f\" rx=\"10\" fill=\"var(--grid)\" fill-opacity=\".6\" "
          "stroke=\"var(--line)\"/><text x=\"12\" y=\"%.0f\" style=\"font-size:17px\" class=\"fold\" data-times=\"%d\">"
          "&#215;%d</text>\n",
          BOX_X - 14, top, BOX_WIDTH + 28, height, top + height / 2, fold->times, fold->times);
}

void report_graph(FILE *page, const struct report *report, struct arena *scratch) {
  struct picture p = {.report = report, .scratch = scratch};
  list_boxes(&p);
  lay_out(&p);
  page_section(page, "graph", "Graph");
  fputs("<p>What is computed, top to bottom, with what was fused into it. Layers that are alike one after the other are drawn "
        "once; "
        "dashed lines skip boxes.</p>\n",
        page);
  fprintf(
      page,
      "<div class=\"scroll tall\"><svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" viewBox=\"0 0 %d "
      "%.0f\" role=\"img\" aria-label=\"The fused graph\">\n<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" "
      "markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0 L8 4 L0 8 z\" "
      "fill=\"var(--soft)\"/></marker></defs>\n",
      WIDTH, p.height, WIDTH, p.height);
  for (int i = 0; i < p.fold_count; i++) draw_fold(page, &p, &p.folds[i]);
  draw_edges(page, &p);
  int hidden = 0;
  for (int i = 0; i < p.count; i++) {
    if (p.boxes[i].shown == i) draw_box(page, &p, &p.boxes[i]);
    hidden += p.boxes[i].shown < 0;
  }
  page_svg_end(page);
  if (hidden > 0) fprintf(page, "<p class=\"soft\">%d more are not drawn.</p>\n", hidden);
  page_section_end(page);
}
