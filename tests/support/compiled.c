#include "support/compiled.h"

#include "llvm/object.h"
#include "plan/plan.h"
#include "vitc/host.h"
#include "vitc/threads.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum status build(struct compiled *c, const struct pass_options *passes, int64_t batch_max, int64_t group,
                         enum precision precision) {
  TRY(run_passes(&c->graph, passes));
  struct plan plan;
  struct plan_options plan_options = {.batch_max = batch_max, .group = group, .precision = precision};
  TRY(plan_graph(&c->graph, &plan_options, &c->arena, &plan));
  struct object_options options = {.output_path = c->path};
  TRY(object_write(&c->graph, &plan, &options, c->graph.diag));
  return load_object(c->path, &c->loaded, c->graph.diag);
}

enum status compiled_open(const struct graph *graph, const struct pass_options *passes, int64_t batch_max, int64_t group,
                          struct compiled *out) {
  return compiled_open_precision(graph, passes, batch_max, group, PRECISION_FP32, out);
}

enum status compiled_open_precision(const struct graph *graph, const struct pass_options *passes, int64_t batch_max,
                                    int64_t group, enum precision precision, struct compiled *out) {
  memset(out, 0, sizeof *out);
  arena_init(&out->arena);
  graph_copy(graph, &out->arena, &out->graph);
  snprintf(out->path, sizeof out->path, "/tmp/vitc-compiled-XXXXXX");
  int file = mkstemp(out->path);
  if (file >= 0) close(file);
  enum status status = build(out, passes, batch_max, group, precision);
  unlink(out->path);
  if (status != STATUS_OK) arena_deinit(&out->arena);
  return status;
}

void compiled_close(struct compiled *compiled) {
  load_close(&compiled->loaded);
  arena_deinit(&compiled->arena);
}

static bool cpu_has(const char *name) {
  for (int i = 0; i < LEVEL_COUNT; i++) {
    const struct target_level *level = &target_levels[i];
    if (strcmp(level->name, name) != 0) continue;
    bool has = (level->requires & ~target_host_features()) == 0 && (!level->tiles || vitc_cpu_request_amx() == 1);
    if (!has) fprintf(stderr, "this CPU lacks level %s: not run as an object, its kernels are in test_kernels_*\n", name);
    return has;
  }
  return false;
}

const char *compiled_level(const struct compiled *compiled, int index) {
  for (int i = 0, found = 0;; i++) {
    const char *level = load_level_at(&compiled->loaded, i);
    if (level == NULL || (cpu_has(level) && found++ == index)) return level;
  }
}

enum { GUARD = 64 };

bool compiled_run(const struct compiled *compiled, const char *level, uint32_t batch, uint32_t threads,
                  const void *const *inputs, void *const *outputs) {
  const vitc_model *model = &compiled->loaded.model;
  load_run run = model->run;
  if (level != NULL && load_level(&compiled->loaded, level, &run, compiled->graph.diag) != STATUS_OK) return false;
  unsigned char *guarded[VITC_IO_MAX];
  void *places[VITC_IO_MAX];
  bool right = true;
  for (uint32_t i = 0; i < model->output_count; i++) {
    size_t bytes = model->outputs[i].image_bytes * batch;
    guarded[i] = aligned_alloc(64, (bytes + 2 * GUARD + 63) / 64 * 64);
    memset(guarded[i], 0xa5, bytes + 2 * GUARD);
    places[i] = guarded[i] + GUARD;
  }
  unsigned char *arena = vitc_arena_alloc(model->arena_bytes + GUARD);
  memset(arena, 0xff, model->arena_bytes + GUARD); /* NaN: nothing may be read before it is written */
  /* A pool of one thread says that tiles may be used. */
  bool pooled = threads > 1 || (level != NULL && strcmp(level, "amx") == 0);
  vitc_pool *pool = pooled ? vitc_pool_create(threads) : NULL;
  vitc_parallel parallel = {0};
  if (pool != NULL) parallel = vitc_pool_parallel(pool);
  vitc_args args = {inputs, places, batch, arena, NULL, pool != NULL ? &parallel : NULL};
  right = run(&args) == VITC_OK;
  if (pool != NULL) vitc_pool_destroy(pool);
  for (int i = 0; i < GUARD; i++) right = right && arena[model->arena_bytes + (size_t)i] == 0xff;
  vitc_arena_free(arena, model->arena_bytes + GUARD);
  for (uint32_t o = 0; o < model->output_count; o++) {
    size_t bytes = model->outputs[o].image_bytes * batch;
    for (size_t i = 0; i < GUARD; i++) right = right && guarded[o][i] == 0xa5 && guarded[o][GUARD + bytes + i] == 0xa5;
    memcpy(outputs[o], places[o], bytes);
    free(guarded[o]);
  }
  return right;
}

double largest_error(const float *a, const float *b, size_t count) {
  double sum = 0, squares = 0, largest = 0;
  for (size_t i = 0; i < count; i++) sum += (double)b[i];
  double mean = sum / (double)count;
  for (size_t i = 0; i < count; i++) squares += ((double)b[i] - mean) * ((double)b[i] - mean);
  double deviation = sqrt(squares / (double)count);
  for (size_t i = 0; i < count; i++) {
    double error = fabs((double)a[i] - (double)b[i]);
    if (isnan(error)) return INFINITY;
    largest = error > largest ? error : largest;
  }
  return deviation > 0 ? largest / deviation : largest;
}
