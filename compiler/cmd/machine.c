#include "cmd/machine.h"

#include "cmd/compile_options.h"
#include "vitc/host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool has_level(const struct loaded *loaded, const char *name) {
  const char *level;
  for (int i = 0; (level = load_level_at(loaded, i)) != NULL; i++)
    if (strcmp(level, name) == 0) return true;
  return false;
}

static enum status choose_run(struct machine *machine, const char *level, struct diag *diag) {
  const struct loaded *loaded = &machine->loaded;
  machine->run = loaded->model.run;
  machine->profiled = load_profiled(loaded, level);
  if (level != NULL) TRY(load_level(loaded, level, &machine->run, diag));
  unsigned have = target_host_features() & ((machine->parallel.threads & VITC_AMX) != 0 ? ~0u : ~(unsigned)TARGET_AMX_TILE),
           mask = 0;
  for (int i = 0; i < LEVEL_COUNT; i++)
    if (level != NULL ? strcmp(target_levels[i].name, level) == 0 : has_level(loaded, target_levels[i].name)) mask |= 1u << i;
  int best = target_best_level(mask, have);
  if (best >= 0) machine->level = &target_levels[best];
  if (level != NULL && mask != 0 && best < 0)
    return diag_fail(diag, STATUS_SYSTEM, "%s: this CPU cannot run its %s path", loaded->object.path, level);
  return STATUS_OK;
}

static enum status map_weights(struct machine *machine, const char *path, bool check_hash, struct diag *diag) {
  if (path == NULL) path = with_extension(machine->loaded.object.path, ".weights", &machine->loaded.arena);
  if (vitc_weights_map(&machine->loaded.model, path, check_hash, &machine->external_weights) == 0) return STATUS_OK;
  machine->external_weights = NULL;
  return diag_fail(diag, STATUS_INPUT, "%s: %s", path,
                   errno == EINVAL ? "is not the weights file of this model" : strerror(errno));
}

static enum status open_threads(struct machine *machine, int64_t threads, struct diag *diag) {
  machine->threads = threads > 0 ? (uint32_t)threads : vitc_cpu_count();
  if (machine->threads > VITC_THREADS_MAX) machine->threads = VITC_THREADS_MAX;
  machine->pool = vitc_pool_create(machine->threads);
  if (machine->pool == NULL) return diag_fail(diag, STATUS_SYSTEM, "cannot start %u threads", machine->threads);
  machine->parallel = vitc_pool_parallel(machine->pool);
  return STATUS_OK;
}

static enum status open_parts(const char *path, const struct machine_options *options, struct machine *machine,
                              struct diag *diag) {
  TRY(load_object(path, &machine->loaded, diag));
  const vitc_model *model = &machine->loaded.model;
  TRY(open_threads(machine, options->threads, diag));
  TRY(choose_run(machine, options->level, diag));
  if (model->weights_external != 0)
    TRY(map_weights(machine, options->weights_path, options->check_weights, diag));
  else if (options->check_weights)
    TRY(load_check_weights(&machine->loaded, diag));
  machine->arena = vitc_arena_alloc(model->arena_bytes);
  if (machine->arena == NULL && model->arena_bytes > 0)
    return diag_fail(diag, STATUS_SYSTEM, "%s: out of memory for an arena of %zu bytes", path, model->arena_bytes);
  return STATUS_OK;
}

enum status machine_open(const char *path, const struct machine_options *options, struct machine *out_machine,
                         struct diag *diag) {
  *out_machine = (struct machine){.run = NULL};
  enum status status = open_parts(path, options, out_machine, diag);
  if (status != STATUS_OK) machine_close(out_machine);
  return status;
}

enum precision machine_precision(const struct machine *machine) {
  enum precision precision;
  if (precision_named(machine->loaded.model.precision, &precision)) return precision;
  return strcmp(machine->loaded.model.precision, "mixed") == 0 ? PRECISION_INT8 : PRECISION_FP32;
}

void machine_close(struct machine *machine) {
  if (machine->arena != NULL) vitc_arena_free(machine->arena, machine->loaded.model.arena_bytes);
  if (machine->pool != NULL) vitc_pool_destroy(machine->pool);
  if (machine->external_weights != NULL) vitc_weights_unmap(&machine->loaded.model, machine->external_weights);
  load_close(&machine->loaded);
  *machine = (struct machine){.run = NULL};
}

enum status machine_call(const struct machine *machine, const void *const *inputs, void *const *outputs, uint32_t batch,
                         struct diag *diag) {
  static const char *const reasons[] = {
      [VITC_E_NULL] = "a pointer is NULL",
      [VITC_E_BATCH] = "the batch is 0 or larger than its largest",
      [VITC_E_ALIGN] = "a pointer is misaligned",
      [VITC_E_CPU] = "this CPU has none of the instruction sets that it was compiled for",
      [VITC_E_THREADS] = "the number of threads is out of range",
  };
  const vitc_args args = {.inputs = inputs,
                          .outputs = outputs,
                          .batch = batch,
                          .arena = machine->arena,
                          .weights = machine->external_weights,
                          .parallel = &machine->parallel};
  bool counting = machine->counters != NULL && machine->profiled != NULL;
  int error = counting ? machine->profiled(&args, machine->counters) : machine->run(&args);
  if (error == VITC_OK) return STATUS_OK;
  const char *path = machine->loaded.object.path;
  if (error > VITC_OK && error <= VITC_E_THREADS)
    return diag_fail(diag, STATUS_SYSTEM, "%s: cannot run: %s", path, reasons[error]);
  return diag_fail(diag, STATUS_SYSTEM, "%s: cannot run: error %d", path, error);
}

enum status machine_run(const struct machine *machine, const struct feed *feed, struct results *results, struct diag *diag) {
  const vitc_model *model = &machine->loaded.model;
  for (uint32_t done = 0; done < feed->batch;) {
    uint32_t batch = feed->batch - done < model->batch_max ? feed->batch - done : model->batch_max;
    const void *inputs[VITC_IO_MAX];
    void *outputs[VITC_IO_MAX];
    for (uint32_t i = 0; i < model->input_count; i++) inputs[i] = (char *)feed->inputs[i] + done * model->inputs[i].image_bytes;
    for (uint32_t i = 0; i < model->output_count; i++)
      outputs[i] = (char *)results->outputs[i] + done * model->outputs[i].image_bytes;
    TRY(machine_call(machine, inputs, outputs, batch, diag));
    done += batch;
  }
  return STATUS_OK;
}
