#include "llvm/object.h"

#include "base/parallel.h"
#include "base/span.h"
#include "llvm/bundle.h"
#include "llvm/elf.h"
#include "llvm/elf_merge.h"
#include "llvm/lower.h"
#include "llvm/unit.h"
#include "llvm/weights.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Above this the weights go to the large-data area, which code reaches through the global offset table. */
static const int64_t LARGE_WEIGHTS = (int64_t)1 << 30;

enum status object_levels(const char *target, enum precision precision, unsigned *out_level_mask, struct diag *diag) {
  const bool native = target != NULL && strcmp(target, "native") == 0;
  const unsigned features = target_host_features();
  *out_level_mask = 0;
  for (int level = 0; level < LEVEL_COUNT; level++)
    if ((target_levels[level].precisions >> precision & 1) != 0) *out_level_mask |= 1u << level;
  if (native) { /* AMX is for those who have its permission */
    int best = target_best_level(*out_level_mask, features);
    int other = target_best_level(*out_level_mask, features & ~(unsigned)TARGET_AMX_TILE);
    *out_level_mask = best < 0 ? 0 : 1u << best | 1u << other;
  }
  if (native && *out_level_mask == 0)
    return diag_fail(diag, STATUS_SYSTEM, "--target native: this CPU has neither AVX2 and FMA nor AVX-512");
  if (native || target == NULL || strcmp(target, "x86-64") == 0) return STATUS_OK;
  if (strncmp(target, "x86_64-", 7) == 0 && strstr(target, "linux") != NULL) return STATUS_OK;
  return diag_fail(diag, STATUS_USAGE, "--target %s: expected native, x86-64 or an x86_64 Linux triple", target);
}

/* ---- module */

enum { LEVEL_UNITS = (int)LEVEL_COUNT * LOWERING_PARTS, UNITS_MAX = LEVEL_UNITS + 1, JOBS_MAX = UNITS_MAX + 1 };

/* The weights, which are packed and written, or a unit, which code is generated for. */
struct job {
  struct unit *unit; /* NULL: the weights */
  int64_t size;      /* what it takes is about in proportion */
  enum status status;
  struct diag diag;
};

struct build {
  const struct graph *graph;
  const struct plan *plan;
  const struct object_options *options;
  struct diag *diag;
  struct unit units[UNITS_MAX];
  int unit_count; /* objects: those of each level, then one of the public functions; else one of all */
  struct output output, weights_output;
  uint64_t weights_hash;
  unsigned level_mask;
  bool large;
  char section[512];
};

static bool embeds(const struct build *b) {
  return !b->options->external_weights && b->plan->weights_bytes > 0 && b->options->emit == EMIT_OBJECT;
}

static emit_value weights_global(struct build *b, struct emit *e) {
  if (b->options->external_weights || b->plan->weights_bytes == 0) return NULL;
  char name[512];
  snprintf(name, sizeof name, "%s_weights", b->graph->name);
  LLVMTypeRef type = LLVMArrayType2(e->i8, ELF_STAND_IN);
  LLVMValueRef global = LLVMAddGlobal(e->module, type, name);
  LLVMSetInitializer(global, LLVMConstNull(type));
  LLVMSetGlobalConstant(global, 1);
  LLVMSetAlignment(global, 64);
  LLVMSetSection(global, b->section);
  if (!b->large) LLVMSetVisibility(global, LLVMHiddenVisibility);
  return global;
}

static void rename_local(struct build *b, LLVMValueRef value) {
  if (LLVMGetLinkage(value) != LLVMInternalLinkage) return;
  size_t length;
  const char *old = LLVMGetValueName2(value, &length);
  char *name = arena_printf(b->graph->arena, "%s.%s", b->graph->name, old);
  LLVMSetValueName2(value, name, strlen(name));
}

/* Local symbols get the model's name in front: a symbol table shows whose they are. */
static void rename_locals(struct build *b, LLVMModuleRef module) {
  for (LLVMValueRef f = LLVMGetFirstFunction(module); f != NULL; f = LLVMGetNextFunction(f)) rename_local(b, f);
  for (LLVMValueRef g = LLVMGetFirstGlobal(module); g != NULL; g = LLVMGetNextGlobal(g)) rename_local(b, g);
}

