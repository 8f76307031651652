#include "llvm/object.h"

#include "base/span.h"
#include "llvm/bundle.h"
#include "llvm/elf.h"
#include "llvm/lower.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>

#include <string.h>

static const char triple[] = "x86_64-unknown-linux-gnu";

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

/* ---- weights */

struct weights_sink {
  FILE *stream;
  uint64_t hash, bytes;
  unsigned char rest[8];
  size_t rest_count;
};

static void hash_bytes(struct weights_sink *sink, const unsigned char *bytes, size_t size) {
  while (size > 0) {
    if (sink->rest_count == 0 && size >= 8) {
      uint64_t word;
      memcpy(&word, bytes, 8);
      sink->hash = (sink->hash ^ word) * 0x100000001b3u;
      bytes += 8;
      size -= 8;
      continue;
    }
    sink->rest[sink->rest_count++] = *bytes++;
    size--;
    if (sink->rest_count < 8) continue;
    sink->rest_count = 0;
    hash_bytes(sink, sink->rest, 8);
  }
}

static enum status sink_write(void *context, const void *bytes, size_t size) {
  struct weights_sink *sink = context;
  hash_bytes(sink, bytes, size);
  sink->bytes += size;
  return fwrite(bytes, 1, size, sink->stream) == size ? STATUS_OK : STATUS_SYSTEM;
}

static enum status write_failed(const char *path, struct diag *diag) {
  return diag_fail(diag, STATUS_SYSTEM, "%s: cannot write: disk full or not a file that can be written in two passes", path);
}

/* Streams the weights at the current place of the file. */
static enum status stream_weights(const struct plan *plan, struct output *output, const char *path, uint64_t *out_hash,
                                  struct diag *diag) {
  struct weights_sink sink = {.stream = output->stream, .hash = 0xcbf29ce484222325u};
  if (plan_write_weights(plan, sink_write, &sink) != STATUS_OK) return write_failed(path, diag);
  *out_hash = sink.hash;
  return STATUS_OK;
}

/* ---- module */

