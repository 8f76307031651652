#include "llvm/emit.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void emit_init(struct emit *e, LLVMModuleRef module, const struct target_level *level) {
  LLVMContextRef context = LLVMGetModuleContext(module);
  *e = (struct emit){.context = context, .module = module, .level = level};
  e->builder = LLVMCreateBuilderInContext(context);
  e->void_type = LLVMVoidTypeInContext(context);
  e->i1 = LLVMInt1TypeInContext(context);
  e->i8 = LLVMInt8TypeInContext(context);
  e->i32 = LLVMInt32TypeInContext(context);
  e->i64 = LLVMInt64TypeInContext(context);
  e->f32 = LLVMFloatTypeInContext(context);
  e->pointer = LLVMPointerTypeInContext(context, 0);
  if (level != NULL) {
    e->vector = LLVMVectorType(e->f32, (unsigned)level->lanes);
    e->ivector = LLVMVectorType(e->i32, (unsigned)level->lanes);
  }
}

void emit_deinit(struct emit *e) {
  LLVMDisposeBuilder(e->builder);
}

static void add_attribute(struct emit *e, const char *key, const char *value) {
  LLVMAttributeRef attribute =
      LLVMCreateStringAttribute(e->context, key, (unsigned)strlen(key), value, (unsigned)strlen(value));
  LLVMAddAttributeAtIndex(e->function, (unsigned)LLVMAttributeFunctionIndex, attribute);
}

static void add_enum_attribute(struct emit *e, unsigned index, const char *name) {
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddAttributeAtIndex(e->function, index, LLVMCreateEnumAttribute(e->context, kind, 0));
}

emit_value emit_function_begin(struct emit *e, const char *name, LLVMTypeRef result, const LLVMTypeRef *parameters, int count) {
  LLVMTypeRef type = LLVMFunctionType(result, (LLVMTypeRef *)parameters, (unsigned)count, 0);
  e->function = LLVMAddFunction(e->module, name, type);
  LLVMSetLinkage(e->function, LLVMInternalLinkage);
  if (e->level != NULL) {
    add_attribute(e, "target-cpu", e->level->cpu);
    add_attribute(e, "tune-cpu", e->level->tune);
    add_attribute(e, "target-features", e->level->features);
    add_attribute(e, "prefer-vector-width", e->level->lanes == 16 ? "512" : "256");
  }
  add_enum_attribute(e, (unsigned)LLVMAttributeFunctionIndex, "nounwind");
  add_attribute(e, "no-builtins", "true");
  add_attribute(e, "no-trapping-math", "true");
  LLVMPositionBuilderAtEnd(e->builder, LLVMAppendBasicBlockInContext(e->context, e->function, "entry"));
  return e->function;
}

void emit_function_end(struct emit *e) {
  if (LLVMGetBasicBlockTerminator(LLVMGetInsertBlock(e->builder)) == NULL) LLVMBuildRetVoid(e->builder);
  e->function = NULL;
}

struct emit_aside emit_aside_begin(const struct emit *e) {
  return (struct emit_aside){e->function, LLVMGetInsertBlock(e->builder)};
}

void emit_aside_end(struct emit *e, const struct emit_aside *aside) {
  e->function = aside->function;
  LLVMPositionBuilderAtEnd(e->builder, aside->block);
}

void emit_noalias(struct emit *e, int parameter) {
  add_enum_attribute(e, (unsigned)parameter + 1, "noalias");
}

emit_value emit_parameter(struct emit *e, int index) {
  return LLVMGetParam(e->function, (unsigned)index);
}

emit_value emit_call(struct emit *e, emit_value function, const emit_value *arguments, int count) {
  return LLVMBuildCall2(e->builder, LLVMGlobalGetValueType(function), function, (LLVMValueRef *)arguments, (unsigned)count, "");
}