/* The units of each level, and of the public functions. */
static struct unit *create_units(struct build *b, lowering_modules out_modules) {
  bool one = b->options->emit != EMIT_OBJECT;
  for (int i = 0; i < LEVEL_UNITS; i++) {
    int level = i / LOWERING_PARTS;
    if ((b->level_mask >> level & 1) == 0) continue;
    if (!one || b->unit_count == 0) unit_init(&b->units[b->unit_count++], b->graph->name);
    out_modules[level][i % LOWERING_PARTS] = b->units[b->unit_count - 1].module;
  }
  if (!one || b->unit_count == 0) unit_init(&b->units[b->unit_count++], b->graph->name);
  return &b->units[b->unit_count - 1];
}

static void build_modules(struct build *b) {
  struct entry_options entry = {.external_weights = b->options->external_weights,
                                .info = b->options->info,
                                .profile = b->options->profile,
                                .level_mask = b->level_mask,
                                .weights_hash = b->weights_hash};
  lowering_modules modules = {0};
  struct unit *public = create_units(b, modules);
  struct lowering lowering;
  lowering_init(&lowering, modules, b->plan, b->level_mask, b->options->profile);
  for (int level = 0; level < LEVEL_COUNT; level++)
    if ((b->level_mask >> level & 1) != 0) entry.forward[level] = lower_level(&lowering, level);
  lowering_deinit(&lowering);
  struct emit emit;
  emit_init(&emit, public->module, NULL);
  entry.weights = weights_global(b, &emit);
  entry_emit(&emit, b->plan, &entry);
  emit_deinit(&emit);
  for (int i = 0; i < b->unit_count; i++) rename_locals(b, b->units[i].module);
}

/* ---- files */

static enum status output_failed(struct build *b) {
  return weights_write_failed(b->options->output_path, b->diag);
}

static enum status append(struct build *b, const void *bytes, size_t size) {
  return fwrite(bytes, 1, size, b->output.stream) == size ? STATUS_OK : output_failed(b);
}

static enum status pad_to(struct build *b, uint64_t from, uint64_t to) {
  static const char zeros[4096];
  for (; from < to; from += sizeof zeros) {
    uint64_t part = to - from < sizeof zeros ? to - from : sizeof zeros;
    TRY(append(b, zeros, (size_t)part));
  }
  return STATUS_OK;
}

/* Into the object after a page for its header, or into their own file. */
static enum status write_weights(struct build *b, struct diag *diag) {
  bool external = b->options->external_weights;
  return weights_stream(b->plan, external ? &b->weights_output : &b->output,
                        external ? b->options->weights_path : b->options->output_path, &b->weights_hash, diag);
}

static enum status write_object(struct build *b, struct span object) {
  uint8_t *bytes = (uint8_t *)object.data;
  bool embed = embeds(b);
  uint64_t weights = (uint64_t)b->plan->weights_bytes, end = ELF_WEIGHTS_OFFSET + weights;
  uint64_t shift = embed ? (end + 4095) / 4096 * 4096 : 0;
  if (!elf_embed(bytes, object.size, embed ? b->section : NULL, weights, shift, b->large))
    return diag_fail(b->diag, STATUS_SYSTEM, "internal error: LLVM's object has no section %s", b->section);
  if (!embed) return append(b, bytes, object.size);
  TRY(pad_to(b, end, shift));
  TRY(append(b, bytes, object.size));
  if (fseek(b->output.stream, 0, SEEK_SET) != 0) return output_failed(b);
  return append(b, bytes, 64);
}

/* ---- order */

struct jobs {
  struct build *build;
  struct job jobs[JOBS_MAX];
  int count;
  atomic_bool failed;
};

static void run_job(void *context, int64_t index) {
  struct jobs *jobs = context;
  struct job *job = &jobs->jobs[index];
  if (atomic_load(&jobs->failed)) return;
  job->status =
      job->unit == NULL ? write_weights(jobs->build, &job->diag) : unit_generate(job->unit, LLVMObjectFile, &job->diag);
  if (job->status != STATUS_OK) atomic_store(&jobs->failed, true);
}

static int longer_first(const void *a, const void *b) {
  const struct job *x = a, *y = b;
  return x->size != y->size ? (x->size < y->size) - (x->size > y->size) : (x->unit > y->unit) - (x->unit < y->unit);
}

