/* Requires: canonical; an Attention of which at least two of query, key and value are MatMuls of one value by constants (with
 * Add of constant biases), read by it alone, or by a RotaryEmbedding of which that is true. Ensures: these are one MatMul, one
 * Add (zeros where a bias was missing) and a Split, before the RotaryEmbeddings. Weights that are neighbours in memory, as
 * after split_projections, are not copied. Breaks: nothing. */
#include "passes/passes.h"
#include "passes/rewrite.h"

#include <string.h>

struct projection {
  struct value *result, *input, *bias; /* bias NULL: none */
  struct weight_matrix weight;
};

static bool match_projection(const struct graph *graph, const struct node *attention, struct value *value,
                             struct projection *out_projection) {
  const struct node *user = attention, *rotary = producer_of(value, OP_rotary_embedding);
  if (rotary != NULL && graph_count_uses(graph, value) == 1 && graph_single_user(graph, value) == attention) {
    value = rotary->inputs[0];
    user = rotary;
  }
  struct projection projection = {.result = value};
  if (value->shape.rank != 3 || graph_count_uses(graph, value) != 1 || graph_single_user(graph, value) != user) return false;
  const struct node *add = producer_of(value, OP_add);
  struct value *product = value;
  if (add != NULL) {
    product = operand_beside_constant(add, &projection.bias, NULL);
    if (product == NULL || constant_floats(projection.bias) == NULL || projection.bias->shape.rank < 1) return false;
    int64_t columns = last_dim(product);
    if (shape_elements(&projection.bias->shape) != columns || last_dim(projection.bias) != columns) return false;
    if (graph_count_uses(graph, product) != 1) return false;
  }
  const struct node *matmul = producer_of(product, OP_mat_mul);
  if (matmul == NULL || matmul->inputs[0]->shape.rank != 3 || !matmul_weight(matmul, &projection.weight)) return false;
  projection.input = matmul->inputs[0];
  *out_projection = projection;
  return true;
}

/* The members' weights under each other as (columns of all, K), or beside each other as (K, columns of all). */
static struct value *join_weights(struct graph *graph, const struct projection *members, int count, bool transposed,
                                  int64_t columns, const char *name) {
  int64_t rows = members[0].weight.rows;
  struct shape shape = {.rank = 2, .dim = {transposed ? columns : rows, transposed ? rows : columns}};
  const float *next = constant_floats(members[0].weight.constant);
  bool adjacent = transposed;
  for (int i = 0; i < count; i++) {
    adjacent = adjacent && constant_floats(members[i].weight.constant) == next;
    next = constant_floats(members[i].weight.constant) + members[i].weight.rows * members[i].weight.columns;
  }
  if (adjacent) return graph_add_constant(graph, name, DTYPE_F32, &shape, members[0].weight.constant->data);

  float *joined = arena_array(graph->arena, (size_t)(rows * columns), sizeof *joined);
  int64_t at = 0;
  for (int i = 0; i < count; i++) {
    const struct weight_matrix *weight = &members[i].weight;
    const float *from = constant_floats(weight->constant);
    if (transposed)
      memcpy(joined + at * rows, from, (size_t)(weight->columns * rows) * sizeof *joined);
    else
      for (int64_t k = 0; k < rows; k++)
        memcpy(joined + k * columns + at, from + k * weight->columns, (size_t)weight->columns * sizeof *joined);
    at += weight->columns;
  }
  return graph_add_constant(graph, name, DTYPE_F32, &shape, joined);
}

static struct value *join_biases(struct graph *graph, const struct projection *members, int count, int64_t columns,
                                 const char *name) {
  bool any = false;
  for (int i = 0; i < count; i++) any = any || members[i].bias != NULL;
  if (!any) return NULL;
  float *joined = arena_array(graph->arena, (size_t)columns, sizeof *joined);
  int64_t at = 0;
  for (int i = 0; i < count; i++) {
    size_t width = (size_t)members[i].weight.columns;
    if (members[i].bias != NULL) memcpy(joined + at, constant_floats(members[i].bias), width * sizeof *joined);
    at += members[i].weight.columns;
  }
  return graph_add_constant(graph, name, DTYPE_F32, &(struct shape){.rank = 1, .dim = {columns}}, joined);
}

static void merge_members(struct graph *graph, struct node *attention, const struct projection *members, int count) {
  int64_t sizes[3], columns = 0;
  for (int i = 0; i < count; i++) columns += sizes[i] = members[i].weight.columns;
  const char *name = attention->outputs[0]->name;
  bool transposed = members[0].weight.transposed;
  const char *weight_name = arena_printf(graph->arena, "%s.projections.weight", name);
  struct value *b = join_weights(graph, members, count, transposed, columns, weight_name);
  if (transposed)
    b = build_transpose(graph, attention, b, (const int64_t[]){1, 0}, arena_printf(graph->arena, "%s.T", weight_name));
  const char *joint_name = arena_printf(graph->arena, "%s.projections", name);
  struct value *joint = build_binary(graph, attention, OP_mat_mul, members[0].input, b, joint_name);
  struct value *bias = join_biases(graph, members, count, columns, arena_printf(graph->arena, "%s.projections.bias", name));
  if (bias != NULL) joint = build_binary(graph, attention, OP_add, joint, bias, joint_name);
  struct node *split = build_split(graph, attention, joint, 2, sizes, count, joint_name);
  for (int i = 0; i < count; i++) {
    struct node *user = graph_single_user(graph, members[i].result);
    if (user != attention) graph_move_node(graph, user, attention);
    replace_value(graph, members[i].result, split->outputs[i]);
  }
}

static void merge_attention(struct graph *graph, struct node *attention) {
  struct projection found[3], members[3];
  int found_count = 0;
  for (int i = 0; i < 3; i++)
    if (match_projection(graph, attention, attention->inputs[i], &found[found_count])) found_count++;
  for (int first = 0; first + 1 < found_count; first++) {
    int count = 0;
    for (int i = first; i < found_count; i++)
      if (found[i].input == found[first].input && found[i].weight.transposed == found[first].weight.transposed)
        members[count++] = found[i];
    if (count < 2) continue;
    merge_members(graph, attention, members, count);
    return;
  }
}

enum status pass_merge_projections(struct graph *graph) {
  for (struct node *node = graph->first; node != NULL; node = node->next)
    if (node->op == OP_attention && node_plain(node)) merge_attention(graph, node);
  sweep_dead(graph);
  return STATUS_OK;
}