emit_value emit_i64(struct emit *e, int64_t value) {
  return LLVMConstInt(e->i64, (unsigned long long)value, 1);
}
emit_value emit_i32(struct emit *e, int32_t value) {
  return LLVMConstInt(e->i32, (unsigned long long)(int64_t)value, 1);
}
emit_value emit_f32(struct emit *e, double value) {
  return LLVMConstReal(e->f32, (double)(float)value);
}

static bool is_constant(emit_value value) {
  return LLVMIsAConstantInt(value) != NULL;
}

/* Of x + c the x, and the c; of anything else itself, and 0. */
static emit_value split_sum(emit_value value, int64_t *out_constant) {
  *out_constant = 0;
  if (LLVMIsABinaryOperator(value) == NULL || LLVMGetInstructionOpcode(value) != LLVMAdd) return value;
  emit_value constant = LLVMGetOperand(value, 1);
  if (!is_constant(constant)) return value;
  *out_constant = LLVMConstIntGetSExtValue(constant);
  return LLVMGetOperand(value, 0);
}

emit_value emit_add(struct emit *e, emit_value a, emit_value b) {
  if (is_constant(a) && !is_constant(b)) return emit_add(e, b, a);
  int64_t constant;
  emit_value rest = split_sum(a, &constant);
  if (constant == 0 || !is_constant(b) || LLVMTypeOf(b) != e->i64) return LLVMBuildNSWAdd(e->builder, a, b, "");
  constant += LLVMConstIntGetSExtValue(b);
  return constant == 0 ? rest : LLVMBuildNSWAdd(e->builder, rest, emit_i64(e, constant), "");
}
emit_value emit_sub(struct emit *e, emit_value a, emit_value b) {
  return LLVMBuildNSWSub(e->builder, a, b, "");
}
emit_value emit_mul(struct emit *e, emit_value a, emit_value b) {
  int64_t constant;
  emit_value rest = split_sum(a, &constant);
  if (constant == 0 || !is_constant(b) || LLVMTypeOf(b) != e->i64) return LLVMBuildNSWMul(e->builder, a, b, "");
  return emit_add(e, emit_mul(e, rest, b), emit_i64(e, constant * LLVMConstIntGetSExtValue(b)));
}

emit_value emit_min(struct emit *e, emit_value a, emit_value b) {
  return LLVMBuildSelect(e->builder, LLVMBuildICmp(e->builder, LLVMIntSLT, a, b, ""), a, b, "");
}

emit_value emit_max(struct emit *e, emit_value a, emit_value b) {
  return LLVMBuildSelect(e->builder, LLVMBuildICmp(e->builder, LLVMIntSGT, a, b, ""), a, b, "");
}

static emit_value element(struct emit *e, LLVMTypeRef type, emit_value pointer, emit_value index) {
  int64_t constant;
  emit_value rest = split_sum(index, &constant);
  pointer = LLVMBuildInBoundsGEP2(e->builder, type, pointer, &rest, 1, "");
  if (constant == 0) return pointer;
  index = emit_i64(e, constant);
  return LLVMBuildInBoundsGEP2(e->builder, type, pointer, &index, 1, "");
}

emit_value emit_at(struct emit *e, emit_value pointer, emit_value index) {
  return element(e, e->f32, pointer, index);
}

emit_value emit_at_const(struct emit *e, emit_value pointer, int64_t index) {
  return index == 0 ? pointer : emit_at(e, pointer, emit_i64(e, index));
}

emit_value emit_bytes(struct emit *e, emit_value pointer, emit_value bytes) {
  return element(e, e->i8, pointer, bytes);
}

emit_value emit_load_f32(struct emit *e, emit_value pointer) {
  emit_value load = LLVMBuildLoad2(e->builder, e->f32, pointer, "");
  LLVMSetAlignment(load, 4);
  return load;
}

void emit_store_f32(struct emit *e, emit_value value, emit_value pointer) {
  LLVMSetAlignment(LLVMBuildStore(e->builder, value, pointer), 4);
}

