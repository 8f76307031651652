/* GEMM kernels against sums in double precision, at shapes that divide by nothing. */
#include "llvm/kernels.h"
#include "support/bf16.h"
#include "support/jit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The levels above have products in fp32, too, but only in mixed objects, and with the code of the level below. */
static bool has_fp32(const struct target_level *level) {
  return (level->precisions >> PRECISION_FP32 & 1) != 0;
}

typedef void gemm_function(const float *, const float *, float *, const void *const *, int64_t, int64_t, int64_t, int64_t,
                           int64_t);

enum { SENTINEL = -7777 };

struct buffer {
  float *at;
  size_t count;
};

struct problem {
  struct gemm_desc desc;
  int64_t images, images_max;
  struct buffer a, b, c, operands[STAGES_MAX]; /* b packed; an operand without memory is C itself */
  float *b_plain;                              /* k x n */
};

static struct buffer make(size_t count, uint32_t *seed, float scale) {
  struct buffer buffer = {guarded_floats(count, 0), count};
  for (size_t i = 0; i < count; i++) buffer.at[i] = next_random(seed) * scale;
  return buffer;
}

static struct buffer make_operand(const struct stage *stage, size_t count, uint32_t *seed) {
  if (!stage->bf16) return make(count, seed, 1);
  struct buffer buffer = {guarded_floats(bf16_floats(count), 0), bf16_floats(count)};
  for (size_t i = 0; i < count; i++) ((uint16_t *)(void *)buffer.at)[i] = to_bf16(next_random(seed));
  return buffer;
}

static size_t extent(int64_t images, int64_t image_stride, int64_t rows, int64_t row_stride, int64_t columns) {
  return (size_t)((images - 1) * image_stride + (rows - 1) * row_stride + columns);
}

static void make_b(struct problem *p, uint32_t *seed) {
  int64_t n = p->desc.n, k = p->desc.k, stride = pack_panel_stride(PRECISION_FP32, k, 0), panels = (n + 15) / 16;
  p->b_plain = malloc((size_t)(n * k) * sizeof(float));
  p->b = (struct buffer){guarded_floats((size_t)(panels * stride), 0), (size_t)(panels * stride)};
  float scale = 2 / sqrtf((float)k);
  for (int64_t kk = 0; kk < k; kk++)
    for (int64_t j = 0; j < n; j++) {
      float value = next_random(seed) * scale;
      p->b_plain[kk * n + j] = value;
      p->b.at[j / 16 * stride + kk * 16 + j % 16] = value;
    }
}

static void add_stage(struct gemm_desc *desc, enum op op, enum operand_kind kind, int running) {
  struct stage *stage = &desc->stages[desc->stage_count++];
  *stage = (struct stage){.op = op, .kind = kind, .running = running, .scalar = 0.75f};
  if (kind == OPERAND_MATRIX) {
    stage->row_stride = desc->n + 2;
    stage->image_stride = desc->m * (desc->n + 2) + 1;
  }
}

static struct problem shape(int64_t m, int64_t n, int64_t k, int64_t images) {
  struct problem p = {.images = images};
  p.desc.m = m;
  p.desc.n = n;
  p.desc.k = k;
  p.desc.a_row_stride = k + 5;
  p.desc.a_image_stride = m * (k + 5) + 2;
  p.desc.c_row_stride = n + 3;
  p.desc.c_image_stride = m * (n + 3) + 4;
  return p;
}

