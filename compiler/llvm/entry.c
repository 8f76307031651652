/* The public functions of a model. They are compiled for plain x86-64: nothing above it runs before the CPU was asked. */
#include "llvm/lower.h"
#include "llvm/split.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct entry {
  struct emit *e;
  const struct plan *plan;
  const struct graph *graph;
  const struct entry_options *options;
  emit_value check, cpu, run_args;
};

static emit_value public_function(struct entry *entry, const char *suffix, const LLVMTypeRef *parameters, int count) {
  char name[512];
  snprintf(name, sizeof name, "%s_%s", entry->graph->name, suffix);
  emit_value function = emit_function_begin(entry->e, name, entry->e->i32, parameters, count);
  LLVMSetLinkage(function, LLVMExternalLinkage);
  LLVMSetVisibility(function, LLVMDefaultVisibility);
  return function;
}

static emit_value field(struct emit *e, LLVMTypeRef type, emit_value base, size_t offset) {
  return LLVMBuildLoad2(e->builder, type, emit_bytes(e, base, emit_i64(e, (int64_t)offset)), "");
}

static void set_field(struct emit *e, emit_value value, emit_value base, size_t offset) {
  LLVMBuildStore(e->builder, value, emit_bytes(e, base, emit_i64(e, (int64_t)offset)));
}

static emit_value is_null(struct emit *e, emit_value pointer) {
  return LLVMBuildICmp(e->builder, LLVMIntEQ, pointer, LLVMConstNull(e->pointer), "");
}

/* if (condition) { before; return value; } */
struct early_return {
  LLVMBasicBlockRef go;
};

static struct early_return return_begin(struct emit *e, emit_value condition) {
  LLVMBasicBlockRef then = LLVMAppendBasicBlockInContext(e->context, e->function, "leave");
  struct early_return early = {LLVMAppendBasicBlockInContext(e->context, e->function, "go")};
  LLVMBuildCondBr(e->builder, condition, then, early.go);
  LLVMPositionBuilderAtEnd(e->builder, then);
  return early;
}

static void return_end(struct emit *e, struct early_return early, emit_value value) {
  LLVMBuildRet(e->builder, value);
  LLVMPositionBuilderAtEnd(e->builder, early.go);
}

static void return_if(struct emit *e, emit_value condition, int code) {
  struct early_return early = return_begin(e, condition);
  return_end(e, early, emit_i32(e, code));
}

static void return_if_misaligned(struct emit *e, emit_value pointer, int64_t alignment) {
  emit_value bits = LLVMBuildPtrToInt(e->builder, pointer, e->i64, "");
  bits = LLVMBuildAnd(e->builder, bits, emit_i64(e, alignment - 1), "");
  return_if(e, LLVMBuildICmp(e->builder, LLVMIntNE, bits, emit_i64(e, 0), ""), VITC_E_ALIGN);
}

static emit_value threads_of(struct emit *e, emit_value parallel) {
  emit_value threads = field(e, e->i32, parallel, offsetof(vitc_parallel, threads));
  return LLVMBuildAnd(e->builder, threads, emit_i32(e, (int32_t)~VITC_AMX), "");
}

static void check_tensors(struct emit *e, emit_value array, int count, const struct value *const *values) {
  for (int i = 0; i < count; i++) {
    emit_value pointer = field(e, e->pointer, array, (size_t)i * 8);
    return_if(e, is_null(e, pointer), VITC_E_NULL);
    return_if_misaligned(e, pointer, (int64_t)dtype_size(values[i]->dtype));
  }
}

