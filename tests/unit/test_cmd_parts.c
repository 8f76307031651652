/* Parts of commands: error measures, lists of images, labels, JSON and CSV text. */
#include "cmd/images.h"
#include "cmd/metrics.h"
#include "cmd/predict.h"
#include "driver_json.h"
#include "json/labels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/test-cmd-XXXXXX";

static void make_folder(void) {
  cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void) {
  char command[sizeof folder + 16];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  cr_assert_eq(system(command), 0);
}

TestSuite(cmd_parts, .init = make_folder, .fini = remove_folder);

static const char *write_text(const char *name, const char *text) {
  static char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "w");
  cr_assert_not_null(file);
  cr_assert(fputs(text, file) >= 0);
  cr_assert_eq(fclose(file), 0);
  return path;
}

/* Reference 1, 2, 3, 4 has the deviation sqrt(1.25); errors 0, 1, 0, -2. */
Test(cmd_parts, errors_in_closed_form) {
  const float reference[] = {1, 2, 3, 4}, values[] = {1, 3, 3, 2};
  struct metrics metrics = measure(reference, values, 2, 2, true);
  cr_assert_float_eq(metrics.deviation, sqrt(1.25), 1e-15);
  cr_assert_float_eq(metrics.largest, 2 / sqrt(1.25), 1e-15);
  cr_assert_float_eq(metrics.rms, 1, 1e-15);
  cr_assert_float_eq(metrics.cosine, 24 / sqrt(30 * 23), 1e-15);
  cr_assert(metrics.has_top);
  cr_assert_eq(metrics.top1, 0.5); /* rows (1, 2) and (1, 3) agree, (3, 4) and (3, 2) do not */
  cr_assert_eq(metrics.top5, 1);
}

Test(cmd_parts, errors_of_odd_arrays) {
  const float constant[] = {2, 2}, other[] = {2, 3}, bad[] = {NAN, 1}, zero[] = {0, 0};
  cr_assert_eq(measure(constant, constant, 1, 2, false).largest, 0);
  cr_assert_float_eq(measure(constant, other, 1, 2, false).largest, 0.5, 1e-15);
  cr_assert(isinf(measure(constant, bad, 1, 2, false).largest));
  cr_assert(isinf(measure(bad, bad, 1, 2, false).largest));
  cr_assert(isinf(measure(zero, other, 1, 2, false).largest));
  cr_assert_eq(measure(zero, zero, 1, 2, false).largest, 0);
  cr_assert_eq(measure(zero, zero, 1, 2, false).cosine, 1);
}

Test(cmd_parts, folders_are_searched_in_order) {
  char path[300];
  snprintf(path, sizeof path, "%s/b", folder);
  cr_assert_eq(mkdir(path, 0700), 0);
  write_text("b/z.JPG", "");
  write_text("b/a.webp", "");
  write_text("c.png", "");
  write_text("a.jpeg", "");
  write_text("notes.txt", "");
  write_text("png", "");
  snprintf(path, sizeof path, "%s/b/loop", folder);
  cr_assert_eq(symlink(folder, path), 0);
  struct arena arena;
  arena_init(&arena);
  struct image_list list = {NULL, 0, 0};
  cr_assert_eq(list_images(&list, folder, &arena), 0);
  const char *const expected[] = {"/a.jpeg", "/b/a.webp", "/b/z.JPG", "/c.png"};
  cr_assert_eq(list.count, 4);
  for (size_t i = 0; i < 4; i++) cr_assert_str_eq(list.paths[i] + strlen(folder), expected[i]);
  cr_assert_eq(list_images(&list, "named.bmp", &arena), 0);
  cr_assert_eq(list.count, 5);
  cr_assert_str_eq(list.paths[4], "named.bmp");
  arena_deinit(&arena);
}

static void expect_labels(const char *text, const char *first, const char *second) {
  struct arena arena;
  arena_init(&arena);
  struct diag diag = {STATUS_OK, ""};
  const char **labels;
  int count;
  cr_assert_eq(labels_read(write_text("labels", text), &arena, &labels, &count, &diag), STATUS_OK, "%s", diag.message);
  cr_assert_eq(count, 2);
  cr_assert_str_eq(labels[0], first);
  cr_assert_str_eq(labels[1], second);
  arena_deinit(&arena);
}