static void fill(struct problem *p, bool in_place) {
  const struct gemm_desc *d = &p->desc;
  uint32_t seed = (uint32_t)(d->m * 31 + d->n * 7 + d->k);
  p->a = make(extent(p->images, d->a_image_stride, d->m, d->a_row_stride, d->k), &seed, 1);
  make_b(p, &seed);
  p->c.count = extent(p->images, d->c_image_stride, d->m, d->c_row_stride, d->n);
  p->c.at = guarded_floats(p->c.count, SENTINEL);
  for (int s = 0; s < d->stage_count; s++) {
    struct stage *stage = &p->desc.stages[s];
    if (stage->kind == OPERAND_COLUMN) {
      p->operands[s] = make_operand(stage, (size_t)d->n, &seed);
    } else if (stage->kind == OPERAND_MATRIX && in_place) {
      stage->row_stride = d->c_row_stride;
      stage->image_stride = d->c_image_stride;
      for (int64_t g = 0; g < p->images; g++)
        for (int64_t i = 0; i < d->m; i++)
          for (int64_t j = 0; j < d->n; j++) p->c.at[g * d->c_image_stride + i * d->c_row_stride + j] = next_random(&seed);
    } else if (stage->kind == OPERAND_MATRIX) {
      p->operands[s] = make_operand(stage, extent(p->images, stage->image_stride, d->m, stage->row_stride, d->n), &seed);
    }
    if (stage->op == OP_div && p->operands[s].at != NULL)
      for (size_t i = 0; i < p->operands[s].count; i++) p->operands[s].at[i] += 3;
  }
}

static void destroy(struct problem *p) {
  guarded_free(p->a.at, p->a.count);
  guarded_free(p->b.at, p->b.count);
  guarded_free(p->c.at, p->c.count);
  free(p->b_plain);
  for (int s = 0; s < STAGES_MAX; s++)
    if (p->operands[s].at != NULL) guarded_free(p->operands[s].at, p->operands[s].count);
}

static double apply(const struct stage *stage, double x, double other) {
  double a = stage->running == 0 ? x : other, b = stage->running == 0 ? other : x;
  switch (stage->op) {
  case OP_add:
    return a + b;
  case OP_sub:
    return a - b;
  case OP_mul:
    return a * b;
  case OP_div:
    return a / b;
  case OP_gelu:
    return stage->approximate ? x / 2 * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)))
                              : x / 2 * (1 + erf(x / sqrt(2)));
  case OP_tanh:
    return tanh(x);
  case OP_sigmoid:
    return 1 / (1 + exp(-x));
  case OP_relu:
    return x > 0 ? x : 0;
  case OP_erf:
    return erf(x);
  case OP_exp:
    return exp(x);
  case OP_sqrt:
    return sqrt(x);
  case OP_neg:
    return -x;
  case OP_reciprocal:
    return 1 / x;
  default:
    cr_assert_fail("no reference for this stage");
    return 0;
  }
}

/* Column j of row i of image g, from the memory as it was before the run (c_before). */
static double expected(const struct problem *p, const float *c_before, int64_t g, int64_t i, int64_t j) {
  const struct gemm_desc *d = &p->desc;
  const float *a = p->a.at + g * d->a_image_stride + i * d->a_row_stride;
  double x = 0;
  for (int64_t k = 0; k < d->k; k++) x += (double)a[k] * (double)p->b_plain[k * d->n + j];
  for (int s = 0; s < d->stage_count; s++) {
    const struct stage *stage = &d->stages[s];
    const float *memory = p->operands[s].at != NULL ? p->operands[s].at : c_before;
    int64_t at = stage->kind == OPERAND_MATRIX ? g * stage->image_stride + i * stage->row_stride + j : j;
    double other = (double)stage->scalar;
    if (stage->kind == OPERAND_COLUMN || stage->kind == OPERAND_MATRIX)
      other = (double)(stage->bf16 ? bf16_at(memory, (size_t)at) : memory[at]);
    x = apply(stage, x, other);
  }
  return x;
}

static void check(const struct problem *p, const float *c_before, const char *level) {
  const struct gemm_desc *d = &p->desc;
  char *inside = calloc(p->c.count, 1);
  for (int64_t g = 0; g < p->images; g++)
    for (int64_t i = 0; i < d->m; i++)
      for (int64_t j = 0; j < d->n; j++) {
        int64_t at = g * d->c_image_stride + i * d->c_row_stride + j;
        double want = expected(p, c_before, g, i, j), got = (double)p->c.at[at];
        inside[at] = 1;
        cr_assert(fabs(got - want) <= 4e-6 * fmax(1, fabs(want)),
                  "%s m %d n %d k %d: image %d row %d column %d is %.9g, not %.9g", level, (int)d->m, (int)d->n, (int)d->k,
                  (int)g, (int)i, (int)j, got, want);
      }
  for (size_t i = 0; i < p->c.count; i++)
    cr_assert(inside[i] || p->c.at[i] == (float)SENTINEL, "%s: wrote outside of C at %zu", level, i);
  free(inside);
}