/* i32 check(const vitc_args *): everything that can be wrong with the arguments. */
static void emit_check(struct entry *entry) {
  struct emit *e = entry->e;
  const struct graph *graph = entry->graph;
  entry->check = emit_function_begin(e, "check", e->i32, &e->pointer, 1);
  emit_value args = emit_parameter(e, 0);
  return_if(e, is_null(e, args), VITC_E_NULL);
  emit_value inputs = field(e, e->pointer, args, offsetof(vitc_args, inputs));
  emit_value outputs = field(e, e->pointer, args, offsetof(vitc_args, outputs));
  emit_value arena = field(e, e->pointer, args, offsetof(vitc_args, arena));
  return_if(e, is_null(e, inputs), VITC_E_NULL);
  return_if(e, is_null(e, outputs), VITC_E_NULL);
  if (entry->plan->arena_bytes > 0) return_if(e, is_null(e, arena), VITC_E_NULL);
  return_if_misaligned(e, arena, VITC_ALIGNMENT);
  check_tensors(e, inputs, graph->input_count, (const struct value *const *)graph->inputs);
  check_tensors(e, outputs, graph->output_count, (const struct value *const *)graph->outputs);
  if (entry->options->external_weights) {
    emit_value weights = field(e, e->pointer, args, offsetof(vitc_args, weights));
    return_if(e, is_null(e, weights), VITC_E_NULL);
    return_if_misaligned(e, weights, VITC_ALIGNMENT);
  }
  emit_value batch = field(e, e->i32, args, offsetof(vitc_args, batch));
  emit_value less = LLVMBuildSub(e->builder, batch, emit_i32(e, 1), "");
  return_if(e, LLVMBuildICmp(e->builder, LLVMIntUGE, less, emit_i32(e, (int32_t)entry->plan->batch_max), ""), VITC_E_BATCH);
  emit_value parallel = field(e, e->pointer, args, offsetof(vitc_args, parallel));
  struct emit_if given;
  emit_if_begin(e, &given, LLVMBuildNot(e->builder, is_null(e, parallel), ""));
  return_if(e, is_null(e, field(e, e->pointer, parallel, offsetof(vitc_parallel, run))), VITC_E_NULL);
  emit_value threads = threads_of(e, parallel);
  less = LLVMBuildSub(e->builder, threads, emit_i32(e, 1), "");
  return_if(e, LLVMBuildICmp(e->builder, LLVMIntUGE, less, emit_i32(e, VITC_THREADS_MAX), ""), VITC_E_THREADS);
  emit_if_end(e, &given);
  LLVMBuildRet(e->builder, emit_i32(e, VITC_OK));
  emit_function_end(e);
}

/* ---- CPU */

enum { EAX, EBX, ECX, EDX };

static void cpuid(struct emit *e, int leaf, int subleaf, emit_value *out_registers) {
  static const char text[] = "cpuid", constraints[] = "={ax},={bx},={cx},={dx},0,2,~{dirflag},~{fpsr},~{flags}";
  LLVMTypeRef results[] = {e->i32, e->i32, e->i32, e->i32}, parameters[] = {e->i32, e->i32};
  LLVMTypeRef type = LLVMFunctionType(LLVMStructTypeInContext(e->context, results, 4, 0), parameters, 2, 0);
  LLVMValueRef code =
      LLVMGetInlineAsm(type, text, sizeof text - 1, constraints, sizeof constraints - 1, 1, 0, LLVMInlineAsmDialectATT, 0);
  LLVMValueRef arguments[] = {emit_i32(e, leaf), emit_i32(e, subleaf)};
  LLVMValueRef result = LLVMBuildCall2(e->builder, type, code, arguments, 2, "");
  for (unsigned i = 0; i < 4; i++) out_registers[i] = LLVMBuildExtractValue(e->builder, result, i, "");
}

/* Register state that the operating system saves; only where CPUID says that xgetbv exists. */
static emit_value xgetbv(struct emit *e) {
  static const char text[] = "xgetbv", constraints[] = "={ax},={dx},{cx},~{dirflag},~{fpsr},~{flags}";
  LLVMTypeRef results[] = {e->i32, e->i32};
  LLVMTypeRef type = LLVMFunctionType(LLVMStructTypeInContext(e->context, results, 2, 0), &e->i32, 1, 0);
  LLVMValueRef code =
      LLVMGetInlineAsm(type, text, sizeof text - 1, constraints, sizeof constraints - 1, 1, 0, LLVMInlineAsmDialectATT, 0);
  LLVMValueRef zero = emit_i32(e, 0);
  return LLVMBuildExtractValue(e->builder, LLVMBuildCall2(e->builder, type, code, &zero, 1, ""), 0, "");
}

static emit_value has_bits(struct emit *e, emit_value word, uint32_t bits) {
  emit_value mask = emit_i32(e, (int32_t)bits);
  return LLVMBuildICmp(e->builder, LLVMIntEQ, LLVMBuildAnd(e->builder, word, mask, ""), mask, "");
}

