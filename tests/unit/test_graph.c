/* The graph's mutators, its text, and what infer says of fused nodes. */
#include "support/graph_build.h"

#include <criterion/criterion.h>
#include <string.h>

static struct build build;

static void open_graph(void) {
  build_init(&build);
}
static void close_graph(void) {
  build_deinit(&build);
}

TestSuite(graph, .init = open_graph, .fini = close_graph);

/* x (N, 4) @ w + b, Gelu; y is the only output. */
static struct value *add_layer(void) {
  struct value *x = build_input(&build, "x", "float32[N,4]");
  struct value *w = build_random(&build, "w", "float32[4,6]", 1), *b = build_random(&build, "b", "float32[6]", 2);
  struct value *product = BUILD(&build, "product", OP_mat_mul, x, w);
  struct value *sum = BUILD(&build, "sum", OP_add, product, b);
  struct value *y = BUILD(&build, "y", OP_gelu, sum);
  build_output(&build, y);
  return y;
}

static void expect_valid(void) {
  cr_expect_eq(verify_graph(&build.graph, "test"), STATUS_OK, "%s", build.diag.message);
}

Test(graph, names_are_unique) {
  struct shape shape = {.rank = 1, .dim = {2}};
  struct value *a = graph_add_value(&build.graph, "a", DTYPE_F32, &shape, false);
  struct value *again = graph_add_value(&build.graph, "a", DTYPE_F32, &shape, false);
  struct value *third = graph_add_value(&build.graph, "a", DTYPE_F32, &shape, false);
  cr_expect_str_eq(a->name, "a");
  cr_expect_str_eq(again->name, "a.1");
  cr_expect_str_eq(third->name, "a.2");
  cr_expect_eq(graph_find(&build.graph, "a.1"), again);
  cr_expect_null(graph_find(&build.graph, "b"));
}

Test(graph, finds_many_values) {
  struct shape shape = {0};
  for (int i = 0; i < 5000; i++) graph_add_value(&build.graph, arena_printf(&build.arena, "v%d", i), DTYPE_F32, &shape, false);
  for (int i = 0; i < 5000; i++) cr_assert_eq(graph_find(&build.graph, arena_printf(&build.arena, "v%d", i))->id, i);
}

Test(graph, counts_uses) {
  struct value *y = add_layer();
  struct value *x = graph_find(&build.graph, "x");
  cr_expect_eq(graph_count_uses(&build.graph, x), 1);
  cr_expect_eq(graph_count_uses(&build.graph, y), 1);
  cr_expect_null(graph_single_user(&build.graph, y));
  cr_expect_eq(graph_single_user(&build.graph, x), graph_find(&build.graph, "product")->producer);
  BUILD(&build, "double", OP_add, x, x);
  cr_expect_eq(graph_count_uses(&build.graph, x), 3);
  cr_expect_null(graph_single_user(&build.graph, x));
}

Test(graph, replaces_removes_and_moves) {
  add_layer();
  struct value *sum = graph_find(&build.graph, "sum"), *y = graph_find(&build.graph, "y");
  struct node *gelu = y->producer;
  graph_replace_uses(&build.graph, y, sum);
  cr_expect_eq(build.graph.outputs[0], sum);
  graph_remove_node(&build.graph, gelu);
  cr_expect_null(y->producer);
  cr_expect_eq(build.graph.last, sum->producer);
  expect_valid();
  struct value *late = BUILD(&build, "late", OP_relu, graph_find(&build.graph, "x"));
  graph_move_node(&build.graph, late->producer, build.graph.first);
  cr_expect_eq(build.graph.first, late->producer);
  cr_expect_eq(build.graph.last, sum->producer);
  graph_move_node(&build.graph, late->producer, NULL);
  cr_expect_eq(build.graph.last, late->producer);
  expect_valid();
}

