/* Products of int8 against integers: scales that are powers of two and whole offsets make every result a number that fp32
 * holds, so that the kernels must give it to the bit. */
#include "llvm/kernels.h"
#include "support/jit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void gemm_function(const void *, const void *, float *, const void *const *, int64_t, int64_t, int64_t, int64_t,
                           int64_t);

enum { SENTINEL = -7777, PANEL = 16 };

struct problem {
  struct gemm_desc desc;
  int64_t images, panels, groups, length; /* length: of a group */
  uint8_t *a;                             /* images x m x k */
  int8_t *b;                              /* k x n */
  float *a_scale, *a_offset;              /* images x m x groups */
  float *b_scale;                         /* n x groups */
  float *bias, *residual;                 /* n; as C */
  float *c, *before;
  size_t c_count;
};

static uint32_t next_bits(uint32_t *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 8;
}

static void add_stage(struct gemm_desc *desc, enum op op, enum operand_kind kind) {
  struct stage *stage = &desc->stages[desc->stage_count++];
  *stage = (struct stage){.op = op, .kind = kind, .scalar = 0.5f};
  if (kind == OPERAND_MATRIX) {
    stage->row_stride = desc->c_row_stride;
    stage->image_stride = desc->c_image_stride;
  }
}

static struct problem shape(int64_t m, int64_t n, int64_t k, int64_t group, int64_t images) {
  struct problem p = {.images = images, .panels = (n + PANEL - 1) / PANEL};
  struct gemm_desc *d = &p.desc;
  d->precision = PRECISION_INT8;
  d->group = group;
  d->m = m;
  d->n = n;
  d->k = k;
  d->a_row_stride = pack_padded_k(PRECISION_INT8, k) + 16;
  d->a_image_stride = m * d->a_row_stride + 32;
  d->c_row_stride = n + 3;
  d->c_image_stride = m * (n + 3) + 4;
  p.groups = pack_groups(PRECISION_INT8, k, group);
  p.length = group > 0 ? group : k;
  return p;
}

/* The largest operands everywhere, or numbers whose sums stay below 2^24 units. */
static void fill(struct problem *p, bool largest) {
  const struct gemm_desc *d = &p->desc;
  uint32_t seed = (uint32_t)(d->m * 31 + d->n * 7 + d->k);
  int64_t rows = p->images * d->m;
  p->a = malloc((size_t)(rows * d->k));
  p->b = malloc((size_t)(d->k * d->n));
  p->a_scale = malloc((size_t)(rows * p->groups) * sizeof(float));
  p->a_offset = malloc((size_t)(rows * p->groups) * sizeof(float));
  p->b_scale = malloc((size_t)(d->n * p->groups) * sizeof(float));
  p->bias = guarded_floats((size_t)d->n, 0);
  for (int64_t i = 0; i < rows * d->k; i++) p->a[i] = largest ? 255 : (uint8_t)next_bits(&seed);
  for (int64_t i = 0; i < d->k * d->n; i++)
    p->b[i] = (int8_t)(largest ? (i % d->n % 2 == 0 ? 127 : -127) : (int)(next_bits(&seed) % 255) - 127);
  for (int64_t i = 0; i < rows * p->groups; i++) {
    p->a_scale[i] = ldexpf(1, -(int)(next_bits(&seed) % 3));
    p->a_offset[i] = p->a_scale[i] * (float)(next_bits(&seed) % 256);
  }
  for (int64_t i = 0; i < d->n * p->groups; i++) p->b_scale[i] = ldexpf(1, -(int)(next_bits(&seed) % 3));
  for (int64_t i = 0; i < d->n; i++) p->bias[i] = (float)(next_bits(&seed) % 64) / 4;
  p->c_count = (size_t)((p->images - 1) * d->c_image_stride + (d->m - 1) * d->c_row_stride + d->n);
  p->c = guarded_floats(p->c_count, SENTINEL);
  p->before = malloc(p->c_count * sizeof(float));
  for (int64_t g = 0; g < p->images; g++)
    for (int64_t i = 0; i < d->m; i++)
      for (int64_t j = 0; j < d->n; j++)
        p->c[g * d->c_image_stride + i * d->c_row_stride + j] = (float)(next_bits(&seed) % 64) / 2;
  memcpy(p->before, p->c, p->c_count * sizeof(float));
}

