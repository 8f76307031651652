/* JSON graphs: what a good one becomes, writing and reading back, and the strictness of the text. Broken graphs are cases in
 * tests/reject. */
#include "json/json.h"

#include "ir/ops.h"
#include "json/emit.h"
#include "json/text.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/test-json-XXXXXX";
static struct arena arena;
static struct weights weights;
static struct graph graph;
static struct diag diag;

static void init(void) {
  cr_assert(mkdtemp(folder));
  arena_init(&arena);
}

static void deinit(void) {
  char command[64];
  weights_close(&weights);
  arena_deinit(&arena);
  snprintf(command, sizeof command, "rm -r %s", folder);
  cr_assert(system(command) == 0);
}

TestSuite(json, .init = init, .fini = deinit);

static const char *in_folder(const char *name) {
  return arena_printf(&arena, "%s/%s", folder, name);
}

static void load(const char *path) {
  weights_close(&weights);
  cr_assert(frontend_load(path, &arena, &weights, &graph, &diag) == STATUS_OK, "%s", diag.message);
}

static void load_text(const char *text) {
  const char *path = in_folder("m.json");
  FILE *file = fopen(path, "w");
  cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
  load(path);
}

static struct span map(const char *path) {
  struct span span;
  cr_assert(span_map_file(path, &span, &diag) == STATUS_OK, "%s", diag.message);
  return span;
}

static bool same_bytes(const char *a, const char *b) {
  struct span x = map(a), y = map(b);
  bool same = x.size == y.size && !memcmp(x.data, y.data, x.size);
  span_unmap(&x);
  span_unmap(&y);
  return same;
}

static void expect_shape(const char *name, bool batched, int rank, const int64_t *dim) {
  const struct value *value = graph_find(&graph, name);
  cr_assert(value, "%s", name);
  cr_expect(value->batched == batched && value->shape.rank == rank, "%s", name);
  cr_expect(!memcmp(value->shape.dim, dim, (size_t)rank * sizeof *dim), "%s", name);
}

Test(json, a_vit_written_by_hand) {
  load(VITC_SOURCE_DIR "/tests/golden/tiny_vit.json");
  cr_expect_str_eq(graph.name, "tiny_vit");
  cr_expect(graph.input_count == 1 && graph.output_count == 2);
  expect_shape("image", true, 4, (const int64_t[]){1, 3, 16, 16});
  expect_shape("k", true, 4, (const int64_t[]){1, 3, 4, 5});
  expect_shape("logits", true, 2, (const int64_t[]){1, 5});
  expect_shape("features", true, 3, (const int64_t[]){1, 1, 12});
  expect_shape("split_shape", true, 1, (const int64_t[]){4});
  cr_expect_str_eq(graph.outputs[1]->name, "features");
  const struct value *shape = graph_find(&graph, "split_shape"), *scale = graph_find(&graph, "scale");
  cr_expect(shape->dtype == DTYPE_I64 && !memcmp(shape->data, (const int64_t[]){1, 5, 3, 4}, 32));
  cr_expect(scale->dtype == DTYPE_F32 && scale->shape.rank == 0 && *(const float *)scale->data == 0.5f);
  const struct node *norm = graph_find(&graph, "n1")->producer;
  cr_expect(norm->op == OP_layer_normalization && node_float(norm, "epsilon") == 1e-6 && node_int(norm, "axis") == -1);
  int nodes = 0, constants = 0;
  for (const struct node *node = graph.first; node; node = node->next) nodes++;
  for (const struct value *value = graph.values; value; value = value->next) constants += value->data != NULL;
  /* 45 lines, of which 9 are Constant; 20 tensors in the blob. */
  cr_expect(nodes == 36 && constants == 20 + 9, "%d nodes, %d constants", nodes, constants);
}

Test(json, preprocess_and_labels) {
  load(VITC_SOURCE_DIR "/tests/golden/tiny_vit.json");
  const struct vitc_preprocess *p = &graph.preprocess;
  cr_expect(p->resize == VITC_RESIZE_SHORTEST && p->resize_height == 16 && p->resize_width == 16);
  cr_expect(p->filter == VITC_BICUBIC && p->crop_height == 16 && p->crop_width == 16 && p->crop_floor == 0);
  cr_expect(p->arithmetic == VITC_ARITHMETIC_TORCHVISION && p->rescale == 1.0 / 255);
  cr_expect(p->mean[0] == 0.5 && p->mean[2] == 0.5 && p->std[1] == 0.5);
  cr_expect(graph.label_count == 5);
  cr_expect_str_eq(graph.labels[4], "eel");
}