static void expect_no_labels(const char *text) {
  struct arena arena;
  arena_init(&arena);
  struct diag diag = {STATUS_OK, ""};
  const char **labels;
  int count;
  const char *path = write_text("labels", text);
  cr_assert_eq(labels_read(path, &arena, &labels, &count, &diag), STATUS_INPUT, "%s", text);
  cr_assert_eq(strncmp(diag.message, path, strlen(path)), 0, "%s", diag.message);
  arena_deinit(&arena);
}

Test(cmd_parts, labels_of_every_form) {
  expect_labels("cat\ndog\n", "cat", "dog");
  expect_labels("cat\r\ngolden dog", "cat", "golden dog");
  expect_labels("[\"cat\", \"dog\"]", "cat", "dog");
  expect_labels("{\"1\": \"dog\", \"0\": \"cat\"}", "cat", "dog");
  expect_labels("{\"0\": [\"n01\", \"cat\"], \"1\": [\"n02\", \"dog\"]}", "cat", "dog");
  expect_no_labels("");
  expect_no_labels("[]");
  expect_no_labels("[\"cat\", 3]");
  expect_no_labels("{\"0\": \"cat\", \"2\": \"dog\"}");
  expect_no_labels("{\"0\": \"cat\", \"00\": \"dog\"}");
  expect_no_labels("{\"cat\": 0}");
  expect_no_labels("[\"cat\"");
}

static void expect_json(const char *text, const char *expected) {
  char *json = NULL;
  size_t size = 0;
  FILE *stream = open_memstream(&json, &size);
  json_string(stream, text);
  fclose(stream);
  cr_assert_str_eq(json, expected);
  free(json);
}

Test(cmd_parts, json_strings) {
  expect_json("plain", "\"plain\"");
  expect_json("a\"b\\c\n\x01", "\"a\\\"b\\\\c\\u000a\\u0001\"");
  expect_json("gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x88", "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x88\"");
  expect_json("\xff x \xc3", "\"\\ufffd x \\ufffd\"");
  expect_json("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"");
  expect_json("\xc0\xaf", "\"\\ufffd\\ufffd\"");
}

static void expect_number(double number, const char *expected) {
  char *json = NULL;
  size_t size = 0;
  FILE *stream = open_memstream(&json, &size);
  json_number(stream, number);
  fclose(stream);
  cr_assert_str_eq(json, expected);
  free(json);
}

Test(cmd_parts, json_numbers_read_back) {
  expect_number(0.1, "0.1");
  expect_number(84291584, "84291584");
  expect_number(1.0 / 3, "0.33333333333333331");
  expect_number(NAN, "null");
  expect_number(-INFINITY, "null");
}

/* What a prediction prints, taken from a child's stdout. */
static void expect_prediction(enum predict_format format, const char *expected) {
  const uint32_t classes[] = {1, 0};
  const float probabilities[] = {0.25f, 0.75f};
  const char *const labels[] = {"say \"cat\", loud", "dog"};
  const struct prediction prediction = {"a,b.png", 2, classes, probabilities, labels};
  char path[256];
  snprintf(path, sizeof path, "%s/stdout", folder);
  fflush(stdout);
  int saved = dup(STDOUT_FILENO);
  cr_assert_not_null(freopen(path, "w", stdout));
  predict_begin(format);
  predict_print(format, &prediction);
  predict_print(format, &prediction);
  predict_end(format);
  fflush(stdout);
  dup2(saved, STDOUT_FILENO);
  close(saved);
  FILE *file = fopen(path, "r");
  char text[1024] = "";
  size_t size = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[size] = '\0';
  cr_assert_str_eq(text, expected);
}

Test(cmd_parts, predictions_in_every_format) {
  expect_prediction(PREDICT_TEXT, "a,b.png: 1. dog 0.7500 2. say \"cat\", loud 0.2500\n"
                                  "a,b.png: 1. dog 0.7500 2. say \"cat\", loud 0.2500\n");
  expect_prediction(PREDICT_CSV, "image,rank,class,label,probability\n"
                                 "\"a,b.png\",1,1,dog,0.75\n\"a,b.png\",2,0,\"say \"\"cat\"\", loud\",0.25\n"
                                 "\"a,b.png\",1,1,dog,0.75\n\"a,b.png\",2,0,\"say \"\"cat\"\", loud\",0.25\n");
#define ONE                                                                                   \
  "{\"image\":\"a,b.png\",\"classes\":[{\"class\":1,\"label\":\"dog\",\"probability\":0.75}," \
  "{\"class\":0,\"label\":\"say \\\"cat\\\", loud\",\"probability\":0.25}]}"
  expect_prediction(PREDICT_JSON, "[\n" ONE ",\n" ONE "\n]\n");
}
