#include "support/vector_model.h"

#include "support/bf16.h"
#include "target/target.h"

#include <float.h>
#include <llvm-c/Support.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the instructions: operands as they lie in memory, those of the intrinsic in order; masks are all ones */

enum { OPERANDS_MAX = 5, VECTOR_BYTES = 64, WORDS = 16, PART = 16 /* bytes that packing instructions work within */ };

static float zero_denormal(float x) {
  return fabsf(x) < FLT_MIN ? copysignf(0, x) : x;
}

/* VDPBF16PS: the odd products, then the even ones, each one fused multiply-add; denormals are zero wherever they come from. */
static void dpbf16ps(void *result, const void *const *operands) {
  const float *sum = operands[0];
  const uint16_t *a = operands[1], *b = operands[2];
  float *to = result;
  for (int i = 0; i < WORDS; i++) {
    float value = zero_denormal(sum[i]);
    for (int odd = 1; odd >= 0; odd--) {
      float x = zero_denormal(from_bf16(a[2 * i + odd])), y = zero_denormal(from_bf16(b[2 * i + odd]));
      value = zero_denormal(fmaf(x, y, value));
    }
    to[i] = value;
  }
}

/* VCVTNEPS2BF16: to nearest even; a denormal is zero, a NaN is made quiet. */
static void cvtneps2bf16(void *result, const void *const *operands) {
  const float *x = operands[0];
  uint16_t *to = result;
  for (int i = 0; i < WORDS; i++) {
    uint32_t bits;
    memcpy(&bits, &x[i], sizeof bits);
    to[i] = isnan(x[i]) ? (uint16_t)(bits >> 16 | 0x40) : to_bf16(zero_denormal(x[i]));
  }
}

/* VCVTNE2PS2BF16: the second operand's numbers are the lower half. */
static void cvtne2ps2bf16(void *result, const void *const *operands) {
  cvtneps2bf16(result, &operands[1]);
  cvtneps2bf16((uint16_t *)result + WORDS, &operands[0]);
}

static void dot_bytes(uint32_t *to, const uint32_t *sum, const uint8_t *a, const int8_t *b, int words) {
  for (int i = 0; i < words; i++) {
    uint32_t value = sum[i];
    for (int k = 0; k < 4; k++) value += (uint32_t)(a[4 * i + k] * b[4 * i + k]);
    to[i] = value;
  }
}

static void vpdpbusd_512(void *result, const void *const *operands) {
  dot_bytes(result, operands[0], operands[1], operands[2], WORDS);
}

static void vpdpbusd_256(void *result, const void *const *operands) {
  dot_bytes(result, operands[0], operands[1], operands[2], WORDS / 2);
}

static void pmaddwd(void *result, const void *const *operands) {
  const int16_t *a = operands[0], *b = operands[1];
  uint32_t *to = result;
  for (int i = 0; i < WORDS; i++) to[i] = (uint32_t)(a[2 * i] * b[2 * i]) + (uint32_t)(a[2 * i + 1] * b[2 * i + 1]);
}

static int32_t clamp(int32_t x, int32_t low, int32_t high) {
  return x < low ? low : x > high ? high : x;
}

static void packssdw(void *result, const void *const *operands) {
  enum { COUNT = PART / 4 };
  const int32_t *from[] = {operands[0], operands[1]};
  int16_t *to = result;
  for (int part = 0; part < VECTOR_BYTES / PART; part++)
    for (int half = 0; half < 2; half++)
      for (int i = 0; i < COUNT; i++) *to++ = (int16_t)clamp(from[half][part * COUNT + i], INT16_MIN, INT16_MAX);
}

static void packuswb(void *result, const void *const *operands) {
  enum { COUNT = PART / 2 };
  const int16_t *from[] = {operands[0], operands[1]};
  uint8_t *to = result;
  for (int part = 0; part < VECTOR_BYTES / PART; part++)
    for (int half = 0; half < 2; half++)
      for (int i = 0; i < COUNT; i++) *to++ = (uint8_t)clamp(from[half][part * COUNT + i], 0, UINT8_MAX);
}

/* VCVTPS2DQ: to nearest even; INT32_MIN for what has no place. */
static void cvtps2dq(void *result, const void *const *operands) {
  const float *x = operands[0];
  int32_t *to = result;
  for (int i = 0; i < WORDS; i++) to[i] = x[i] >= -0x1p31f && x[i] < 0x1p31f ? (int32_t)nearbyintf(x[i]) : INT32_MIN;
}