#define HEAD "{\"format\": \"vitc\", \"version\": 1, \"name\": \"m\", \"weights\": null, "
#define INPUT "\"inputs\": [{\"name\": \"x\", \"dtype\": \"float32\", \"shape\": [\"N\", 3, 4]}], "
#define RELU "\"outputs\": [\"y\"], \"nodes\": [{\"op\": \"Relu\", \"inputs\": [\"x\"], \"outputs\": [\"y\"]}]"

Test(json, every_word_of_preprocess) {
  load_text(HEAD INPUT RELU
            ", \"preprocess\": {\"resize\": \"exact\", \"size\": [7, 9], \"filter\": \"lanczos\", \"crop\": null, "
            "\"crop_rounding\": \"floor\", \"arithmetic\": \"transformers\", \"rescale\": 0.5, "
            "\"mean\": [1, 2, 3], \"std\": [4, 5, 6]}}");
  const struct vitc_preprocess *p = &graph.preprocess;
  cr_expect(p->resize == VITC_RESIZE_EXACT && p->resize_height == 7 && p->resize_width == 9 && p->filter == VITC_LANCZOS);
  cr_expect(p->crop_height == 0 && p->crop_floor == 1 && p->arithmetic == VITC_ARITHMETIC_TRANSFORMERS && p->rescale == 0.5);
  cr_expect(p->mean[0] == 1 && p->mean[1] == 2 && p->mean[2] == 3 && p->std[0] == 4 && p->std[1] == 5 && p->std[2] == 6);
  load_text(HEAD INPUT RELU ", \"preprocess\": {\"resize\": \"none\", \"mean\": [0, 0, 0], \"std\": [1, 1, 1]}}");
  cr_expect(graph.preprocess.resize == VITC_RESIZE_NONE);
  load_text(HEAD INPUT RELU "}");
  cr_expect(graph.preprocess.resize == VITC_RESIZE_UNKNOWN && graph.label_count == 0);
}

/* Read, written and read again. */
static void twice(const char *preprocess, const struct vitc_preprocess *expected) {
  char text[1024];
  snprintf(text, sizeof text,
           HEAD INPUT RELU ", \"preprocess\": {%s, \"filter\": \"bilinear\", \"mean\": [0, 0, 0], \"std\": [1, 1, 1]}}",
           preprocess);
  load_text(text);
  for (int i = 0; i < 2; i++) {
    const struct vitc_preprocess *p = &graph.preprocess;
    cr_expect(p->resize == expected->resize && p->resize_height == expected->resize_height, "%s", preprocess);
    cr_expect(p->resize_width == expected->resize_width && p->crop_floor == expected->crop_floor, "%s", preprocess);
    cr_expect(p->crop_height == expected->crop_height && p->crop_width == expected->crop_width, "%s", preprocess);
    if (i == 1) break;
    const char *path = in_folder("shape.json");
    cr_assert(json_write(&graph, path, &diag) == STATUS_OK, "%s", diag.message);
    load(path);
  }
}

Test(json, preprocess_that_keeps_the_shape) {
  twice("\"resize\": \"longest\", \"size\": 8, \"pad\": [9, 10]", &(struct vitc_preprocess){.resize = VITC_RESIZE_LONGEST,
                                                                                            .resize_height = 8,
                                                                                            .resize_width = 8,
                                                                                            .crop_floor = VITC_CROP_PAD,
                                                                                            .crop_height = 9,
                                                                                            .crop_width = 10});
  twice("\"resize\": \"longest\", \"size\": [8, 7], \"pad\": null",
        &(struct vitc_preprocess){.resize = VITC_RESIZE_LONGEST, .resize_height = 8, .resize_width = 7});
  twice("\"resize\": \"longest\", \"size\": 8, \"crop\": [4, 5], \"crop_rounding\": \"floor\"",
        &(struct vitc_preprocess){.resize = VITC_RESIZE_LONGEST,
                                  .resize_height = 8,
                                  .resize_width = 8,
                                  .crop_floor = VITC_CROP_FLOOR,
                                  .crop_height = 4,
                                  .crop_width = 5});
  twice("\"resize\": \"keep_aspect\", \"size\": [28, 42], \"multiple\": 14",
        &(struct vitc_preprocess){
            .resize = VITC_RESIZE_ASPECT, .resize_height = 28, .resize_width = 42, .crop_height = 14, .crop_width = 14});
  twice("\"resize\": \"limited\", \"size\": [800, 1333]",
        &(struct vitc_preprocess){.resize = VITC_RESIZE_LIMITED, .resize_height = 800, .resize_width = 1333});
}

Test(json, remarks_are_ignored) {
  load_text(HEAD INPUT "\"_why\": [1, {}], \"x-tool\": null, \"outputs\": [{\"name\": \"y\", \"_\": 0}], \"nodes\": "
                       "[{\"op\": \"Relu\", \"inputs\": [\"x\"], \"outputs\": [\"y\"], \"_note\": \"a remark\"}]}");
  cr_expect(graph.first && !graph.first->next);
}

