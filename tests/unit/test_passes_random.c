/* Random graphs of tokens: whatever is joined, cut, shared or left unused, passes change no result. */
#include "interp/interp.h"
#include "ir/ops.h"
#include "passes/passes.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 2, VALUES_MAX = 64, GRAPHS = 400 };

struct maker {
  struct graph *graph;
  uint64_t state;
  struct value *values[VALUES_MAX]; /* (N, tokens, columns) */
  int count;
};

static int draw(struct maker *m, int below) {
  m->state = m->state * 6364136223846793005u + 1442695040888963407u;
  return (int)((m->state >> 33) % (uint64_t)below);
}

static struct value *pick(struct maker *m) {
  /* Half of the time something recent, so that chains form. */
  return m->values[draw(m, 2) == 0 ? m->count - 1 - draw(m, m->count < 3 ? m->count : 3) : draw(m, m->count)];
}

static struct value *constant(struct maker *m, struct shape shape) {
  int64_t count = shape_elements(&shape);
  float *data = arena_array(m->graph->arena, (size_t)count, sizeof *data);
  for (int64_t i = 0; i < count; i++) data[i] = (float)(draw(m, 2001) - 1000) / 1000;
  return graph_add_constant(m->graph, "c", DTYPE_F32, &shape, data);
}

static struct value *integers(struct maker *m, int64_t i, int rank) {
  int64_t *data = arena_array(m->graph->arena, 1, sizeof *data);
  *data = i;
  return graph_add_constant(m->graph, "i", DTYPE_I64, &(struct shape){rank, {1}}, data);
}

static struct node *open_node(struct maker *m, enum op op, struct value *const *inputs, int count, int output_count) {
  struct value *outputs[4];
  for (int i = 0; i < output_count; i++) outputs[i] = graph_add_value(m->graph, "v", DTYPE_F32, NULL, false);
  return graph_add_node(m->graph, NULL, op, inputs, count, outputs, output_count);
}

static void close_node(struct maker *m, struct node *node) {
  cr_assert(eq(int, infer_node(m->graph, node), STATUS_OK), "%s", m->graph->diag->message);
  for (int i = 0; i < node->output_count; i++)
    if (node->outputs[i]->shape.rank == 3 && m->count < VALUES_MAX) m->values[m->count++] = node->outputs[i];
}

static struct value *finish(struct maker *m, struct node *node) {
  close_node(m, node);
  return node->outputs[0];
}

static void add_unary(struct maker *m) {
  static const enum op OPS[] = {OP_relu, OP_tanh, OP_sigmoid, OP_gelu, OP_neg, OP_identity, OP_erf};
  struct value *x = pick(m);
  close_node(m, open_node(m, OPS[draw(m, 7)], &x, 1, 1));
}

static void add_with_constant(struct maker *m) {
  static const enum op OPS[] = {OP_add, OP_sub, OP_mul, OP_add};
  struct value *x = pick(m);
  int64_t tokens = x->shape.dim[1], columns = x->shape.dim[2];
  const struct shape shapes[] = {
      {0, {0}}, {1, {columns}}, {2, {tokens, columns}}, {2, {tokens, 1}}, {3, {1, tokens, columns}}, {3, {1, 1, columns}}};
  struct value *c = constant(m, shapes[draw(m, 6)]);
  bool swap = draw(m, 2) == 0;
  close_node(m, open_node(m, OPS[draw(m, 4)], (struct value *[]){swap ? c : x, swap ? x : c}, 2, 1));
}

/* Another value of the same shape, or with one token, or the same. */
static void add_pair(struct maker *m) {
  static const enum op OPS[] = {OP_add, OP_mul, OP_sub};
  struct value *x = pick(m);
  for (int tries = 0; tries < 20; tries++) {
    struct value *y = pick(m);
    bool fits = y->shape.dim[2] == x->shape.dim[2] && (y->shape.dim[1] == x->shape.dim[1] || y->shape.dim[1] == 1);
    if (!fits) continue;
    close_node(m, open_node(m, OPS[draw(m, 3)], (struct value *[]){x, y}, 2, 1));
    return;
  }
}

static struct value *project(struct maker *m, struct value *x, int64_t columns) {
  int64_t rows = x->shape.dim[2];
  struct value *b;
  if (draw(m, 2) == 0) {
    b = constant(m, (struct shape){2, {rows, columns}});
  } else {
    struct value *c = constant(m, (struct shape){2, {columns, rows}});
    struct node *transpose = open_node(m, OP_transpose, &c, 1, 1);
    node_set_ints(m->graph, transpose, "perm", (const int64_t[]){1, 0}, 2);
    b = finish(m, transpose);
  }
  x = finish(m, open_node(m, OP_mat_mul, (struct value *[]){x, b}, 2, 1));
  if (draw(m, 3) == 0) return x;
  return finish(m, open_node(m, OP_add, (struct value *[]){x, constant(m, (struct shape){1, {columns}})}, 2, 1));
}