/* The weights are written while code is generated for all units, on as many threads as there are CPUs. */
static enum status run_jobs(struct build *b) {
  struct jobs jobs = {.build = b};
  if (embeds(b) || b->options->external_weights) jobs.jobs[jobs.count++].size = INT64_MAX;
  for (int i = 0; i < b->unit_count; i++)
    jobs.jobs[jobs.count++] = (struct job){.unit = &b->units[i], .size = unit_size(&b->units[i])};
  qsort(jobs.jobs, (size_t)jobs.count, sizeof *jobs.jobs, longer_first);
  parallel_run(parallel_cpus(), jobs.count, run_job, &jobs);
  for (int i = 0; i < jobs.count; i++)
    if (jobs.jobs[i].status != STATUS_OK) return diag_fail(b->diag, jobs.jobs[i].status, "%s", jobs.jobs[i].diag.message);
  return STATUS_OK;
}

/* The units' code as one object, with the hash of the weights in its description. */
static enum status merge_units(struct build *b, struct span *out_object) {
  struct span inputs[UNITS_MAX];
  for (int i = 0; i < b->unit_count; i++)
    inputs[i] = (struct span){(const uint8_t *)LLVMGetBufferStart(b->units[i].code), LLVMGetBufferSize(b->units[i].code)};
  const char *constants = arena_printf(b->graph->arena, "%s.constants", b->graph->name);
  if (!elf_merge(inputs, b->unit_count, constants, b->graph->arena, out_object) ||
      !elf_patch((uint8_t *)out_object->data, out_object->size, constants, offsetof(vitc_model, weights_hash), &b->weights_hash,
                 sizeof b->weights_hash))
    return diag_fail(b->diag, STATUS_SYSTEM, "internal error: LLVM's objects for %s are not as expected", b->graph->name);
  return STATUS_OK;
}

static enum status build_object(struct build *b) {
  build_modules(b);
  if (embeds(b)) TRY(pad_to(b, 0, ELF_WEIGHTS_OFFSET));
  TRY(run_jobs(b));
  struct span object;
  TRY(merge_units(b, &object));
  return write_object(b, object);
}

static enum status build_text(struct build *b) {
  if (b->options->external_weights) TRY(write_weights(b, b->diag));
  build_modules(b);
  struct unit *unit = &b->units[0];
  if (b->options->emit == EMIT_LLVM_IR) {
    TRY(unit_verify(unit, b->diag));
    char *text = LLVMPrintModuleToString(unit->module);
    enum status status = append(b, text, strlen(text));
    LLVMDisposeMessage(text);
    return status;
  }
  TRY(unit_generate(unit, LLVMAssemblyFile, b->diag));
  return append(b, LLVMGetBufferStart(unit->code), LLVMGetBufferSize(unit->code));
}

static enum status run_build(struct build *b) {
  TRY(object_levels(b->options->target, b->plan->precision, &b->level_mask, b->diag));
  TRY(output_open(&b->output, b->options->output_path, b->diag));
  if (b->options->external_weights) TRY(output_open(&b->weights_output, b->options->weights_path, b->diag));
  TRY(units_prepare(b->diag));
  TRY(b->options->emit == EMIT_OBJECT ? build_object(b) : build_text(b));
  if (b->options->header_path != NULL)
    TRY(bundle_write_header(b->plan, b->options->external_weights, b->options->header_path, b->diag));
  if (b->options->external_weights) TRY(output_commit(&b->weights_output, b->diag));
  return output_commit(&b->output, b->diag);
}

enum status object_write(const struct graph *graph, const struct plan *plan, const struct object_options *options,
                         struct diag *diag) {
  struct build build = {.graph = graph, .plan = plan, .options = options, .diag = diag};
  build.large = plan->weights_bytes > LARGE_WEIGHTS;
  snprintf(build.section, sizeof build.section, ".%srodata.%s_weights", build.large ? "l" : "", graph->name);
  enum status status = run_build(&build);
  output_discard(&build.output);
  output_discard(&build.weights_output);
  for (int i = 0; i < build.unit_count; i++) unit_deinit(&build.units[i]);
  return status;
}