static emit_value lacks_bits(struct emit *e, emit_value word, uint32_t bits) {
  emit_value some = LLVMBuildAnd(e->builder, word, emit_i32(e, (int32_t)bits), "");
  return LLVMBuildICmp(e->builder, LLVMIntEQ, some, emit_i32(e, 0), "");
}

static emit_value bits_if(struct emit *e, emit_value condition, unsigned bits) {
  return emit_select(e, condition, emit_i32(e, (int32_t)bits), emit_i32(e, 0));
}

static emit_value add_bits(struct emit *e, emit_value word, emit_value condition, unsigned bits) {
  return LLVMBuildOr(e->builder, word, bits_if(e, condition, bits), "");
}

static emit_value both(struct emit *e, emit_value a, emit_value b) {
  return LLVMBuildAnd(e->builder, a, b, "");
}

static uint32_t bit(int n) {
  return (uint32_t)1 << n;
}

/* i32 cpu(void): TARGET_* bits of this CPU, as far as the levels need them. */
static void emit_cpu(struct entry *entry) {
  struct emit *e = entry->e;
  entry->cpu = emit_function_begin(e, "cpu", e->i32, NULL, 0);
  emit_value leaf[4];
  cpuid(e, 0, 0, leaf);
  emit_value maker = LLVMBuildICmp(e->builder, LLVMIntEQ, leaf[EBX], emit_i32(e, 0x756e6547), ""); /* "Genu" */
  return_if(e, LLVMBuildICmp(e->builder, LLVMIntULT, leaf[EAX], emit_i32(e, 7), ""), 0);
  cpuid(e, 1, 0, leaf);
  const uint32_t fma = bit(12), movbe = bit(22), popcnt = bit(23), osxsave = bit(27), avx = bit(28), f16c = bit(29);
  return_if(e, LLVMBuildNot(e->builder, has_bits(e, leaf[ECX], movbe | popcnt | osxsave | avx | f16c), ""), 0);
  emit_value has_fma = has_bits(e, leaf[ECX], fma), state = xgetbv(e);
  return_if(e, LLVMBuildNot(e->builder, has_bits(e, state, 0x6), ""), 0);
  cpuid(e, 7, 0, leaf);
  const uint32_t bmi1 = bit(3), avx2 = bit(5), bmi2 = bit(8);
  const uint32_t avx512 = bit(16) | bit(17) | bit(28) | bit(30) | bit(31); /* F, DQ, CD, BW, VL */
  emit_value result = add_bits(e, bits_if(e, has_fma, TARGET_FMA), maker, TARGET_INTEL);
  result = add_bits(e, result, has_bits(e, leaf[EBX], bmi1 | avx2 | bmi2), TARGET_AVX2);
  emit_value saves_avx512 = has_bits(e, state, 0xe6), saves_tiles = has_bits(e, state, 0x60000);
  result = add_bits(e, result, both(e, saves_avx512, has_bits(e, leaf[EBX], avx512)), TARGET_AVX512);
  result = add_bits(e, result, both(e, saves_avx512, has_bits(e, leaf[ECX], bit(11))), TARGET_AVX512_VNNI);
  result = add_bits(e, result, both(e, saves_tiles, has_bits(e, leaf[EDX], bit(24))), TARGET_AMX_TILE);
  result = add_bits(e, result, both(e, saves_tiles, has_bits(e, leaf[EDX], bit(22))), TARGET_AMX_BF16);
  result = add_bits(e, result, both(e, saves_tiles, has_bits(e, leaf[EDX], bit(25))), TARGET_AMX_INT8);
  emit_value subleaves = LLVMBuildICmp(e->builder, LLVMIntNE, leaf[EAX], emit_i32(e, 0), "");
  cpuid(e, 7, 1, leaf); /* of no meaning where there is no such subleaf */
  result = add_bits(e, result, both(e, subleaves, has_bits(e, leaf[EAX], bit(4))), TARGET_AVX_VNNI);
  emit_value bf16 = both(e, saves_avx512, has_bits(e, leaf[EAX], bit(5)));
  result = add_bits(e, result, both(e, subleaves, bf16), TARGET_AVX512_BF16);
  LLVMBuildRet(e->builder, result);
  emit_function_end(e);
}

