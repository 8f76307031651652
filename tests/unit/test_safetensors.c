/* safetensors and weights: what the reference library wrote, each dtype, misaligned data, conversions, and the writer. Broken
 * files are cases in tests/reject. */
#include "safetensors/safetensors.h"

#include "frontend.h"

#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static char folder[] = "/tmp/test-safetensors-XXXXXX";
static char path[64];
static struct arena arena;
static struct weights weights;
static struct diag diag;

static void init(void) {
  cr_assert(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/w.safetensors", folder);
  arena_init(&arena);
  weights_init(&weights);
}

static void deinit(void) {
  weights_close(&weights);
  arena_deinit(&arena);
  unlink(path);
  cr_assert(rmdir(folder) == 0);
}

TestSuite(safetensors, .init = init, .fini = deinit);

static void write_file(const char *header, const void *data, size_t size) {
  uint64_t length = strlen(header);
  FILE *file = fopen(path, "wb");
  cr_assert(file && fwrite(&length, 1, 8, file) == 8 && fputs(header, file) >= 0);
  cr_assert(fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

static const struct weight *find(const char *name) {
  const struct weight *weight = weights_find(&weights, name);
  cr_assert(weight, "no tensor %s", name);
  return weight;
}

static void open_path(const char *file) {
  cr_assert(weights_open(file, &weights, &diag) == STATUS_OK, "%s", diag.message);
}

/* Shapes from tests/reference/tiny_vit.py; LayerNorm's scale is 1 plus a tenth of a normal variate. */
Test(safetensors, the_reference_library_wrote_it) {
  static const struct {
    const char *name;
    int rank;
    int64_t dim[4];
  } expected[] = {{"class_token", 3, {1, 1, 12}},     {"fc1.weight_t", 2, {12, 20}}, {"head.bias", 1, {5}},
                  {"patch.weight", 4, {12, 3, 8, 8}}, {"position", 3, {1, 5, 12}},   {"qkv.weight_t", 2, {12, 36}}};
  open_path(VITC_SOURCE_DIR "/tests/golden/tiny_vit.safetensors");
  cr_expect(weights.count == 20);
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
    const struct weight *weight = find(expected[i].name);
    cr_expect(weight->dtype == DTYPE_F32 && weight->shape.rank == expected[i].rank, "%s", weight->name);
    cr_expect(!memcmp(weight->shape.dim, expected[i].dim, (size_t)weight->shape.rank * sizeof(int64_t)), "%s", weight->name);
    cr_expect(weights_check_finite(weight, "f", &diag) == STATUS_OK);
  }
  const float *scale = weight_elements(find("norm1.weight"), DTYPE_F32, &arena);
  for (int i = 0; i < 12; i++) cr_expect(fabsf(scale[i] - 1) < 0.5f);
  cr_expect(!weights_find(&weights, "norm1.weigh") && !weights_find(&weights, ""));
  cr_expect_str_eq(weights_nearest(&weights, "norm1.wieght"), "norm1.weight");
}

Test(safetensors, every_dtype_misaligned) {
  /* One byte of U8 first, and a header of odd length: no element is where its dtype wants it. */
  static const char header[] =
      "{\"u8\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
      "\"f64\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[1,17]},\"f32\":{\"dtype\":\"F32\",\"shape\":[],"
      "\"data_offsets\":[17,21]},\"f16\":{\"dtype\":\"F16\",\"shape\":[1,2],\"data_offsets\":[21,25]},"
      "\"bf16\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[25,27]},\"i64\":{\"dtype\":\"I64\",\"shape\":[1],"
      "\"data_offsets\":[27,35]},\"i32\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[35,39]},"
      "\"i16\":{\"dtype\":\"I16\",\"shape\":[2],\"data_offsets\":[39,43]},\"i8\":{\"dtype\":\"I8\",\"shape\":[1],"
      "\"data_offsets\":[43,44]},\"bool\":{\"dtype\":\"BOOL\",\"shape\":[2],\"data_offsets\":[44,46]},"
      "\"none\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[46,46]}} \n";
  static const unsigned char data[46] = {200,  0,    0,    0,    0,    0,    0,    0xF8, 0x3F, 0,    0,    0,
                                         0,    0,    0,    0,    0xC0, 0,    0,    0x20, 0x41, 0,    0x3C, 0,
                                         0xC0, 0x80, 0xBF, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x15,
                                         0xCD, 0x5B, 7,    0xFF, 0x7F, 0,    0x80, 0x85, 1,    0};
  write_file(header, data, sizeof data);
  open_path(path);
  const double *f64 = weight_elements(find("f64"), DTYPE_F64, &arena);
  cr_expect(f64[0] == 1.5 && f64[1] == -2 && (uintptr_t)f64 % 8 == 0);
  const float *f32 = weight_elements(find("f32"), DTYPE_F32, &arena), *f16 = weight_elements(find("f16"), DTYPE_F32, &arena);
  cr_expect(f32[0] == 10 && (uintptr_t)f32 % 4 == 0 && f16[0] == 1 && f16[1] == -2);
  cr_expect(*(const float *)weight_elements(find("bf16"), DTYPE_F32, &arena) == -1);
  cr_expect(*(const float *)weight_elements(find("f64"), DTYPE_F32, &arena) == 1.5f);
  const int64_t *i64 = weight_elements(find("i64"), DTYPE_I64, &arena);
  cr_expect(*i64 == -2 && (uintptr_t)i64 % 8 == 0);
  cr_expect(*(const int32_t *)weight_elements(find("i32"), DTYPE_I32, &arena) == 123456789);
  const int32_t *i16 = weight_elements(find("i16"), DTYPE_I32, &arena);
  cr_expect(find("i16")->dtype == DTYPE_I32 && i16[0] == 32767 && i16[1] == -32768);
  cr_expect(*(const int8_t *)weight_elements(find("i8"), DTYPE_I8, &arena) == -123);
  cr_expect(*(const uint8_t *)weight_elements(find("u8"), DTYPE_U8, &arena) == 200);
  cr_expect(weights_check_finite(find("bool"), "f", &diag) == STATUS_OK);
  cr_expect(shape_elements(&find("none")->shape) == 0 && find("f32")->shape.rank == 0);
}

Test(safetensors, integers_convert_where_they_fit) {
  static const int64_t numbers[] = {0, 255, -128, 70000, INT64_C(1) << 40};
  struct shape one = {1, {1}}, two = {1, {2}};
  struct weight small = {"small", DTYPE_I64, two, numbers}, negative = {"negative", DTYPE_I64, one, numbers + 2},
                large = {"large", DTYPE_I64, one, numbers + 3}, huge = {"huge", DTYPE_I64, one, numbers + 4};
  cr_expect(((const uint8_t *)weight_elements(&small, DTYPE_U8, &arena))[1] == 255);
  cr_expect(!weight_elements(&small, DTYPE_I8, &arena) && !weight_elements(&negative, DTYPE_U8, &arena));
  cr_expect(*(const int8_t *)weight_elements(&negative, DTYPE_I8, &arena) == -128);
  cr_expect(*(const int32_t *)weight_elements(&large, DTYPE_I32, &arena) == 70000);
  cr_expect(!weight_elements(&huge, DTYPE_I32, &arena));
  cr_expect(*(const float *)weight_elements(&huge, DTYPE_F32, &arena) == 0x1p40f);
  struct weight real = {"real", DTYPE_F32, one, &(float){1}};
  cr_expect(!weight_elements(&real, DTYPE_I64, &arena));
}

/* All 65536 half floats, against the C compiler's own. */
Test(safetensors, every_half) {
  uint16_t *halves = malloc(65536 * sizeof *halves);
  for (unsigned i = 0; i < 65536; i++) halves[i] = (uint16_t)i;
  struct weight weight = {"halves", DTYPE_F16, {1, {65536}}, halves};
  const float *floats = weight_elements(&weight, DTYPE_F32, &arena);
  for (unsigned i = 0; i < 65536; i++) {
    _Float16 half;
    memcpy(&half, &halves[i], sizeof half);
    float expected = (float)half;
    cr_assert(isnan(expected) ? isnan(floats[i]) : !memcmp(&floats[i], &expected, sizeof expected), "half %04x", i);
  }
  free(halves);
}

/* A fault anywhere in a tensor is found, whichever block of the scan it is in. */
Test(safetensors, every_place_of_a_nan) {
  enum { COUNT = 9001 };
  float *floats = calloc(COUNT, sizeof *floats);
  struct weight weight = {"w", DTYPE_F32, {2, {1, COUNT}}, floats};
  cr_expect(weights_check_finite(&weight, "f", &diag) == STATUS_OK);
  for (int i = 0; i < COUNT; i += i < 4 || (i > 4090 && i < 4100) || i > 8990 ? 1 : 97) {
    char expected[64];
    diag = (struct diag){0};
    floats[i] = i % 2 ? NAN : -INFINITY;
    cr_expect(weights_check_finite(&weight, "f", &diag) == STATUS_INPUT);
    snprintf(expected, sizeof expected, "f: tensor \"w\": element %d is %s", i, i % 2 ? "NaN" : "infinite");
    cr_expect_str_eq(diag.message, expected);
    floats[i] = i % 3 ? 3.4028234e38f : 0;
  }
  free(floats);
}

Test(safetensors, written_as_the_format_says) {
  static const float floats[3] = {1, 2, 3};
  static const int64_t ints[1] = {-1};
  const struct weight tensors[] = {{"a\"b\\", DTYPE_F32, {1, {3}}, floats}, {"\xc3\xa9", DTYPE_I64, {0, {0}}, ints}};
  static const char header[] = "{\"a\\\"b\\\\\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},"
                               "\"\xc3\xa9\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[12,20]}}";
  struct output output;
  cr_assert(output_open(&output, path, &diag) == STATUS_OK);
  cr_assert(safetensors_write(&output, tensors, 2, &diag) == STATUS_OK && output_commit(&output, &diag) == STATUS_OK);
  struct span file;
  cr_assert(span_map_file(path, &file, &diag) == STATUS_OK);
  size_t start = (8 + sizeof header - 1 + 63) / 64 * 64;
  cr_assert(file.size == start + 20 && file.data[0] == start - 8 && file.data[1] == 0);
  cr_expect(!memcmp(file.data + 8, header, sizeof header - 1) && file.data[start - 1] == ' ');
  cr_expect(!memcmp(file.data + start, floats, 12) && !memcmp(file.data + start + 12, ints, 8));
  span_unmap(&file);
  open_path(path);
  cr_expect(weights.count == 2 && find("a\"b\\")->shape.dim[0] == 3);
  cr_expect(*(const int64_t *)weight_elements(find("\xc3\xa9"), DTYPE_I64, &arena) == -1);
}

/* What a graph's constants become on their way to a file: an odd number of elements past the writer's block, misaligned. */
enum { MANY = (1 << 17) + 3 };

static enum status write_graph_file(enum dtype dtype, const void *data) {
  const struct weight weight = {"w", dtype, {1, {MANY}}, data};
  struct output output;
  cr_assert(output_open(&output, path, &diag) == STATUS_OK);
  enum status status = safetensors_write_graph(&output, &weight, 1, "source", &diag);
  if (status == STATUS_OK) status = output_commit(&output, &diag);
  output_discard(&output);
  return status;
}

/* Element i of every dtype, each of which has i % 1000 - 500 exactly. */
static void put_element(enum dtype dtype, char *at, int i) {
  float f32 = (float)(i % 1000 - 500);
  double f64 = (double)f32;
  _Float16 f16 = (_Float16)f32;
  f32 = dtype == DTYPE_BF16 ? (float)(i % 200 - 100) : f32;
  switch (dtype) {
  case DTYPE_F64:
    memcpy(at, &f64, sizeof f64);
    break;
  case DTYPE_F16:
    memcpy(at, &f16, sizeof f16);
    break;
  case DTYPE_BF16:
    memcpy(at, (const char *)&f32 + 2, 2);
    break;
  default:
    memcpy(at, &f32, sizeof f32);
  }
}

static char *many_elements(enum dtype dtype) {
  char *bytes = malloc(MANY * 8 + 8);
  cr_assert(bytes);
  for (int i = 0; i < MANY; i++) put_element(dtype, bytes + 1 + (size_t)i * dtype_size(dtype), i);
  return bytes;
}

Test(safetensors, constants_are_converted_on_their_way) {
  static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F64};
  for (size_t k = 0; k < sizeof dtypes / sizeof *dtypes; k++) {
    char *bytes = many_elements(dtypes[k]);
    cr_assert(write_graph_file(dtypes[k], bytes + 1) == STATUS_OK, "%s", diag.message);
    free(bytes);
    weights_close(&weights);
    open_path(path);
    const struct weight *weight = find("w");
    cr_assert(weight->dtype == DTYPE_F32 && weight->shape.dim[0] == MANY && (uintptr_t)weight->data % 64 == 0);
    for (int i = 0; i < MANY; i++)
      cr_assert(((const float *)weight->data)[i] ==
                    (dtypes[k] == DTYPE_BF16 ? (float)(i % 200 - 100) : (float)(i % 1000 - 500)),
                "%s, element %d: %f", dtype_name(dtypes[k]), i, (double)((const float *)weight->data)[i]);
  }
}

Test(safetensors, constants_are_checked_on_their_way) {
  static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F64};
  for (size_t k = 0; k < sizeof dtypes / sizeof *dtypes; k++)
    for (int place = 0; place < 3; place++) {
      const int at[] = {0, (1 << 17) - 1, MANY - 1};
      char *bytes = many_elements(dtypes[k]), expected[80];
      size_t size = dtype_size(dtypes[k]);
      memset(bytes + 1 + (size_t)at[place] * size, 0xFF, size);
      diag = (struct diag){0};
      cr_expect(write_graph_file(dtypes[k], bytes + 1) == STATUS_INPUT && access(path, F_OK) != 0);
      snprintf(expected, sizeof expected, "source: tensor \"w\": element %d is NaN", at[place]);
      cr_expect_str_eq(diag.message, expected);
      free(bytes);
    }
  char *bytes = many_elements(DTYPE_F64);
  memcpy(bytes + 1 + 8 * 70000, &(double){1e39}, 8);
  diag = (struct diag){0};
  cr_expect(write_graph_file(DTYPE_F64, bytes + 1) == STATUS_INPUT);
  cr_expect_str_eq(diag.message, "source: tensor \"w\": element 70000 is too large for float32");
  memcpy(bytes + 1 + 8 * 70000, &(double){3e38}, 8);
  diag = (struct diag){0};
  cr_expect(write_graph_file(DTYPE_F64, bytes + 1) == STATUS_OK, "%s", diag.message);
  free(bytes);
}