static void destroy(struct problem *p) {
  guarded_free(p->bias, (size_t)p->desc.n);
  guarded_free(p->c, p->c_count);
  free(p->a);
  free(p->b);
  free(p->a_scale);
  free(p->a_offset);
  free(p->b_scale);
  free(p->before);
}

/* A as kernels.h tells: bytes, or of each four the first and third, then the second and fourth, as 16-bit numbers. What is past
 * k must not matter. */
static float *operand_rows(const struct problem *p, const struct target_level *level, size_t *out_count) {
  const struct gemm_desc *d = &p->desc;
  int64_t padded = pack_padded_k(PRECISION_INT8, d->k);
  *out_count = (size_t)((p->images - 1) * d->a_image_stride + (d->m - 1) * d->a_row_stride + padded);
  float *memory = guarded_floats(*out_count, 0);
  memset(memory, 0xee, *out_count * sizeof(float));
  for (int64_t row = 0; row < p->images * d->m; row++) {
    float *to = memory + row / d->m * d->a_image_stride + row % d->m * d->a_row_stride;
    uint8_t *bytes = (uint8_t *)to;
    for (int64_t k = 0; k < padded; k++) {
      uint8_t value = k < d->k ? p->a[row * d->k + k] : 0xee;
      if (level->dot_int8) {
        bytes[k] = value;
      } else {
        uint16_t wide = value;
        memcpy(bytes + 2 * (k / 4 * 4 + k % 2 * 2 + k % 4 / 2), &wide, sizeof wide);
      }
    }
    float *tables = to + operand_tables(level, d->k);
    for (int64_t g = 0; g < p->groups; g++) {
      tables[2 * g] = p->a_scale[row * p->groups + g];
      tables[2 * g + 1] = p->a_offset[row * p->groups + g];
    }
  }
  return memory;
}

static int group_sum(const struct problem *p, int64_t group, int64_t j) {
  int sum = 0;
  for (int64_t k = group * p->length; k < (group + 1) * p->length && k < p->desc.k; k++) sum += p->b[k * p->desc.n + j];
  return sum;
}

static float *panels_of(const struct problem *p, size_t *out_count) {
  const struct gemm_desc *d = &p->desc;
  int64_t stride = pack_panel_stride(PRECISION_INT8, d->k, d->group), words = pack_words(PRECISION_INT8, d->k);
  *out_count = (size_t)(p->panels * stride);
  float *memory = guarded_floats(*out_count, 0);
  for (int64_t j = 0; j < d->n; j++) {
    float *panel = memory + j / PANEL * stride, *tables = panel + words * PANEL;
    int sum_bits = pack_sum_bits(d->k, d->group);
    int8_t *bytes = (int8_t *)panel;
    for (int64_t k = 0; k < d->k; k++) bytes[(k / 4 * PANEL + j % PANEL) * 4 + k % 4] = p->b[k * d->n + j];
    for (int64_t g = 0; g < p->groups; g++) {
      uint32_t word = pack_scale_and_sum(p->b_scale[j * p->groups + g], group_sum(p, g, j), sum_bits);
      memcpy(tables + g * PANEL + j % PANEL, &word, sizeof word);
    }
  }
  return memory;
}

static double product(const struct problem *p, int64_t row, int64_t j) {
  double x = 0;
  for (int64_t g = 0; g < p->groups; g++) {
    int64_t sum = 0;
    for (int64_t k = g * p->length; k < (g + 1) * p->length && k < p->desc.k; k++)
      sum += (int64_t)p->a[row * p->desc.k + k] * p->b[k * p->desc.n + j];
    double a_scale = (double)p->a_scale[row * p->groups + g], a_offset = (double)p->a_offset[row * p->groups + g];
    x += (double)p->b_scale[j * p->groups + g] * (a_scale * (double)sum - a_offset * group_sum(p, g, j));
  }
  return x;
}

static double expected(const struct problem *p, int64_t row, int64_t j, int64_t at) {
  double x = product(p, row, j);
  for (int s = 0; s < p->desc.stage_count; s++) {
    const struct stage *stage = &p->desc.stages[s];
    double other = stage->kind == OPERAND_COLUMN ? (double)p->bias[j] : (double)stage->scalar;
    if (stage->kind == OPERAND_MATRIX) other = (double)p->before[at];
    if (stage->op == OP_gelu) {
      x = x / 2 * (1 + erf(x / sqrt(2)));
    } else {
      x = stage->op == OP_add ? x + other : x * other;
    }
  }
  return x;
}