/* ---- running */

/* Fills the context for the group of images from `first` on and runs it. */
static void emit_group(struct entry *entry, emit_value args, emit_value context, emit_value first, emit_value images,
                       emit_value forward) {
  struct emit *e = entry->e;
  const struct graph *graph = entry->graph;
  set_field(e, images, context, CONTEXT_IMAGES * 8);
  size_t slot = CONTEXT_TENSORS;
  for (int out = 0; out < 2; out++) {
    emit_value array = field(e, e->pointer, args, out ? offsetof(vitc_args, outputs) : offsetof(vitc_args, inputs));
    for (int i = 0; i < (out ? graph->output_count : graph->input_count); i++) {
      const struct value *value = out ? graph->outputs[i] : graph->inputs[i];
      int64_t bytes = shape_elements(&value->shape) * (int64_t)dtype_size(value->dtype);
      emit_value pointer = field(e, e->pointer, array, (size_t)i * 8);
      set_field(e, emit_bytes(e, pointer, emit_mul(e, first, emit_i64(e, bytes))), context, slot++ * 8);
    }
  }
  emit_value arguments[] = {context, field(e, e->pointer, args, offsetof(vitc_args, parallel))};
  emit_call(e, forward, arguments, 2);
}

/* void groups_LEVEL(const vitc_args *, uint64_t *counters): group after group; arguments and CPU were checked. */
static emit_value emit_groups(struct entry *entry, int level) {
  struct emit *e = entry->e;
  const struct graph *graph = entry->graph;
  char name[64];
  snprintf(name, sizeof name, "groups_%s", target_levels[level].name);
  emit_value function = emit_function_begin(e, name, e->void_type, (LLVMTypeRef[]){e->pointer, e->pointer}, 2);
  emit_value args = emit_parameter(e, 0);
  emit_value context = emit_stack(e, (context_counters(graph) + 1) * 8);
  set_field(e, emit_parameter(e, 1), context, (size_t)context_counters(graph) * 8);
  emit_value parallel = field(e, e->pointer, args, offsetof(vitc_args, parallel));
  set_field(e, emit_i64(e, 1), context, CONTEXT_THREADS * 8);
  set_field(e, emit_i64(e, 1), context, CONTEXT_TASKS * 8);
  struct emit_if given;
  emit_if_begin(e, &given, LLVMBuildNot(e->builder, is_null(e, parallel), ""));
  emit_value threads = LLVMBuildZExt(e->builder, threads_of(e, parallel), e->i64, "");
  emit_value several = LLVMBuildICmp(e->builder, LLVMIntSGT, threads, emit_i64(e, 1), "");
  set_field(e, threads, context, CONTEXT_THREADS * 8);
  emit_value tasks = emit_select(e, several, emit_mul(e, threads, emit_i64(e, TASKS_PER_THREAD)), threads);
  set_field(e, tasks, context, CONTEXT_TASKS * 8);
  emit_if_end(e, &given);
  set_field(e, field(e, e->pointer, args, offsetof(vitc_args, arena)), context, CONTEXT_ARENA * 8);
  emit_value weights = entry->options->weights;
  if (entry->options->external_weights) weights = field(e, e->pointer, args, offsetof(vitc_args, weights));
  set_field(e, weights != NULL ? weights : LLVMConstNull(e->pointer), context, CONTEXT_WEIGHTS * 8);
  emit_value batch = LLVMBuildZExt(e->builder, field(e, e->i32, args, offsetof(vitc_args, batch)), e->i64, "");
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, 0), batch, entry->plan->group, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_value images = emit_min(e, emit_sub(e, batch, loop.index), emit_i64(e, entry->plan->group));
  emit_group(entry, args, context, loop.index, images, lower_import(e, entry->options->forward[level], entry->graph));
  emit_loop_end(e, &loop, NULL);
  emit_function_end(e);
  return function;
}

static void return_if_error(struct emit *e, emit_value status) {
  struct early_return early = return_begin(e, LLVMBuildICmp(e->builder, LLVMIntNE, status, emit_i32(e, VITC_OK), ""));
  return_end(e, early, status);
}