/* A file that may not grow stands for a full disk. */
Test(safetensors, a_full_disk) {
  char *bytes = many_elements(DTYPE_F32);
  struct rlimit limit = {1 << 18, 1 << 18};
  signal(SIGXFSZ, SIG_IGN);
  cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  cr_expect(write_graph_file(DTYPE_F32, bytes + 1) == STATUS_SYSTEM && access(path, F_OK) != 0);
  cr_expect(strstr(diag.message, "cannot write: File too large"), "%s", diag.message);
  free(bytes);
}

Test(safetensors, no_tensors_at_all) {
  write_file("{\"__metadata__\":{}}", "", 0);
  open_path(path);
  cr_expect(weights.count == 0 && !weights_find(&weights, "a") && !weights_nearest(&weights, "a"));
}

Test(safetensors, shards_share_one_index) {
  cr_assert(safetensors_read(VITC_SOURCE_DIR "/tests/reject/good.safetensors", &weights, &diag) == STATUS_OK);
  write_file("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", "x", 1);
  cr_assert(safetensors_read(path, &weights, &diag) == STATUS_OK && weights_index(&weights, "two", &diag) == STATUS_OK);
  cr_expect(weights.count == 5 && *(const char *)find("a")->data == 'x' && find("weight")->shape.dim[0] == 4);
  cr_assert(safetensors_read(path, &weights, &diag) == STATUS_OK);
  cr_expect(weights_index(&weights, "three", &diag) == STATUS_INPUT);
  cr_expect_str_eq(diag.message, "three: tensor \"a\" occurs twice");
}

