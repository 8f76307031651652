/* Speed of the kernels at ViT-B/16's shapes, each against the peak of the level's multiply-adds measured in the same rounds.
 *
 *   kernels [--level avx512] [--precision fp32] [--tile 9x3] [--rounds 20] [--huge] [--warm] [--asm] [--only fc1]
 *
 * --precision is that of the GEMMs, and what the peak counts: vfmadd231ps, vdpbf16ps, vpdpbusd, tdpbf16ps or tdpbusd.
 *
 * Weights are cold, as in a forward pass: every round reads another part of one large block. Times are the thread's own.
 * "slices" sums the best rounds of parts of the kernel (some panels, a head), which tells its speed also on a machine that
 * other programs keep busy; "best" and "median" are of whole rounds. --tile tries another tile (rows x vectors); --huge asks
 * for huge pages; --warm reads the same weights every time; --asm prints the assembly instead. */
#include "llvm/emit_amx.h"
#include "llvm/kernels.h"
#include "support/jit.h"
#include "vitc/host.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

typedef void gemm_function(const float *, const float *, float *, const void *const *, int64_t, int64_t, int64_t, int64_t,
                           int64_t);
typedef void pack_function(const float *, float *, const float *, int64_t, int64_t, int64_t);
typedef void attention_function(const float *, const float *, const float *, float *, int64_t, int64_t, int64_t);
typedef void masked_function(const float *, const float *, const float *, float *, int64_t, int64_t, int64_t, const float *);
typedef void rows_function(const float *, float *, const void *const *, int64_t, int64_t, int64_t);
typedef void peak_function(float *, int64_t);

enum {
  CASES_MAX = 16,
  ROUNDS_MAX = 1000,
  ROWS = 197,
  WEIGHT_FLOATS = 96 << 20,
  ACTIVATION_FLOATS = 4 << 20,
  SLICES_MAX = 64,
  SLICE_PANELS = 48
};

enum kind { GEMM, ATTENTION, PACK, ROW_PASS };

struct bench_case {
  const char *name;
  enum kind kind;
  struct gemm_desc gemm;
  struct attention_desc attention;
  struct rows_desc rows;
  double operations, compile_ms;
  void *code;
  int slices;
  double seconds[ROUNDS_MAX], best[SLICES_MAX];
};

struct bench {
  struct target_level level;
  enum precision precision;
  int rounds;
  bool huge, warm, assembly;
  const char *only;
  struct bench_case cases[CASES_MAX];
  int case_count;
  float *weights, *activations[3];
  size_t weight_at;
  double peak[ROUNDS_MAX];
};

/* The thread's own time: what other programs take of the core between two of its slices is not counted. */
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* As the planner pads rows: to an odd number of cache lines. */
static int64_t padded(int64_t columns) {
  return ((columns + 15) / 16 | 1) * 16;
}

/* Of an operand row, with its tables in int8. */
static int64_t a_words(const struct bench *b, int64_t k) {
  if (b->precision == PRECISION_INT8) return operand_tables(&b->level, k) + 2;
  bool narrow = b->precision == PRECISION_BF16 && b->level.dot_bf16;
  return narrow ? pack_words(PRECISION_BF16, k) : pack_padded_k(b->precision, k);
}

static struct bench_case *add_case(struct bench *b, const char *name, enum kind kind, double operations) {
  static struct bench_case unused;
  if (b->only != NULL && strcmp(b->only, name) != 0) return &unused;
  struct bench_case *c = &b->cases[b->case_count++];
  *c = (struct bench_case){.name = name, .kind = kind, .operations = operations};
  return c;
}