static void add_projection(struct maker *m) {
  project(m, pick(m), 2 * (1 + draw(m, 4)));
}

static void add_norm(struct maker *m) {
  struct value *x = pick(m);
  struct shape shape = {1, {x->shape.dim[2]}};
  if (draw(m, 4) == 0) {
    close_node(m, open_node(m, OP_softmax, &x, 1, 1));
    return;
  }
  struct node *norm = open_node(m, OP_layer_normalization, (struct value *[]){x, constant(m, shape), constant(m, shape)}, 3, 1);
  node_set_float(m->graph, norm, "epsilon", 0.1);
  close_node(m, norm);
}

static void add_attention(struct maker *m) {
  struct value *x = pick(m), *y = draw(m, 3) == 0 ? pick(m) : x, *parts[3];
  if (draw(m, 2) == 0) {
    struct value *joint = project(m, x, 12);
    struct node *split = open_node(m, OP_split, &joint, 1, 3);
    node_set_int(m->graph, split, "axis", -1);
    close_node(m, split);
    memcpy(parts, split->outputs, sizeof parts);
  } else {
    for (int i = 0; i < 3; i++) parts[i] = project(m, i == 0 ? x : y, 4);
  }
  struct node *attention = open_node(m, OP_attention, parts, 3, 1);
  node_set_int(m->graph, attention, "q_num_heads", 2);
  node_set_int(m->graph, attention, "kv_num_heads", 2);
  close_node(m, attention);
}

static void add_join(struct maker *m) {
  struct value *parts[3];
  int axis = 1 + draw(m, 2), count = 0;
  parts[count++] = pick(m);
  for (int tries = 0; tries < 20 && count < 3; tries++) {
    struct value *y = pick(m);
    if (y->shape.dim[3 - axis] == parts[0]->shape.dim[3 - axis] && y->shape.dim[axis] < 8) parts[count++] = y;
  }
  if (axis == 1 && count < 3 && draw(m, 2) == 0)
    parts[count++] = constant(m, (struct shape){3, {1, 1 + draw(m, 2), parts[0]->shape.dim[2]}});
  struct node *concat = open_node(m, OP_concat, parts, count, 1);
  node_set_int(m->graph, concat, "axis", axis);
  close_node(m, concat);
}

static void add_cut(struct maker *m) {
  struct value *x = pick(m);
  int axis = 1 + draw(m, 2), kind = draw(m, 3);
  int dim = (int)x->shape.dim[axis];
  if (kind == 0) {
    int start = draw(m, dim), end = start + 1 + draw(m, dim - start);
    close_node(m, open_node(m, OP_slice,
                            (struct value *[]){x, integers(m, start, 1), integers(m, end, 1), integers(m, axis, 1)}, 4, 1));
    return;
  }
  struct node *node;
  if (kind == 1 || dim % 2 != 0)
    node = open_node(m, OP_gather, (struct value *[]){x, integers(m, draw(m, 2 * dim) - dim, 1)}, 2, 1);
  else
    node = open_node(m, OP_split, &x, 1, 2);
  node_set_int(m->graph, node, "axis", axis);
  close_node(m, node);
}

static void add_turn(struct maker *m) {
  struct value *x = pick(m);
  struct node *node = open_node(m, OP_transpose, &x, 1, 1);
  node_set_ints(m->graph, node, "perm", (const int64_t[]){0, 2, 1}, 3);
  close_node(m, node);
}

