/* The models of the vector instructions (support/vector_model.h): results that are known, and where this CPU has the
 * instructions themselves the same bits as theirs, of numbers of all kinds. */
#include "support/jit.h"
#include "support/vector_model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { OPERANDS = 3, WORDS = 16, ROUNDS = 4000, IMMEDIATES = 2 };

union vector {
  float f32[WORDS];
  uint32_t u32[WORDS];
  int32_t i32[WORDS];
  uint16_t u16[2 * WORDS];
  int16_t i16[2 * WORDS];
  uint8_t u8[4 * WORDS];
};

/* An intrinsic, a level that has it, whether it answers floats, and how many vectors it takes. Integers among its operands are
 * masks (all ones) and these.
 */
static const struct instruction {
  const char *intrinsic;
  int level;
  bool floats;
  int vectors, immediates[IMMEDIATES];
} instructions[] = {
    {"llvm.x86.avx512bf16.dpbf16ps.512", LEVEL_avx512bf16, true, 3, {0}},
    {"llvm.x86.avx512bf16.cvtneps2bf16.512", LEVEL_avx512bf16, false, 1, {0}},
    {"llvm.x86.avx512bf16.cvtne2ps2bf16.512", LEVEL_avx512bf16, false, 2, {0}},
    {"llvm.x86.avx512.vpdpbusd.512", LEVEL_avx512vnni, false, 3, {0}},
    {"llvm.x86.avx512.vpdpbusd.256", LEVEL_avxvnni, false, 3, {0}},
    {"llvm.x86.avx512.pmaddw.d.512", LEVEL_avx512, false, 2, {0}},
    {"llvm.x86.avx512.packssdw.512", LEVEL_avx512, false, 2, {0}},
    {"llvm.x86.avx512.packuswb.512", LEVEL_avx512, false, 2, {0}},
    {"llvm.x86.avx512.mask.cvtps2dq.512", LEVEL_avx512, false, 1, {4}},
    {"llvm.x86.avx512.vpermi2var.ps.512", LEVEL_avx512, true, 3, {0}},
    {"llvm.x86.avx512.mask.scalef.ps.512", LEVEL_avx512, true, 2, {4}},
    {"llvm.x86.avx512.mask.reduce.ps.512", LEVEL_avx512, true, 1, {9, 4}},
};
enum { INSTRUCTIONS = sizeof instructions / sizeof *instructions };

typedef void one_instruction(union vector *result, const union vector *operands);

/* Vectors come from memory; one more than the instruction takes is what a mask would let through. */
static emit_value make_function(struct emit *e, const struct instruction *instruction) {
  unsigned id = LLVMLookupIntrinsicID(instruction->intrinsic, strlen(instruction->intrinsic));
  cr_assert_neq(id, 0, "%s", instruction->intrinsic);
  LLVMValueRef intrinsic = LLVMGetIntrinsicDeclaration(e->module, id, NULL, 0);
  LLVMTypeRef type = LLVMGlobalGetValueType(intrinsic), parameters[8], own[] = {e->pointer, e->pointer};
  unsigned count = LLVMCountParamTypes(type);
  LLVMGetParamTypes(type, parameters);
  emit_value function = emit_function_begin(e, "one_instruction", e->void_type, own, 2), arguments[8];
  int vectors = 0, immediates = 0;
  for (unsigned i = 0; i < count; i++) {
    if (LLVMGetTypeKind(parameters[i]) == LLVMVectorTypeKind) {
      arguments[i] = LLVMConstNull(parameters[i]);
      if (vectors < instruction->vectors)
        arguments[i] =
            LLVMBuildLoad2(e->builder, parameters[i], emit_bytes(e, emit_parameter(e, 1), emit_i64(e, vectors++ * 64)), "");
    } else if (LLVMGetIntTypeWidth(parameters[i]) == 16) {
      arguments[i] = LLVMConstAllOnes(parameters[i]);
    } else {
      arguments[i] = emit_i32(e, instruction->immediates[immediates++]);
    }
  }
  LLVMBuildStore(e->builder, LLVMBuildCall2(e->builder, type, intrinsic, arguments, count, ""), emit_parameter(e, 0));
  emit_function_end(e);
  return function;
}

static one_instruction *compile(struct jit *jit, const struct instruction *instruction, bool modelled) {
  jit_init(jit, &target_levels[instruction->level]);
  emit_value function = make_function(&jit->emit, instruction);
  if (modelled) vector_model_apply(jit->emit.module);
  void *address = jit_address(jit, function);
  one_instruction *run;
  memcpy(&run, &address, sizeof run);
  return run;
}

