/* Requires: the class token as a constant in the Concat (an Expand of it removed), or it is treated as computed.
 * Ensures: Add(Concat(class token, patches), position table) is Concat(constant, Add(patches, rows of the table)); the sums are
 *          the same ones, so the bits are.
 * Breaks: nothing. */
#include "passes/passes.h"
#include "passes/rewrite.h"

/* The table as (1, T, D) or (T, D) for x (N, T, D). */
static struct value *position_table(const struct node *add, struct value **out_x) {
  struct value *table;
  struct value *x = *out_x = operand_beside_constant(add, &table, NULL);
  if (x == NULL || x->shape.rank != 3 || constant_floats(table) == NULL) return NULL;
  int rank = table->shape.rank;
  if (rank < 2 || rank > 3 || table->shape.dim[rank - 1] != x->shape.dim[2] || table->shape.dim[rank - 2] != x->shape.dim[1])
    return NULL;
  return rank == 2 || table->shape.dim[0] == 1 ? table : NULL;
}

static struct value *add_constants(struct graph *graph, const struct value *x, const struct value *rows, const char *name) {
  const float *a = constant_floats(x), *b = constant_floats(rows);
  size_t count = (size_t)shape_elements(&x->shape);
  float *sum = arena_array(graph->arena, count, sizeof *sum);
  for (size_t i = 0; i < count; i++) sum[i] = a[i] + b[i];
  return graph_add_constant(graph, name, DTYPE_F32, &x->shape, sum);
}

static struct value *join_constants(struct graph *graph, const struct value *first, const struct value *second) {
  struct shape shape = first->shape;
  shape.dim[1] += second->shape.dim[1];
  size_t first_count = (size_t)shape_elements(&first->shape), count = (size_t)shape_elements(&shape);
  float *joined = arena_array(graph->arena, count, sizeof *joined);
  for (size_t i = 0; i < count; i++)
    joined[i] = i < first_count ? constant_floats(first)[i] : constant_floats(second)[i - first_count];
  return graph_add_constant(graph, first->name, DTYPE_F32, &shape, joined);
}

static void hoist(struct graph *graph, struct node *add, const struct node *concat, struct value *table) {
  struct value **inputs = arena_array(graph->arena, (size_t)concat->input_count, sizeof(struct value *));
  int count = 0, axis = table->shape.rank - 2;
  int64_t start = 0;
  for (int i = 0; i < concat->input_count; i++) {
    struct value *x = concat->inputs[i];
    int64_t end = start + x->shape.dim[1];
    struct value *rows = slice_constant(graph, table, axis, start, end);
    const char *name = arena_printf(graph->arena, "%s.positioned", x->name);
    bool folds = constant_floats(x) != NULL;
    struct value *sum = folds ? add_constants(graph, x, rows, name) : build_binary(graph, add, OP_add, x, rows, name);
    if (folds && count > 0 && value_is_constant(inputs[count - 1]))
      inputs[count - 1] = join_constants(graph, inputs[count - 1], sum);
    else
      inputs[count++] = sum;
    start = end;
  }
  struct node *joined = build_node(graph, add, OP_concat, inputs, count, add->outputs[0]->name);
  node_set_int(graph, joined, "axis", 1);
  replace_value(graph, add->outputs[0], finish_node(graph, joined));
}

enum status pass_hoist_position(struct graph *graph) {
  for (struct node *node = graph->first; node != NULL; node = node->next) {
    struct value *x;
    if (node->op != OP_add || !node_plain(node)) continue;
    struct value *table = position_table(node, &x);
    const struct node *concat = table != NULL ? producer_of(x, OP_concat) : NULL;
    if (concat == NULL || node_axis(concat, 3) != 1 || graph_single_user(graph, x) != node || !x->batched) continue;
    hoist(graph, node, concat, table);
  }
  sweep_dead(graph);
  return STATUS_OK;
}
