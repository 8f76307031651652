/* Requires: projections whose parts are needed for different rows are apart.
 * Ensures: a node whose outputs are needed for a hull of at most half of their rows, and whose rows do not depend on each
 * other, computes that hull alone; what exists in full is read through a Slice, or through a LayerNormalization of a Slice.
 * Breaks: a pruned value keeps its name but holds fewer rows than the source's. */
#include "passes/demand.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

#include <string.h>

/* A value that was cut for some user, to be shared by others. */
struct cut {
  struct value *whole, *part;
  struct rows rows;
  struct cut *next;
};

struct prune {
  struct graph *graph;
  int value_count;    /* when the analysis was made: newer values are as they are read */
  struct rows *needs; /* rows that are needed of a value, as numbered in the source */
  struct rows *held;  /* rows that it holds so far */
  struct cut *cuts;
};

static struct rows held_rows(const struct prune *prune, const struct value *value) {
  return value->id < prune->value_count ? prune->held[value->id] : rows_all(value);
}

static struct value *copy_norm(struct graph *graph, struct node *before, const struct node *norm, struct value *rows,
                               const char *name) {
  struct value *inputs[3] = {rows};
  for (int i = 1; i < norm->input_count; i++) inputs[i] = norm->inputs[i];
  struct node *copy = build_node(graph, before, OP_layer_normalization, inputs, norm->input_count, name);
  copy->attrs = norm->attrs;
  copy->attr_count = norm->attr_count;
  return finish_node(graph, copy);
}

/* Rows `rows` (as numbered in the source) of `value`. A Slice stands right behind what it cuts, so that a residual is there
 * before the MatMul that will add it. */
static struct value *read_rows(struct prune *prune, struct node *before, struct value *value, struct rows rows) {
  struct rows held = held_rows(prune, value);
  if (rows_equal(held, rows)) return value;
  for (const struct cut *cut = prune->cuts; cut != NULL; cut = cut->next)
    if (cut->whole == value && rows_equal(cut->rows, rows)) return cut->part;

  struct graph *graph = prune->graph;
  const char *name = arena_printf(graph->arena, "%s.rows", value->name);
  const struct node *norm = producer_of(value, OP_layer_normalization);
  int64_t start = rows.start - held.start, end = rows.end - held.start;
  struct value *part;
  if (value_is_constant(value))
    part = slice_constant(graph, value, 1, start, end);
  else if (norm != NULL && node_row_wise(norm))
    /* Normalising a few rows again is cheaper than keeping the LayerNormalization from the MatMul that reads it all. */
    part = copy_norm(graph, before, norm, read_rows(prune, before, norm->inputs[0], rows), name);
  else
    part = build_slice(graph, value->producer != NULL ? value->producer->next : graph->first, value, 1, start, end, name);
  struct cut *cut = arena_alloc(graph->arena, sizeof *cut);
  *cut = (struct cut){value, part, rows, prune->cuts};
  prune->cuts = cut;
  return part;
}

/* A table (rows, columns) that broadcasts along the batch. */
static void prune_table(struct prune *prune, struct node *node, int index, int64_t row_count, struct rows rows) {
  struct value *table = node->inputs[index];
  if (table->shape.rank != 2 || table->shape.dim[0] != row_count || row_count == 1) return;
  const char *name = arena_printf(prune->graph->arena, "%s.rows", table->name);
  node_set_input(node, index,
                 value_is_constant(table) ? slice_constant(prune->graph, table, 0, rows.start, rows.end)
                                          : build_slice(prune->graph, node, table, 0, rows.start, rows.end, name));
}

/* Shapes stay the source's until all nodes are rewritten, so that rows have one numbering throughout. */
static void prune_row_wise(struct prune *prune, struct node *node) {
  struct rows rows = node_demand(node, prune->needs);
  if (rows.start == rows.end) return;
  int64_t row_count = node->outputs[0]->shape.dim[1];
  bool tables = (op_info(node->op)->flags & OP_ELEMENTWISE) != 0 && rows.end - rows.start < row_count;
  for (int i = 0; i < node->input_count; i++) {
    struct value *input = node->inputs[i];
    if (input == NULL) continue;
    if (input->shape.rank == 3)
      node_set_input(node, i, read_rows(prune, node, input, input_demand(node, i, rows)));
    else if (tables)
      prune_table(prune, node, i, row_count, rows);
  }
  for (int i = 0; i < node->output_count; i++) prune->held[node->outputs[i]->id] = rows;
}

/* Leaves out the inputs that no needed row comes from. */
static void prune_concat(struct prune *prune, struct node *node) {
  struct value *output = node->outputs[0];
  struct rows rows = node_demand(node, prune->needs);
  if (rows.start == rows.end || rows_equal(rows, rows_all(output))) return;
  struct value **inputs = arena_array(prune->graph->arena, (size_t)node->input_count, sizeof(struct value *));
  int count = 0;
  for (int i = 0; i < node->input_count; i++) {
    struct rows part = input_demand(node, i, rows);
    if (part.start != part.end) inputs[count++] = read_rows(prune, node, node->inputs[i], part);
  }
  struct node *concat = graph_add_node(prune->graph, node, OP_concat, inputs, count, &output, 1);
  node_set_int(prune->graph, concat, "axis", 1);
  graph_remove_node(prune->graph, node);
  prune->held[output->id] = rows;
}

