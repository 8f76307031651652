/* The CPU levels that code is generated for: plain data, one row of targets.def each. */
#ifndef VITC_TARGET_TARGET_H
#define VITC_TARGET_TARGET_H

#include <stdbool.h>

struct target_level {
  const char *name;     /* "avx2", "avx512": as in `--cpu` and in kernel names */
  const char *cpu;      /* LLVM's target-cpu */
  const char *tune;     /* LLVM's tune-cpu */
  const char *features; /* LLVM's target-features */
  int lanes;            /* fp32 elements of a vector */
  int registers;        /* vector registers */
  bool masks;           /* has mask registers (loads and stores of part of a vector at full speed) */
  int mr, nv;           /* GEMM tile: rows x vectors; mr * nv + nv + 1 <= registers */
  unsigned requires;    /* CPU features that must all be present: TARGET_* bits */
};

enum {
  TARGET_AVX2 = 1,
  TARGET_FMA = 2,
  TARGET_AVX512 = 4,
  TARGET_AVX512_BF16 = 8,
  TARGET_AVX512_VNNI = 16,
  TARGET_AVX_VNNI = 32,
  TARGET_AMX_TILE = 64,
  TARGET_AMX_BF16 = 128,
  TARGET_AMX_INT8 = 256
};

enum target_level_id {
#define LEVEL(id, ...) LEVEL_##id,
#include "target/targets.def"
#undef LEVEL
  LEVEL_COUNT
};

extern const struct target_level target_levels[LEVEL_COUNT];

#endif
