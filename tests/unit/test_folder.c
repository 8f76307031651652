/* The weights of a folder: which file they come from, and indexes of shards that lie. What transformers, timm and torch write
 * is in tests/reference/folders.py. */
#include "import_config.h"
#include "safetensors/safetensors.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* AddressSanitizer keeps freed memory and slows everything down. */
#ifdef __SANITIZE_ADDRESS__
enum { MEMORY_MAX = 1 << 30, SECONDS_MAX = 8 };
#else
enum { MEMORY_MAX = 100 << 20, SECONDS_MAX = 1 };
#endif

static char folder[] = "/tmp/test-folder-XXXXXX";
static struct arena arena;
static struct weights weights;
static struct diag diag;
static const char *file;

static void init(void) {
  cr_assert(mkdtemp(folder));
  arena_init(&arena);
  weights_init(&weights);
}

static void deinit(void) {
  char command[64];
  weights_close(&weights);
  arena_deinit(&arena);
  snprintf(command, sizeof command, "rm -rf %s", folder);
  cr_assert(system(command) == 0);
}

TestSuite(folder, .init = init, .fini = deinit);

static const char *in_folder(const char *name) {
  return arena_printf(&arena, "%s/%s", folder, name);
}

static void write_text(const char *name, const char *text, size_t size) {
  FILE *out = fopen(in_folder(name), "wb");
  cr_assert(out && fwrite(text, 1, size, out) == size && fclose(out) == 0);
}

/* A file with one number by the name of `tensor`. */
static void write_tensor(const char *name, const char *tensor, float number) {
  const struct weight weight = {tensor, DTYPE_F32, {1, {1}}, &number};
  struct output output;
  cr_assert(output_open(&output, in_folder(name), &diag) == STATUS_OK);
  cr_assert(safetensors_write(&output, &weight, 1, &diag) == STATUS_OK && output_commit(&output, &diag) == STATUS_OK);
}

static void write_index(const char *map) {
  const char *text = arena_printf(&arena, "{\"metadata\": {\"total_size\": 1e300}, \"weight_map\": %s}", map);
  write_text("model.safetensors.index.json", text, strlen(text));
}

static enum status reopen(void) {
  weights_close(&weights);
  weights_init(&weights);
  diag = (struct diag){0};
  return config_weights(folder, &weights, &arena, &file, &diag);
}

static void rejects(const char *message) {
  const char *expected = arena_printf(&arena, "%s/model.safetensors.index.json: %s", folder, message);
  cr_expect(reopen() == STATUS_INPUT, "accepted, expected: %s", message);
  cr_expect_str_eq(diag.message, expected);
}

static float number(const char *name) {
  const struct weight *weight = weights_find(&weights, name);
  cr_assert(weight, "no tensor %s", name);
  return *(const float *)weight->data;
}

Test(folder, the_first_of_several_files) {
  static const char *const names[] = {"open_clip_pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model.bin",
                                      "open_clip_model.safetensors", "model.safetensors.index.json", "model.safetensors"};
  cr_expect(reopen() == STATUS_INPUT);
  cr_expect(strstr(diag.message, ": no weights in this folder: expected model.safetensors, "), "%s", diag.message);
  for (int i = 0; i < 6; i++) {
    const char *name = names[i];
    if (strstr(name, "index")) {
      write_tensor("shard", "a", (float)i);
      const char *text = "{\"weight_map\": {\"a\": \"shard\"}}";
      write_text(name, text, strlen(text));
    } else {
      write_tensor(name, "a", (float)i);
    }
    cr_assert(reopen() == STATUS_OK, "%s", diag.message);
    cr_expect(weights.count == 1 && number("a") == (float)i && !strcmp(file, in_folder(name)), "%s", file);
  }
}

Test(folder, shards_of_both_kinds) {
  struct span checkpoint;
  cr_assert(span_map_file(VITC_SOURCE_DIR "/tests/golden/checkpoint.pth", &checkpoint, &diag) == STATUS_OK);
  write_text("one.bin", (const char *)checkpoint.data, checkpoint.size);
  span_unmap(&checkpoint);
  write_tensor("two.safetensors", "b", 2);
  write_index("{\"plain\": \"one.bin\", \"b\": \"two.safetensors\", \"half\": \"one.bin\"}");
  cr_assert(reopen() == STATUS_OK, "%s", diag.message);
  cr_expect(weights.count == 16 && number("b") == 2 && weights_find(&weights, "half")->dtype == DTYPE_F16);
}

