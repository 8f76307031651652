#include "passes/demand.h"

#include "passes/rewrite.h"

struct rows rows_all(const struct value *value) {
  return (struct rows){0, value->shape.rank == 3 ? value->shape.dim[1] : 1};
}

bool rows_equal(struct rows a, struct rows b) {
  return a.start == b.start && a.end == b.end;
}

struct rows rows_join(struct rows a, struct rows b) {
  if (a.start == a.end) return b;
  if (b.start == b.end) return a;
  return (struct rows){a.start < b.start ? a.start : b.start, a.end > b.end ? a.end : b.end};
}

static bool input_absent(const struct node *node, int index) {
  return index >= node->input_count || node->inputs[index] == NULL;
}

static bool attention_row_wise(const struct node *node) {
  return input_absent(node, 3) && node_int(node, "is_causal") == 0;
}

bool node_row_wise(const struct node *node) {
  if (!node_plain(node) || node->output_count < 1 || node->input_count < 1) return false;
  for (int i = 0; i < node->output_count; i++)
    if (node->outputs[i] == NULL || node->outputs[i]->shape.rank != 3) return false;
  if ((op_info(node->op)->flags & OP_ELEMENTWISE) != 0) return true;
  bool from_rows = node->inputs[0]->shape.rank == 3;
  switch (node->op) {
  case OP_identity:
    return true;
  case OP_layer_normalization:
  case OP_softmax:
  case OP_concat:
  case OP_split:
    return from_rows && node_axis(node, 3) == 2;
  case OP_mat_mul:
    return from_rows;
  case OP_attention:
    return from_rows && attention_row_wise(node);
  case OP_rotary_embedding:
    return from_rows && input_absent(node, 3);
  default:
    return false;
  }
}

static struct rows row_wise_demand(const struct node *node, int index, struct rows needed) {
  const struct value *input = node->inputs[index];
  bool first_only = node->op == OP_mat_mul || node->op == OP_attention || node->op == OP_layer_normalization;
  if (input->shape.rank != 3 || (first_only && index > 0)) return rows_all(input);
  return input->shape.dim[1] == node->outputs[0]->shape.dim[1] ? needed : rows_all(input);
}

static struct rows concat_demand(const struct node *node, int index, struct rows needed) {
  int64_t start = 0;
  for (int i = 0; i < index; i++) start += node->inputs[i]->shape.dim[1];
  struct rows all = rows_all(node->inputs[index]);
  struct rows rows = {needed.start - start, needed.end - start};
  if (rows.start < 0) rows.start = 0;
  if (rows.end > all.end) rows.end = all.end;
  return rows.start < rows.end ? rows : (struct rows){0, 0};
}

static struct rows gather_demand(const struct node *node) {
  const struct value *x = node->inputs[0];
  int64_t indices[RANK_MAX];
  int count;
  if (!constant_integers(node->inputs[1], RANK_MAX, indices, &count)) return rows_all(x);
  struct rows rows = {0, 0};
  for (int i = 0; i < count; i++) {
    int64_t row = indices[i] < 0 ? indices[i] + x->shape.dim[1] : indices[i];
    rows = rows_join(rows, (struct rows){row, row + 1});
  }
  return rows;
}

static struct rows split_demand(const struct node *node, const struct rows *needs) {
  struct rows rows = {0, 0};
  int64_t start = 0;
  for (int i = 0; i < node->output_count; i++) {
    if (node->outputs[i] == NULL) return rows_all(node->inputs[0]);
    struct rows need = needs[node->outputs[i]->id];
    int64_t size = node->outputs[i]->shape.dim[1];
    if (need.start != need.end) rows = rows_join(rows, (struct rows){start, start + size});
    start += size;
  }
  return rows;
}

struct rows input_demand(const struct node *node, int index, struct rows needed) {
  const struct value *input = node->inputs[index];
  struct rows all = rows_all(input);
  int axis;
  int64_t start, end;
  if (node_row_wise(node)) return row_wise_demand(node, index, needed);
  if (!node_plain(node) || input->shape.rank != 3) return all;
  if (node->op == OP_concat && node_axis(node, 3) == 1) return concat_demand(node, index, needed);
  if (node->op == OP_gather && index == 0 && node_axis(node, 3) == 1) return gather_demand(node);
  if (node->op == OP_slice && index == 0 && slice_range(node, &axis, &start, &end) && axis == 1)
    return (struct rows){start + needed.start, start + needed.end};
  return all;
}

static bool rows_prunable(const struct node *node) {
  int axis;
  int64_t start, end;
  if (node_row_wise(node)) return true;
  if (!node_plain(node) || node->input_count < 1 || node->output_count != 1 || node->outputs[0]->shape.rank != 3) return false;
  if (node->op == OP_slice) return slice_range(node, &axis, &start, &end) && axis == 1;
  return node->op == OP_concat && node_axis(node, 3) == 1;
}

struct rows node_demand(const struct node *node, const struct rows *needs) {
  struct rows needed = {0, 0};
  for (int i = 0; i < node->output_count; i++)
    if (node->outputs[i] != NULL) needed = rows_join(needed, needs[node->outputs[i]->id]);
  if (!rows_prunable(node) || 2 * (needed.end - needed.start) <= node->outputs[0]->shape.dim[1]) return needed;
  return rows_all(node->outputs[0]);
}

static void analyze_node(const struct node *node, struct rows *needs) {
  struct rows needed = node_demand(node, needs);
  if (needed.start == needed.end) return;
  bool splits_rows = node->op == OP_split && node_plain(node) && node->inputs[0]->shape.rank == 3 && node_axis(node, 3) == 1;
  for (int i = 0; i < node->input_count; i++) {
    if (node->inputs[i] == NULL) continue;
    struct rows *need = &needs[node->inputs[i]->id];
    *need = rows_join(*need, splits_rows && i == 0 ? split_demand(node, needs) : input_demand(node, i, needed));
  }
}

struct rows *analyze_demand(const struct graph *graph) {
  struct rows *needs = arena_array(graph->arena, (size_t)graph->value_count, sizeof *needs);
  for (int i = 0; i < graph->output_count; i++) needs[graph->outputs[i]->id] = rows_all(graph->outputs[i]);
  for (const struct node *node = graph->last; node != NULL; node = node->prev) analyze_node(node, needs);
  return needs;
}