struct build {
  const struct graph *graph;
  const struct plan *plan;
  const struct object_options *options;
  struct diag *diag;
  LLVMContextRef context;
  LLVMModuleRef module;
  LLVMTargetMachineRef machine;
  LLVMMemoryBufferRef object;
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
  LLVMValueRef global = LLVMAddGlobal(b->module, type, name);
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
static void rename_locals(struct build *b) {
  for (LLVMValueRef f = LLVMGetFirstFunction(b->module); f != NULL; f = LLVMGetNextFunction(f)) rename_local(b, f);
  for (LLVMValueRef g = LLVMGetFirstGlobal(b->module); g != NULL; g = LLVMGetNextGlobal(g)) rename_local(b, g);
}

static enum status build_module(struct build *b) {
  struct entry_options entry = {.external_weights = b->options->external_weights,
                                .info = b->options->info,
                                .profile = b->options->profile,
                                .level_mask = b->level_mask,
                                .weights_hash = b->weights_hash};
  struct lowering lowering;
  lowering_init(&lowering, b->module, b->plan, b->level_mask, b->options->profile);
  for (int level = 0; level < LEVEL_COUNT; level++)
    if ((b->level_mask >> level & 1) != 0) entry.forward[level] = lower_level(&lowering, level);
  lowering_deinit(&lowering);
  struct emit emit;
  emit_init(&emit, b->module, NULL);
  entry.weights = weights_global(b, &emit);
  entry_emit(&emit, b->plan, &entry);
  emit_deinit(&emit);
  rename_locals(b);
  char *message = NULL;
  if (LLVMVerifyModule(b->module, LLVMReturnStatusAction, &message) != 0) {
    enum status status = diag_fail(b->diag, STATUS_SYSTEM, "internal error: invalid code for %s: %s", b->graph->name, message);
    LLVMDisposeMessage(message);
    return status;
  }
  LLVMDisposeMessage(message);
  return STATUS_OK;
}

static enum status create_machine(struct build *b) {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  LLVMInitializeX86AsmParser();
  LLVMTargetRef target;
  char *message = NULL;
  if (LLVMGetTargetFromTriple(triple, &target, &message) != 0) {
    enum status status = diag_fail(b->diag, STATUS_SYSTEM, "LLVM has no target %s: %s", triple, message);
    LLVMDisposeMessage(message);
    return status;
  }
  b->machine = LLVMCreateTargetMachine(target, triple, "x86-64", "", LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelSmall);
  LLVMSetTarget(b->module, triple);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(b->machine);
  LLVMSetModuleDataLayout(b->module, layout);
  LLVMDisposeTargetData(layout);
  return STATUS_OK;
}

/* ---- files */

static enum status append(struct build *b, const void *bytes, size_t size) {
  return fwrite(bytes, 1, size, b->output.stream) == size ? STATUS_OK : write_failed(b->options->output_path, b->diag);
}

static enum status pad_to(struct build *b, uint64_t from, uint64_t to) {
  static const char zeros[4096];
  for (; from < to; from += sizeof zeros) {
    uint64_t part = to - from < sizeof zeros ? to - from : sizeof zeros;
    TRY(append(b, zeros, (size_t)part));
  }
  return STATUS_OK;
}

static enum status write_weights(struct build *b) {
  if (b->options->external_weights) {
    TRY(output_open(&b->weights_output, b->options->weights_path, b->diag));
    return stream_weights(b->plan, &b->weights_output, b->options->weights_path, &b->weights_hash, b->diag);
  }
  if (!embeds(b)) return STATUS_OK;
  TRY(pad_to(b, 0, ELF_WEIGHTS_OFFSET));
  return stream_weights(b->plan, &b->output, b->options->output_path, &b->weights_hash, b->diag);
}

static enum status write_object(struct build *b) {
  uint8_t *bytes = (uint8_t *)LLVMGetBufferStart(b->object);
  size_t size = LLVMGetBufferSize(b->object);
  bool embed = embeds(b);
  uint64_t weights = (uint64_t)b->plan->weights_bytes, end = ELF_WEIGHTS_OFFSET + weights;
  uint64_t shift = embed ? (end + 4095) / 4096 * 4096 : 0;
  const char *constants = arena_printf(b->graph->arena, "%s.constants", b->graph->name);
  if (!elf_embed(bytes, size, embed ? b->section : NULL, weights, shift, b->large, constants))
    return diag_fail(b->diag, STATUS_SYSTEM, "internal error: LLVM's object has no section %s", b->section);
  if (!embed) return append(b, bytes, size);
  TRY(pad_to(b, end, shift));
  TRY(append(b, bytes, size));
  if (fseek(b->output.stream, 0, SEEK_SET) != 0) return write_failed(b->options->output_path, b->diag);
  return append(b, bytes, 64);
}

static enum status write_text(struct build *b) {
  if (b->options->emit == EMIT_LLVM_IR) {
    char *text = LLVMPrintModuleToString(b->module);
    enum status status = append(b, text, strlen(text));
    LLVMDisposeMessage(text);
    return status;
  }
  return append(b, LLVMGetBufferStart(b->object), LLVMGetBufferSize(b->object));
}

static enum status generate(struct build *b) {
  if (b->options->emit == EMIT_LLVM_IR) return STATUS_OK;
  char *message = NULL;
  LLVMCodeGenFileType type = b->options->emit == EMIT_ASM ? LLVMAssemblyFile : LLVMObjectFile;
  if (LLVMTargetMachineEmitToMemoryBuffer(b->machine, b->module, type, &message, &b->object) != 0) {
    enum status status = diag_fail(b->diag, STATUS_SYSTEM, "LLVM cannot generate code for %s: %s", b->graph->name, message);
    LLVMDisposeMessage(message);
    return status;
  }
  return STATUS_OK;
}

static enum status run_build(struct build *b) {
  TRY(object_levels(b->options->target, b->plan->precision, &b->level_mask, b->diag));
  TRY(output_open(&b->output, b->options->output_path, b->diag));
  TRY(write_weights(b));
  TRY(create_machine(b));
  TRY(build_module(b));
  TRY(generate(b));
  TRY(b->options->emit == EMIT_OBJECT ? write_object(b) : write_text(b));
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
  build.context = LLVMContextCreate();
  build.module = LLVMModuleCreateWithNameInContext(graph->name, build.context);
  enum status status = run_build(&build);
  output_discard(&build.output);
  output_discard(&build.weights_output);
  if (build.object != NULL) LLVMDisposeMemoryBuffer(build.object);
  if (build.machine != NULL) LLVMDisposeTargetMachine(build.machine);
  LLVMDisposeModule(build.module);
  LLVMContextDispose(build.context);
  return status;
}
