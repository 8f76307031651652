#include "cmd/peak_work.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

/* Some 20 microseconds each, so that a window of many (peak.c) is shorter than what the system gives a thread at a time. */
enum { LOOPS = 4096, DOT_LOOPS = 1024, TILE_LOOPS = 256, CHAINS = 12 };

/* Latency 4 or 5 at two instructions a cycle needs 8 to 10 independent chains; 12 fit 16 registers. */
#define EACH_CHAIN(STEP) \
  STEP(c0) STEP(c1) STEP(c2) STEP(c3) STEP(c4) STEP(c5) STEP(c6) STEP(c7) STEP(c8) STEP(c9) STEP(c10) STEP(c11)
#define CHAINS_OF(type, value)                                                                                                 \
  type c0 = value, c1 = value, c2 = value, c3 = value, c4 = value, c5 = value, c6 = value, c7 = value, c8 = value, c9 = value, \
       c10 = value, c11 = value

#define FMA(sum) __asm__ volatile("vfmadd231ps %1, %2, %0" : "+v"(sum) : "v"(a), "v"(b));
#define DOT_BF16(sum) __asm__ volatile("vdpbf16ps %1, %2, %0" : "+v"(sum) : "v"(a), "v"(b));
#define DOT_INT8(sum) __asm__ volatile("vpdpbusd %1, %2, %0" : "+v"(sum) : "v"(a), "v"(b));
#define DOT_INT16(sum) \
  __asm__ volatile("vpmaddwd %2, %3, %1\n\tvpsubd %1, %0, %0" : "+x"(sum), "=&x"(products) : "x"(a), "x"(b));
#define DOT_INT8_VEX(sum) __asm__ volatile("%{vex%} vpdpbusd %1, %2, %0" : "+x"(sum) : "x"(a), "x"(b));

__attribute__((target("avx2,fma"))) static double work_avx2(void) {
  __m256 a = _mm256_set1_ps(1.0f), b = _mm256_set1_ps(1e-9f);
  CHAINS_OF(__m256, b);
  for (int i = 0; i < LOOPS; i++) {
    EACH_CHAIN(FMA)
  }
  return (double)(2 * 8 * CHAINS * LOOPS);
}

__attribute__((target("avx512f"))) static double work_avx512(void) {
  __m512 a = _mm512_set1_ps(1.0f), b = _mm512_set1_ps(1e-9f);
  CHAINS_OF(__m512, b);
  for (int i = 0; i < LOOPS; i++) {
    EACH_CHAIN(FMA)
  }
  return (double)(2 * 16 * CHAINS * LOOPS);
}

/* 0x3c01 is a bf16 of 0.0079. */
__attribute__((target("avx512f"))) static double work_bf16(void) {
  __m512i a = _mm512_set1_epi32(0x3c013c01), b = a;
  CHAINS_OF(__m512i, a);
  for (int i = 0; i < DOT_LOOPS; i++) {
    EACH_CHAIN(DOT_BF16)
  }
  return (double)(2 * 32 * CHAINS * DOT_LOOPS);
}

__attribute__((target("avx512f"))) static double work_int8(void) {
  __m512i a = _mm512_set1_epi32(0x01fe03fc), b = a;
  CHAINS_OF(__m512i, a);
  for (int i = 0; i < LOOPS; i++) {
    EACH_CHAIN(DOT_INT8)
  }
  return (double)(2 * 64 * CHAINS * LOOPS);
}

__attribute__((target("avx2"))) static double work_int8_avx(void) {
  __m256i a = _mm256_set1_epi32(0x01fe03fc), b = a;
  CHAINS_OF(__m256i, a);
  for (int i = 0; i < LOOPS; i++) {
    EACH_CHAIN(DOT_INT8_VEX)
  }
  return (double)(2 * 32 * CHAINS * LOOPS);
}

/* As emit_dot_int16: the products' sum and the running one are two instructions. */
__attribute__((target("avx2"))) static double work_int16(void) {
  __m256i a = _mm256_set1_epi32(0x00fe007f), b = a, products;
  CHAINS_OF(__m256i, a);
  for (int i = 0; i < LOOPS; i++) {
    EACH_CHAIN(DOT_INT16)
  }
  return (double)(2 * 16 * CHAINS * LOOPS);
}

/* Tiles 4 and 5 hold operands that are not zero, at which the clock would be higher than with a model's; 6 and 7 nothing, so
 * that enough registers are left where two threads share a core (emit_gemm_amx.c). Latency 52 at one in 16 cycles: 4 chains. */
static void tiles_begin(void) {
  unsigned char config[64] __attribute__((aligned(64))) = {1}, data[1024] __attribute__((aligned(64)));
  for (int tile = 0; tile < 8; tile++) {
    config[16 + 2 * tile] = 64;
    config[48 + tile] = 16;
  }
  for (int i = 0; i < 1024; i += 2) {
    data[i] = (unsigned char)(i * 37);
    data[i + 1] = i % 4 == 0 ? 0x3c : 0xbc;
  }
  __asm__ volatile("ldtilecfg %0" ::"m"(config));
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm4\n\ttileloadd (%0,%1,1), %%tmm5" ::"r"(data), "r"((int64_t)64) : "memory");
}

static double work_tiles_bf16(void) {
  tiles_begin();
  for (int i = 0; i < TILE_LOOPS; i++)
    __asm__ volatile("tdpbf16ps %tmm5, %tmm4, %tmm0\n\ttdpbf16ps %tmm5, %tmm4, %tmm1\n\t"
                     "tdpbf16ps %tmm5, %tmm4, %tmm2\n\ttdpbf16ps %tmm5, %tmm4, %tmm3");
  __asm__ volatile("tilerelease");
  return (double)(2 * 16 * 16 * 32 * 4 * TILE_LOOPS);
}

static double work_tiles_int8(void) {
  tiles_begin();
  for (int i = 0; i < TILE_LOOPS; i++)
    __asm__ volatile("tdpbusd %tmm5, %tmm4, %tmm0\n\ttdpbusd %tmm5, %tmm4, %tmm1\n\t"
                     "tdpbusd %tmm5, %tmm4, %tmm2\n\ttdpbusd %tmm5, %tmm4, %tmm3");
  __asm__ volatile("tilerelease");
  return (double)(2 * 16 * 16 * 64 * 4 * TILE_LOOPS);
}

static peak_work dot_work(const struct target_level *level, enum arithmetic arithmetic) {
  if (level->tiles) return arithmetic == ARITHMETIC_BF16 ? work_tiles_bf16 : work_tiles_int8;
  if (arithmetic == ARITHMETIC_BF16) return work_bf16;
  return level->lanes == 16 ? work_int8 : work_int8_avx;
}

peak_work peak_work_of(const struct target_level *level, enum arithmetic arithmetic) {
  if (level == NULL) return NULL;
  if (arithmetic == ARITHMETIC_FP32) return level->lanes == 16 ? work_avx512 : work_avx2;
  if (arithmetic == ARITHMETIC_INT16) return work_int16;
  return dot_work(level, arithmetic);
}
#else
peak_work peak_work_of(const struct target_level *level, enum arithmetic arithmetic) {
  (void)level, (void)arithmetic;
  return NULL;
}
#endif