Test(json, omitted_inputs_and_constants) {
  load_text(HEAD INPUT
            "\"outputs\": [\"y\", \"z\"], \"nodes\": ["
            "{\"op\": \"Constant\", \"inputs\": [], \"outputs\": [\"c\"], \"attrs\": {\"value_floats\": [1, 2.5, -3, 0.1]}},"
            "{\"op\": \"Constant\", \"inputs\": [], \"outputs\": [\"one\"], \"attrs\": {\"value_ints\": [1]}},"
            "{\"op\": \"Constant\", \"inputs\": [], \"outputs\": [\"two\"], \"attrs\": {\"value_ints\": [2]}},"
            "{\"op\": \"Mul\", \"inputs\": [\"x\", \"c\"], \"outputs\": [\"y\"]},"
            "{\"op\": \"Slice\", \"inputs\": [\"x\", \"one\", \"two\", \"two\", \"\"], \"outputs\": [\"z\"]}]}");
  static const float floats[] = {1, 2.5f, -3, 0.1f};
  const struct value *c = graph_find(&graph, "c");
  cr_expect(c->dtype == DTYPE_F32 && c->shape.rank == 1 && c->shape.dim[0] == 4 && !memcmp(c->data, floats, sizeof floats));
  expect_shape("one", false, 1, (const int64_t[]){1});
  expect_shape("z", true, 3, (const int64_t[]){1, 3, 1});
  const struct node *slice = graph_find(&graph, "z")->producer;
  cr_expect(slice->input_count == 5 && !slice->inputs[4]);
  /* A vector of floats has no place in the text: written, it is in the blob. */
  const char *path = in_folder("w.json");
  cr_assert(json_write(&graph, path, &diag) == STATUS_OK, "%s", diag.message);
  load(path);
  cr_expect(weights.count == 1 && weights_find(&weights, "c"));
  expect_shape("z", true, 3, (const int64_t[]){1, 3, 1});
}

Test(json, written_and_read_back) {
  const char *first = in_folder("a.json"), *second = in_folder("b.json");
  load(VITC_SOURCE_DIR "/tests/golden/tiny_vit.json");
  cr_assert(json_write(&graph, first, &diag) == STATUS_OK, "%s", diag.message);
  struct weights original = weights;
  weights = (struct weights){0};
  load(first);
  cr_expect(graph.label_count == 5 && graph.preprocess.crop_width == 16 && graph.preprocess.rescale == 1.0 / 255);
  expect_shape("split_shape", true, 1, (const int64_t[]){4});
  for (size_t i = 0; i < original.count; i++) {
    const struct weight *a = &original.tensors[i], *b = weights_find(&weights, a->name);
    cr_assert(b && a->dtype == b->dtype && shape_equal(&a->shape, &b->shape), "%s", a->name);
    cr_expect(!memcmp(a->data, b->data, (size_t)shape_elements(&a->shape) * sizeof(float)), "%s", a->name);
    cr_expect((uintptr_t)b->data % sizeof(float) == 0);
  }
  cr_expect(weights.count == original.count);
  weights_close(&original);
  cr_assert(json_write(&graph, second, &diag) == STATUS_OK, "%s", diag.message);
  cr_expect(same_bytes(in_folder("a.safetensors"), in_folder("b.safetensors")));
  /* The files differ in the one line that names the blob: written under the first name, they are equal. */
  cr_assert(mkdir(in_folder("sub"), 0777) == 0 && json_write(&graph, in_folder("sub/a.json"), &diag) == STATUS_OK);
  cr_expect(same_bytes(first, in_folder("sub/a.json")));
}

/* A graph may be written over the files that it was read from: its constants are mapped from the old blob. */
Test(json, written_over_itself) {
  const char *path = in_folder("a.json");
  load(VITC_SOURCE_DIR "/tests/golden/tiny_vit.json");
  cr_assert(json_write(&graph, path, &diag) == STATUS_OK);
  load(path);
  cr_assert(json_write(&graph, path, &diag) == STATUS_OK, "%s", diag.message);
  load(path);
  cr_expect(weights.count == 20);
}

Test(json, without_weights_no_blob) {
  const char *path = in_folder("plain.json");
  load_text(HEAD INPUT RELU "}");
  cr_assert(json_write(&graph, path, &diag) == STATUS_OK);
  cr_expect(access(in_folder("plain.safetensors"), F_OK) != 0);
  load(path);
  expect_shape("y", true, 3, (const int64_t[]){1, 3, 4});
}