Test(graph, inserts_before_a_node) {
  struct value *y = add_layer(), *sum = graph_find(&build.graph, "sum");
  struct shape shape = {0};
  struct value *extra = graph_add_value(&build.graph, "extra", DTYPE_F32, &shape, false);
  struct node *node = graph_add_node(&build.graph, y->producer, OP_relu, &sum, 1, &extra, 1);
  cr_expect_eq(infer_node(&build.graph, node), STATUS_OK);
  node_set_input(y->producer, 0, extra);
  cr_expect_eq(node->prev, sum->producer);
  cr_expect_eq(node->next, y->producer);
  expect_valid();
}

Test(graph, attributes_are_set_and_defaulted) {
  struct value *x = build_input(&build, "x", "float32[N,4]");
  struct node *softmax = build_append(&build, "s", OP_softmax, &x, 1);
  cr_expect_eq(node_int(softmax, "axis"), -1);
  node_set_int(&build.graph, softmax, "axis", 1);
  cr_expect_eq(node_int(softmax, "axis"), 1);
  node_set_int(&build.graph, softmax, "axis", 0);
  cr_expect_eq(node_int(softmax, "axis"), 0);
  cr_expect_eq(softmax->attr_count, 1);
  struct node *gelu = build_append(&build, "g", OP_gelu, &x, 1);
  cr_expect_str_eq(node_string(gelu, "approximate"), "none");
  cr_expect_null(node_attr(gelu, "approximate"));
}

static void fuse_layer(void) {
  struct node *host = graph_find(&build.graph, "product")->producer;
  struct node *add = graph_find(&build.graph, "sum")->producer, *gelu = graph_find(&build.graph, "y")->producer;
  graph_fuse_epilogue(&build.graph, host, add, 0);
  graph_fuse_epilogue(&build.graph, host, gelu, 0);
}

static const char LAYER[] = "graph test\n"
                            "input %x:f32[N,4]\n"
                            "constant %w:f32[4,6]\n"
                            "constant %b:f32[6]\n"
                            "%product:f32[N,6] = MatMul(%x, %w)\n"
                            "%sum:f32[N,6] = Add(%product, %b)\n"
                            "%y:f32[N,6] = Gelu(%sum)\n"
                            "output %y\n";

static const char FUSED_LAYER[] = "graph test\n"
                                  "input %x:f32[N,4]\n"
                                  "constant %w:f32[4,6]\n"
                                  "constant %b:f32[6]\n"
                                  "%y:f32[N,6] = MatMul(%x, %w)\n"
                                  "  epilogue Add(_, %b)\n"
                                  "  epilogue Gelu(_)\n"
                                  "output %y\n";

Test(graph, fuses_epilogues) {
  add_layer();
  int64_t flops = 0;
  for (struct node *node = build.graph.first; node != NULL; node = node->next) flops += node_flops(node);
  cr_expect_str_eq(build_text(&build), LAYER);
  fuse_layer();
  cr_expect_str_eq(build_text(&build), FUSED_LAYER);
  expect_valid();
  cr_expect_eq(node_flops(build.graph.first), flops);
  cr_expect_eq(flops, 2 * 4 * 6 + 6 + 6);
  cr_expect_eq(graph_count_uses(&build.graph, graph_find(&build.graph, "b")), 1);
  cr_expect_eq(graph_single_user(&build.graph, graph_find(&build.graph, "b")), build.graph.first);
}

Test(graph, fuses_prologues_in_order) {
  struct value *x = build_input(&build, "x", "float32[N,5,4]");
  struct value *s = build_random(&build, "s", "float32[4]", 1), *w = build_random(&build, "w", "float32[4,2]", 2);
  struct value *norm = BUILD(&build, "norm", OP_layer_normalization, x, s);
  struct value *scaled = BUILD(&build, "scaled", OP_mul, s, norm);
  struct value *y = BUILD(&build, "y", OP_mat_mul, scaled, w);
  build_output(&build, y);
  graph_fuse_prologue(&build.graph, y->producer, scaled->producer, 1);
  graph_fuse_prologue(&build.graph, y->producer, norm->producer, 0);
  expect_valid();
  cr_expect_str_eq(build_text(&build), "graph test\n"
                                       "input %x:f32[N,5,4]\n"
                                       "constant %s:f32[4]\n"
                                       "constant %w:f32[4,2]\n"
                                       "%y:f32[N,5,2] = MatMul(%x, %w)\n"
                                       "  prologue LayerNormalization(_, %s)\n"
                                       "  prologue Mul(%s, _)\n"
                                       "output %y\n");
}