emit_value emit_lane_mask(struct emit *e, int lanes) {
  LLVMValueRef bits[64];
  assert(e->level->lanes <= 64);
  for (int i = 0; i < e->level->lanes; i++) bits[i] = LLVMConstInt(e->i1, i < lanes, 0);
  return LLVMConstVector(bits, (unsigned)e->level->lanes);
}

emit_value emit_load_vector(struct emit *e, emit_value pointer, int lanes) {
  if (lanes == e->level->lanes) {
    emit_value load = LLVMBuildLoad2(e->builder, e->vector, pointer, "");
    LLVMSetAlignment(load, 4);
    return load;
  }
  LLVMTypeRef types[] = {e->vector, e->pointer};
  unsigned id = LLVMLookupIntrinsicID("llvm.masked.load", strlen("llvm.masked.load"));
  LLVMValueRef function = LLVMGetIntrinsicDeclaration(e->module, id, types, 2);
  LLVMValueRef arguments[] = {pointer, emit_i32(e, 4), emit_lane_mask(e, lanes), LLVMConstNull(e->vector)};
  return emit_call(e, function, arguments, 4);
}

void emit_store_vector(struct emit *e, emit_value vector, emit_value pointer, int lanes) {
  if (lanes == e->level->lanes) {
    LLVMSetAlignment(LLVMBuildStore(e->builder, vector, pointer), 4);
    return;
  }
  LLVMTypeRef types[] = {e->vector, e->pointer};
  unsigned id = LLVMLookupIntrinsicID("llvm.masked.store", strlen("llvm.masked.store"));
  LLVMValueRef function = LLVMGetIntrinsicDeclaration(e->module, id, types, 2);
  LLVMValueRef arguments[] = {vector, pointer, emit_i32(e, 4), emit_lane_mask(e, lanes)};
  emit_call(e, function, arguments, 4);
}

emit_value emit_splat(struct emit *e, emit_value scalar) {
  LLVMTypeRef scalar_type = LLVMTypeOf(scalar);
  unsigned lanes = (unsigned)e->level->lanes;
  LLVMTypeRef type = LLVMVectorType(scalar_type, lanes);
  emit_value one = LLVMBuildInsertElement(e->builder, LLVMGetPoison(type), scalar, emit_i32(e, 0), "");
  return LLVMBuildShuffleVector(e->builder, one, LLVMGetPoison(type), LLVMConstNull(LLVMVectorType(e->i32, lanes)), "");
}

static emit_value splat_constant(struct emit *e, LLVMValueRef scalar) {
  LLVMValueRef lanes[64];
  for (int i = 0; i < e->level->lanes; i++) lanes[i] = scalar;
  return LLVMConstVector(lanes, (unsigned)e->level->lanes);
}

emit_value emit_splat_const(struct emit *e, double value) {
  return splat_constant(e, emit_f32(e, value));
}
emit_value emit_splat_i32(struct emit *e, int32_t value) {
  return splat_constant(e, emit_i32(e, value));
}

emit_value emit_fadd(struct emit *e, emit_value a, emit_value b) {
  return LLVMBuildFAdd(e->builder, a, b, "");
}
emit_value emit_fsub(struct emit *e, emit_value a, emit_value b) {
  return LLVMBuildFSub(e->builder, a, b, "");
}
emit_value emit_fmul(struct emit *e, emit_value a, emit_value b) {
  return LLVMBuildFMul(e->builder, a, b, "");
}
emit_value emit_fdiv(struct emit *e, emit_value a, emit_value b) {
  return LLVMBuildFDiv(e->builder, a, b, "");
}

emit_value emit_fmax(struct emit *e, emit_value a, emit_value b) {
  return LLVMBuildSelect(e->builder, LLVMBuildFCmp(e->builder, LLVMRealOGT, a, b, ""), a, b, "");
}

emit_value emit_fmin(struct emit *e, emit_value a, emit_value b) {
  return LLVMBuildSelect(e->builder, LLVMBuildFCmp(e->builder, LLVMRealOLT, a, b, ""), a, b, "");
}