/* VPERMI2PS: five bits of an index choose among the words of two vectors. */
static void vpermi2ps(void *result, const void *const *operands) {
  const float *tables[] = {operands[0], operands[2]};
  const uint32_t *index = operands[1];
  float *to = result;
  for (int i = 0; i < WORDS; i++) to[i] = tables[index[i] >> 4 & 1][index[i] & 15];
}

static bool is_quiet(float nan) {
  uint32_t bits;
  memcpy(&bits, &nan, sizeof bits);
  return (bits >> 22 & 1) != 0;
}

/* VSCALEFPS: a 2^floor(b). An infinite b wins over a quiet NaN in a. */
static void scalef(void *result, const void *const *operands) {
  const float *a = operands[0], *b = operands[1];
  float *to = result;
  for (int i = 0; i < WORDS; i++) {
    float power = floorf(b[i]);
    if (isnan(a[i]) && isinf(b[i]) && is_quiet(a[i]))
      to[i] = b[i] > 0 ? INFINITY : 0;
    else if (isnan(a[i]) || isnan(b[i]))
      to[i] = NAN;
    else if (isinf(power) && power > 0)
      to[i] = a[i] == 0 ? NAN : copysignf(INFINITY, a[i]);
    else if (isinf(power))
      to[i] = isinf(a[i]) ? NAN : copysignf(0, a[i]);
    else
      to[i] = scalbnf(a[i], (int)fmaxf(-1000, fminf(1000, power)));
  }
}

/* VREDUCEPS with the immediate 9: a - floor(a), rounded down as well, so that a zero is negative; of an infinity 0. */
static void reduce(void *result, const void *const *operands) {
  const float *a = operands[0];
  const uint32_t *immediate = operands[1];
  float *to = result;
  if (*immediate != 9) abort();
  for (int i = 0; i < WORDS; i++) {
    double exact = (double)a[i] - floor((double)a[i]); /* or 1 where the difference to it is too small for a double */
    float below = (float)exact;
    if ((double)below > exact || below == 1) below = nextafterf(below, 0);
    to[i] = isinf(a[i]) ? 0 : exact == 0 ? -0.0f : below;
  }
}

static const struct model {
  const char *intrinsic, *symbol;
  void (*function)(void *result, const void *const *operands);
} models[] = {
    {"llvm.x86.avx512bf16.dpbf16ps.512", "model_dpbf16ps", dpbf16ps},
    {"llvm.x86.avx512bf16.cvtneps2bf16.512", "model_cvtneps2bf16", cvtneps2bf16},
    {"llvm.x86.avx512bf16.cvtne2ps2bf16.512", "model_cvtne2ps2bf16", cvtne2ps2bf16},
    {"llvm.x86.avx512.vpdpbusd.512", "model_vpdpbusd_512", vpdpbusd_512},
    {"llvm.x86.avx512.vpdpbusd.256", "model_vpdpbusd_256", vpdpbusd_256},
    {"llvm.x86.avx512.pmaddw.d.512", "model_pmaddwd", pmaddwd},
    {"llvm.x86.avx512.packssdw.512", "model_packssdw", packssdw},
    {"llvm.x86.avx512.packuswb.512", "model_packuswb", packuswb},
    {"llvm.x86.avx512.mask.cvtps2dq.512", "model_cvtps2dq", cvtps2dq},
    {"llvm.x86.avx512.vpermi2var.ps.512", "model_vpermi2ps", vpermi2ps},
    {"llvm.x86.avx512.mask.scalef.ps.512", "model_scalef", scalef},
    {"llvm.x86.avx512.mask.reduce.ps.512", "model_reduce", reduce},
};

/* NULL when AVX2 has it. */
static const struct model *find_model(const char *intrinsic) {
  if (strncmp(intrinsic, "llvm.x86.", 9) != 0 || strncmp(intrinsic, "llvm.x86.avx.", 13) == 0 ||
      strncmp(intrinsic, "llvm.x86.avx2.", 14) == 0)
    return NULL;
  for (size_t i = 0; i < sizeof models / sizeof *models; i++)
    if (strcmp(models[i].intrinsic, intrinsic) == 0) return &models[i];
  fprintf(stderr, "vector model: no model of %s\n", intrinsic);
  abort();
}

/* ---- the module */

/* Memory of one function for the operands and results of all its calls of models. */
struct slots {
  LLVMValueRef result, operands[OPERANDS_MAX], pointers;
};

