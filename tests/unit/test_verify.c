/* The verifier: each invariant of a graph broken once. */
#include "support/graph_build.h"

#include <criterion/criterion.h>
#include <string.h>

static struct build build;
static struct value *x, *w, *b, *product, *sum, *y;

/* x (N, 4) @ w + b, Gelu. */
static void open_graph(void) {
  build_init(&build);
  x = build_input(&build, "x", "float32[N,4]");
  w = build_random(&build, "w", "float32[4,6]", 1);
  b = build_random(&build, "b", "float32[6]", 2);
  product = BUILD(&build, "product", OP_mat_mul, x, w);
  sum = BUILD(&build, "sum", OP_add, product, b);
  y = BUILD(&build, "y", OP_gelu, sum);
  build_output(&build, y);
}

static void close_graph(void) {
  build_deinit(&build);
}

TestSuite(verify, .init = open_graph, .fini = close_graph);

static void expect_fault(const char *message) {
  cr_expect_eq(verify_graph(&build.graph, "fuse"), STATUS_INPUT);
  cr_expect_str_eq(build.diag.message, message);
}

Test(verify, accepts) {
  cr_expect_eq(verify_graph(&build.graph, "fuse"), STATUS_OK, "%s", build.diag.message);
  graph_fuse_epilogue(&build.graph, product->producer, sum->producer, 0);
  cr_expect_eq(verify_graph(&build.graph, "fuse"), STATUS_OK, "%s", build.diag.message);
}

Test(verify, order) {
  graph_move_node(&build.graph, y->producer, build.graph.first);
  expect_fault("test.json: after fuse: node 'y' (Gelu) reads 'sum' before it is computed");
}

Test(verify, removed_producer) {
  graph_remove_node(&build.graph, sum->producer);
  expect_fault("test.json: after fuse: node 'y' (Gelu) reads 'sum' before it is computed");
}

Test(verify, uncomputed_output) {
  graph_remove_node(&build.graph, y->producer);
  expect_fault("test.json: after fuse: output 'y' is not computed");
}

Test(verify, fused_operand_order) {
  struct value *late = BUILD(&build, "late", OP_relu, x);
  node_set_input(sum->producer, 1, late);
  graph_fuse_epilogue(&build.graph, product->producer, sum->producer, 0);
  expect_fault("test.json: after fuse: node 'sum' (MatMul) reads 'late' before it is computed");
}

Test(verify, fused_without_running_value) {
  struct node *add = sum->producer;
  graph_fuse_epilogue(&build.graph, product->producer, add, 0);
  node_set_input(add, 0, b);
  expect_fault("test.json: after fuse: node 'sum' (MatMul): fused Add does not read the running value");
}

Test(verify, fused_shape) {
  struct node *add = sum->producer;
  graph_fuse_epilogue(&build.graph, product->producer, add, 0);
  node_set_input(add, 1, build_random(&build, "c", "float32[5]", 3));
  expect_fault("test.json: node 'sum' (Add): 'c' float32[5] does not broadcast: axis 1 has extent 5, expected 6 or 1");
}

Test(verify, shape) {
  sum->shape.dim[1] = 7;
  expect_fault("test.json: after fuse: node 'sum' (Add): output is 'sum' float32[N,7], expected 'sum' float32[N,6]");
}

Test(verify, dtype) {
  y->dtype = DTYPE_F16;
  expect_fault("test.json: after fuse: node 'y' (Gelu): output is 'y' float16[N,6], expected 'y' float32[N,6]");
}

Test(verify, batched) {
  product->batched = false;
  expect_fault(
      "test.json: after fuse: node 'product' (MatMul): output is 'product' float32[1,6], expected 'product' float32[N,6]");
}

Test(verify, producer) {
  y->producer = sum->producer;
  expect_fault("test.json: after fuse: node 'y' (Gelu) is not the producer of its output 'y'");
}

Test(verify, constant_with_producer) {
  sum->data = b->data;
  expect_fault("test.json: after fuse: constant 'sum' has a producer");
}

Test(verify, computed_input) {
  build.graph.inputs[build.graph.input_count++] = sum;
  expect_fault("test.json: after fuse: input 'sum' is also computed");
}

Test(verify, repeated_input) {
  build.graph.inputs[build.graph.input_count++] = x;
  expect_fault("test.json: after fuse: input 'x' is listed twice");
}

Test(verify, links) {
  sum->producer->prev = NULL;
  expect_fault("test.json: after fuse: node 'product' (MatMul) is not linked to its neighbours");
}

Test(verify, last_link) {
  build.graph.last = sum->producer;
  expect_fault("test.json: after fuse: node 'y' (Gelu) is not linked to its neighbours");
}

Test(verify, ids) {
  product->id = 0;
  expect_fault("test.json: after fuse: value 'product' has id 0, expected 3 of 6");
}

Test(verify, repeated_name) {
  product->name = "x";
  expect_fault("test.json: after fuse: value 'x' is not the only one of its name");
}

Test(verify, foreign_value) {
  struct value stray = *b;
  node_set_input(sum->producer, 1, &stray);
  expect_fault("test.json: after fuse: node 'sum' (Add) reads 'b', which is not a value of the graph");
}

Test(verify, value_count) {
  build.graph.value_count++;
  expect_fault("test.json: after fuse: 6 values, expected 7");
}

Test(verify, input_shape) {
  x->shape.dim[1] = 0;
  expect_fault("test.json: after fuse: input 'x' has no valid shape");
}

Test(verify, attribute) {
  node_set_string(&build.graph, y->producer, "approximate", "fast");
  expect_fault("test.json: node 'y' (Gelu): attribute 'approximate' is 'fast', expected 'none' or 'tanh'");
}

Test(verify, no_outputs) {
  build.graph.output_count = 0;
  expect_fault("test.json: after fuse: 1 inputs and 0 outputs, expected 0 to 8 and 1 to 8");
}