static void add_gemm(struct bench *b, const char *name, int64_t m, int64_t n, int64_t k, enum op second) {
  struct bench_case *c = add_case(b, name, GEMM, 2.0 * (double)(m * n * k));
  memset(&c->gemm, 0, sizeof c->gemm);
  c->gemm.precision = b->precision;
  c->gemm.m = m;
  c->gemm.n = n;
  c->gemm.k = k;
  c->gemm.a_row_stride = padded(a_words(b, k));
  c->gemm.a_image_stride = m * c->gemm.a_row_stride;
  /* As in a model: what the next product reads is in its precision. */
  c->gemm.c_operand = b->precision == PRECISION_BF16 && b->level.dot_bf16 && second != OP_add && n % 32 == 0;
  c->gemm.c_row_stride = padded(c->gemm.c_operand ? n / 2 : n);
  c->gemm.c_image_stride = m * c->gemm.c_row_stride;
  c->gemm.stages[c->gemm.stage_count++] = (struct stage){.op = OP_add, .kind = OPERAND_COLUMN};
  if (second == OP_gelu) c->gemm.stages[c->gemm.stage_count++] = (struct stage){.op = OP_gelu};
  if (second == OP_add)
    c->gemm.stages[c->gemm.stage_count++] =
        (struct stage){.op = OP_add, .kind = OPERAND_MATRIX, .row_stride = padded(n), .image_stride = m * padded(n)};
}

static struct attention_desc *add_attention(struct bench *b, const char *name, enum kind kind, int64_t rows) {
  struct bench_case *c = add_case(b, name, kind, 4.0 * 12 * (double)(rows * rows) * 64);
  struct attention_desc *d = &c->attention;
  *d = (struct attention_desc){.windows = 1, .heads = 12, .kv_heads = 12, .q_rows = rows, .k_rows = rows, .scale = 0.125f};
  d->head_dim = d->v_dim = 64;
  d->q = d->k = d->v = (struct attention_strides){.image = rows * padded(2304), .head = 64, .row = padded(2304)};
  d->out = (struct attention_strides){.image = rows * padded(768), .head = 64, .row = padded(768)};
  d->mask = (struct attention_strides){.head = rows * padded(rows), .row = padded(rows)};
  if (b->precision == PRECISION_FP32 || !b->level.dot_bf16) return d;
  d->precision = PRECISION_BF16; /* operand rows have the room of fp32 */
  d->out_operand = 1;
  d->q.head = d->k.head = d->v.head = d->out.head = 32;
  return d;
}

static void add_cases(struct bench *b) {
  add_gemm(b, "qkv", ROWS, 2304, 768, OP_relu);
  add_gemm(b, "proj", ROWS, 768, 768, OP_add);
  add_gemm(b, "fc1", ROWS, 3072, 768, OP_gelu);
  add_gemm(b, "fc1-no-gelu", ROWS, 3072, 768, OP_relu);
  add_gemm(b, "fc2", ROWS, 768, 3072, OP_add);
  add_gemm(b, "patch", 196, 768, 768, OP_relu);
  add_gemm(b, "fc1-577", 577, 3072, 768, OP_relu);
  add_gemm(b, "fc2-577", 577, 768, 3072, OP_add);
  add_gemm(b, "head", 1, 1000, 768, OP_relu);
  add_attention(b, "attention", ATTENTION, ROWS);
  add_attention(b, "attention-577", ATTENTION, 577);
  add_attention(b, "attention-masked", ATTENTION, ROWS)->has_mask = 1;
  add_attention(b, "pack", PACK, ROWS);
  struct bench_case *c = add_case(b, "layer-norm", ROW_PASS, 8.0 * (double)ROWS * 768);
  c->rows = (struct rows_desc){.op = OP_layer_normalization, .rows = ROWS, .columns = 768, .epsilon = 1e-6f, .has_bias = 1};
  c->rows.x_row_stride = c->rows.y_row_stride = padded(768);
  if (b->precision == PRECISION_FP32) return;
  c->rows.to = b->precision;
  if (b->precision == PRECISION_INT8) c->rows.hadamard = pack_hadamard(768);
  c = add_case(b, "convert-fc2", ROW_PASS, (double)ROWS * 3072);
  c->rows = (struct rows_desc){.op = OP_identity, .to = b->precision, .rows = ROWS, .columns = 3072};
  if (b->precision == PRECISION_INT8) c->rows.hadamard = pack_hadamard(3072);
  c->rows.x_row_stride = c->rows.y_row_stride = padded(3072);
}

static bool has_dot(const struct bench *b) {
  return (b->precision == PRECISION_BF16 && b->level.dot_bf16) || (b->precision == PRECISION_INT8 && b->level.dot_int8);
}

