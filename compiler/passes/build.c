#include "passes/rewrite.h"

#include <assert.h>
#include <string.h>

struct value *build_integers(struct graph *graph, const char *name, const int64_t *integers, int count) {
  int64_t *copy = arena_array(graph->arena, (size_t)count, sizeof *copy);
  memcpy(copy, integers, (size_t)count * sizeof *copy);
  return graph_add_constant(graph, name, DTYPE_I64, &(struct shape){.rank = 1, .dim = {count}}, copy);
}

struct value *build_floats(struct graph *graph, const char *name, const struct shape *shape, const float *floats) {
  size_t count = (size_t)shape_elements(shape);
  float *copy = arena_array(graph->arena, count, sizeof *copy);
  memcpy(copy, floats, count * sizeof *copy);
  return graph_add_constant(graph, name, DTYPE_F32, shape, copy);
}

struct value *build_scalar(struct graph *graph, const char *name, float scalar) {
  return build_floats(graph, name, &(struct shape){.rank = 0}, &scalar);
}

struct node *build_node(struct graph *graph, struct node *before, enum op op, struct value *const *inputs, int input_count,
                        const char *name) {
  struct value *output = graph_add_value(graph, name, DTYPE_F32, NULL, false);
  return graph_add_node(graph, before, op, inputs, input_count, &output, 1);
}

struct value *finish_node(struct graph *graph, struct node *node) {
  /* The status is kept in graph->diag: see rewrite.h. */
  enum status status = infer_node(graph, node);
  (void)status;
  return node->outputs[0];
}

struct value *build_unary(struct graph *graph, struct node *before, enum op op, struct value *x, const char *name) {
  return finish_node(graph, build_node(graph, before, op, &x, 1, name));
}

struct value *build_binary(struct graph *graph, struct node *before, enum op op, struct value *a, struct value *b,
                           const char *name) {
  return finish_node(graph, build_node(graph, before, op, (struct value *[]){a, b}, 2, name));
}

struct value *build_cast(struct graph *graph, struct node *before, struct value *x, enum dtype dtype, const char *name) {
  struct node *node = build_node(graph, before, OP_cast, &x, 1, name);
  node_set_string(graph, node, "to", dtype_name(dtype));
  return finish_node(graph, node);
}

struct value *build_transpose(struct graph *graph, struct node *before, struct value *x, const int64_t *perm,
                              const char *name) {
  struct node *node = build_node(graph, before, OP_transpose, &x, 1, name);
  node_set_ints(graph, node, "perm", perm, (size_t)x->shape.rank);
  return finish_node(graph, node);
}

struct value *build_reshape(struct graph *graph, struct node *before, struct value *x, const struct shape *shape,
                            const char *name) {
  if (shape_equal(&x->shape, shape)) return x;
  int64_t target[RANK_MAX];
  memcpy(target, shape->dim, sizeof target);
  if (x->batched) target[0] = x->shape.dim[0] == shape->dim[0] ? 0 : -1;
  struct value *dims = build_integers(graph, arena_printf(graph->arena, "%s.shape", name), target, shape->rank);
  return build_binary(graph, before, OP_reshape, x, dims, name);
}

struct value *build_slice(struct graph *graph, struct node *before, struct value *x, int axis, int64_t start, int64_t end,
                          const char *name) {
  struct value *inputs[] = {x, build_integers(graph, arena_printf(graph->arena, "%s.starts", name), &start, 1),
                            build_integers(graph, arena_printf(graph->arena, "%s.ends", name), &end, 1),
                            build_integers(graph, arena_printf(graph->arena, "%s.axes", name), &(int64_t){axis}, 1)};
  return finish_node(graph, build_node(graph, before, OP_slice, inputs, 4, name));
}