Test(json, nothing_appears_when_a_file_cannot) {
  load(VITC_SOURCE_DIR "/tests/golden/tiny_vit.json");
  cr_expect(json_write(&graph, "/nonexistent/m.json", &diag) == STATUS_SYSTEM);
  cr_expect(!strncmp(diag.message, "/nonexistent/m.json: ", 21), "%s", diag.message);
  diag = (struct diag){0};
  /* A folder stands where the blob should be. */
  cr_assert(mkdir(in_folder("m.safetensors"), 0777) == 0);
  cr_expect(json_write(&graph, in_folder("m.json"), &diag) == STATUS_SYSTEM);
  cr_expect(access(in_folder("m.json"), F_OK) != 0);
  diag = (struct diag){0};
  cr_expect(json_write(&graph, in_folder("m.txt"), &diag) == STATUS_USAGE);
  diag = (struct diag){0};
  cr_expect(json_write(&graph, in_folder(".json"), &diag) == STATUS_USAGE);
}

Test(json, a_nan_is_not_written) {
  load_text(HEAD INPUT RELU "}");
  float *nan = arena_array(&arena, 3, sizeof *nan);
  nan[2] = NAN;
  struct value *bad = graph_add_constant(&graph, "bad", DTYPE_F32, &(struct shape){1, {3}}, nan);
  graph_add_node(&graph, NULL, OP_relu, &bad, 1,
                 (struct value *[]){graph_add_value(&graph, "r", DTYPE_F32, &bad->shape, false)}, 1);
  const char *path = in_folder("n.json");
  cr_expect(json_write(&graph, path, &diag) == STATUS_INPUT && access(path, F_OK) != 0);
  cr_expect_str_eq(diag.message, arena_printf(&arena, "%s: tensor \"bad\": element 2 is NaN", path));
}

static bool parses(const char *text, size_t size) {
  cJSON *root;
  struct diag ignored = {0};
  bool good = json_parse("f", "", (struct span){(const uint8_t *)text, size}, &root, &ignored) == STATUS_OK;
  cr_expect(good == (root != NULL));
  cJSON_Delete(root);
  return good;
}

Test(json, good_text) {
  static const char *const texts[] = {
      "0",
      "-0",
      "1.5e-3",
      " [ ] ",
      "{}\n",
      "\"\"",
      "\"\\u00e9\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
      "\"\\ud83d\\ude00\"",
      "true",
      "[null,0]",
      "1E+2",
      "[[1],2]",
      "9007199254740992",
      "-9007199254740992",
      "\"\xf0\x9f\x98\x80\"",
      "{\"a\":{\"a\":1}}",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) cr_expect(parses(texts[i], strlen(texts[i])), "%s", texts[i]);
}

Test(json, bad_text) {
  static const char *const texts[] = {
      "",
      " ",
      "-",
      "+1",
      ".5",
      "1.",
      "1e",
      "01",
      "0x1",
      "tru",
      "True",
      "nul",
      "[1,]",
      "[,1]",
      "[1 2]",
      "{\"a\"}",
      "{a:1}",
      "{\"a\":1,}",
      "'a'",
      "\"a",
      "\"\\x\"",
      "\"\\u12\"",
      "\"\t\"",
      "1 2",
      "[1",
      "{",
      "]",
      "\"\\ude00\"",
      "\"\\ud83d\\u0041\"",
      "\"\xff\"",
      "\"\xc0\x80\"",
      "\"\xed\xa0\x80\"",
      "\"\xf4\x90\x80\x80\"",
      "\"\xe2\x82\"",
      "// 1\n1",
      "9007199254740993",
      "1e999",
      "{\"a\":1,\"\\u0061\":2}",
      "\"\\u0000\"",
      "Infinity",
      "NaN",
      "\v1",
      "\xc2\xa0 1",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) cr_expect(!parses(texts[i], strlen(texts[i])), "%s", texts[i]);
  cr_expect(!parses("1\0", 2) && !parses("\"a\0b\"", 5));
}

Test(json, limits_of_the_text) {
  size_t size = (size_t)JSON_VALUES_MAX * 2 + 1;
  char *text = malloc(size);
  memset(text, '[', size);
  cr_expect(!parses(text, size));
  text[0] = '[';
  for (size_t i = 1; i < size - 1; i++) text[i] = i % 2 ? '0' : ',';
  text[size - 1] = ']';
  cr_expect(!parses(text, size), "an array of JSON_VALUES_MAX, and itself");
  text[size - 3] = ']';
  cr_expect(parses(text, size - 2));
  free(text);
}

Test(json, numbers_are_short_and_exact) {
  static const struct {
    double number;
    const char *text;
  } cases[] = {{0, "0"}, {1e-6, "1e-06"}, {0.1, "0.1"}, {1.0 / 255, "0.00392156862745098"}, {-2.5, "-2.5"}, {3, "3"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *text;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    emit_double(stream, cases[i].number);
    fclose(stream);
    cr_expect_str_eq(text, cases[i].text);
    cr_expect(strtod(text, NULL) == cases[i].number);
    free(text);
  }
}