struct rewriting {
  LLVMModuleRef module;
  LLVMContextRef context;
  LLVMBuilderRef builder;
  LLVMTypeRef pointer, function_type;
};

static LLVMValueRef slot(struct rewriting *r, unsigned bytes) {
  LLVMTypeRef type = LLVMArrayType2(LLVMInt8TypeInContext(r->context), bytes);
  LLVMValueRef memory = LLVMBuildAlloca(r->builder, type, "");
  LLVMSetAlignment(memory, VECTOR_BYTES);
  return memory;
}

static void make_slots(struct rewriting *r, LLVMValueRef function, struct slots *out) {
  LLVMPositionBuilderBefore(r->builder, LLVMGetFirstInstruction(LLVMGetEntryBasicBlock(function)));
  out->result = slot(r, VECTOR_BYTES);
  out->pointers = slot(r, OPERANDS_MAX * sizeof(void *));
  for (unsigned i = 0; i < OPERANDS_MAX; i++) {
    out->operands[i] = slot(r, VECTOR_BYTES);
    LLVMValueRef at = LLVMConstInt(LLVMInt64TypeInContext(r->context), i, 0);
    LLVMBuildStore(r->builder, out->operands[i], LLVMBuildGEP2(r->builder, r->pointer, out->pointers, &at, 1, ""));
  }
}

static void replace_call(struct rewriting *r, LLVMValueRef call, const struct model *model, const struct slots *slots) {
  LLVMValueRef callee = LLVMGetNamedFunction(r->module, model->symbol);
  if (callee == NULL) callee = LLVMAddFunction(r->module, model->symbol, r->function_type);
  LLVMPositionBuilderBefore(r->builder, call);
  unsigned count = LLVMGetNumArgOperands(call);
  for (unsigned i = 0; i < count && i < OPERANDS_MAX; i++)
    LLVMBuildStore(r->builder, LLVMGetOperand(call, i), slots->operands[i]);
  LLVMValueRef arguments[] = {slots->result, slots->pointers};
  LLVMBuildCall2(r->builder, r->function_type, callee, arguments, 2, "");
  LLVMReplaceAllUsesWith(call, LLVMBuildLoad2(r->builder, LLVMTypeOf(call), slots->result, ""));
  LLVMInstructionEraseFromParent(call);
}

static void replace_calls(struct rewriting *r, LLVMValueRef function) {
  struct slots slots = {0};
  for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(function); block != NULL; block = LLVMGetNextBasicBlock(block))
    for (LLVMValueRef at = LLVMGetFirstInstruction(block), next; at != NULL; at = next) {
      next = LLVMGetNextInstruction(at);
      if (LLVMGetInstructionOpcode(at) != LLVMCall) continue;
      size_t length;
      const struct model *model = find_model(LLVMGetValueName2(LLVMGetCalledValue(at), &length));
      if (model == NULL) continue;
      if (slots.result == NULL) make_slots(r, function, &slots);
      replace_call(r, at, model, &slots);
    }
}

static void set_attribute(struct rewriting *r, LLVMValueRef function, const char *key, const char *value) {
  LLVMAttributeRef attribute =
      LLVMCreateStringAttribute(r->context, key, (unsigned)strlen(key), value, (unsigned)strlen(value));
  LLVMAddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, attribute);
}

void vector_model_apply(LLVMModuleRef module) {
  struct rewriting r = {.module = module, .context = LLVMGetModuleContext(module)};
  r.builder = LLVMCreateBuilderInContext(r.context);
  r.pointer = LLVMPointerTypeInContext(r.context, 0);
  LLVMTypeRef parameters[] = {r.pointer, r.pointer};
  r.function_type = LLVMFunctionType(LLVMVoidTypeInContext(r.context), parameters, 2, 0);
  for (LLVMValueRef f = LLVMGetFirstFunction(module); f != NULL; f = LLVMGetNextFunction(f)) {
    if (LLVMCountBasicBlocks(f) == 0) continue;
    replace_calls(&r, f);
    set_attribute(&r, f, "target-cpu", target_levels[LEVEL_avx2].cpu);
    set_attribute(&r, f, "target-features", target_levels[LEVEL_avx2].features);
  }
  for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
    void *address;
    memcpy(&address, &models[i].function, sizeof address);
    LLVMAddSymbol(models[i].symbol, address);
  }
  LLVMDisposeBuilder(r.builder);
}
