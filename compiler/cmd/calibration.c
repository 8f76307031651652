#include "cmd/calibration.h"

#include "cmd/feed.h"
#include "cmd/images.h"
#include "cmd/progress.h"
#include "vitc/host.h"

#include <string.h>

enum { IMAGES_MAX = 64 };
static const int64_t VALUE_BYTES_MAX = 512 << 20;

/* Images that the interpreter may hold at once. */
static size_t images_at_once(const struct graph *graph) {
  int64_t largest = 1;
  for (const struct value *value = graph->values; value != NULL; value = value->next) {
    int64_t bytes = shape_elements(&value->shape) * (int64_t)dtype_size(value->dtype);
    if (value->batched && bytes > largest) largest = bytes;
  }
  int64_t fit = VALUE_BYTES_MAX / largest;
  return fit < 1 ? 1 : fit > IMAGES_MAX ? IMAGES_MAX : (size_t)fit;
}

static enum status list_some(const char *folder, size_t most, struct arena *arena, struct word_list *out_paths,
                             struct diag *diag) {
  struct image_list list = {.paths = NULL};
  int error = list_images(&list, folder, arena);
  if (error != 0) return diag_fail(diag, STATUS_INPUT, "%s: %s", folder, strerror(error));
  if (list.count == 0) return diag_fail(diag, STATUS_INPUT, "%s: has no .jpg, .jpeg, .png or .webp files", folder);
  size_t count = list.count < most ? list.count : most;
  out_paths->words = arena_array(arena, count, sizeof *out_paths->words);
  for (size_t i = 0; i < count; i++) out_paths->words[i] = list.paths[i * list.count / count];
  out_paths->count = (int)count;
  return STATUS_OK;
}

/* The graph as it is compiled, but for normalisations in products: what a product reads is a value then. */
static enum status load_unfused(struct compilation *compilation, const char *graph, const struct driver_options *driver,
                                struct diag *diag) {
  struct driver_options unfused = *driver;
  const char **disabled = arena_array(&compilation->arena, (size_t)driver->passes.disabled_count + 1, sizeof *disabled);
  for (int i = 0; i < driver->passes.disabled_count; i++) disabled[i] = driver->passes.disabled[i];
  disabled[unfused.passes.disabled_count++] = "fuse_layer_norm";
  unfused.passes.disabled = disabled;
  TRY(driver_load(compilation, graph, &unfused, diag));
  return driver_optimize(compilation, &unfused, diag);
}

static enum status run_images(const struct compilation *planned, const struct compilation *unfused, const char *graph,
                              const char *folder, struct arena *arena, struct calibration *out_calibration, struct diag *diag) {
  vitc_model model;
  struct word_list paths;
  struct feed feed;
  TRY(describe_graph(&unfused->graph, graph, &model, diag));
  TRY(list_some(folder, images_at_once(&unfused->graph), arena, &paths, diag));
  enum status status = feed_images(&model, graph, &paths, &feed, diag);
  const void *inputs[VITC_IO_MAX];
  for (int i = 0; i < VITC_IO_MAX; i++) inputs[i] = feed.inputs[i];
  const struct calibration_input input = {.graph = &unfused->graph,
                                          .plan = &planned->plan,
                                          .batch = feed.batch,
                                          .inputs = inputs,
                                          .threads = (int)vitc_cpu_count(),
                                          .progress = progress_count};
  if (status == STATUS_OK) status = calibrate(&input, arena, out_calibration, diag);
  feed_free(&feed);
  return status;
}

enum status calibrate_on_images(const char *graph, const char *folder, const struct driver_options *driver, struct arena *arena,
                                struct calibration *out_calibration, struct diag *diag) {
  struct driver_options options = *driver;
  options.precision = PRECISION_INT8;
  options.choice_count = 0;
  options.calibration = NULL;
  options.passes.dump_after = NULL;
  options.passes.time_stream = NULL;
  struct compilation planned, unfused;
  compilation_init(&planned);
  compilation_init(&unfused);
  enum status status = driver_load(&planned, graph, &options, diag);
  if (status == STATUS_OK) status = driver_optimize(&planned, &options, diag);
  if (status == STATUS_OK) status = load_unfused(&unfused, graph, &options, diag);
  if (status == STATUS_OK) status = run_images(&planned, &unfused, graph, folder, arena, out_calibration, diag);
  compilation_close(&planned);
  compilation_close(&unfused);
  return status;
}