struct node *build_split(struct graph *graph, struct node *before, struct value *x, int axis, const int64_t *sizes, int count,
                         const char *name) {
  struct value *inputs[] = {x, build_integers(graph, arena_printf(graph->arena, "%s.sizes", name), sizes, count)};
  struct value **outputs = arena_array(graph->arena, (size_t)count, sizeof(struct value *));
  for (int i = 0; i < count; i++) outputs[i] = graph_add_value(graph, name, DTYPE_F32, NULL, false);
  struct node *node = graph_add_node(graph, before, OP_split, inputs, 2, outputs, count);
  node_set_int(graph, node, "axis", axis);
  finish_node(graph, node);
  return node;
}

/* The constant as a matrix of `outer` rows, each of `inner` bytes for one step along `axis` times the axis' extent. */
static void axis_strides(const struct value *constant, int axis, size_t *out_outer, size_t *out_inner) {
  *out_outer = 1;
  *out_inner = dtype_size(constant->dtype);
  for (int i = 0; i < axis; i++) *out_outer *= (size_t)constant->shape.dim[i];
  for (int i = axis + 1; i < constant->shape.rank; i++) *out_inner *= (size_t)constant->shape.dim[i];
}

struct value *slice_constant(struct graph *graph, struct value *constant, int axis, int64_t start, int64_t end) {
  assert(value_is_constant(constant) && start >= 0 && start < end && end <= constant->shape.dim[axis]);
  if (start == 0 && end == constant->shape.dim[axis]) return constant;
  size_t outer, inner, row = (size_t)constant->shape.dim[axis], kept = (size_t)(end - start);
  axis_strides(constant, axis, &outer, &inner);
  const char *data = (const char *)constant->data + (size_t)start * inner;
  if (outer > 1) {
    char *copy = arena_array(graph->arena, outer, kept * inner);
    for (size_t i = 0; i < outer; i++) memcpy(copy + i * kept * inner, data + i * row * inner, kept * inner);
    data = copy;
  }
  struct shape shape = constant->shape;
  shape.dim[axis] = end - start;
  const char *name = arena_printf(graph->arena, "%s[%lld:%lld]", constant->name, (long long)start, (long long)end);
  return graph_add_constant(graph, name, constant->dtype, &shape, data);
}

struct value *reshape_constant(struct graph *graph, struct value *constant, const struct shape *shape) {
  assert(value_is_constant(constant) && shape_elements(&constant->shape) == shape_elements(shape));
  if (shape_equal(&constant->shape, shape)) return constant;
  return graph_add_constant(graph, constant->name, constant->dtype, shape, constant->data);
}

struct value *slice_weight(struct graph *graph, struct node *before, const struct weight_matrix *matrix, int64_t start,
                           int64_t end, const char *name) {
  struct value *part = slice_constant(graph, matrix->constant, matrix->transposed ? 0 : 1, start, end);
  return matrix->transposed ? build_transpose(graph, before, part, (const int64_t[]){1, 0}, name) : part;
}

bool replace_value(struct graph *graph, struct value *from, struct value *to) {
  if (from == to) return true;
  if (value_is_output(graph, from)) {
    if (to->producer == NULL || value_is_output(graph, to) || to->batched != from->batched) return false;
    graph_swap_names(graph, from, to);
  } else if (to->id > from->id && to->producer != NULL) {
    /* A newer value was built for this place; outside of the graph the place is known by its name. */
    graph_swap_names(graph, from, to);
  }
  graph_replace_uses(graph, from, to);
  return true;
}

static bool node_dead(const struct graph *graph, const struct node *node) {
  for (int i = 0; i < node->output_count; i++)
    if (node->outputs[i] != NULL && graph_count_uses(graph, node->outputs[i]) > 0) return false;
  return true;
}

void sweep_dead(struct graph *graph) {
  for (struct node *node = graph->last, *prev; node != NULL; node = prev) {
    prev = node->prev;
    if (node_dead(graph, node)) graph_remove_node(graph, node);
  }
  graph_sweep_values(graph);
}