/* TARGET_* bits that this call may use: AMX's tiles only where the host says that it has the system's permission. */
static emit_value allowed_features(struct entry *entry, emit_value args) {
  struct emit *e = entry->e;
  emit_value features = emit_call(e, entry->cpu, NULL, 0), parallel = field(e, e->pointer, args, offsetof(vitc_args, parallel));
  emit_value allowed = emit_stack(e, 8);
  LLVMBuildStore(e->builder, emit_i32(e, ~TARGET_AMX_TILE), allowed);
  struct emit_if given;
  emit_if_begin(e, &given, LLVMBuildNot(e->builder, is_null(e, parallel), ""));
  emit_value threads = field(e, e->i32, parallel, offsetof(vitc_parallel, threads));
  emit_value amx = LLVMBuildICmp(e->builder, LLVMIntSLT, threads, emit_i32(e, 0), ""); /* VITC_AMX is the sign */
  LLVMBuildStore(e->builder, emit_select(e, amx, emit_i32(e, -1), emit_i32(e, ~TARGET_AMX_TILE)), allowed);
  emit_if_end(e, &given);
  return LLVMBuildAnd(e->builder, features, LLVMBuildLoad2(e->builder, e->i32, allowed, ""), "");
}

static emit_value usable(struct entry *entry, emit_value features, int level) {
  return has_bits(entry->e, features, target_levels[level].requires);
}

static void run_groups(struct entry *entry, emit_value groups, emit_value args, emit_value counters) {
  emit_value arguments[] = {args, counters};
  emit_call(entry->e, groups, arguments, 2);
}

/* The rest of a function whose first parameter is the arguments: runs the best level that the CPU has. */
static void emit_dispatch(struct entry *entry, const emit_value *groups, emit_value counters) {
  struct emit *e = entry->e;
  emit_value args = emit_parameter(e, 0);
  return_if_error(e, emit_call(e, entry->check, &args, 1));
  emit_value features = allowed_features(entry, args);
  for (int pass = 0; pass < 2; pass++) /* as target_best_level does */
    for (int level = LEVEL_COUNT - 1; level >= 0; level--) {
      unsigned avoid = target_levels[level].avoid;
      if (groups[level] == NULL || (pass == 1 && avoid == 0)) continue;
      emit_value runs = usable(entry, features, level);
      if (pass == 0 && avoid != 0) runs = both(e, runs, lacks_bits(e, features, avoid));
      struct early_return early = return_begin(e, runs);
      run_groups(entry, groups[level], args, counters);
      return_end(e, early, emit_i32(e, VITC_OK));
    }
  LLVMBuildRet(e->builder, emit_i32(e, VITC_E_CPU));
  emit_function_end(e);
}

/* int NAME_run_LEVEL(const vitc_args *) or, profiled, int NAME_run_profiled_LEVEL(const vitc_args *, uint64_t *counters) */
static void emit_level_run(struct entry *entry, emit_value groups, int level, bool profiled) {
  struct emit *e = entry->e;
  char suffix[64];
  snprintf(suffix, sizeof suffix, "run_%s%s", profiled ? "profiled_" : "", target_levels[level].name);
  LLVMTypeRef parameters[] = {e->pointer, e->pointer};
  public_function(entry, suffix, parameters, profiled ? 2 : 1);
  emit_value args = emit_parameter(e, 0), counters = profiled ? emit_parameter(e, 1) : LLVMConstNull(e->pointer);
  if (profiled) return_if(e, is_null(e, counters), VITC_E_NULL);
  return_if_error(e, emit_call(e, entry->check, &args, 1));
  return_if(e, LLVMBuildNot(e->builder, usable(entry, allowed_features(entry, args), level), ""), VITC_E_CPU);
  run_groups(entry, groups, args, counters);
  LLVMBuildRet(e->builder, emit_i32(e, VITC_OK));
  emit_function_end(e);
}

/* int NAME_run_LEVEL(const vitc_args *) for each level, and int NAME_run_args(const vitc_args *), which takes the best.
 * In a profiled build also NAME_run_profiled_LEVEL and NAME_run_profiled with a second argument, uint64_t *counters: one
 * counter a phase, to which the time stamp counter's ticks of the phase are added. */