/* Words of all kinds: any bits, small floats, whole ones, what lies at the edges. */
static uint32_t random_word(uint32_t *state) {
  static const float edges[] = {
      0,        -0.0f,  1,         -1,         0.5f,      -0.5f,  2147483520, -2147483648.0f, 2147483648.0f, 1e-39f,
      -1e-45f,  3e38f,  INFINITY,  -INFINITY,  1e-38f,    126.5f, -126,       -149.5f,        200,           -300,
      32767.5f, 255.5f, 0x1.01p0f, 0x1.018p0f, 0x1.03p0f, NAN};
  enum { EDGES = sizeof edges / sizeof *edges };
  next_random(state);
  uint32_t kind = *state >> 13 & 3;
  float value = next_random(state) * 20;
  if (kind == 1) return *state;
  if (kind == 2) value = nearbyintf(value * 8) / 2;
  if (kind == 3) value = edges[(*state >> 9) % EDGES];
  uint32_t word;
  memcpy(&word, &value, sizeof word);
  return word;
}

/* NaN is NaN, whatever its other bits: the sign and payload of one that an operation makes are no part of the kernels' results.
 */
static bool same(const struct instruction *instruction, const union vector *a, const union vector *b) {
  for (int i = 0; i < WORDS; i++)
    if (a->u32[i] != b->u32[i] && !(instruction->floats && isnan(a->f32[i]) && isnan(b->f32[i]))) return false;
  return true;
}

Test(vector_model, as_the_processor) {
  for (int n = 0; n < INSTRUCTIONS; n++) {
    const struct instruction *instruction = &instructions[n];
    if ((target_levels[instruction->level].requires & ~target_host_features()) != 0) {
      fprintf(stderr, "%s: this CPU lacks it, its model is held against known results alone\n", instruction->intrinsic);
      continue;
    }
    struct jit native, modelled;
    one_instruction *run = compile(&native, instruction, false), *model = compile(&modelled, instruction, true);
    _Alignas(64) union vector operands[OPERANDS], expected = {0}, result = {0};
    uint32_t state = 7;
    for (int round = 0; round < ROUNDS; round++) {
      for (int o = 0; o < OPERANDS; o++)
        for (int i = 0; i < WORDS; i++) operands[o].u32[i] = random_word(&state);
      run(&expected, operands);
      model(&result, operands);
      if (same(instruction, &expected, &result)) continue;
      for (int i = 0; i < WORDS; i++)
        cr_expect_eq(expected.u32[i], result.u32[i], "%s, round %d, word %d: %08x %08x %08x: processor %08x, model %08x",
                     instruction->intrinsic, round, i, operands[0].u32[i], operands[1].u32[i], operands[2].u32[i],
                     expected.u32[i], result.u32[i]);
      break;
    }
    jit_deinit(&native);
    jit_deinit(&modelled);
  }
}

static union vector modelled_once(const char *intrinsic, const union vector *operands) {
  _Alignas(64) union vector result = {0};
  int n = 0;
  while (n < INSTRUCTIONS && strcmp(instructions[n].intrinsic, intrinsic) != 0) n++;
  cr_assert_lt(n, INSTRUCTIONS, "%s", intrinsic);
  struct jit jit;
  compile(&jit, &instructions[n], true)(&result, operands);
  jit_deinit(&jit);
  return result;
}

Test(vector_model, known_sums) {
  _Alignas(64) union vector operands[OPERANDS] = {0};
  for (int i = 0; i < WORDS; i++) operands[0].i32[i] = 1000 * i;
  for (int i = 0; i < 4 * WORDS; i++) {
    operands[1].u8[i] = 255;
    operands[2].u8[i] = i % 4 == 0 ? 0x80 : 1; /* -128 */
  }
  union vector sums = modelled_once("llvm.x86.avx512.vpdpbusd.512", operands);
  for (int i = 0; i < WORDS; i++) cr_expect_eq(sums.i32[i], 1000 * i + 255 * (3 - 128));
  sums = modelled_once("llvm.x86.avx512.vpdpbusd.256", operands);
  for (int i = 0; i < WORDS / 2; i++) cr_expect_eq(sums.i32[i], 1000 * i + 255 * (3 - 128));
  for (int i = 0; i < WORDS; i++) cr_expect_eq(sums.i32[i] != 0, i < WORDS / 2 && i >= 0);
  for (int i = 0; i < 2 * WORDS; i++) operands[0].i16[i] = INT16_MIN, operands[1].i16[i] = (int16_t)(i % 2 == 0 ? -3 : 5);
  sums = modelled_once("llvm.x86.avx512.pmaddw.d.512", operands);
  for (int i = 0; i < WORDS; i++) cr_expect_eq(sums.i32[i], -32768 * 2);
  /* 1.0 and 2.0 in bf16: i + 1 * 2 + 2 * 1 */
  for (int i = 0; i < WORDS; i++) {
    operands[0].f32[i] = (float)i;
    operands[1].u16[2 * i] = operands[2].u16[2 * i + 1] = 0x3f80;
    operands[1].u16[2 * i + 1] = operands[2].u16[2 * i] = 0x4000;
  }
  sums = modelled_once("llvm.x86.avx512bf16.dpbf16ps.512", operands);
  for (int i = 0; i < WORDS; i++) cr_expect_float_eq(sums.f32[i], (float)i + 4, 0);
}