emit_value emit_select(struct emit *e, emit_value condition, emit_value a, emit_value b) {
  return LLVMBuildSelect(e->builder, condition, a, b, "");
}

static emit_value x86_intrinsic(struct emit *e, const char *name) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  assert(id != 0);
  return LLVMGetIntrinsicDeclaration(e->module, id, NULL, 0);
}

emit_value emit_dot_bf16(struct emit *e, emit_value sum, emit_value a, emit_value b) {
  assert(e->level->dot_bf16 && e->level->lanes == 16);
  LLVMTypeRef pairs = LLVMVectorType(LLVMBFloatTypeInContext(e->context), 32);
  emit_value arguments[] = {sum, LLVMBuildBitCast(e->builder, a, pairs, ""), LLVMBuildBitCast(e->builder, b, pairs, "")};
  return emit_call(e, x86_intrinsic(e, "llvm.x86.avx512bf16.dpbf16ps.512"), arguments, 3);
}

emit_value emit_dot_int8(struct emit *e, emit_value sum, emit_value a, emit_value b) {
  assert(e->level->dot_int8);
  emit_value arguments[] = {sum, LLVMBuildBitCast(e->builder, a, e->ivector, ""),
                            LLVMBuildBitCast(e->builder, b, e->ivector, "")};
  const char *name = e->level->lanes == 16 ? "llvm.x86.avx512.vpdpbusd.512" : "llvm.x86.avx512.vpdpbusd.256";
  return emit_call(e, x86_intrinsic(e, name), arguments, 3);
}

emit_value emit_dot_int16(struct emit *e, emit_value sum, emit_value a, emit_value b) {
  bool wide = e->level->lanes == 16;
  LLVMTypeRef pairs = LLVMVectorType(LLVMInt16TypeInContext(e->context), wide ? 32 : 16);
  emit_value arguments[] = {LLVMBuildBitCast(e->builder, a, pairs, ""), LLVMBuildBitCast(e->builder, b, pairs, "")};
  emit_value products =
      emit_call(e, x86_intrinsic(e, wide ? "llvm.x86.avx512.pmaddw.d.512" : "llvm.x86.avx2.pmadd.wd"), arguments, 2);
  return LLVMBuildSub(e->builder, sum, products, "");
}

static emit_value widen_bf16(struct emit *e, emit_value pointer, LLVMTypeRef halves, LLVMTypeRef words, LLVMTypeRef floats) {
  emit_value loaded = LLVMBuildLoad2(e->builder, halves, pointer, "");
  LLVMSetAlignment(loaded, 2);
  emit_value wide = LLVMBuildZExt(e->builder, loaded, words, "");
  emit_value by = words == e->ivector ? emit_splat_i32(e, 16) : emit_i32(e, 16);
  return LLVMBuildBitCast(e->builder, LLVMBuildShl(e->builder, wide, by, ""), floats, "");
}

emit_value emit_load_bf16(struct emit *e, emit_value pointer) {
  LLVMTypeRef half = LLVMInt16TypeInContext(e->context);
  return widen_bf16(e, pointer, LLVMVectorType(half, (unsigned)e->level->lanes), e->ivector, e->vector);
}

emit_value emit_load_bf16_scalar(struct emit *e, emit_value pointer) {
  return widen_bf16(e, pointer, LLVMInt16TypeInContext(e->context), e->i32, e->f32);
}

void emit_store_bf16(struct emit *e, emit_value vector, emit_value pointer) {
  assert(e->level->dot_bf16 && e->level->lanes == 16);
  emit_value rounded = emit_call(e, x86_intrinsic(e, "llvm.x86.avx512bf16.cvtneps2bf16.512"), &vector, 1);
  LLVMSetAlignment(LLVMBuildStore(e->builder, rounded, pointer), 2);
}