static int64_t all_tiles(const struct problem *p, int level) {
  return p->images * gemm_row_tiles(&target_levels[level], &p->desc);
}

static void call(const struct problem *p, gemm_function *run, int64_t begin, int64_t end, int64_t tile, int64_t tile_end) {
  const void *operands[STAGES_MAX];
  for (int s = 0; s < STAGES_MAX; s++) operands[s] = p->operands[s].at != NULL ? p->operands[s].at : p->c.at;
  run(p->a.at, p->b.at, p->c.at, operands, p->images, begin, end, tile, tile_end);
}

/* Runs at every level: once whole, then panel ranges one after the other, which must give the same bits. */
static void run(struct problem *p, bool in_place) {
  fill(p, in_place);
  size_t bytes = p->c.count * sizeof(float);
  float *before = malloc(bytes), *whole = malloc(bytes);
  memcpy(before, p->c.at, bytes);
  int levels = 0;
  for (int i = 0; i < LEVEL_COUNT; i++) {
    if (!has_fp32(&target_levels[i]) || !jit_runs(&target_levels[i])) continue;
    levels++;
    struct jit jit;
    jit_init(&jit, &target_levels[i]);
    emit_value kernel = emit_gemm(&jit.emit, &p->desc);
    cr_assert_eq(kernel, emit_gemm(&jit.emit, &p->desc), "the same description is the same kernel");
    gemm_function *gemm = (gemm_function *)jit_address(&jit, kernel);
    int64_t panels = (p->desc.n + 15) / 16;
    memcpy(p->c.at, before, bytes);
    int64_t tiles = all_tiles(p, i);
    call(p, gemm, 0, panels, 0, tiles);
    memcpy(whole, p->c.at, bytes);
    check(p, before, target_levels[i].name);
    for (int64_t step = 1; step <= 5; step += 2) {
      memcpy(p->c.at, before, bytes);
      int64_t part = step * gemm_split_panels(&target_levels[i], &p->desc);
      for (int64_t at = 0; at < panels; at += part) call(p, gemm, at, at + part < panels ? at + part : panels, 0, tiles);
      cr_assert(memcmp(whole, p->c.at, bytes) == 0, "%s: other bits in steps of %d tiles", target_levels[i].name, (int)step);
    }
    for (int64_t cut = 1; cut < tiles && p->desc.m > 1; cut += 3) {
      memcpy(p->c.at, before, bytes);
      call(p, gemm, 0, panels, 0, cut);
      call(p, gemm, 0, panels, cut, tiles);
      cr_assert(memcmp(whole, p->c.at, bytes) == 0, "%s: other bits when cut at row tile %d", target_levels[i].name, (int)cut);
    }
    kernels_free(&jit.emit);
    jit_deinit(&jit);
  }
  cr_assert(levels > 0);
  free(before);
  free(whole);
  destroy(p);
}

Test(kernels_gemm, odd_shapes) {
  static const int64_t ms[] = {1, 2, 3, 7, 9, 17, 197}, ns[] = {1, 5, 16, 17, 48, 49, 100, 192, 333, 1000},
                       ks[] = {1, 3, 20, 64, 100, 333, 768};
  for (int i = 0; i < 7; i++)
    for (int j = 0; j < 10; j++) {
      int64_t k = ms[i] * ns[j] > 60000 ? 100 : ks[(i * 3 + j) % 7];
      struct problem p = shape(ms[i], ns[j], k, 1 + (i + j) % 3);
      add_stage(&p.desc, OP_add, OPERAND_COLUMN, 0);
      run(&p, false);
    }
}

