/* The CPU levels that code is generated for: plain data, one row of targets.def each. */
#ifndef VITC_TARGET_TARGET_H
#define VITC_TARGET_TARGET_H

#include <stdbool.h>

/* What the operands of the matrix products are held in. Sums, the residual stream, normalisations and softmax are fp32. */
enum precision { PRECISION_FP32, PRECISION_BF16, PRECISION_INT8, PRECISION_COUNT };

const char *precision_name(enum precision precision); /* "fp32", "bf16", "int8" */
bool precision_named(const char *name, enum precision *out_precision);

struct target_level {
  const char *name;     /* "avx2", "avx512": as in `--cpu` and in kernel names */
  const char *cpu;      /* LLVM's target-cpu */
  const char *tune;     /* LLVM's tune-cpu */
  const char *features; /* LLVM's target-features */
  int lanes;            /* fp32 elements of a vector */
  int registers;        /* vector registers */
  bool masks;           /* has mask registers (loads and stores of part of a vector at full speed) */
  int mr, nv;           /* GEMM tile: rows x vectors; mr * nv + nv + 1 <= registers */
  unsigned precisions;  /* for which this level has code: 1 << enum precision */
  bool dot_bf16;        /* vdpbf16ps: two products of bf16 and a sum in fp32; without, bf16 weights are widened */
  bool dot_int8;        /* vpdpbusd: four products of u8 and s8 and a sum in s32; without, pairs of 16 bits */
  bool tiles;           /* AMX: tdpbf16ps and tdpbusd on tiles of 16 rows of 64 bytes */
  unsigned requires;    /* CPU features that must all be present: TARGET_* bits */
  unsigned avoid;       /* features with which a worse level is faster: taken there only when nothing else is left */
};

/* What multiply-adds are executed in. */
enum arithmetic { ARITHMETIC_FP32, ARITHMETIC_BF16, ARITHMETIC_INT16, ARITHMETIC_INT8, ARITHMETIC_COUNT };

const char *arithmetic_name(enum arithmetic arithmetic); /* "fp32", "bf16", "int16", "int8" */

/* Those of the products whose operands are held in `precision`: where the level multiplies them only once they are widened,
 * what they are widened to. The code generator chooses its instructions by it. */
enum arithmetic target_arithmetic(const struct target_level *level, enum precision precision);

enum {
  TARGET_AVX2 = 1,
  TARGET_FMA = 2,
  TARGET_AVX512 = 4,
  TARGET_AVX512_BF16 = 8,
  TARGET_AVX512_VNNI = 16,
  TARGET_AVX_VNNI = 32,
  TARGET_AMX_TILE = 64,
  TARGET_AMX_BF16 = 128,
  TARGET_AMX_INT8 = 256,
  TARGET_INTEL = 512 /* the maker: where vdpbf16ps takes twice the time of two fp32 multiply-adds */
};

enum target_level_id {
#define LEVEL(id, ...) LEVEL_##id,
#include "target/targets.def"
#undef LEVEL
  LEVEL_COUNT
};

extern const struct target_level target_levels[LEVEL_COUNT];

/* TARGET_* bits of the CPU that this runs on, as far as the system has enabled them. Whether the process may use AMX's tiles is
 * for the runtime to ask (vitc_cpu_request_amx). */
unsigned target_host_features(void);

/* What the code of a kernel can depend on besides a level's vectors, registers and tiles of the products. */
enum { TARGET_USES_DOT_BF16 = 1, TARGET_USES_DOT_INT8 = 2, TARGET_USES_TILES = 4 };

/* The first level of the mask for which kernels that depend on no more than `uses` are the same code as for `level`, and that
 * every CPU of `level` can run; `level` itself where there is none before it. */
int target_twin(unsigned level_mask, int level, unsigned uses);

/* The level of the mask (1 << level) that a CPU with these features should run; -1: it has none. */
int target_best_level(unsigned level_mask, unsigned features);

#endif
