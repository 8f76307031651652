#include "llvm/phase.h"

#include "llvm/kernels.h"
#include "llvm/split.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* A phase's function while it is built. */
struct task {
  struct emit *e;
  const struct phase_call *call;
  emit_value context, index, threads, images;
  emit_value arguments[PHASE_POINTERS_MAX + 8];
  int argument_count;
};

/* The function { i64 begin, i64 end } (units, index, threads) that all phases of a level share: what split_shrinking says. */
static emit_value share_function(struct emit *e) {
  emit_value found = kernel_find(e, "share", "", 1);
  if (found != NULL) return found;
  struct emit_aside phase = emit_aside_begin(e);
  char name[64];
  snprintf(name, sizeof name, "share_%s", e->level->name);
  LLVMTypeRef words[] = {e->i64, e->i64, e->i64}, pair = LLVMStructTypeInContext(e->context, words, 2, 0);
  emit_value function = emit_function_begin(e, name, pair, words, 3), range[2];
  split_shrinking(e, emit_parameter(e, 0), emit_parameter(e, 1), emit_parameter(e, 2), &range[0], &range[1]);
  LLVMBuildAggregateRet(e->builder, range, 2);
  emit_function_end(e);
  kernel_add(e, "share", "", 1, function);
  emit_aside_end(e, &phase);
  return function;
}

/* This task's part [begin, end) of `units`. */
static void split(struct emit *e, int tasks, emit_value units, emit_value index, emit_value threads, emit_value *out_begin,
                  emit_value *out_end) {
  if (tasks != CONTEXT_TASKS) {
    split_evenly(e, units, index, threads, out_begin, out_end);
    return;
  }
  emit_value arguments[] = {units, index, threads}, range = emit_call(e, share_function(e), arguments, 3);
  *out_begin = LLVMBuildExtractValue(e->builder, range, 0, "");
  *out_end = LLVMBuildExtractValue(e->builder, range, 1, "");
}

static emit_value pointer(struct task *task, emit_value record, int i) {
  struct emit *e = task->e;
  emit_value bytes = LLVMBuildLoad2(e->builder, e->i64, emit_bytes(e, record, emit_i64(e, i * 8)), "");
  return emit_bytes(e, context_load_pointer(e, task->context, task->call->slots[i]), bytes);
}

/* Kernel arguments up to the number of images. */
static void add_pointers(struct task *task) {
  struct emit *e = task->e;
  const struct phase_call *call = task->call;
  emit_value record = context_load_pointer(e, task->context, CONTEXT_RECORD), array = NULL;
  int ones = call->array_count == PHASE_NO_ARRAY ? call->pointer_count - call->last_pointer : call->array_begin;
  for (int i = 0; i < ones; i++) task->arguments[task->argument_count++] = pointer(task, record, i);
  if (call->array_count != PHASE_NO_ARRAY) {
    array = emit_stack(e, call->array_count > 0 ? call->array_count * 8 : 8);
    task->arguments[task->argument_count++] = array;
  }
  for (int i = 0; i < call->array_count; i++)
    if (call->slots[ones + i] != PHASE_NO_POINTER)
      LLVMBuildStore(e->builder, pointer(task, record, ones + i), emit_bytes(e, array, emit_i64(e, i * 8)));
  task->arguments[task->argument_count++] = task->images;
}

static void call_units(struct task *task) {
  struct emit *e = task->e;
  const struct phase_call *call = task->call;
  emit_value *range = &task->arguments[task->argument_count];
  emit_value units = emit_mul(e, task->images, emit_i64(e, call->units));
  split(e, call->tasks, units, task->index, task->threads, &range[0], &range[1]);
  task->argument_count += 2;
  if (call->last_pointer) {
    emit_value record = context_load_pointer(e, task->context, CONTEXT_RECORD);
    task->arguments[task->argument_count++] = pointer(task, record, call->pointer_count - 1);
  }
  emit_call(e, call->kernel, task->arguments, task->argument_count);
}