static void emit_runs(struct entry *entry) {
  struct emit *e = entry->e;
  const bool profile = entry->options->profile;
  emit_value groups[LEVEL_COUNT] = {0};
  for (int level = 0; level < LEVEL_COUNT; level++)
    if ((entry->options->level_mask >> level & 1) != 0) groups[level] = emit_groups(entry, level);
  for (int level = 0; level < LEVEL_COUNT; level++) {
    if (groups[level] == NULL) continue;
    emit_level_run(entry, groups[level], level, false);
    if (profile) emit_level_run(entry, groups[level], level, true);
  }
  entry->run_args = public_function(entry, "run_args", &e->pointer, 1);
  emit_dispatch(entry, groups, LLVMConstNull(e->pointer));
  if (!profile) return;
  LLVMTypeRef parameters[] = {e->pointer, e->pointer};
  public_function(entry, "run_profiled", parameters, 2);
  return_if(e, is_null(e, emit_parameter(e, 1)), VITC_E_NULL);
  emit_dispatch(entry, groups, emit_parameter(e, 1));
}

/* int NAME_run(inputs.., outputs.., uint32_t batch, void *arena, [const void *weights,] const vitc_parallel *) */
static void emit_typed_run(struct entry *entry) {
  struct emit *e = entry->e;
  const struct graph *graph = entry->graph;
  LLVMTypeRef parameters[2 * GRAPH_IO_MAX + 4];
  int tensors = graph->input_count + graph->output_count, count = 0;
  for (int i = 0; i < tensors; i++) parameters[count++] = e->pointer;
  int batch = count;
  parameters[count++] = e->i32;
  int arena = count;
  parameters[count++] = e->pointer;
  int weights = count;
  if (entry->options->external_weights) parameters[count++] = e->pointer;
  int parallel = count;
  parameters[count++] = e->pointer;
  public_function(entry, "run", parameters, count);
  emit_value args = emit_stack(e, (int64_t)sizeof(vitc_args)), pointers = emit_stack(e, tensors * 8);
  for (int i = 0; i < tensors; i++) set_field(e, emit_parameter(e, i), pointers, (size_t)i * 8);
  set_field(e, pointers, args, offsetof(vitc_args, inputs));
  set_field(e, emit_bytes(e, pointers, emit_i64(e, graph->input_count * 8)), args, offsetof(vitc_args, outputs));
  set_field(e, emit_parameter(e, batch), args, offsetof(vitc_args, batch));
  set_field(e, emit_parameter(e, arena), args, offsetof(vitc_args, arena));
  emit_value none = LLVMConstNull(e->pointer);
  set_field(e, entry->options->external_weights ? emit_parameter(e, weights) : none, args, offsetof(vitc_args, weights));
  set_field(e, emit_parameter(e, parallel), args, offsetof(vitc_args, parallel));
  LLVMBuildRet(e->builder, emit_call(e, entry->run_args, &args, 1));
  emit_function_end(e);
}

/* ---- description */

static emit_value constant_bytes(struct entry *entry, const char *what, const void *bytes, size_t size) {
  struct emit *e = entry->e;
  LLVMValueRef data = LLVMConstStringInContext2(e->context, bytes, size, 1);
  LLVMValueRef global = emit_table(e, data, what);
  LLVMSetUnnamedAddress(global, LLVMGlobalUnnamedAddr);
  LLVMSetAlignment(global, 8);
  return global;
}

static emit_value constant_text(struct entry *entry, const char *what, const char *text) {
  return constant_bytes(entry, what, text, strlen(text) + 1);
}

static void fill_tensor(vitc_tensor *tensor, const struct value *value) {
  tensor->dtype = value->dtype == DTYPE_U8 ? VITC_U8 : VITC_F32;
  tensor->rank = (uint32_t)value->shape.rank;
  for (int i = 0; i < value->shape.rank; i++) tensor->dim[i] = value->shape.dim[i];
  tensor->image_bytes = (size_t)shape_elements(&value->shape) * dtype_size(value->dtype);
}