static void prune_slice(struct prune *prune, struct node *node) {
  struct value *output = node->outputs[0];
  struct rows rows = node_demand(node, prune->needs), held = held_rows(prune, node->inputs[0]);
  if (rows.start == rows.end) return;
  struct rows from = input_demand(node, 0, rows);
  const int64_t bounds[2] = {from.start - held.start, from.end - held.start};
  for (int i = 0; i < 2; i++)
    node_set_input(node, i + 1, build_integers(prune->graph, node->inputs[i + 1]->name, &bounds[i], 1));
  prune->held[output->id] = rows;
}

static void prune_gather(struct prune *prune, struct node *node) {
  struct value *x = node->inputs[0], *from = node->inputs[1];
  struct rows held = held_rows(prune, x);
  if (rows_equal(held, rows_all(x))) return;
  int64_t *indices = arena_array(prune->graph->arena, RANK_MAX, sizeof *indices);
  int count;
  if (!constant_integers(from, RANK_MAX, indices, &count)) return;
  for (int i = 0; i < count; i++) indices[i] += (indices[i] < 0 ? x->shape.dim[1] : 0) - held.start;
  node_set_input(node, 1, graph_add_constant(prune->graph, from->name, DTYPE_I64, &from->shape, indices));
}

/* Parts of rows that are left: a Slice for each, where the whole is no longer there to be cut up. */
static void prune_split(struct prune *prune, struct node *node) {
  struct value *x = node->inputs[0];
  struct rows held = held_rows(prune, x);
  if (rows_equal(held, rows_all(x))) return;
  int64_t start = 0;
  for (int i = 0; i < node->output_count; i++) {
    struct value *output = node->outputs[i];
    int64_t end = start + output->shape.dim[1];
    struct rows need = prune->needs[output->id];
    if (need.start != need.end) {
      const int64_t bounds[2] = {start - held.start, end - held.start};
      struct value *inputs[] = {x, build_integers(prune->graph, "starts", &bounds[0], 1),
                                build_integers(prune->graph, "ends", &bounds[1], 1),
                                build_integers(prune->graph, "axes", &(int64_t){1}, 1)};
      graph_add_node(prune->graph, node, OP_slice, inputs, 4, &output, 1);
    }
    start = end;
  }
  graph_remove_node(prune->graph, node);
}

static void prune_node(struct prune *prune, struct node *node) {
  if (node_row_wise(node)) {
    prune_row_wise(prune, node);
    return;
  }
  if (!node_plain(node) || node->input_count < 1 || node->inputs[0] == NULL || node->inputs[0]->shape.rank != 3) return;
  int axis;
  int64_t start, end;
  if (node->op == OP_concat && node_axis(node, 3) == 1) prune_concat(prune, node);
  if (node->op == OP_slice && slice_range(node, &axis, &start, &end) && axis == 1) prune_slice(prune, node);
  if (node->op == OP_gather && node_axis(node, 3) == 1) prune_gather(prune, node);
  if (node->op == OP_split && node_axis(node, 3) == 1) prune_split(prune, node);
}

/* A Slice of all rows, a Concat of one part, a Gather of the only row. */
static void drop_selection(struct graph *graph, struct node *node) {
  struct value *x = node->inputs[0], *y = node->outputs[0];
  if (x->shape.rank != 3 || x->batched != y->batched || !node_plain(node)) return;
  int64_t index, start, end;
  int count, axis;
  bool whole = node->op == OP_slice && shape_equal(&x->shape, &y->shape) && slice_range(node, &axis, &start, &end);
  bool only_row = node->op == OP_gather && node_axis(node, 3) == 1 && x->shape.dim[1] == 1 &&
                  constant_integers(node->inputs[1], 1, &index, &count) && count == 1;
  if (whole || (node->op == OP_concat && node->input_count == 1)) replace_value(graph, y, x);
  if (only_row) replace_value(graph, y, build_reshape(graph, node, x, &y->shape, y->name));
}

enum status pass_prune_rows(struct graph *graph) {
  sweep_dead(graph);
  struct prune prune = {.graph = graph, .value_count = graph->value_count, .needs = analyze_demand(graph)};
  prune.held = arena_array(graph->arena, (size_t)graph->value_count, sizeof *prune.held);
  for (const struct value *value = graph->values; value != NULL; value = value->next) prune.held[value->id] = rows_all(value);
  for (struct node *node = graph->first, *next; node != NULL; node = next) {
    next = node->next;
    prune_node(&prune, node);
  }
  sweep_dead(graph);
  TRY(infer_graph(graph));
  for (struct node *node = graph->first; node != NULL; node = node->next)
    if (node->op == OP_slice || node->op == OP_gather || node->op == OP_concat) drop_selection(graph, node);
  sweep_dead(graph);
  return STATUS_OK;
}