static bool uses_tiles(const struct bench *b) {
  return b->level.tiles && b->precision != PRECISION_FP32;
}

static int peak_sums(const struct bench *b) {
  return uses_tiles(b) ? 4 : b->level.registers * 3 / 4;
}

static emit_value emit_case(struct emit *e, const struct bench_case *c) {
  switch (c->kind) {
  case GEMM:
    return emit_gemm(e, &c->gemm);
  case ATTENTION:
    return emit_attention(e, &c->attention);
  case PACK:
    return emit_attention_pack(e, &c->attention);
  default:
    return emit_rows(e, &c->rows);
  }
}

/* Two operations for each product of one instruction of the peak. */
static double peak_operations(const struct bench *b) {
  static const int in_word[PRECISION_COUNT] = {1, 2, 4};
  int words = uses_tiles(b) ? AMX_ROWS * AMX_ROWS * AMX_ROWS : b->level.lanes;
  return 2.0 * words * in_word[has_dot(b) ? b->precision : PRECISION_FP32];
}

static emit_value peak_step(struct emit *e, enum precision precision, emit_value sum, emit_value a, emit_value b) {
  if (precision == PRECISION_FP32) return emit_fma(e, a, b, sum);
  if (precision == PRECISION_BF16) return emit_dot_bf16(e, sum, a, b);
  emit_value words[] = {sum, a, b};
  for (int i = 0; i < 3; i++) words[i] = LLVMBuildBitCast(e->builder, words[i], e->ivector, "");
  const char *name = e->level->lanes == 16 ? "llvm.x86.avx512.vpdpbusd.512" : "llvm.x86.avx512.vpdpbusd.256";
  return LLVMBuildBitCast(e->builder, emit_intrinsic(e, name, NULL, words, 3), e->vector, "");
}

/* Independent multiply-adds in all but a few registers: count times 24 (or 12) of them, or 4 of tiles. */
static emit_value emit_peak(struct emit *e, const struct bench *b) {
  LLVMTypeRef types[] = {e->pointer, e->i64};
  emit_value function = emit_function_begin(e, "peak", e->void_type, types, 2), acc[EMIT_CARRIED_MAX];
  int count = uses_tiles(b) ? 0 : peak_sums(b), rows[AMX_TILES];
  emit_value x = emit_splat(e, emit_load_f32(e, emit_parameter(e, 0)));
  emit_value y = emit_splat(e, emit_load_f32(e, emit_at_const(e, emit_parameter(e, 0), 1)));
  for (int i = 0; i < count; i++) acc[i] = emit_splat_const(e, i);
  for (int t = 0; t < AMX_TILES; t++) rows[t] = AMX_ROWS;
  if (uses_tiles(b)) emit_amx_configure(e, rows);
  /* Operands that are not zero, at which the clock would be higher; two tiles stay free (emit_gemm_amx.c). */
  for (int t = 4; uses_tiles(b) && t < 6; t++) emit_amx_load(e, t, emit_parameter(e, 0), emit_i64(e, AMX_ROW_BYTES));
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, 0), emit_parameter(e, 1), 1, acc, count, EMIT_NOT_EMPTY);
  for (int i = 0; i < count; i++) acc[i] = peak_step(e, has_dot(b) ? b->precision : PRECISION_FP32, loop.carried[i], x, y);
  for (int i = 0; uses_tiles(b) && i < peak_sums(b); i++)
    (b->precision == PRECISION_INT8 ? emit_amx_dot_int8 : emit_amx_dot_bf16)(e, i, 4, 5);
  emit_loop_end(e, &loop, acc);
  if (uses_tiles(b)) emit_amx_release(e);
  emit_value sum = emit_splat_const(e, 0);
  for (int i = 0; i < count; i++) sum = emit_fadd(e, sum, loop.carried[i]);
  emit_store_vector(e, sum, emit_parameter(e, 0), e->level->lanes);
  emit_function_end(e);
  return function;
}