static void check(const struct problem *p, const char *level, double tolerance) {
  const struct gemm_desc *d = &p->desc;
  char *inside = calloc(p->c_count, 1);
  for (int64_t row = 0; row < p->images * d->m; row++)
    for (int64_t j = 0; j < d->n; j++) {
      int64_t at = row / d->m * d->c_image_stride + row % d->m * d->c_row_stride + j;
      double want = expected(p, row, j, at), got = (double)p->c[at];
      inside[at] = 1;
      cr_assert(fabs(got - want) <= tolerance * fmax(1, fabs(want)),
                "%s m %d n %d k %d group %d: row %d column %d is %.9g, not %.9g", level, (int)d->m, (int)d->n, (int)d->k,
                (int)d->group, (int)row, (int)j, got, want);
    }
  for (size_t i = 0; i < p->c_count; i++)
    cr_assert(inside[i] || p->c[i] == (float)SENTINEL, "%s: wrote outside of C at %zu", level, i);
  free(inside);
}

struct call {
  gemm_function *run;
  const float *a, *b;
  const void *operands[STAGES_MAX];
};

static void call(const struct problem *p, const struct call *to, int64_t begin, int64_t end, int64_t tile, int64_t tile_end) {
  to->run(to->a, to->b, p->c, to->operands, p->images, begin, end, tile, tile_end);
}

/* Whole; then in ranges of panels, then cut at a row tile: the same bits. */
static void run_splits(struct problem *p, const struct target_level *level, const struct call *to, double tolerance) {
  size_t bytes = p->c_count * sizeof(float);
  int64_t tiles = p->images * gemm_row_tiles(level, &p->desc);
  float *whole = malloc(bytes);
  call(p, to, 0, p->panels, 0, tiles);
  check(p, level->name, tolerance);
  memcpy(whole, p->c, bytes);
  for (int64_t step = 1; step <= 5; step += 2) {
    memcpy(p->c, p->before, bytes);
    int64_t part = step * gemm_split_panels(level, &p->desc);
    for (int64_t at = 0; at < p->panels; at += part) call(p, to, at, at + part < p->panels ? at + part : p->panels, 0, tiles);
    cr_assert(memcmp(whole, p->c, bytes) == 0, "%s: other bits in steps of %d tiles", level->name, (int)step);
  }
  for (int64_t cut = 1; cut < tiles && p->desc.m > 1; cut += 3) {
    memcpy(p->c, p->before, bytes);
    call(p, to, 0, p->panels, 0, cut);
    call(p, to, 0, p->panels, cut, tiles);
    cr_assert(memcmp(whole, p->c, bytes) == 0, "%s: other bits when cut at row tile %d", level->name, (int)cut);
  }
  memcpy(p->c, p->before, bytes);
  free(whole);
}

static void run(struct problem p, bool largest, double tolerance) {
  fill(&p, largest);
  size_t a_count, b_count;
  float *b = panels_of(&p, &b_count);
  int levels = 0;
  for (int i = 0; i < LEVEL_COUNT; i++) {
    const struct target_level *level = &target_levels[i];
    if ((level->precisions >> PRECISION_INT8 & 1) == 0 || !jit_runs(level)) continue;
    levels++;
    struct jit jit;
    jit_init(&jit, level);
    emit_value kernel = emit_gemm(&jit.emit, &p.desc);
    cr_assert_eq(kernel, emit_gemm(&jit.emit, &p.desc), "the same description is the same kernel");
    float *a = operand_rows(&p, level, &a_count);
    struct call to = {.run = (gemm_function *)jit_address(&jit, kernel), .a = a, .b = b};
    for (int s = 0; s < p.desc.stage_count; s++) to.operands[s] = p.desc.stages[s].kind == OPERAND_MATRIX ? p.c : p.bias;
    run_splits(&p, level, &to, tolerance);
    guarded_free(a, a_count);
    kernels_free(&jit.emit);
    jit_deinit(&jit);
  }
  cr_assert(levels > 0);
  guarded_free(b, b_count);
  destroy(&p);
}