static const char *name_at(const void *context, size_t i) {
  return ((const char *const *)context)[i];
}

Test(safetensors, nearest_names) {
  static const char *const names[] = {"MatMul", "Mul", "Gemm", "blocks.0.norm1.weight", "blocks.1.norm1.weight", ""};
  static const char *const pairs[][2] = {
      {"Matmul", "MatMul"}, {"Gem", "Gemm"}, {"blocks.1.norm1.wieght", "blocks.1.norm1.weight"},
      {"Conv", NULL},       {"", NULL},      {"x", NULL}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    const char *nearest = frontend_nearest(pairs[i][0], name_at, names, sizeof names / sizeof *names);
    cr_expect(pairs[i][1] ? nearest && !strcmp(nearest, pairs[i][1]) : !nearest, "%s: %s", pairs[i][0], nearest ? nearest : "");
  }
}

Test(safetensors, identifiers) {
  static const char *const pairs[][2] = {{"models/vit-b16.json", "vit_b16"},
                                         {"m", "m"},
                                         {"/a.b/c", "c"},
                                         {"224.pth", "m224"},
                                         {"a/b/", "b"},
                                         {"x.tar.gz", "x_tar"},
                                         {"\xc3\xa9t\xc3\xa9.json", "__t__"},
                                         {".hidden", "_hidden"},
                                         {"", "model"}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
    cr_expect_str_eq(frontend_identifier(&arena, pairs[i][0]), pairs[i][1], "%s", pairs[i][0]);
}