void emit_store_bf16_pair(struct emit *e, emit_value low, emit_value high, emit_value pointer) {
  assert(e->level->dot_bf16 && e->level->lanes == 16);
  emit_value arguments[] = {high, low};
  emit_value rounded = emit_call(e, x86_intrinsic(e, "llvm.x86.avx512bf16.cvtne2ps2bf16.512"), arguments, 2);
  LLVMSetAlignment(LLVMBuildStore(e->builder, rounded, pointer), 2);
}

emit_value emit_intrinsic(struct emit *e, const char *name, LLVMTypeRef type, const emit_value *arguments, int count) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  assert(id != 0);
  LLVMTypeRef types[] = {type};
  LLVMValueRef function = LLVMGetIntrinsicDeclaration(e->module, id, types, LLVMIntrinsicIsOverloaded(id) ? 1 : 0);
  return emit_call(e, function, arguments, count);
}

emit_value emit_fma(struct emit *e, emit_value a, emit_value b, emit_value c) {
  emit_value arguments[] = {a, b, c};
  return emit_intrinsic(e, "llvm.fma", LLVMTypeOf(a), arguments, 3);
}

emit_value emit_fsqrt(struct emit *e, emit_value a) {
  return emit_intrinsic(e, "llvm.sqrt", LLVMTypeOf(a), &a, 1);
}
emit_value emit_fabs(struct emit *e, emit_value a) {
  return emit_intrinsic(e, "llvm.fabs", LLVMTypeOf(a), &a, 1);
}

static emit_value upper_half(struct emit *e, emit_value vector, unsigned half) {
  LLVMValueRef lanes[64];
  for (unsigned i = 0; i < half; i++) lanes[i] = emit_i32(e, (int32_t)(half + i));
  return LLVMBuildShuffleVector(e->builder, vector, LLVMGetPoison(LLVMTypeOf(vector)), LLVMConstVector(lanes, half), "");
}

static emit_value lower_half(struct emit *e, emit_value vector, unsigned half) {
  LLVMValueRef lanes[64];
  for (unsigned i = 0; i < half; i++) lanes[i] = emit_i32(e, (int32_t)i);
  return LLVMBuildShuffleVector(e->builder, vector, LLVMGetPoison(LLVMTypeOf(vector)), LLVMConstVector(lanes, half), "");
}

static emit_value reduce(struct emit *e, emit_value vector, emit_value (*combine)(struct emit *, emit_value, emit_value)) {
  for (unsigned half = (unsigned)e->level->lanes / 2; half >= 1; half /= 2)
    vector = combine(e, lower_half(e, vector, half), upper_half(e, vector, half));
  return LLVMBuildExtractElement(e->builder, vector, emit_i32(e, 0), "");
}

emit_value emit_reduce_add(struct emit *e, emit_value vector) {
  return reduce(e, vector, emit_fadd);
}
emit_value emit_reduce_max(struct emit *e, emit_value vector) {
  return reduce(e, vector, emit_fmax);
}

static LLVMBasicBlockRef append_block(struct emit *e, const char *name) {
  return LLVMAppendBasicBlockInContext(e->context, e->function, name);
}

void emit_loop_begin(struct emit *e, struct emit_loop *loop, emit_value begin, emit_value end, int64_t step,
                     const emit_value *initial, int carried_count, int not_empty) {
  assert(carried_count <= EMIT_CARRIED_MAX);
  LLVMBasicBlockRef before = LLVMGetInsertBlock(e->builder);
  *loop = (struct emit_loop){.step = emit_i64(e, step), .end = end, .carried_count = carried_count, .not_empty = not_empty};
  loop->head = append_block(e, "loop");
  loop->body = not_empty ? loop->head : append_block(e, "body");
  loop->exit = append_block(e, "exit");
  LLVMBuildBr(e->builder, loop->head);
  LLVMPositionBuilderAtEnd(e->builder, loop->head);
  loop->index = LLVMBuildPhi(e->builder, e->i64, "");
  LLVMAddIncoming(loop->index, &begin, &before, 1);
  for (int i = 0; i < carried_count; i++) {
    emit_value value = initial[i];
    loop->carried[i] = LLVMBuildPhi(e->builder, LLVMTypeOf(value), "");
    LLVMAddIncoming(loop->carried[i], &value, &before, 1);
  }
  if (!not_empty) {
    LLVMBuildCondBr(e->builder, LLVMBuildICmp(e->builder, LLVMIntSLT, loop->index, end, ""), loop->body, loop->exit);
    LLVMPositionBuilderAtEnd(e->builder, loop->body);
  }
}