static emit_value labels_constant(struct entry *entry) {
  const struct graph *graph = entry->graph;
  size_t size = 0;
  for (int i = 0; i < graph->label_count; i++) size += strlen(graph->labels[i]) + 1;
  char *text = arena_alloc(graph->arena, size + 1), *end = text;
  for (int i = 0; i < graph->label_count; i++) {
    size_t length = strlen(graph->labels[i]) + 1;
    memcpy(end, graph->labels[i], length);
    end += length;
  }
  return constant_bytes(entry, "labels", text, size);
}

/* int NAME_describe(vitc_model *, uint32_t abi_version): the descriptor as constants, then the pointers, which as constants
 * would need relocations in writable memory. */
static void emit_describe(struct entry *entry) {
  struct emit *e = entry->e;
  const struct graph *graph = entry->graph;
  static_assert(sizeof(vitc_model) % 8 == 0, "copied by words");
  vitc_model model;
  memset(&model, 0, sizeof model);
  model.abi_version = VITC_ABI_VERSION;
  model.batch_max = (uint32_t)entry->plan->batch_max;
  model.input_count = (uint32_t)graph->input_count;
  model.output_count = (uint32_t)graph->output_count;
  model.label_count = (uint32_t)graph->label_count;
  model.weights_external = entry->options->external_weights;
  model.arena_bytes = (size_t)entry->plan->arena_bytes;
  model.weights_bytes = (uint64_t)entry->plan->weights_bytes;
  model.weights_hash = entry->options->weights_hash;
  for (int i = 0; i < graph->input_count; i++) fill_tensor(&model.inputs[i], graph->inputs[i]);
  for (int i = 0; i < graph->output_count; i++) fill_tensor(&model.outputs[i], graph->outputs[i]);
  model.preprocess = graph->preprocess;
  emit_value constant = constant_bytes(entry, "constants", &model, sizeof model);
  LLVMTypeRef parameters[] = {e->pointer, e->i32};
  public_function(entry, "describe", parameters, 2);
  emit_value out = emit_parameter(e, 0);
  return_if(e, is_null(e, out), VITC_E_NULL);
  emit_value other = LLVMBuildICmp(e->builder, LLVMIntNE, emit_parameter(e, 1), emit_i32(e, (int32_t)VITC_ABI_VERSION), "");
  return_if(e, other, VITC_E_ABI);
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, (int64_t)sizeof model), 8, NULL, 0, EMIT_NOT_EMPTY);
  /* volatile: a copy loop must not become a call of memcpy */
  emit_value word = LLVMBuildLoad2(e->builder, e->i64, emit_bytes(e, constant, loop.index), "");
  LLVMSetVolatile(word, 1);
  LLVMBuildStore(e->builder, word, emit_bytes(e, out, loop.index));
  emit_loop_end(e, &loop, NULL);
  set_field(e, constant_text(entry, "name", graph->name), out, offsetof(vitc_model, name));
  set_field(e, constant_text(entry, "precision", plan_precision_name(entry->plan)), out, offsetof(vitc_model, precision));
  if (graph->label_count > 0) set_field(e, labels_constant(entry), out, offsetof(vitc_model, labels));
  if (entry->options->info != NULL)
    set_field(e, constant_text(entry, "info", entry->options->info), out, offsetof(vitc_model, info));
  for (int i = 0; i < graph->input_count; i++)
    set_field(e, constant_text(entry, "input", graph->inputs[i]->name), out,
              offsetof(vitc_model, inputs) + (size_t)i * sizeof(vitc_tensor) + offsetof(vitc_tensor, name));
  for (int i = 0; i < graph->output_count; i++)
    set_field(e, constant_text(entry, "output", graph->outputs[i]->name), out,
              offsetof(vitc_model, outputs) + (size_t)i * sizeof(vitc_tensor) + offsetof(vitc_tensor, name));
  set_field(e, entry->run_args, out, offsetof(vitc_model, run));
  LLVMBuildRet(e->builder, emit_i32(e, VITC_OK));
  emit_function_end(e);
}

void entry_emit(struct emit *e, const struct plan *plan, const struct entry_options *options) {
  struct entry entry = {.e = e, .plan = plan, .graph = plan->graph, .options = options};
  emit_check(&entry);
  emit_cpu(&entry);
  emit_runs(&entry);
  emit_typed_run(&entry);
  emit_describe(&entry);
}