Test(graph, copy_is_the_same_and_apart) {
  add_layer();
  fuse_layer();
  struct arena arena;
  struct graph copy;
  arena_init(&arena);
  graph_copy(&build.graph, &arena, &copy);
  cr_expect_eq(verify_graph(&copy, "test"), STATUS_OK, "%s", build.diag.message);
  struct build other = {.arena = build.arena, .graph = copy};
  cr_expect_str_eq(build_text(&other), FUSED_LAYER);
  cr_expect_neq(graph_find(&copy, "y"), graph_find(&build.graph, "y"));
  cr_expect_eq(graph_find(&copy, "w")->data, graph_find(&build.graph, "w")->data);
  node_set_input(copy.first, 1, graph_find(&copy, "b"));
  expect_valid();
  build.arena = other.arena;
  arena_deinit(&arena);
}

Test(graph, text_of_attributes_and_odd_names) {
  struct value *x = build_input(&build, "a name, \"quoted\"\n", "float32[N*3,4]");
  struct value *shape = BUILD_INTS(&build, "shape", -1, 3, 4);
  struct node *softmax = build_append(&build, "s", OP_softmax, &x, 1);
  node_set_int(&build.graph, softmax, "axis", 1);
  struct value *s = build_infer(&build, softmax);
  struct value *r = BUILD(&build, "r", OP_reshape, s, shape);
  struct node *norm =
      build_append(&build, "n", OP_layer_normalization, BUILD_INPUTS(r, build_random(&build, "g", "float32[4]", 1)));
  node_set_float(&build.graph, norm, "epsilon", 1e-6);
  node_set_int(&build.graph, norm, "axis", -1);
  struct node *transpose = build_append(&build, "t", OP_transpose, BUILD_INPUTS(build_infer(&build, norm)));
  node_set_ints(&build.graph, transpose, "perm", (int64_t[]){0, 2, 1}, 3);
  build_output(&build, build_infer(&build, transpose));
  cr_expect_str_eq(build_text(&build), "graph test\n"
                                       "input %\"a name, \\\"quoted\\\"\\x0a\":f32[N*3,4]\n"
                                       "constant %shape:i64[3] = {-1, 3, 4}\n"
                                       "constant %g:f32[4]\n"
                                       "%s:f32[N*3,4] = Softmax(%\"a name, \\\"quoted\\\"\\x0a\") {axis=1}\n"
                                       "%r:f32[N,3,4] = Reshape(%s, %shape)\n"
                                       "%n:f32[N,3,4] = LayerNormalization(%r, %g) {epsilon=1e-06}\n"
                                       "%t:f32[N,4,3] = Transpose(%n) {perm=[0,2,1]}\n"
                                       "output %t\n");
}

Test(graph, flops_of_products) {
  struct value *x = build_input(&build, "x", "float32[N,3,8,8]"), *w = build_random(&build, "w", "float32[4,3,2,2]", 1);
  struct node *conv = build_append(&build, "c", OP_conv, BUILD_INPUTS(x, w));
  node_set_ints(&build.graph, conv, "strides", (int64_t[]){2, 2}, 2);
  build_infer(&build, conv);
  cr_expect_eq(node_flops(conv), 2 * 4 * 16 * 3 * 2 * 2);
  struct value *q = build_input(&build, "q", "float32[N,5,6]");
  struct node *attention = build_append(&build, "a", OP_attention, BUILD_INPUTS(q, q, q));
  node_set_int(&build.graph, attention, "q_num_heads", 2);
  build_infer(&build, attention);
  cr_expect_eq(node_flops(attention), 2 * 2 * 5 * 5 * (3 + 3));
}