void emit_loop_end(struct emit *e, struct emit_loop *loop, const emit_value *next) {
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->builder);
  emit_value index = emit_add(e, loop->index, loop->step);
  LLVMAddIncoming(loop->index, &index, &latch, 1);
  for (int i = 0; i < loop->carried_count; i++) {
    emit_value value = next[i];
    LLVMAddIncoming(loop->carried[i], &value, &latch, 1);
    if (loop->not_empty) loop->carried[i] = value;
  }
  if (loop->not_empty)
    LLVMBuildCondBr(e->builder, LLVMBuildICmp(e->builder, LLVMIntSLT, index, loop->end, ""), loop->head, loop->exit);
  else
    LLVMBuildBr(e->builder, loop->head);
  LLVMMoveBasicBlockAfter(loop->exit, latch);
  LLVMPositionBuilderAtEnd(e->builder, loop->exit);
}

void emit_walk_begin(struct emit *e, struct emit_walk *walk, emit_value begin, emit_value end, emit_value *at,
                     const emit_value *bytes, int count, int not_empty) {
  int carried = 0;
  for (int i = 0; i < count; i++)
    if (bytes[i] != NULL) walk->next[carried++] = at[i];
  emit_loop_begin(e, &walk->loop, begin, end, 1, walk->next, carried, not_empty);
  carried = 0;
  for (int i = 0; i < count; i++) {
    if (bytes[i] == NULL) continue;
    at[i] = walk->loop.carried[carried];
    walk->next[carried++] = emit_bytes(e, at[i], bytes[i]);
  }
}

void emit_walk_end(struct emit *e, struct emit_walk *walk) {
  emit_loop_end(e, &walk->loop, walk->next);
}

void emit_if_begin(struct emit *e, struct emit_if *branch, emit_value condition) {
  LLVMBasicBlockRef then = append_block(e, "then");
  branch->exit = append_block(e, "join");
  LLVMBuildCondBr(e->builder, condition, then, branch->exit);
  LLVMPositionBuilderAtEnd(e->builder, then);
}

void emit_if_end(struct emit *e, struct emit_if *branch) {
  LLVMBuildBr(e->builder, branch->exit);
  LLVMMoveBasicBlockAfter(branch->exit, LLVMGetInsertBlock(e->builder));
  LLVMPositionBuilderAtEnd(e->builder, branch->exit);
}

emit_value emit_stack(struct emit *e, int64_t bytes) {
  LLVMBasicBlockRef here = LLVMGetInsertBlock(e->builder);
  LLVMBasicBlockRef entry = LLVMGetEntryBasicBlock(e->function);
  LLVMValueRef first = LLVMGetFirstInstruction(entry);
  if (first != NULL)
    LLVMPositionBuilderBefore(e->builder, first);
  else
    LLVMPositionBuilderAtEnd(e->builder, entry);
  LLVMValueRef memory = LLVMBuildAlloca(e->builder, LLVMArrayType2(e->i8, (uint64_t)bytes), "");
  LLVMSetAlignment(memory, 64);
  LLVMPositionBuilderAtEnd(e->builder, here);
  return memory;
}

emit_value emit_table(struct emit *e, emit_value constant, const char *name) {
  emit_value global = LLVMAddGlobal(e->module, LLVMTypeOf(constant), name);
  LLVMSetInitializer(global, constant);
  LLVMSetGlobalConstant(global, 1);
  LLVMSetLinkage(global, LLVMInternalLinkage);
  return global;
}
