/* ONNX files made byte by byte: what is read, and one clear line for each thing that is wrong. Models of real exporters are
 * compared with PyTorch in tests/reference/onnx_import.py. */
#include "base/npy.h"
#include "frontend.h"
#include "interp/interp.h"
#include "ir/ops.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/test-onnx-XXXXXX";
static char path[64], message[1200];
static struct arena arena;
static struct weights weights;
static struct graph graph;
static struct diag diag;

static void init(void) {
  cr_assert(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/m.onnx", folder);
  arena_init(&arena);
}

static void deinit(void) {
  char command[64];
  weights_close(&weights);
  arena_deinit(&arena);
  snprintf(command, sizeof command, "rm -rf %s", folder);
  cr_assert(system(command) == 0);
}

TestSuite(onnx, .init = init, .fini = deinit);

/* ---- protobuf's wire format, written without the schema under test */

struct bytes {
  uint8_t data[4096];
  size_t size;
};

static void put(struct bytes *to, const void *data, size_t size) {
  cr_assert(to->size + size <= sizeof to->data);
  memcpy(to->data + to->size, data, size);
  to->size += size;
}

static void put_varint(struct bytes *to, uint64_t number) {
  do {
    uint8_t byte = (uint8_t)((number & 127) | (number > 127 ? 128 : 0));
    put(to, &byte, 1);
    number >>= 7;
  } while (number);
}

static void put_int(struct bytes *to, int field, int64_t number) {
  put_varint(to, (uint64_t)field << 3);
  put_varint(to, (uint64_t)number);
}

static void put_bytes(struct bytes *to, int field, const void *data, size_t size) {
  put_varint(to, (uint64_t)field << 3 | 2);
  put_varint(to, size);
  put(to, data, size);
}

static void put_text(struct bytes *to, int field, const char *text) {
  put_bytes(to, field, text, strlen(text));
}

static void put_message(struct bytes *to, int field, const struct bytes *message_bytes) {
  put_bytes(to, field, message_bytes->data, message_bytes->size);
}

/* x float[N, 4] or [batch, 4]. */
static struct bytes value_info(const char *name, int64_t batch, int64_t columns) {
  struct bytes info = {0}, type = {0}, tensor = {0}, shape = {0}, dim = {0};
  put_int(&dim, 1, batch);
  put_message(&shape, 1, &dim);
  dim.size = 0;
  put_int(&dim, 1, columns);
  put_message(&shape, 1, &dim);
  put_int(&tensor, 1, 1);
  put_message(&tensor, 2, &shape);
  put_message(&type, 1, &tensor);
  put_text(&info, 1, name);
  put_message(&info, 2, &type);
  return info;
}

static struct bytes node(const char *op, const char *a, const char *b, const char *output) {
  struct bytes made = {0};
  put_text(&made, 1, a);
  if (b) put_text(&made, 1, b);
  put_text(&made, 2, output);
  put_text(&made, 4, op);
  return made;
}

static struct bytes tensor(const char *name, int type, int64_t count) {
  struct bytes made = {0};
  put_int(&made, 1, count);
  put_int(&made, 2, type);
  put_text(&made, 8, name);
  return made;
}

static const float FOUR[] = {0.5F, -1, 2, 8};

static struct bytes raw_weight(void) {
  struct bytes made = tensor("w", 1, 4);
  put_bytes(&made, 9, FOUR, sizeof FOUR);
  return made;
}

/* A graph of x, initialisers and nodes, with the output y. */
struct model {
  struct bytes graph;
  int64_t opset;
};

static struct model model(const struct bytes *weight, const struct bytes *only) {
  struct model made = {.opset = 17};
  struct bytes x = value_info("x", 1, 4), y = {0};
  put_message(&made.graph, 11, &x);
  put_text(&y, 1, "y");
  put_message(&made.graph, 12, &y);
  if (weight) put_message(&made.graph, 5, weight);
  if (only) put_message(&made.graph, 1, only);
  return made;
}

static struct bytes whole(const struct model *m) {
  struct bytes file = {0}, set = {0};
  put_int(&file, 1, 8);
  put_int(&set, 2, m->opset);
  put_message(&file, 8, &set);
  put_message(&file, 7, &m->graph);
  return file;
}

static void write_file(const char *name, const void *data, size_t size) {
  FILE *file = fopen(name, "wb");
  cr_assert(file && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

static enum status import(void) {
  const struct import_options options = {.num_classes = -1};
  diag = (struct diag){0};
  weights_close(&weights);
  return frontend_import(path, &options, &arena, &weights, &graph, &diag);
}

static void import_model(const struct model *m) {
  struct bytes file = whole(m);
  write_file(path, file.data, file.size);
  cr_assert(import() == STATUS_OK, "%s", diag.message);
}

static void rejects(const struct model *m, const char *expected) {
  struct bytes file = whole(m);
  write_file(path, file.data, file.size);
  cr_assert(import() == STATUS_INPUT, "expected '%s'", expected);
  snprintf(message, sizeof message, "%s: %s", path, expected);
  cr_assert_str_eq(diag.message, message);
}

static void rejects_node(const struct bytes *only, const char *expected) {
  struct bytes weight = raw_weight();
  struct model m = model(&weight, only);
  rejects(&m, expected);
}

/* y of one image, (count). */
static void answers(const float *expected, int count) {
  const float x[] = {1, 2, 3, 4};
  cr_assert(graph.output_count == 1 && shape_elements(&graph.outputs[0]->shape) == count);
  const struct node *last = graph.last;
  cr_assert(last && last->input_count == 2 && last->inputs[0] == graph.inputs[0]);
  const void *inputs[] = {x, last->inputs[1]->data};
  float y[16];
  void *outputs[] = {y};
  op_info(last->op)->eval(last, inputs, outputs);
  for (int i = 0; i < count; i++) cr_assert_float_eq(y[i], expected[i], 1e-6, "%d: %g, expected %g", i, y[i], expected[i]);
}

/* ---- what is read */

static const float SUM[] = {1.5F, 1, 5, 12};

Test(onnx, raw_data) {
  struct bytes weight = raw_weight(), add = node("Add", "x", "w", "y");
  struct model m = model(&weight, &add);
  import_model(&m);
  answers(SUM, 4);
  cr_assert(graph.outputs[0]->batched && graph.inputs[0]->batched);
}

Test(onnx, float_data_packed_or_not) {
  for (int packed = 0; packed < 2; packed++) {
    struct bytes weight = tensor("w", 1, 4), add = node("Add", "x", "w", "y");
    if (packed) put_bytes(&weight, 4, FOUR, sizeof FOUR);
    for (int i = 0; i < 4 && !packed; i++) {
      put_varint(&weight, 4 << 3 | 5);
      put(&weight, &FOUR[i], sizeof(float));
    }
    struct model m = model(&weight, &add);
    import_model(&m);
    answers(SUM, 4);
  }
}

Test(onnx, half_precision) {
  static const uint16_t halves[] = {0x3800, 0xbc00, 0x4000, 0x4800};
  struct bytes weight = tensor("w", 10, 4), fields = tensor("w", 10, 4), add = node("Add", "x", "w", "y");
  put_bytes(&weight, 9, halves, sizeof halves);
  struct model m = model(&weight, &add);
  import_model(&m);
  answers(SUM, 4);
  for (int i = 0; i < 4; i++) put_int(&fields, 5, halves[i]);
  m = model(&fields, &add);
  import_model(&m);
  answers(SUM, 4);
}

static struct bytes external(const char *location, const char *offset, const char *length) {
  struct bytes made = tensor("w", 1, 4);
  const char *const pairs[][2] = {{"location", location}, {"offset", offset}, {"length", length}};
  for (int i = 0; i < 3; i++) {
    struct bytes entry = {0};
    if (!pairs[i][1]) continue;
    put_text(&entry, 1, pairs[i][0]);
    put_text(&entry, 2, pairs[i][1]);
    put_message(&made, 13, &entry);
  }
  put_int(&made, 14, 1);
  return made;
}

Test(onnx, external_data) {
  char name[80];
  snprintf(name, sizeof name, "%s/w.bin", folder);
  uint8_t file[6 + sizeof FOUR] = {0};
  memcpy(file + 6, FOUR, sizeof FOUR);
  write_file(name, file, sizeof file);
  struct bytes weight = external("w.bin", "6", "16"), add = node("Add", "x", "w", "y");
  struct model m = model(&weight, &add);
  import_model(&m);
  answers(SUM, 4);
  static const struct {
    const char *location, *offset, *length, *expected;
  } cases[] = {
      {"../w.bin", "0", "16", "tensor 'w': location '../w.bin' is not a file beside the model or below"},
      {"a/../../w.bin", "0", "16", "tensor 'w': location 'a/../../w.bin' is not a file beside the model or below"},
      {"/etc/passwd", "0", "16", "tensor 'w': location '/etc/passwd' is not a file beside the model or below"},
      {"", "0", "16", "tensor 'w': location '' is not a file beside the model or below"},
      {"w.bin", "7", "16", "tensor 'w': bytes 7 to 23 lie past the end of 'w.bin', which has 22"},
      {"w.bin", "18446744073709551615", "16",
       "tensor 'w': bytes 18446744073709551615 to 15 lie past the end of 'w.bin', which has 22"},
      {"w.bin", "0", "2147483647", "tensor 'w': 2147483647 bytes of 'w.bin', expected 16"},
      {"w.bin", "-1", "16", "tensor 'w': offset '-1' is not a number of bytes"},
      {NULL, "0", "16", "tensor 'w' is in another file, but no location is given"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char expected[300];
    weight = external(cases[i].location, cases[i].offset, cases[i].length);
    m = model(&weight, &add);
    snprintf(expected, sizeof expected, "node 'y' (Add): %s", cases[i].expected);
    rejects(&m, expected);
  }
}

Test(onnx, images_leave_axis_0_and_return) {
  static const int64_t perm[] = {1, 0};
  struct bytes there = node("Transpose", "x", NULL, "t"), back = node("Transpose", "t", NULL, "y"), attribute = {0};
  put_text(&attribute, 1, "perm");
  for (int i = 0; i < 2; i++) put_int(&attribute, 8, perm[i]);
  put_int(&attribute, 20, 7);
  put_message(&there, 5, &attribute);
  struct model m = model(NULL, &there);
  put_message(&m.graph, 1, &back);
  import_model(&m);
  cr_assert(graph.node_count == 1 && graph.first->op == OP_identity && graph.outputs[0]->batched);
  back = node("Relu", "t", NULL, "y");
  m = model(NULL, &there);
  put_message(&m.graph, 1, &back);
  rejects(&m, "the images of 'y' lie along axis 1, which is only supported along axis 0");
}

/* What tests/reference/tiny_onnx.py made with PyTorch. */
Test(onnx, exports_answer_as_pytorch_does) {
  static const char *const names[] = {"torchscript", "dynamo"};
  struct npy x, y;
  float got[9];
  cr_assert(npy_open(VITC_SOURCE_DIR "/tests/golden/tiny_onnx.x.npy", &x, &diag) == STATUS_OK, "%s", diag.message);
  cr_assert(npy_open(VITC_SOURCE_DIR "/tests/golden/tiny_onnx.y.npy", &y, &diag) == STATUS_OK, "%s", diag.message);
  cr_assert(x.dim[0] == 3 && y.elements == 9 && y.dtype == NPY_F32);
  for (int i = 0; i < 2; i++) {
    const struct import_options options = {.num_classes = -1};
    snprintf(message, sizeof message, VITC_SOURCE_DIR "/tests/golden/tiny_onnx.%s.onnx", names[i]);
    weights_close(&weights);
    cr_assert(frontend_import(message, &options, &arena, &weights, &graph, &diag) == STATUS_OK, "%s", diag.message);
    cr_assert(interp_run(&graph, 3, &x.data, (void *[]){got}, 1, NULL, NULL, &diag) == STATUS_OK, "%s", diag.message);
    for (int j = 0; j < 9; j++) cr_assert_float_eq(got[j], ((const float *)y.data)[j], 2e-5, "%s: y[%d]", names[i], j);
  }
  npy_close(&x);
  npy_close(&y);
}

/* ---- what is refused */

Test(onnx, nodes) {
  struct bytes unknown = node("Einsum", "x", "w", "y"), undefined = node("Add", "x", "v", "y"),
               self = node("Add", "x", "y", "y");
  struct bytes foreign = node("Add", "x", "w", "y"), attribute = {0}, more = node("Add", "x", "w", "y"),
               few = node("Add", "x", NULL, "y");
  rejects_node(&unknown, "node 'y' (Einsum): the op is not supported");
  rejects_node(&undefined, "node 'y' (Add): input 1 'v' is made by no node");
  rejects_node(&self, "node 'y' (Add): input 1 'y' is used before node 0 makes it");
  rejects_node(&few, "node 'y' (Add): input 1 is missing");
  put_text(&foreign, 7, "com.example");
  put_text(&foreign, 3, "name");
  rejects_node(&foreign, "node 'name' (Add): the op is of the domain 'com.example', only ONNX's own ops are supported");
  put_text(&attribute, 1, "axis");
  put_message(&more, 5, &attribute);
  rejects_node(&more, "node 'y' (Add): attribute 'axis' is not supported");
  struct bytes bad = node("Add", "x", "w", "y\xff");
  rejects_node(&bad, "node 'y\xff' (Add): the name 'y\xff' is not UTF-8 text");
}

Test(onnx, graphs) {
  struct bytes weight = raw_weight(), add = node("Add", "x", "w", "y"), other = node("Mul", "z", "w", "y");
  struct model m = model(&weight, &add);
  put_message(&m.graph, 1, &add);
  rejects(&m, "node 'y' (Add): 'y' is defined twice");
  m = model(&weight, &other);
  struct bytes late = node("Relu", "y", NULL, "z");
  put_message(&m.graph, 1, &late);
  rejects(&m, "node 'y' (Mul): input 0 'z' is used before node 1 makes it");
  m = model(&weight, &add);
  m.opset = 12;
  rejects(&m, "opset 12, expected 13 to 23");
  m = model(&weight, NULL);
  rejects(&m, "output 'y' is made by no node");
  m = model(&weight, &add);
  put_message(&m.graph, 5, &weight);
  rejects(&m, "'w' is defined twice");
  struct bytes fixed = value_info("b", 4, 4), open = value_info("b", 1, 0), huge = value_info("b", 1, INT64_MAX);
  m = model(&weight, &add);
  put_message(&m.graph, 11, &fixed);
  rejects(&m, "input 'b' is fixed to 4 images: export it with one, or with a dynamic batch");
  m = model(&weight, &add);
  put_message(&m.graph, 11, &open);
  rejects(&m, "input 'b' leaves axis 1 open");
  m = model(&weight, &add);
  put_message(&m.graph, 11, &huge);
  rejects(&m, "input 'b' has more than 2147483647 elements");
}

Test(onnx, tensors) {
  struct bytes add = node("Add", "x", "w", "y");
  struct bytes lies = tensor("w", 1, (int64_t)1 << 29), negative = tensor("w", 1, -4), none = tensor("w", 1, 4);
  struct bytes type = tensor("w", 14, 4), nan = tensor("w", 1, 4);
  static const float not_numbers[] = {1, NAN, 0, 0};
  put_bytes(&lies, 9, FOUR, sizeof FOUR);
  put_bytes(&negative, 9, FOUR, sizeof FOUR);
  put_bytes(&type, 9, FOUR, sizeof FOUR);
  put_bytes(&nan, 9, not_numbers, sizeof not_numbers);
  struct model m = model(&lies, &add);
  rejects(&m, "node 'y' (Add): tensor 'w' has 16 bytes, its shape and data type say 2147483648");
  m = model(&negative, &add);
  rejects(&m, "node 'y' (Add): tensor 'w': dimension 0 is -4");
  m = model(&none, &add);
  rejects(&m, "node 'y' (Add): tensor 'w' has 0 elements, its shape says 4");
  m = model(&type, &add);
  rejects(&m, "node 'y' (Add): tensor 'w': data type 14 is not supported");
  m = model(&nan, &add);
  struct bytes file = whole(&m);
  write_file(path, file.data, file.size);
  cr_assert(import() == STATUS_INPUT && strstr(diag.message, "\"w\"") != NULL, "%s", diag.message);
}

Test(onnx, computed_constants_have_a_limit) {
  struct bytes shape = {0}, fill = node("ConstantOfShape", "w", NULL, "f"), add = node("Add", "x", "f", "y");
  static const int64_t dims[] = {1 << 14, 1 << 14};
  shape = tensor("w", 7, 2);
  put_bytes(&shape, 9, dims, sizeof dims);
  struct model m = model(&shape, &fill);
  put_message(&m.graph, 1, &add);
  rejects(&m, "node 'f' (ConstantOfShape): the constants that the nodes compute are too large");
}

/* 32 MiB of empty nodes, which are 100 times as large in memory. */
Test(onnx, decoding_has_a_limit) {
  enum { COUNT = 16 << 20 };
  struct bytes head = {0};
  uint8_t *file = malloc(16 + 2 * (size_t)COUNT);
  cr_assert(file);
  put_varint(&head, 7 << 3 | 2);
  put_varint(&head, 2 * COUNT);
  memcpy(file, head.data, head.size);
  for (size_t i = 0; i < COUNT; i++) memcpy(file + head.size + 2 * i, "\x0a\x00", 2);
  write_file(path, file, head.size + 2 * COUNT);
  free(file);
  cr_assert(import() == STATUS_INPUT);
  snprintf(message, sizeof message, "%s: takes more than 48 MiB beyond its size to decode", path);
  cr_assert_str_eq(diag.message, message);
}

/* Graphs in attributes of nodes of graphs: skipped, however deep, since the schema has none. */
Test(onnx, nested_graphs_are_skipped) {
  struct bytes inner = {0}, weight = raw_weight(), add = node("Add", "x", "w", "y");
  for (int i = 0; i < 200; i++) {
    struct bytes around = {0};
    put_message(&around, i % 3 == 0 ? 6 : i % 3 == 1 ? 5 : 1, &inner);
    inner = around;
  }
  struct model m = model(&weight, &add);
  put_message(&m.graph, 1, &add);
  struct bytes outer = node("If", "x", NULL, "z");
  put_message(&outer, 5, &inner);
  m = model(&weight, &outer);
  rejects(&m, "node 'z' (If): the op is not supported");
}

Test(onnx, every_cut_and_every_changed_byte) {
  struct bytes weight = raw_weight(), add = node("Add", "x", "w", "y");
  struct model m = model(&weight, &add);
  const struct bytes file = whole(&m);
  for (size_t size = 0; size < file.size; size++) {
    write_file(path, file.data, size);
    cr_assert(import() == STATUS_INPUT && *diag.message && strchr(diag.message, '\n') == NULL, "cut at %zu", size);
  }
  for (size_t i = 0; i < file.size; i++)
    for (int bit = 0; bit < 8; bit++) {
      struct bytes changed = file;
      changed.data[i] ^= (uint8_t)(1 << bit);
      write_file(path, changed.data, changed.size);
      enum status status = import();
      cr_assert(status == STATUS_OK ? !*diag.message : status == STATUS_INPUT && *diag.message, "byte %zu, bit %d", i, bit);
    }
}
