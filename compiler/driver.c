#include "driver.h"

#include "ir/ops.h"

void compilation_init(struct compilation *compilation) {
  *compilation = (struct compilation){.graph = {.name = NULL}};
  arena_init(&compilation->arena);
  weights_init(&compilation->weights);
}

void compilation_close(struct compilation *compilation) {
  weights_close(&compilation->weights);
  arena_deinit(&compilation->arena);
}

enum status driver_load(struct compilation *compilation, const char *path, const struct driver_options *options,
                        struct diag *diag) {
  TRY(frontend_load(path, &compilation->arena, &compilation->weights, &compilation->graph, diag));
  if (options->name != NULL) compilation->graph.name = options->name;
  return STATUS_OK;
}

enum status driver_optimize(struct compilation *compilation, const struct driver_options *options, struct diag *diag) {
  compilation->graph.diag = diag;
  graph_copy(&compilation->graph, &compilation->arena, &compilation->original);
  TRY(run_passes(&compilation->graph, &options->passes));
  const struct plan_options plan = {.batch_max = options->batch_max > 0 ? options->batch_max : 1,
                                    .precision = options->precision,
                                    .choices = options->choices,
                                    .choice_count = options->choice_count};
  TRY(plan_graph(&compilation->graph, &plan, &compilation->arena, &compilation->plan));
  if (options->calibration != NULL) calibration_apply(options->calibration, &compilation->plan);
  return STATUS_OK;
}

enum status driver_emit(struct compilation *compilation, const struct driver_options *options, struct diag *diag) {
  struct object_options object = options->object;
  object.info = driver_info(compilation);
  return object_write(&compilation->graph, &compilation->plan, &object, diag);
}

enum status driver_compile(struct compilation *compilation, const char *path, const struct driver_options *options,
                           struct diag *diag) {
  unsigned levels;
  TRY(object_levels(options->object.target, options->precision, &levels, diag)); /* before the work */
  TRY(driver_load(compilation, path, options, diag));
  TRY(driver_optimize(compilation, options, diag));
  return driver_emit(compilation, options, diag);
}

enum status driver_input_u8(struct compilation *compilation, struct diag *diag) {
  compilation->graph.diag = diag;
  TRY(pass_u8_input(&compilation->graph));
  return verify_graph(&compilation->graph, "u8_input");
}