static void make_random_graph(struct graph *graph, struct arena *arena, struct diag *diag, int seed) {
  static void (*const ADD[])(struct maker *m) = {add_unary, add_with_constant, add_pair, add_projection,
                                                 add_norm,  add_attention,     add_join, add_cut,
                                                 add_cut,   add_with_constant, add_turn};
  struct maker maker = {.graph = graph, .state = (uint64_t)seed * 977 + 5}, *m = &maker;
  graph_init(graph, arena, diag, "random", "random.json");
  struct value *x = graph_add_value(graph, "x", DTYPE_F32, &(struct shape){3, {1, 2 + draw(m, 6), 2 + 2 * draw(m, 3)}}, true);
  graph->inputs[graph->input_count++] = m->values[m->count++] = x;
  int steps = 3 + draw(m, 14);
  for (int i = 0; i < steps && m->count + 12 < VALUES_MAX; i++) ADD[draw(m, 11)](m);
  int outputs = 1 + draw(m, 3);
  for (int i = 0; i < outputs; i++) {
    struct value *y = pick(m);
    bool taken = y->producer == NULL || !y->batched;
    for (int j = 0; j < graph->output_count; j++) taken = taken || graph->outputs[j] == y;
    if (!taken) graph->outputs[graph->output_count++] = y;
  }
  if (graph->output_count == 0) {
    struct node *last = open_node(m, OP_relu, &x, 1, 1);
    close_node(m, last);
    graph->outputs[graph->output_count++] = last->outputs[0];
  }
  cr_assert(eq(int, verify_graph(graph, "make_random_graph"), STATUS_OK), "%s", diag->message);
}

static float *interpret(const struct graph *graph, const float *input, size_t *out_count, struct diag *diag) {
  void *outputs[GRAPH_IO_MAX];
  size_t total = 0;
  for (int i = 0; i < graph->output_count; i++) total += (size_t)shape_elements(&graph->outputs[i]->shape) * BATCH;
  float *memory = calloc(total, sizeof *memory), *at = memory;
  for (int i = 0; i < graph->output_count; i++) {
    outputs[i] = at;
    at += (size_t)shape_elements(&graph->outputs[i]->shape) * BATCH;
  }
  cr_assert(eq(int, interp_run(graph, BATCH, (const void *const[]){input}, outputs, 1, NULL, NULL, diag), STATUS_OK), "%s",
            diag->message);
  *out_count = total;
  return memory;
}

static void compare(const float *actual, const float *expected, size_t count, bool exact, int seed) {
  double scale = 1, difference = 0;
  for (size_t i = 0; i < count; i++) {
    scale = fmax(scale, fabs((double)expected[i]));
    difference = fmax(difference, fabs((double)actual[i] - (double)expected[i]));
    /* 0 and -0 differ as little as an Add of zeros for a bias that was missing. */
    if (exact) cr_assert(actual[i] == expected[i], "graph %d, element %zu", seed, i);
  }
  cr_assert(le(dbl, difference, 1e-5 * scale), "graph %d", seed);
}

/* The passes with a bit (by row) in `enabled`. */
static void check_graph(int seed, uint32_t enabled, bool exact) {
  struct arena arena;
  struct diag diag = {.status = STATUS_OK};
  struct graph graph, before;
  arena_init(&arena);
  make_random_graph(&graph, &arena, &diag, seed);
  graph_copy(&graph, &arena, &before);
  float input[BATCH * 64];
  for (int i = 0; i < BATCH * 64; i++) input[i] = sinf((float)(i * i + seed));
  size_t expected_count, actual_count;
  float *expected = interpret(&before, input, &expected_count, &diag);
  const char *disabled[32];
  int count = 0;
  for (int i = 0; pass_at(i) != NULL; i++)
    if ((enabled >> i & 1u) == 0) disabled[count++] = pass_at(i)->name;
  enum status status = run_passes(&graph, &(struct pass_options){.disabled = disabled, .disabled_count = count});
  cr_assert(eq(int, status, STATUS_OK), "graph %d: %s", seed, diag.message);
  float *actual = interpret(&graph, input, &actual_count, &diag);
  cr_assert(eq(sz, actual_count, expected_count), "graph %d", seed);
  compare(actual, expected, expected_count, exact, seed);
  free(actual);
  free(expected);
  arena_deinit(&arena);
}

Test(passes_random, all_on) {
  for (int seed = 0; seed < GRAPHS; seed++) check_graph(seed, ~0u, false);
}

Test(passes_random, some_on) {
  uint32_t state = 1;
  for (int seed = 0; seed < GRAPHS; seed++) {
    state = state * 1664525u + 1013904223u;
    check_graph(seed, state >> 12, false);
  }
}

Test(passes_random, same_bits) {
  static const char *const EXACT[] = {"fold_constants", "eliminate_dead",    "split_projections", "hoist_position",
                                      "prune_rows",     "merge_projections", "fuse_epilogue",     "fuse_layer_norm"};
  uint32_t enabled = 0;
  for (int i = 0; pass_at(i) != NULL; i++)
    for (size_t j = 0; j < sizeof EXACT / sizeof EXACT[0]; j++)
      if (strcmp(pass_at(i)->name, EXACT[j]) == 0) enabled |= 1u << i;
  for (int seed = 0; seed < GRAPHS; seed++) check_graph(seed, enabled, true);
}