Test(kernels_gemm, without_stages_and_many_images_of_one_row) {
  for (int64_t images = 1; images <= 23; images += 2) {
    struct problem p = shape(1, 100, 37, images);
    run(&p, false);
  }
}

Test(kernels_gemm, every_stage) {
  static const enum op unary[] = {OP_gelu, OP_tanh, OP_sigmoid, OP_relu, OP_erf, OP_exp, OP_neg};
  for (int i = 0; i < 7; i++) {
    struct problem p = shape(11, 53, 40, 2);
    add_stage(&p.desc, OP_add, OPERAND_COLUMN, 0);
    add_stage(&p.desc, unary[i], OPERAND_NONE, 0);
    add_stage(&p.desc, OP_mul, OPERAND_SCALAR, 0);
    run(&p, false);
  }
  struct problem p = shape(11, 53, 40, 2);
  add_stage(&p.desc, OP_gelu, OPERAND_NONE, 0);
  p.desc.stages[0].approximate = 1;
  run(&p, false);
  static const enum op binary[] = {OP_add, OP_sub, OP_mul, OP_div};
  static const enum operand_kind kinds[] = {OPERAND_SCALAR, OPERAND_COLUMN, OPERAND_MATRIX};
  for (int op = 0; op < 4; op++)
    for (int kind = 0; kind < 3; kind++) {
      struct problem q = shape(5, 37, 20, 2);
      add_stage(&q.desc, binary[op], kinds[kind], 0);
      run(&q, false);
    }
}

/* Where the other operand comes first, x must not be near 0 to divide by: exp(x) is not. */
Test(kernels_gemm, running_value_second) {
  static const enum op ops[] = {OP_sub, OP_div};
  for (int op = 0; op < 2; op++)
    for (int kind = 0; kind < 2; kind++) {
      struct problem p = shape(5, 37, 20, 2);
      add_stage(&p.desc, OP_exp, OPERAND_NONE, 0);
      add_stage(&p.desc, ops[op], kind == 0 ? OPERAND_COLUMN : OPERAND_MATRIX, 1);
      run(&p, false);
    }
  struct problem p = shape(5, 37, 20, 2);
  add_stage(&p.desc, OP_exp, OPERAND_NONE, 0);
  add_stage(&p.desc, OP_sqrt, OPERAND_NONE, 0);
  add_stage(&p.desc, OP_reciprocal, OPERAND_NONE, 0);
  run(&p, false);
}

Test(kernels_gemm, residual_in_place) {
  struct problem p = shape(23, 101, 64, 2);
  add_stage(&p.desc, OP_add, OPERAND_COLUMN, 0);
  add_stage(&p.desc, OP_add, OPERAND_MATRIX, 0);
  run(&p, true);
  struct problem q = shape(23, 101, 64, 2);
  add_stage(&q.desc, OP_add, OPERAND_COLUMN, 0);
  add_stage(&q.desc, OP_gelu, OPERAND_NONE, 0);
  add_stage(&q.desc, OP_mul, OPERAND_COLUMN, 0);
  add_stage(&q.desc, OP_add, OPERAND_MATRIX, 1);
  run(&q, true);
}

/* Rows of bf16 begin at odd elements, too, and the last columns' vectors reach past them. */
Test(kernels_gemm, tables_of_bf16) {
  static const int64_t ms[] = {1, 2, 17, 197}, ns[] = {1, 16, 37, 100, 192};
  static const enum op ops[] = {OP_add, OP_mul, OP_sub};
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 5; j++) {
      struct problem p = shape(ms[i], ns[j], 20, 1 + j % 3);
      add_stage(&p.desc, OP_add, OPERAND_COLUMN, 0);
      add_stage(&p.desc, ops[(i + j) % 3], OPERAND_MATRIX, j % 2);
      if (j == 2) add_stage(&p.desc, OP_gelu, OPERAND_NONE, 0);
      p.desc.stages[0].bf16 = i % 2 == 0;
      p.desc.stages[1].bf16 = true;
      p.desc.stages[1].row_stride = ns[j] + j % 2;
      if (j == 1) p.desc.stages[1].image_stride = 0;
      run(&p, false);
    }
}