static float *memory(const struct bench *b, size_t floats) {
  void *at = mmap(NULL, floats * sizeof(float), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) {
    perror("mmap");
    exit(4);
  }
  madvise(at, floats * sizeof(float), b->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  float *values = at;
  uint32_t seed = 1;
  for (size_t i = 0; i < floats; i++) {
    values[i] = next_random(&seed) * 0.05f;
    uint32_t bits;
    memcpy(&bits, &values[i], sizeof bits);
    bits = (bits & 0xffff0000u) | bits >> 16; /* two equal numbers when it is read as bf16 */
    if (b->precision != PRECISION_FP32) memcpy(&values[i], &bits, sizeof bits);
  }
  return values;
}

/* Another part of the weights each time, so that they come from where a whole model's weights come from. */
static const float *cold_weights(struct bench *b, const struct gemm_desc *d) {
  size_t count = (size_t)((d->n + 15) / 16 * pack_panel_stride(d->precision, d->k, d->group));
  if (b->warm || b->weight_at + count > WEIGHT_FLOATS) b->weight_at = 0;
  const float *at = b->weights + b->weight_at;
  b->weight_at += (count + 15) / 16 * 16;
  return at;
}

static int slice_count(const struct bench_case *c) {
  if (c->kind == GEMM) return (int)((c->gemm.n + 16 * SLICE_PANELS - 1) / (16 * SLICE_PANELS));
  return c->kind == ATTENTION ? (int)c->attention.heads : 1;
}

static void run_slice(struct bench *b, const struct bench_case *c, const float *weights, int slice) {
  float *x = b->activations[0], *y = b->activations[1], *z = b->activations[2];
  int64_t heads = c->attention.precision == PRECISION_BF16 ? 384 : 768; /* words of all heads' rows */
  const void *operands[] = {x, y};
  if (c->kind == GEMM) {
    int64_t panels = (c->gemm.n + 15) / 16, begin = (int64_t)slice * SLICE_PANELS, end = begin + SLICE_PANELS;
    ((gemm_function *)c->code)(x, weights, y, operands, 1, begin, end < panels ? end : panels, 0,
                               gemm_row_tiles(&b->level, &c->gemm));
  } else if (c->kind == ATTENTION) {
    int64_t tiles = attention_row_tiles(&b->level, &c->attention);
    int64_t begin = slice * tiles, end = begin + tiles;
    if (c->attention.has_mask)
      ((masked_function *)c->code)(x, z, x + 2 * heads, y, 1, begin, end, weights);
    else
      ((attention_function *)c->code)(x, z, x + 2 * heads, y, 1, begin, end);
  } else if (c->kind == PACK) {
    ((pack_function *)c->code)(x + heads, z, x + 2 * heads, 1, 0, 12);
  } else {
    ((rows_function *)c->code)(x, y, operands, 1, 0, ROWS);
  }
}

static void run_round(struct bench *b, struct bench_case *c, int round) {
  const float *weights = c->kind == GEMM ? cold_weights(b, &c->gemm) : b->weights;
  c->slices = slice_count(c);
  double whole = now();
  for (int slice = 0; slice < c->slices; slice++) {
    double start = now();
    run_slice(b, c, weights, slice);
    double seconds = now() - start;
    if (round == 0 || seconds < c->best[slice]) c->best[slice] = seconds;
  }
  c->seconds[round] = now() - whole;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void measure(struct bench *b, peak_function *peak) {
  float operands[AMX_ROWS * 16] = {1, 1e-9f};
  uint32_t seed = 1;
  for (int i = 2; i < AMX_ROWS * 16; i++) operands[i] = next_random(&seed) * 0.01f;
  int64_t count = uses_tiles(b) ? 2000 : 40000;
  double operations = (double)count * peak_operations(b) * peak_sums(b);
  for (int round = 0; round < b->rounds; round++) {
    double start = now();
    peak(operands, count);
    b->peak[round] = (now() - start) / operations;
    for (int i = 0; i < b->case_count; i++) run_round(b, &b->cases[i], round);
  }
  qsort(b->peak, (size_t)b->rounds, sizeof(double), ascending);
  double best = 1 / b->peak[0], median = 1 / b->peak[b->rounds / 2];
  printf("%s %s %dx%d: peak %.1f GFLOP/s best, %.1f median\n", b->level.name, precision_name(b->precision), b->level.mr,
         b->level.nv * b->level.lanes, best / 1e9, median / 1e9);
  for (int i = 0; i < b->case_count; i++) {
    struct bench_case *c = &b->cases[i];
    qsort(c->seconds, (size_t)b->rounds, sizeof(double), ascending);
    double low = 0, middle = c->seconds[b->rounds / 2];
    for (int slice = 0; slice < c->slices; slice++) low += c->best[slice];
    double whole = c->seconds[0];
    printf("%-14s slices %9.1f us (%5.1f%%)  best %9.1f us (%5.1f%%)  median %9.1f us (%5.1f%%)  compiled in %.1f ms\n",
           c->name, low * 1e6, 100 * c->operations / low / best, whole * 1e6, 100 * c->operations / whole / best, middle * 1e6,
           100 * c->operations / middle / median, c->compile_ms);
  }
}

static void bench_run(struct bench *b) {
  add_cases(b);
  struct jit jits[CASES_MAX + 1];
  for (int i = 0; i < b->case_count; i++) {
    jit_init(&jits[i], &b->level);
    double start = now();
    emit_value kernel = emit_case(&jits[i].emit, &b->cases[i]);
    if (b->assembly) {
      fputs(jit_assembly(&jits[i]), stdout);
      continue;
    }
    b->cases[i].code = jit_address(&jits[i], kernel);
    b->cases[i].compile_ms = (now() - start) * 1e3;
  }
  if (b->assembly) return;
  jit_init(&jits[b->case_count], &b->level);
  peak_function *peak = (peak_function *)jit_address(&jits[b->case_count], emit_peak(&jits[b->case_count].emit, b));
  b->weights = memory(b, WEIGHT_FLOATS);
  for (int i = 0; i < 3; i++) b->activations[i] = memory(b, ACTIVATION_FLOATS);
  measure(b, peak);
}

static bool find_level(const char *name, struct target_level *out_level) {
  for (int l = 0; l < LEVEL_COUNT; l++)
    if (strcmp(target_levels[l].name, name) == 0) {
      *out_level = target_levels[l];
      return true;
    }
  return false;
}

static bool find_precision(const char *name, enum precision *out_precision) {
  for (int p = 0; p < PRECISION_COUNT; p++)
    if (strcmp(precision_name((enum precision)p), name) == 0) {
      *out_precision = (enum precision)p;
      return true;
    }
  return false;
}

static bool parse_flag(struct bench *b, const char *name) {
  bool *flag = strcmp(name, "--huge") == 0 ? &b->huge : strcmp(name, "--warm") == 0 ? &b->warm : NULL;
  if (strcmp(name, "--asm") == 0) flag = &b->assembly;
  if (flag == NULL) return false;
  *flag = true;
  return true;
}

static bool parse_option(struct bench *b, const char *name, const char *value) {
  if (value == NULL) return false;
  if (strcmp(name, "--level") == 0) return find_level(value, &b->level);
  if (strcmp(name, "--precision") == 0) return find_precision(value, &b->precision);
  if (strcmp(name, "--tile") == 0) return sscanf(value, "%dx%d", &b->level.mr, &b->level.nv) == 2;
  if (strcmp(name, "--rounds") == 0) return sscanf(value, "%d", &b->rounds) == 1 && b->rounds > 0 && b->rounds <= ROUNDS_MAX;
  if (strcmp(name, "--only") != 0) return false;
  b->only = value;
  return true;
}

int main(int count, char **arguments) {
  static struct bench b = {.rounds = 20};
  b.level = target_levels[LEVEL_avx512];
  for (int i = 1; i < count; i++) {
    if (parse_flag(&b, arguments[i])) continue;
    if (!parse_option(&b, arguments[i], i + 1 < count ? arguments[i + 1] : NULL)) {
      fprintf(stderr,
              "usage: kernels [--level NAME] [--precision fp32|bf16|int8] [--tile RxV] [--rounds 1..%d] [--huge] [--warm] "
              "[--asm] [--only CASE]\n",
              ROUNDS_MAX);
      return 2;
    }
    i++;
  }
  if (!jit_runs(&b.level) || (uses_tiles(&b) && vitc_cpu_request_amx() != 1)) return 4;
  bench_run(&b);
  return 0;
}