Test(kernels_int8, odd_shapes) {
  static const int64_t ms[] = {1, 2, 7, 9, 17, 197}, ns[] = {1, 16, 17, 48, 49, 100, 333}, ks[] = {1, 3, 64, 65, 101, 333, 768};
  for (int i = 0; i < 6; i++)
    for (int j = 0; j < 7; j++) {
      int64_t k = ms[i] * ns[j] > 30000 ? 100 : ks[(i * 3 + j) % 7];
      struct problem p = shape(ms[i], ns[j], k, 0, 1 + (i + j) % 3);
      add_stage(&p.desc, OP_add, OPERAND_COLUMN);
      run(p, false, 0);
    }
}

Test(kernels_int8, groups_with_scales_of_their_own) {
  static const int64_t groups[] = {64, 128, 256}, ks[] = {64, 130, 384, 1000};
  for (int g = 0; g < 3; g++)
    for (int i = 0; i < 4; i++) {
      struct problem p = shape(i == 0 ? 1 : 13, 70, ks[i], groups[g], 1 + i % 2);
      if (i % 2 == 0) add_stage(&p.desc, OP_add, OPERAND_COLUMN);
      run(p, false, 0);
    }
}

/* Where pairs of products would saturate 16 bits, and sums are beyond what fp32 holds: rounded once. */
Test(kernels_int8, largest_operands) {
  static const int64_t ks[] = {4, 64, 768, 4096};
  for (int i = 0; i < 4; i++) {
    run(shape(10, 50, ks[i], 0, 1), true, 3e-7);
    run(shape(10, 50, ks[i], 128, 1), true, 1e-6);
  }
}

Test(kernels_int8, many_images_of_one_row) {
  for (int64_t images = 1; images <= 23; images += 2) {
    struct problem p = shape(1, 100, 37, 0, images);
    p.desc.images_max = images % 3 == 0 ? 0 : images;
    run(p, false, 0);
  }
}

Test(kernels_int8, residual_in_place) {
  struct problem p = shape(23, 101, 64, 0, 2);
  add_stage(&p.desc, OP_add, OPERAND_COLUMN);
  add_stage(&p.desc, OP_mul, OPERAND_SCALAR);
  add_stage(&p.desc, OP_add, OPERAND_MATRIX);
  run(p, false, 0);
  p.desc.group = 64;
  run(p, false, 0);
}

Test(kernels_int8, gelu_of_the_sum) {
  struct problem p = shape(11, 53, 130, 0, 2);
  add_stage(&p.desc, OP_add, OPERAND_COLUMN);
  add_stage(&p.desc, OP_mul, OPERAND_SCALAR);
  add_stage(&p.desc, OP_gelu, OPERAND_NONE);
  run(p, false, 4e-6);
}

/* The sums of a tile stay in registers while they are made: between two products no vector is stored to the stack. */
Test(kernels_int8, accumulators_stay_in_registers) {
  for (int l = 0; l < LEVEL_COUNT; l++) {
    if ((target_levels[l].precisions >> PRECISION_INT8 & 1) == 0) continue;
    struct problem p = shape(197, 768, 3072, 0, 1);
    add_stage(&p.desc, OP_add, OPERAND_COLUMN);
    struct jit jit;
    jit_init(&jit, &target_levels[l]);
    LLVMSetLinkage(emit_gemm(&jit.emit, &p.desc), LLVMExternalLinkage);
    char *assembly = jit_assembly(&jit), spill[128] = "";
    const char *dot = target_levels[l].tiles ? "tdpbusd" : target_levels[l].dot_int8 ? "vpdpbusd" : "vpmaddwd";
    int dots = 0;
    for (char *line = strtok(assembly, "\n"); line != NULL; line = strtok(NULL, "\n")) {
      if (strstr(line, dot) != NULL) {
        dots++;
        cr_assert_str_eq(spill, "", "%s: spill: %s", target_levels[l].name, spill);
      } else if (strstr(line, "(%rsp)") != NULL && (strstr(line, "%zmm") != NULL || strstr(line, "%ymm") != NULL)) {
        snprintf(spill, sizeof spill, "%s", line);
      } else if (strstr(line, "ret") != NULL) {
        spill[0] = '\0';
      }
    }
    cr_assert(dots > 0, "%s: no %s", target_levels[l].name, dot);
    LLVMDisposeMessage(assembly);
    kernels_free(&jit.emit);
    jit_deinit(&jit);
  }
}