Test(kernels_gemm, long_sums) {
  static const int64_t ks[] = {1536, 3072, 2047, 4096};
  for (int i = 0; i < 4; i++) {
    struct problem p = shape(10 + i, 53, ks[i], 2);
    add_stage(&p.desc, OP_add, OPERAND_COLUMN, 0);
    add_stage(&p.desc, OP_add, OPERAND_MATRIX, 1);
    run(&p, i % 2 == 1);
  }
  struct problem p = shape(10, 53, 3072, 1);
  add_stage(&p.desc, OP_add, OPERAND_COLUMN, 0);
  add_stage(&p.desc, OP_gelu, OPERAND_NONE, 0);
  run(&p, false);
}

/* One image gives the same bits alone and among others. */
Test(kernels_gemm, image_alone_or_in_a_batch) {
  static const int64_t ms[] = {1, 13};
  for (int i = 0; i < 2; i++)
    for (int l = 0; l < LEVEL_COUNT; l++) {
      if (!has_fp32(&target_levels[l]) || !jit_runs(&target_levels[l])) continue;
      struct problem p = shape(ms[i], 70, 50, 12);
      fill(&p, false);
      struct jit jit;
      jit_init(&jit, &target_levels[l]);
      gemm_function *gemm = (gemm_function *)jit_address(&jit, emit_gemm(&jit.emit, &p.desc));
      int64_t tiles = gemm_row_tiles(&target_levels[l], &p.desc);
      gemm(p.a.at, p.b.at, p.c.at, NULL, 12, 0, 5, 0, 12 * tiles);
      float *alone = guarded_floats((size_t)p.desc.c_image_stride, SENTINEL);
      for (int64_t g = 0; g < 12; g++) {
        gemm(p.a.at + g * p.desc.a_image_stride, p.b.at, alone, NULL, 1, 0, 5, 0, tiles);
        for (int64_t r = 0; r < ms[i]; r++)
          cr_assert(memcmp(alone + r * p.desc.c_row_stride, p.c.at + g * p.desc.c_image_stride + r * p.desc.c_row_stride,
                           70 * sizeof(float)) == 0);
      }
      guarded_free(alone, (size_t)p.desc.c_image_stride);
      kernels_free(&jit.emit);
      jit_deinit(&jit);
      destroy(&p);
    }
}

/* With cheap stages nothing of a kernel is on the stack: a vector there is a spilled accumulator. Also for CPUs that this
 * machine is not: code is generated, not run. */
Test(kernels_gemm, accumulators_stay_in_registers) {
  static const int64_t shapes[][3] = {{197, 2304, 768}, {197, 768, 3072}, {50, 992, 100}, {1, 992, 768}};
  for (int l = 0; l < LEVEL_COUNT; l++)
    for (int i = 0; i < 4; i++) {
      struct problem p = shape(shapes[i][0], shapes[i][1], shapes[i][2], 1);
      add_stage(&p.desc, OP_add, OPERAND_COLUMN, 0);
      add_stage(&p.desc, OP_add, OPERAND_MATRIX, 0);
      struct jit jit;
      jit_init(&jit, &target_levels[l]);
      LLVMSetLinkage(emit_gemm(&jit.emit, &p.desc), LLVMExternalLinkage);
      char *assembly = jit_assembly(&jit);
      cr_assert(strstr(assembly, "vfmadd") != NULL);
      for (char *line = strtok(assembly, "\n"); line != NULL; line = strtok(NULL, "\n"))
        cr_assert(strstr(line, "(%rsp)") == NULL || (strstr(line, "%zmm") == NULL && strstr(line, "%ymm") == NULL),
                  "%s: spill: %s", target_levels[l].name, line);
      LLVMDisposeMessage(assembly);
      kernels_free(&jit.emit);
      jit_deinit(&jit);
    }
}