Test(vector_model, known_conversions) {
  _Alignas(64) union vector operands[OPERANDS] = {0};
  static const float values[] = {0.5f, 1.5f, -2.5f, 3e9f, -0.25f, 2.75f, -7, 255.5f};
  static const int32_t rounded[] = {0, 2, -2, INT32_MIN, 0, 3, -7, 256};
  static const float fractions[] = {0.5f, 0.5f, 0.5f, 0, 0.75f, 0.75f, 0, 0.5f};
  static const uint16_t bf16[] = {0x3f00, 0x3fc0, 0xc020, 0x4f33, 0xbe80, 0x4030, 0xc0e0, 0x4380};
  for (int i = 0; i < WORDS; i++) operands[0].f32[i] = values[i % 8], operands[1].f32[i] = (float)(i % 8) - 3.5f;
  union vector result = modelled_once("llvm.x86.avx512.mask.cvtps2dq.512", operands);
  for (int i = 0; i < WORDS; i++) cr_expect_eq(result.i32[i], rounded[i % 8], "%d", i);
  result = modelled_once("llvm.x86.avx512.mask.reduce.ps.512", operands);
  for (int i = 0; i < WORDS; i++) cr_expect_float_eq(result.f32[i], fractions[i % 8], 0, "%d", i);
  result = modelled_once("llvm.x86.avx512.mask.scalef.ps.512", operands);
  for (int i = 0; i < WORDS; i++) cr_expect_float_eq(result.f32[i], ldexpf(values[i % 8], i % 8 - 4), 0, "%d", i);
  result = modelled_once("llvm.x86.avx512bf16.cvtneps2bf16.512", operands);
  for (int i = 0; i < WORDS; i++) cr_expect_eq(result.u16[i], bf16[i % 8], "%d: %04x", i, result.u16[i]);
  for (int i = 0; i < WORDS; i++) operands[1].f32[i] = 1;
  result = modelled_once("llvm.x86.avx512bf16.cvtne2ps2bf16.512", operands);
  for (int i = 0; i < 2 * WORDS; i++)
    cr_expect_eq(result.u16[i], i < WORDS ? 0x3f80 : bf16[i % 8], "%d: %04x", i, result.u16[i]);
}

/* Within each 128 bits the words of the first operand, then those of the second. */
Test(vector_model, known_places) {
  _Alignas(64) union vector operands[OPERANDS] = {0};
  for (int i = 0; i < WORDS; i++) operands[0].i32[i] = i - 2, operands[1].i32[i] = 100000 * (i % 2 == 0 ? 1 : -1);
  union vector result = modelled_once("llvm.x86.avx512.packssdw.512", operands);
  for (int i = 0; i < 2 * WORDS; i++) {
    int within = i % 8, part = i / 8;
    int expected = within < 4 ? part * 4 + within - 2 : within % 2 == 0 ? INT16_MAX : INT16_MIN;
    cr_expect_eq(result.i16[i], expected, "%d", i);
  }
  for (int i = 0; i < 2 * WORDS; i++) operands[0].i16[i] = (int16_t)(i - 2), operands[1].i16[i] = 300;
  result = modelled_once("llvm.x86.avx512.packuswb.512", operands);
  for (int i = 0; i < 4 * WORDS; i++) {
    int within = i % 16, part = i / 16, first = part * 8 + within - 2;
    cr_expect_eq(result.u8[i], within >= 8 ? 255 : first < 0 ? 0 : first, "%d", i);
  }
  for (int i = 0; i < WORDS; i++) {
    operands[0].f32[i] = (float)i;
    operands[1].i32[i] = 3 * i + 64;
    operands[2].f32[i] = 100 + (float)i;
  }
  result = modelled_once("llvm.x86.avx512.vpermi2var.ps.512", operands);
  for (int i = 0; i < WORDS; i++) {
    int at = 3 * i % 32;
    cr_expect_float_eq(result.f32[i], at < 16 ? (float)at : 100 + (float)(at - 16), 0, "%d", i);
  }
}