/* ---- tiles */

/* Parameters of the function that calls a kernel for a task's tiles; all phases of a level that are run alike share it, since
 * that costs a few instructions of a task and is much of a phase's code. First the kernel's own up to the number of images. */
enum { TILES_IMAGES = 4, TILES_KERNEL, TILES_INDEX, TILES_THREADS, TILES_COUNT, TILES_WIDTH, TILES_PANELS, TILES_PARAMETERS };

/* Columns of tiles [begin, end), and of each the row tiles [tile, tile_end); nothing when the range of columns is empty. */
static void call_columns(struct emit *e, LLVMTypeRef kernel, emit_value begin, emit_value end, emit_value tile,
                         emit_value tile_end) {
  struct emit_if some;
  emit_if_begin(e, &some, LLVMBuildICmp(e->builder, LLVMIntSLT, begin, end, ""));
  emit_value width = emit_parameter(e, TILES_WIDTH), arguments[TILES_IMAGES + 5];
  for (int i = 0; i <= TILES_IMAGES; i++) arguments[i] = emit_parameter(e, i);
  arguments[TILES_IMAGES + 1] = emit_mul(e, begin, width);
  arguments[TILES_IMAGES + 2] = emit_min(e, emit_mul(e, end, width), emit_parameter(e, TILES_PANELS));
  arguments[TILES_IMAGES + 3] = tile;
  arguments[TILES_IMAGES + 4] = tile_end;
  LLVMBuildCall2(e->builder, kernel, emit_parameter(e, TILES_KERNEL), arguments, TILES_IMAGES + 5, "");
  emit_if_end(e, &some);
}

/* This task's tiles, counted down the columns: the end of a column, whole columns, the beginning of one. */
static void emit_tiles(struct emit *e, int tasks, LLVMTypeRef kernel) {
  emit_value tiles = emit_parameter(e, TILES_COUNT), width = emit_parameter(e, TILES_WIDTH), zero = emit_i64(e, 0), begin, end;
  emit_value past = emit_sub(e, emit_add(e, emit_parameter(e, TILES_PANELS), width), emit_i64(e, 1));
  emit_value columns = LLVMBuildUDiv(e->builder, past, width, "");
  split(e, tasks, emit_mul(e, columns, tiles), emit_parameter(e, TILES_INDEX), emit_parameter(e, TILES_THREADS), &begin, &end);
  emit_value column = LLVMBuildUDiv(e->builder, begin, tiles, ""), tile = LLVMBuildURem(e->builder, begin, tiles, "");
  emit_value last = LLVMBuildUDiv(e->builder, end, tiles, ""), last_tile = LLVMBuildURem(e->builder, end, tiles, "");
  emit_value one_column = LLVMBuildICmp(e->builder, LLVMIntEQ, column, last, "");
  emit_value cut = LLVMBuildOr(e->builder, one_column, LLVMBuildICmp(e->builder, LLVMIntNE, tile, zero, ""), "");
  emit_value some = LLVMBuildAnd(e->builder, cut, LLVMBuildICmp(e->builder, LLVMIntSLT, begin, end, ""), "");
  emit_value next = emit_add(e, column, LLVMBuildZExt(e->builder, cut, e->i64, ""));
  emit_value first_end = emit_add(e, column, LLVMBuildZExt(e->builder, some, e->i64, ""));
  call_columns(e, kernel, column, first_end, tile, emit_select(e, one_column, last_tile, tiles));
  call_columns(e, kernel, next, last, zero, tiles);
  emit_value tail = LLVMBuildAnd(e->builder, LLVMBuildNot(e->builder, one_column, ""),
                                 LLVMBuildICmp(e->builder, LLVMIntNE, last_tile, zero, ""), "");
  call_columns(e, kernel, last, emit_add(e, last, LLVMBuildZExt(e->builder, tail, e->i64, "")), zero, last_tile);
}

