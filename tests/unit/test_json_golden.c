/* A model on disk, interpreted, is what PyTorch makes of it: the graph, weights and arrays are from
 * tests/reference/tiny_vit.py. */
#include "base/npy.h"
#include "interp/interp.h"
#include "json/json.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define GOLDEN VITC_SOURCE_DIR "/tests/golden/tiny_vit"

static struct diag diag;

static struct npy open_array(const char *path) {
  struct npy npy;
  cr_assert(npy_open(path, &npy, &diag) == STATUS_OK && npy.dtype == NPY_F32, "%s", diag.message);
  return npy;
}

/* Largest absolute error over the standard deviation of what is expected. */
static double relative_error(const float *found, const struct npy *expected) {
  const float *floats = expected->data;
  double sum = 0, squares = 0, largest = 0;
  for (int64_t i = 0; i < expected->elements; i++) {
    double difference = fabs((double)found[i] - (double)floats[i]);
    largest = difference > largest || isnan(difference) ? difference : largest;
    sum += (double)floats[i];
    squares += (double)floats[i] * (double)floats[i];
  }
  double count = (double)expected->elements, mean = sum / count;
  return largest / sqrt(squares / count - mean * mean);
}

static void check_model(const char *path) {
  struct arena arena;
  struct weights weights;
  struct graph graph;
  arena_init(&arena);
  cr_assert(frontend_load(path, &arena, &weights, &graph, &diag) == STATUS_OK, "%s", diag.message);
  struct npy image = open_array(GOLDEN ".x.npy"), logits = open_array(GOLDEN ".logits.npy"),
             features = open_array(GOLDEN ".features.npy");
  const void *inputs[] = {image.data};
  void *outputs[] = {arena_array(&arena, (size_t)logits.elements, sizeof(float)),
                     arena_array(&arena, (size_t)features.elements, sizeof(float))};
  cr_assert(interp_run(&graph, 3, inputs, outputs, 1, NULL, NULL, &diag) == STATUS_OK, "%s", diag.message);
  double logits_error = relative_error(outputs[0], &logits), features_error = relative_error(outputs[1], &features);
  cr_expect(logits_error <= 2e-5, "logits: %g", logits_error);
  cr_expect(features_error <= 2e-5, "features: %g", features_error);
  npy_close(&image);
  npy_close(&logits);
  npy_close(&features);
  weights_close(&weights);
  arena_deinit(&arena);
}

Test(json_golden, as_it_lies_in_the_tree) {
  check_model(GOLDEN ".json");
}

Test(json_golden, written_and_read_back) {
  char folder[] = "/tmp/test-golden-XXXXXX", path[64], blob[64];
  struct arena arena;
  struct weights weights;
  struct graph graph;
  arena_init(&arena);
  cr_assert(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/copy.json", folder);
  snprintf(blob, sizeof blob, "%s/copy.safetensors", folder);
  cr_assert(frontend_load(GOLDEN ".json", &arena, &weights, &graph, &diag) == STATUS_OK, "%s", diag.message);
  cr_assert(json_write(&graph, path, &diag) == STATUS_OK, "%s", diag.message);
  weights_close(&weights);
  arena_deinit(&arena);
  check_model(path);
  cr_assert(unlink(path) == 0 && unlink(blob) == 0 && rmdir(folder) == 0);
}
