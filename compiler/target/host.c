#include "target/target.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>

enum { OSXSAVE = 1 << 27, STATE_AVX = 0x6, STATE_AVX512 = 0xe6, STATE_TILES = 0x60000 };

/* Leaf 7's EDX: not every compiler's cpuid.h names them. */
enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25 };

static bool has(unsigned word, unsigned bits) {
  return (word & bits) == bits;
}

static uint32_t enabled_state(void) {
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  (void)high;
  return low;
}

unsigned target_host_features(void) {
  unsigned a, b, c, d, maker, other, features = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, OSXSAVE)) return 0;
  const uint32_t state = enabled_state();
  if (!has(state, STATE_AVX)) return 0;
  if (__get_cpuid(0, &a, &maker, &other, &d) && maker == signature_INTEL_ebx) features |= TARGET_INTEL;
  if (has(c, bit_FMA)) features |= TARGET_FMA;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  const unsigned subleaves = a;
  const bool avx512 = has(state, STATE_AVX512), tiles = has(state, STATE_TILES);
  if (has(b, bit_BMI | bit_AVX2 | bit_BMI2)) features |= TARGET_AVX2;
  if (avx512 && has(b, bit_AVX512F | bit_AVX512DQ | bit_AVX512CD | bit_AVX512BW | bit_AVX512VL)) features |= TARGET_AVX512;
  if (avx512 && has(c, bit_AVX512VNNI)) features |= TARGET_AVX512_VNNI;
  if (tiles && has(d, AMX_TILE)) features |= TARGET_AMX_TILE;
  if (tiles && has(d, AMX_BF16)) features |= TARGET_AMX_BF16;
  if (tiles && has(d, AMX_INT8)) features |= TARGET_AMX_INT8;
  if (subleaves == 0 || !__get_cpuid_count(7, 1, &a, &b, &c, &d)) return features;
  if (has(a, bit_AVXVNNI)) features |= TARGET_AVX_VNNI;
  if (avx512 && has(a, bit_AVX512BF16)) features |= TARGET_AVX512_BF16;
  return features;
}
#else
unsigned target_host_features(void) {
  return 0;
}
#endif

int target_best_level(unsigned level_mask, unsigned features) {
  for (int pass = 0; pass < 2; pass++)
    for (int level = LEVEL_COUNT - 1; level >= 0; level--) {
      const struct target_level *candidate = &target_levels[level];
      bool usable = (level_mask >> level & 1) != 0 && (candidate->requires & ~features) == 0;
      if (usable && (pass == 1 || (candidate->avoid & features) == 0)) return level;
    }
  return -1;
}
