/* All phases of one CPU level in order: one parallel loop each, by the caller's threads or here. */
#include "llvm/lower.h"
#include "llvm/object.h"

#include <stdio.h>
#include <string.h>

emit_value context_load(struct emit *e, emit_value context, int64_t slot) {
  return LLVMBuildLoad2(e->builder, e->i64, emit_bytes(e, context, emit_i64(e, slot * 8)), "");
}

emit_value context_load_pointer(struct emit *e, emit_value context, int64_t slot) {
  return LLVMBuildLoad2(e->builder, e->pointer, emit_bytes(e, context, emit_i64(e, slot * 8)), "");
}

/* One parallel loop: by the caller's threads, or here. Parameters: context, vitc_parallel, function of the task, slot of the
 * number of tasks, bytes from the records' begin to the phase's. */
static emit_value emit_launch(struct emit *e, emit_value records) {
  LLVMTypeRef parameters[] = {e->pointer, e->pointer, e->pointer, e->i64, e->i64};
  char name[64];
  snprintf(name, sizeof name, "launch_%s", e->level->name);
  emit_value function = emit_function_begin(e, name, e->void_type, parameters, 5);
  emit_value context = emit_parameter(e, 0), parallel = emit_parameter(e, 1), task = emit_parameter(e, 2);
  emit_value slot = emit_mul(e, emit_parameter(e, 3), emit_i64(e, 8));
  emit_value tasks = LLVMBuildLoad2(e->builder, e->i64, emit_bytes(e, context, slot), "");
  emit_value record = emit_bytes(e, records, emit_parameter(e, 4));
  LLVMBuildStore(e->builder, record, emit_bytes(e, context, emit_i64(e, (int64_t)CONTEXT_RECORD * 8)));
  LLVMBasicBlockRef alone = LLVMAppendBasicBlockInContext(e->context, function, "alone");
  LLVMBasicBlockRef many = LLVMAppendBasicBlockInContext(e->context, function, "many");
  LLVMBuildCondBr(e->builder, LLVMBuildICmp(e->builder, LLVMIntEQ, tasks, emit_i64(e, 1), ""), alone, many);
  LLVMPositionBuilderAtEnd(e->builder, alone);
  LLVMTypeRef task_types[] = {e->pointer, e->i32};
  LLVMTypeRef task_type = LLVMFunctionType(e->void_type, task_types, 2, 0);
  LLVMValueRef task_arguments[] = {context, emit_i32(e, 0)};
  LLVMBuildCall2(e->builder, task_type, task, task_arguments, 2, "");
  LLVMBuildRetVoid(e->builder);
  LLVMPositionBuilderAtEnd(e->builder, many);
  LLVMTypeRef run_types[] = {e->pointer, e->i32, e->pointer, e->pointer};
  LLVMTypeRef run_type = LLVMFunctionType(e->void_type, run_types, 4, 0);
  LLVMValueRef run_arguments[] = {context_load_pointer(e, parallel, 1), LLVMBuildTrunc(e->builder, tasks, e->i32, ""), task,
                                  context};
  LLVMBuildCall2(e->builder, run_type, context_load_pointer(e, parallel, 0), run_arguments, 4, "");
  emit_function_end(e);
  return function;
}

int64_t context_counters(const struct graph *graph) {
  return CONTEXT_TENSORS + graph->input_count + graph->output_count;
}

static emit_value ticks(struct emit *e) {
  return emit_intrinsic(e, "llvm.readcyclecounter", e->i64, NULL, 0);
}

/* Without counters (the ordinary run functions) nothing is counted. */
static void count_phase(struct emit *e, const struct plan *plan, int phase, emit_value since) {
  emit_value counters = context_load_pointer(e, emit_parameter(e, 0), context_counters(plan->graph));
  struct emit_if wanted;
  emit_if_begin(e, &wanted, LLVMBuildICmp(e->builder, LLVMIntNE, counters, LLVMConstNull(e->pointer), ""));
  emit_value counter = emit_bytes(e, counters, emit_i64(e, phase * 8));
  emit_value sum = emit_add(e, LLVMBuildLoad2(e->builder, e->i64, counter, ""), emit_sub(e, ticks(e), since));
  LLVMBuildStore(e->builder, sum, counter);
  emit_if_end(e, &wanted);
}

int object_phases(const struct step *step, const char **out_names) {
  int count = 0;
  switch (step->kind) {
  case STEP_GEMM:
    if (step->scratch.memory != MEMORY_NONE) out_names[count++] = step->has_layer_norm ? "layer norm" : "convert";
    out_names[count++] = "gemm";
    break;
  case STEP_CONVERT:
    out_names[count++] = "convert";
    break;
  case STEP_ATTENTION:
    out_names[count++] = "pack keys";
    out_names[count++] = "attention";
    break;
  case STEP_ROWS:
    out_names[count++] = step->node->op == OP_softmax ? "softmax" : "layer norm";
    break;
  case STEP_ROTARY:
    out_names[count++] = "rotary";
    break;
  case STEP_STRIDED:
    out_names[count++] = step->stage_count == 0 ? "copy" : "elementwise";
    break;
  case STEP_MATMUL:
    out_names[count++] = "matmul";
    break;
  case STEP_REDUCE:
    out_names[count++] = "mean";
    break;
  case STEP_CONV:
    out_names[count++] = "conv";
    break;
  }
  return count;
}

/* The level's records as a constant; that of a level before where it is equal. */
static emit_value record_table(struct lowering *l, struct emit *e) {
  for (int i = 0; i < l->table_count; i++) {
    const struct record_table *table = &l->tables[i];
    if (table->count == l->record_words && memcmp(table->words, l->records, (size_t)table->count * sizeof *table->words) == 0)
      return table->global;
  }
  emit_value *words = arena_array(l->plan->graph->arena, (size_t)l->record_words, sizeof *words);
  for (int i = 0; i < l->record_words; i++) words[i] = emit_i64(e, l->records[i]);
  emit_value array = LLVMConstArray2(e->i64, words, (uint64_t)l->record_words);
  char name[64];
  snprintf(name, sizeof name, "records_%s", e->level->name);
  emit_value global = emit_table(e, array, name);
  l->tables[l->table_count++] = (struct record_table){global, l->records, l->record_words};
  return global;
}

emit_value lower_forward(struct lowering *l) {
  struct emit *e = &l->emits[l->level][PART_REST];
  emit_value launch = emit_launch(e, lower_import(e, record_table(l, e), l->plan->graph));
  char name[64];
  snprintf(name, sizeof name, "forward_%s", e->level->name);
  LLVMTypeRef parameters[] = {e->pointer, e->pointer};
  emit_value function = emit_function_begin(e, name, e->void_type, parameters, 2);
  for (int i = 0; i < l->phase_count; i++) {
    const struct phase_entry *phase = &l->phases[i];
    emit_value arguments[] = {emit_parameter(e, 0), emit_parameter(e, 1), lower_import(e, phase->function, l->plan->graph),
                              emit_i64(e, phase->tasks), emit_i64(e, (int64_t)phase->record * 8)};
    emit_value before = l->profile ? ticks(e) : NULL;
    emit_call(e, launch, arguments, 5);
    if (l->profile) count_phase(e, l->plan, i, before);
  }
  emit_function_end(e);
  return function;
}
