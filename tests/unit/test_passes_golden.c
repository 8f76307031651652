/* Every tests/golden/passes/PASS.CASE.json, after pass PASS alone, is the text of PASS.CASE.ir; and where the input is the
 * same, so are the results. The .ir are reviewed by eye. To see what a pass makes of a new case, run this with
 * VITC_GOLDEN_SHOW=1. */
#include "frontend.h"
#include "interp/interp.h"
#include "ir/ops.h"
#include "passes/passes.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 2, CASES_MIN = 45 };

#define FOLDER VITC_SOURCE_DIR "/tests/golden/passes/"

struct loaded {
  struct arena arena;
  struct weights weights;
  struct diag diag;
  struct graph graph, original;
};

static void load(const char *path, struct loaded *loaded) {
  *loaded = (struct loaded){.diag = {.status = STATUS_OK}};
  arena_init(&loaded->arena);
  enum status status = frontend_load(path, &loaded->arena, &loaded->weights, &loaded->graph, &loaded->diag);
  cr_assert(eq(int, status, STATUS_OK), "%s", loaded->diag.message);
  loaded->graph.diag = &loaded->diag;
  graph_copy(&loaded->graph, &loaded->arena, &loaded->original);
}

static void unload(struct loaded *loaded) {
  weights_close(&loaded->weights);
  arena_deinit(&loaded->arena);
}

/* Runs the first row of the pass that the file is named after. */
static void run_named_pass(const char *path, struct loaded *loaded) {
  const char *base = strrchr(path, '/') + 1;
  size_t length = strcspn(base, ".");
  int row = 0;
  while (pass_at(row) != NULL && (strlen(pass_at(row)->name) != length || strncmp(pass_at(row)->name, base, length) != 0))
    row++;
  const struct pass_info *pass = pass_at(row);
  cr_assert(ne(ptr, (void *)pass, NULL), "%s: no such pass", path);
  cr_assert(eq(int, pass->run(&loaded->graph), STATUS_OK), "%s", loaded->diag.message);
  cr_assert(eq(int, loaded->diag.status, STATUS_OK), "%s", loaded->diag.message);
  cr_assert(eq(int, verify_graph(&loaded->graph, pass->name), STATUS_OK), "%s", loaded->diag.message);
}

static char *printed(const struct graph *graph) {
  char *text = NULL;
  size_t size;
  FILE *stream = open_memstream(&text, &size);
  print_graph(graph, stream);
  fclose(stream);
  return text;
}

/* NULL for a file that is missing or empty. */
static char *read_text(const char *path) {
  FILE *file = fopen(path, "r");
  if (file == NULL) return NULL;
  char *text = NULL;
  size_t capacity = 0;
  ssize_t length = getdelim(&text, &capacity, '\0', file);
  fclose(file);
  if (length > 0) return text;
  free(text);
  return NULL;
}

static void check_text(const char *path, const struct graph *graph) {
  char expected_path[512], *actual = printed(graph);
  snprintf(expected_path, sizeof expected_path, "%.*s.ir", (int)(strrchr(path, '.') - path), path);
  if (getenv("VITC_GOLDEN_SHOW") != NULL) fprintf(stderr, "%s\n%s\n", expected_path, actual);
  char *expected = read_text(expected_path);
  cr_assert(ne(ptr, expected, NULL), "%s is missing", expected_path);
  cr_expect(eq(str, actual, expected), "%s", path);
  free(expected);
  free(actual);
}

/* Multiples of 1/16 in [0.5, 2.5): no square root or quotient leaves the numbers. */
static void *make_input(struct arena *arena, const struct value *value, uint32_t *state) {
  size_t count = (size_t)shape_elements(&value->shape) * BATCH;
  uint8_t *bytes = arena_array(arena, count, 1);
  float *floats = arena_array(arena, count, sizeof *floats);
  for (size_t i = 0; i < count; i++) {
    *state = *state * 1664525u + 1013904223u;
    bytes[i] = (uint8_t)(*state >> 24);
    floats[i] = 0.5f + (float)(*state >> 27) / 16;
  }
  return value->dtype == DTYPE_U8 ? (void *)bytes : floats;
}

static void interpret(struct loaded *loaded, const struct graph *graph, const void *input, float **out_outputs) {
  void *outputs[GRAPH_IO_MAX];
  for (int i = 0; i < graph->output_count; i++) {
    size_t count = (size_t)shape_elements(&graph->outputs[i]->shape) * BATCH;
    outputs[i] = out_outputs[i] = arena_array(&loaded->arena, count, sizeof(float));
  }
  enum status status = interp_run(graph, BATCH, &input, outputs, 1, NULL, NULL, &loaded->diag);
  cr_assert(eq(int, status, STATUS_OK), "%s", loaded->diag.message);
}

static void check_results(const char *path, struct loaded *loaded) {
  const struct graph *before = &loaded->original, *after = &loaded->graph;
  if (before->inputs[0]->dtype != after->inputs[0]->dtype) return;
  uint32_t state = 1;
  float *expected[GRAPH_IO_MAX], *actual[GRAPH_IO_MAX];
  const void *input = make_input(&loaded->arena, before->inputs[0], &state);
  interpret(loaded, before, input, expected);
  interpret(loaded, after, input, actual);
  for (int i = 0; i < before->output_count; i++) {
    const struct value *was = before->outputs[i], *is = after->outputs[i];
    cr_assert(eq(str, (char *)is->name, (char *)was->name), "%s: output %d", path, i);
    cr_assert(shape_equal(&is->shape, &was->shape), "%s: output %d", path, i);
    size_t count = (size_t)shape_elements(&was->shape) * (was->batched ? BATCH : 1);
    double scale = 0, difference = 0;
    for (size_t j = 0; j < count; j++) {
      scale = fmax(scale, fabs((double)expected[i][j]));
      difference = fmax(difference, fabs((double)actual[i][j] - (double)expected[i][j]));
    }
    cr_assert(gt(dbl, scale, 0), "%s: output %d says nothing", path, i);
    cr_expect(le(dbl, difference, 1e-6 * scale), "%s: output %d", path, i);
  }
}

Test(passes_golden, pairs) {
  glob_t found;
  cr_assert(eq(int, glob(FOLDER "*.json", 0, NULL, &found), 0));
  cr_expect(ge(int, (int)found.gl_pathc, CASES_MIN));
  for (size_t i = 0; i < found.gl_pathc; i++) {
    struct loaded loaded;
    load(found.gl_pathv[i], &loaded);
    run_named_pass(found.gl_pathv[i], &loaded);
    check_results(found.gl_pathv[i], &loaded);
    check_text(found.gl_pathv[i], &loaded.graph);
    unload(&loaded);
  }
  globfree(&found);
}

/* Every pass has a pair. */
Test(passes_golden, every_pass_has_one) {
  for (int i = 0; pass_at(i) != NULL; i++) {
    char pattern[512];
    glob_t found;
    snprintf(pattern, sizeof pattern, FOLDER "%s.*.json", pass_at(i)->name);
    cr_expect(eq(int, glob(pattern, 0, NULL, &found), 0), "%s", pass_at(i)->name);
    globfree(&found);
  }
}