static emit_value tiles_function(struct emit *e, int tasks, LLVMTypeRef kernel) {
  emit_value found = kernel_find(e, "tiles", &tasks, sizeof tasks);
  if (found != NULL) return found;
  struct emit_aside phase = emit_aside_begin(e);
  char name[64];
  snprintf(name, sizeof name, "tiles_%s", e->level->name);
  LLVMTypeRef parameters[TILES_PARAMETERS];
  for (int i = 0; i < TILES_PARAMETERS; i++) parameters[i] = i < TILES_IMAGES || i == TILES_KERNEL ? e->pointer : e->i64;
  emit_value function = emit_function_begin(e, name, e->void_type, parameters, TILES_PARAMETERS);
  emit_tiles(e, tasks, kernel);
  emit_function_end(e);
  kernel_add(e, "tiles", &tasks, sizeof tasks, function);
  emit_aside_end(e, &phase);
  return function;
}

static void call_tiles(struct task *task) {
  struct emit *e = task->e;
  const struct phase_call *call = task->call;
  assert(task->argument_count == TILES_IMAGES + 1);
  emit_value *arguments = task->arguments;
  arguments[TILES_KERNEL] = call->kernel;
  arguments[TILES_INDEX] = task->index;
  arguments[TILES_THREADS] = task->threads;
  arguments[TILES_COUNT] = call->row_tiles == 0 ? emit_i64(e, 1) : emit_mul(e, task->images, emit_i64(e, call->row_tiles));
  arguments[TILES_WIDTH] = emit_i64(e, call->width);
  arguments[TILES_PANELS] = emit_i64(e, call->panels);
  emit_call(e, tiles_function(e, call->tasks, LLVMGlobalGetValueType(call->kernel)), arguments, TILES_PARAMETERS);
}

static emit_value phase_function(struct emit *e, const struct phase_call *call, const char *what) {
  emit_value found = kernel_find(e, "phase", call, sizeof *call);
  if (found != NULL) return found;
  char name[128];
  snprintf(name, sizeof name, "phase_%s_%s", what, e->level->name);
  LLVMTypeRef parameters[] = {e->pointer, e->i32};
  emit_value function = emit_function_begin(e, name, e->void_type, parameters, 2);
  struct task task = {.e = e, .call = call, .context = emit_parameter(e, 0)};
  task.index = LLVMBuildZExt(e->builder, emit_parameter(e, 1), e->i64, "");
  task.threads = context_load(e, task.context, CONTEXT_THREADS);
  task.images = call->batched ? context_load(e, task.context, CONTEXT_IMAGES) : emit_i64(e, 1);
  add_pointers(&task);
  (call->split == PHASE_TILES ? call_tiles : call_units)(&task);
  emit_function_end(e);
  kernel_add(e, "phase", call, sizeof *call, function);
  return function;
}

static void *grown(struct lowering *l, const void *from, int count, int capacity, size_t size) {
  void *to = arena_array(l->plan->graph->arena, (size_t)capacity, size);
  if (count > 0) memcpy(to, from, (size_t)count * size);
  return to;
}

void phase_add(struct lowering *l, struct emit *e, const struct phase_call *call, const int64_t *bytes, const char *what) {
  if (l->phase_count == l->phase_capacity) {
    l->phase_capacity = l->phase_capacity * 2 + 64;
    l->phases = grown(l, l->phases, l->phase_count, l->phase_capacity, sizeof *l->phases);
  }
  if (l->record_words + PHASE_POINTERS_MAX > l->record_capacity) {
    l->record_capacity = l->record_capacity * 2 + 64 * PHASE_POINTERS_MAX;
    l->records = grown(l, l->records, l->record_words, l->record_capacity, sizeof *l->records);
  }
  emit_value function = phase_function(e, call, what);
  l->phases[l->phase_count++] = (struct phase_entry){function, call->tasks, l->record_words};
  memcpy(l->records + l->record_words, bytes, (size_t)call->pointer_count * sizeof *bytes);
  l->record_words += call->pointer_count;
}