Test(folder, files_outside) {
  static const char *const names[] = {"../one", "/etc/passwd", "sub/one", "..", ".one", "..\\\\one", ""};
  write_tensor("one", "a", 1);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    write_index(arena_printf(&arena, "{\"a\": \"one\", \"b\": \"%s\"}", names[i]));
    rejects("weight_map.b: expected the name of a file in the same folder");
  }
  write_index("{\"a\": 7}");
  rejects("weight_map.a: expected the name of a file in the same folder");
}

Test(folder, indexes_that_lie) {
  write_tensor("one", "a", 1);
  write_tensor("two", "b", 2);
  write_index("{\"a\": \"two\", \"b\": \"one\"}");
  rejects("weight_map.a: two has no tensor of this name");
  write_index("{\"a\": \"one\", \"b\": \"two\", \"c\": \"two\"}");
  rejects("weight_map.c: two has no tensor of this name");
  write_index("[\"one\"]");
  rejects("weight_map is an array, expected an object of tensor names and files");
  write_index("{\"a\": \"one\", \"a\": \"two\"}");
  rejects("weight_map: key \"a\" occurs twice");
  write_tensor("three", "a", 3);
  write_index("{\"a\": \"one\", \"b\": \"two\", \"a \": \"three\"}");
  rejects("weight_map.a : three has no tensor of this name");
  write_tensor("four", "d", 4);
  write_index("{\"a\": \"one\", \"d\": \"four\", \"b\": \"none\"}");
  cr_expect(reopen() == STATUS_INPUT);
  cr_expect_str_eq(diag.message, arena_printf(&arena, "%s/none: cannot open: No such file or directory", folder));
}

static long resident_peak(void) {
  struct rusage usage;
  cr_assert(getrusage(RUSAGE_SELF, &usage) == 0);
  return usage.ru_maxrss;
}

static double seconds(void) {
  struct rusage usage;
  cr_assert(getrusage(RUSAGE_SELF, &usage) == 0);
  return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* A text of `size` bytes is refused within a second of CPU and without taking memory. */
static void bomb(const char *name, const char *text, size_t size) {
  write_text("model.safetensors.index.json", text, size);
  long before = resident_peak();
  double start = seconds();
  cr_expect(reopen() == STATUS_INPUT, "%s: accepted", name);
  cr_expect(seconds() - start < SECONDS_MAX, "%s: %f s", name, seconds() - start);
  cr_expect(resident_peak() - before < (long)(size >> 10) + (MEMORY_MAX >> 10), "%s: %ld KiB", name, resident_peak() - before);
}

Test(folder, bombs) {
  enum { SIZE = 64 << 20 };
  static const char head[] = "{\"weight_map\": {";
  char *text = malloc(SIZE);
  size_t at = sizeof head - 1;
  cr_assert(text);
  memset(text, '[', SIZE);
  bomb("64 MiB of brackets", text, SIZE);
  memset(text, ' ', SIZE);
  bomb("64 MiB of nothing", text, SIZE);
  memcpy(text, head, at);
  for (int i = 0; i < 500000; i++) at += (size_t)snprintf(text + at, SIZE - at, "\"%x\":\"s%d\",", i, i % 200);
  memcpy(text + at - 1, "}}", 2);
  bomb("shards that are not there", text, at + 1);
  for (int i = 0; i < 200; i++) write_tensor(arena_printf(&arena, "s%d", i), arena_printf(&arena, "%x", i), 1);
  bomb("500,000 names, 200 shards in turn", text, at + 1);
  at = sizeof head - 1;
  for (int i = 0; i < 400; i++) {
    write_tensor(arena_printf(&arena, "t%d", i), arena_printf(&arena, "%x", i), 1);
    at += (size_t)snprintf(text + at, SIZE - at, "\"%x\":\"t%d\",", i, i);
  }
  memcpy(text + at - 1, "}}", 2);
  bomb("400 shards", text, at + 1);
  free(text);
}
