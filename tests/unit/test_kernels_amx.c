/* GEMM on AMX's tiles against sums in double precision of the rounded operands: on the processor's own tiles where it has them,
 * and everywhere on the instruction-level model. Where both ran, they must agree in every bit. */
#include "llvm/emit_amx.h"
#include "llvm/kernels.h"
#include "plan/quantize.h"
#include "support/amx_model.h"
#include "support/bf16.h"
#include "support/jit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef void gemm_function(const float *, const float *, float *, const void *const *, int64_t, int64_t, int64_t, int64_t,
                           int64_t);

enum { SENTINEL = -7777, WAYS_MAX = 3 };

/* A way to run the kernels: code for `level`, tiles of the processor or of the model. */
struct way {
  struct target_level level;
  bool model;
  const char *name;
};

static int find_ways(struct way *ways) {
  int count = 0;
  amx_model_install();
  const struct target_level *amx = &target_levels[LEVEL_amx], *narrow = &target_levels[LEVEL_avx2];
  if (amx_native() && jit_runs(amx)) ways[count++] = (struct way){*amx, false, "processor"};
  struct target_level model = *amx;
  model.features = target_levels[LEVEL_avx512bf16].features;
  model.requires = target_levels[LEVEL_avx512bf16].requires;
  if (jit_runs(&model)) ways[count++] = (struct way){model, true, "model, AVX-512"};
  model = *narrow;
  model.tiles = model.dot_int8 = true; /* operand rows as AMX reads them */
  if (jit_runs(&model)) ways[count++] = (struct way){model, true, "model, AVX2"};
  cr_assert(count > 0, "no level runs here");
  return count;
}

struct buffer {
  float *at;
  size_t count;
};

struct problem {
  struct gemm_desc desc;
  int64_t images;
  struct buffer a, b, c, operands[STAGES_MAX]; /* an operand without memory is C itself */
  float *a_plain, *b_plain;                    /* the operands' values: images x m x k, k x n */
};

static struct buffer make(size_t count, float fill) {
  return (struct buffer){guarded_floats(count, fill), count};
}

static struct buffer make_operand(const struct stage *stage, size_t count, uint32_t *seed) {
  struct buffer buffer = make(stage->bf16 ? bf16_floats(count) : count, 0);
  for (size_t i = 0; i < count; i++) {
    float value = next_random(seed);
    if (stage->bf16)
      ((uint16_t *)(void *)buffer.at)[i] = to_bf16(value);
    else
      buffer.at[i] = value;
  }
  return buffer;
}

static size_t extent(int64_t images, int64_t image_stride, int64_t rows, int64_t row_stride, int64_t columns) {
  return (size_t)((images - 1) * image_stride + (rows - 1) * row_stride + columns);
}

/* Of an operand row, with its tables. */
static int64_t a_words(const struct gemm_desc *d) {
  return pack_words(d->precision, d->k) + 2 * pack_groups(d->precision, d->k, d->group);
}

static struct problem shape_of(enum precision precision, int64_t m, int64_t n, int64_t k, int64_t group, int64_t images) {
  struct problem p = {.images = images};
  struct gemm_desc *d = &p.desc;
  memset(d, 0, sizeof *d);
  d->precision = precision;
  d->group = group;
  d->m = m;
  d->n = n;
  d->k = k;
  d->a_row_stride = (a_words(d) + 31) / 16 * 16;
  d->a_image_stride = m * d->a_row_stride + 32;
  d->c_row_stride = n + 3;
  d->c_image_stride = m * (n + 3) + 4;
  return p;
}

static struct problem shape(int64_t m, int64_t n, int64_t k, int64_t images) {
  return shape_of(PRECISION_BF16, m, n, k, 0, images);
}

static void add_stage(struct problem *p, enum op op, enum operand_kind kind) {
  struct gemm_desc *desc = &p->desc;
  struct stage *stage = &desc->stages[desc->stage_count++];
  stage->op = op;
  stage->kind = kind;
  stage->scalar = 0.75f;
  if (kind == OPERAND_MATRIX) {
    stage->row_stride = desc->n + 2;
    stage->image_stride = desc->m * (desc->n + 2) + 1;
  }
}

static int64_t group_of(const struct gemm_desc *d, int64_t k) {
  return d->group > 0 ? k / d->group : 0;
}

/* One operand row: bf16, or u8 and behind them each group's scale and offset. */
static void fill_a_row(const struct gemm_desc *d, float *words, float *plain, uint32_t *seed) {
  float *tables = words + pack_words(d->precision, d->k);
  for (int64_t g = 0; g < pack_groups(d->precision, d->k, d->group); g++) {
    tables[2 * g] = (2 + next_random(seed)) / 256;
    tables[2 * g + 1] = tables[2 * g] * 128 + next_random(seed) / 4;
  }
  for (int64_t k = 0; k < d->k; k++) {
    if (d->precision == PRECISION_BF16) {
      uint16_t value = to_bf16(next_random(seed));
      memcpy((uint16_t *)(void *)words + k, &value, sizeof value);
      plain[k] = from_bf16(value);
    } else {
      uint8_t value = (uint8_t)(128 + 127 * next_random(seed));
      ((uint8_t *)(void *)words)[k] = value;
      plain[k] = tables[2 * group_of(d, k)] * (float)value - tables[2 * group_of(d, k) + 1];
    }
  }
  /* What is past k in int8 must not matter. */
  for (int64_t k = d->k; d->precision == PRECISION_INT8 && k < pack_padded_k(d->precision, d->k); k++)
    ((uint8_t *)(void *)words)[k] = 0xee;
}

static void fill_a(struct problem *p, uint32_t *seed) {
  const struct gemm_desc *d = &p->desc;
  p->a = make(extent(p->images, d->a_image_stride, d->m, d->a_row_stride, a_words(d)), 0);
  p->a_plain = malloc((size_t)(p->images * d->m * d->k) * sizeof(float));
  for (int64_t row = 0; row < p->images * d->m; row++)
    fill_a_row(d, p->a.at + row / d->m * d->a_image_stride + row % d->m * d->a_row_stride, p->a_plain + row * d->k, seed);
}

/* Column j of the panels; behind their words, each group's words of scale and sum. */
static void fill_b_column(const struct problem *p, int64_t j, uint32_t *seed) {
  const struct gemm_desc *d = &p->desc;
  float *panel = p->b.at + j / 16 * pack_panel_stride(d->precision, d->k, d->group);
  float *tables = panel + pack_words(d->precision, d->k) * 16 + j % 16, scale = 0;
  int64_t length = d->group > 0 && d->group < d->k ? d->group : d->k;
  int32_t sum = 0;
  for (int64_t k = 0; k < d->k; k++) {
    if (d->precision == PRECISION_BF16) {
      uint16_t value = to_bf16(next_random(seed));
      memcpy((uint16_t *)(void *)(panel + k / 2 * 16 + j % 16) + k % 2, &value, sizeof value);
      p->b_plain[k * d->n + j] = from_bf16(value);
    } else {
      int8_t value = (int8_t)(127 * next_random(seed));
      if (k % length == 0) {
        scale = quantize_scale((2 + next_random(seed)) / 256, length);
        sum = 0;
      }
      sum += value;
      uint32_t word = pack_scale_and_sum(scale, sum, pack_sum_bits(d->k, d->group));
      memcpy(tables + 16 * group_of(d, k), &word, sizeof word);
      memcpy((int8_t *)(void *)(panel + k / 4 * 16 + j % 16) + k % 4, &value, sizeof value);
      p->b_plain[k * d->n + j] = scale * (float)value;
    }
  }
}

static void fill_b(struct problem *p, uint32_t *seed) {
  const struct gemm_desc *d = &p->desc;
  p->b = make((size_t)((d->n + 15) / 16 * pack_panel_stride(d->precision, d->k, d->group)), 0);
  p->b_plain = malloc((size_t)(d->n * d->k) * sizeof(float));
  for (int64_t j = 0; j < d->n; j++) fill_b_column(p, j, seed);
}

/* The residual is C itself with in_place. */
static void fill(struct problem *p, bool in_place) {
  struct gemm_desc *d = &p->desc;
  uint32_t seed = (uint32_t)(d->m * 31 + d->n * 7 + d->k);
  fill_a(p, &seed);
  fill_b(p, &seed);
  p->c = make(extent(p->images, d->c_image_stride, d->m, d->c_row_stride, d->n), SENTINEL);
  for (int s = 0; s < d->stage_count; s++) {
    struct stage *stage = &d->stages[s];
    if (stage->kind == OPERAND_COLUMN) p->operands[s] = make_operand(stage, (size_t)d->n, &seed);
    if (stage->kind == OPERAND_MATRIX && !in_place)
      p->operands[s] = make_operand(stage, extent(p->images, stage->image_stride, d->m, stage->row_stride, d->n), &seed);
    if (stage->kind != OPERAND_MATRIX || !in_place) continue;
    stage->row_stride = d->c_row_stride;
    stage->image_stride = d->c_image_stride;
    for (int64_t row = 0; row < p->images * d->m; row++)
      for (int64_t j = 0; j < d->n; j++)
        p->c.at[row / d->m * d->c_image_stride + row % d->m * d->c_row_stride + j] = next_random(&seed);
  }
}

static void destroy(struct problem *p) {
  guarded_free(p->a.at, p->a.count);
  guarded_free(p->b.at, p->b.count);
  guarded_free(p->c.at, p->c.count);
  free(p->a_plain);
  free(p->b_plain);
  for (int s = 0; s < STAGES_MAX; s++)
    if (p->operands[s].at != NULL) guarded_free(p->operands[s].at, p->operands[s].count);
}

static double apply(const struct problem *p, int s, double x, const float *c_before, int64_t row, int64_t j) {
  const struct stage *stage = &p->desc.stages[s];
  const float *memory = p->operands[s].at != NULL ? p->operands[s].at : c_before;
  int64_t at = j;
  if (stage->kind == OPERAND_MATRIX) at += row / p->desc.m * stage->image_stride + row % p->desc.m * stage->row_stride;
  double other = (double)stage->scalar;
  if (stage->kind == OPERAND_COLUMN || stage->kind == OPERAND_MATRIX)
    other = (double)(stage->bf16 ? bf16_at(memory, (size_t)at) : memory[at]);
  switch (stage->op) {
  case OP_add:
    return x + other;
  case OP_mul:
    return x * other;
  case OP_gelu:
    return x / 2 * (1 + erf(x / sqrt(2)));
  case OP_relu:
    return x > 0 ? x : 0;
  default:
    cr_assert_fail("no reference for this stage");
    return 0;
  }
}

/* The largest error of a sum of k products in fp32, in any order, of elements below 1; rounding to bf16 where C is rounded.
 * In int8 the large sums of what the offsets take away again are rounded too. */
static void check(const struct problem *p, const float *c_before, const struct way *way) {
  const struct gemm_desc *d = &p->desc;
  bool rounded = d->c_operand && way->level.dot_bf16;
  for (int64_t row = 0; row < p->images * d->m; row++) {
    const float *c_row = p->c.at + row / d->m * d->c_image_stride + row % d->m * d->c_row_stride;
    for (int64_t j = 0; j < d->n; j++) {
      double x = 0, size = 0;
      for (int64_t k = 0; k < d->k; k++) {
        double product = (double)p->a_plain[row * d->k + k] * (double)p->b_plain[k * d->n + j];
        x += product;
        size += fabs(product);
      }
      for (int s = 0; s < d->stage_count; s++) x = apply(p, s, x, c_before, row, j);
      double got = rounded ? from_bf16(((const uint16_t *)(const void *)c_row)[j]) : c_row[j];
      double bound = (d->precision == PRECISION_INT8 ? 2e-5 : 2e-6) * (size + 3) + (rounded ? fabs(x) / 256 : 0);
      cr_assert(fabs(got - x) <= bound, "%s: m %d n %d k %d: row %d column %d: %.9g, not %.9g", way->name, (int)d->m, (int)d->n,
                (int)d->k, (int)row, (int)j, got, x);
    }
    if (row % d->m + 1 < d->m && !rounded)
      for (int64_t j = d->n; j < d->c_row_stride; j++)
        cr_assert(c_row[j] == SENTINEL, "%s: written past column %d", way->name, (int)d->n);
  }
}

static void call(const struct problem *p, gemm_function *run, int64_t begin, int64_t end, int64_t tile, int64_t tile_end) {
  const void *operands[STAGES_MAX];
  for (int s = 0; s < STAGES_MAX; s++) operands[s] = p->operands[s].at != NULL ? p->operands[s].at : p->c.at;
  run(p->a.at, p->b.at, p->c.at, operands, p->images, begin, end, tile, tile_end);
}

/* Panel ranges one after the other, then row tiles cut in two: the same bits as in one call. */
static void check_splits(struct problem *p, gemm_function *gemm, const float *before, const float *whole,
                         const struct way *way) {
  size_t bytes = p->c.count * sizeof(float);
  int64_t panels = (p->desc.n + 15) / 16, tiles = p->images * gemm_row_tiles(&way->level, &p->desc);
  int64_t least = gemm_split_panels(&way->level, &p->desc);
  for (int64_t step = least; step <= 3 * least && step < panels; step += least) {
    memcpy(p->c.at, before, bytes);
    for (int64_t at = 0; at < panels; at += step) call(p, gemm, at, at + step < panels ? at + step : panels, 0, tiles);
    cr_assert(memcmp(whole, p->c.at, bytes) == 0, "%s: other bits in steps of %d panels", way->name, (int)step);
  }
  for (int64_t cut = 1; cut < tiles; cut += 1 + tiles / 6) {
    memcpy(p->c.at, before, bytes);
    call(p, gemm, 0, panels, 0, cut);
    call(p, gemm, 0, panels, cut, tiles);
    cr_assert(memcmp(whole, p->c.at, bytes) == 0, "%s: other bits when cut at row tile %d", way->name, (int)cut);
  }
}

/* Every way against the reference, and against the first one of the same vectors. */
static void run(struct problem *p, bool in_place) {
  fill(p, in_place);
  size_t bytes = p->c.count * sizeof(float);
  float *before = malloc(bytes), *whole = malloc(bytes), *first = malloc(bytes);
  memcpy(before, p->c.at, bytes);
  struct way ways[WAYS_MAX];
  int count = find_ways(ways);
  for (int i = 0; i < count; i++) {
    struct jit jit;
    jit_init(&jit, &ways[i].level);
    jit.emit.tile_model = ways[i].model;
    emit_value kernel = emit_gemm(&jit.emit, &p->desc);
    cr_assert_eq(kernel, emit_gemm(&jit.emit, &p->desc), "the same description is the same kernel");
    gemm_function *gemm = (gemm_function *)jit_address(&jit, kernel);
    memcpy(p->c.at, before, bytes);
    call(p, gemm, 0, (p->desc.n + 15) / 16, 0, p->images * gemm_row_tiles(&ways[i].level, &p->desc));
    memcpy(whole, p->c.at, bytes);
    check(p, before, &ways[i]);
    if (i == 0)
      memcpy(first, whole, bytes);
    else if (ways[i].level.lanes == ways[0].level.lanes)
      cr_assert(memcmp(first, whole, bytes) == 0, "%s: other bits than %s", ways[i].name, ways[0].name);
    check_splits(p, gemm, before, whole, &ways[i]);
    kernels_free(&jit.emit);
    jit_deinit(&jit);
  }
  free(before);
  free(whole);
  free(first);
  destroy(p);
}

Test(kernels_amx, every_number_of_rows) {
  static const int64_t ns[] = {16, 5, 48, 33, 64, 100}, ks[] = {32, 1, 70, 64, 33, 96};
  for (int64_t m = 2; m <= 33; m++) {
    struct problem p = shape(m, ns[m % 6], ks[m / 2 % 6], 1 + m % 3);
    add_stage(&p, OP_add, OPERAND_COLUMN);
    run(&p, false);
  }
}

Test(kernels_amx, many_rows) {
  static const int64_t shapes[][3] = {{47, 31, 50},  {48, 64, 128},  {49, 96, 64}, {53, 17, 97},
                                      {97, 112, 40}, {197, 48, 192}, {577, 40, 35}};
  for (int i = 0; i < 7; i++) {
    struct problem p = shape(shapes[i][0], shapes[i][1], shapes[i][2], 1 + i % 2);
    add_stage(&p, OP_add, OPERAND_COLUMN);
    run(&p, false);
  }
}

Test(kernels_amx, long_sums) {
  struct problem p = shape(20, 40, 3072, 1);
  run(&p, false);
  struct problem q = shape(3, 40, 2047, 2);
  run(&q, false);
}

Test(kernels_amx, stages) {
  for (int i = 0; i < 4; i++) {
    struct problem p = shape(i == 0 ? 35 : 23 + i, i == 1 ? 101 : 64, 96, 2);
    p.desc.c_operand = i == 3;
    p.desc.c_row_stride = p.desc.n + 16;
    p.desc.c_image_stride = p.desc.m * p.desc.c_row_stride;
    add_stage(&p, OP_add, OPERAND_COLUMN);
    if (i != 1) add_stage(&p, OP_gelu, OPERAND_NONE);
    if (i == 1) add_stage(&p, OP_relu, OPERAND_NONE);
    add_stage(&p, OP_mul, i == 2 ? OPERAND_COLUMN : OPERAND_SCALAR);
    if (i != 3) add_stage(&p, OP_add, OPERAND_MATRIX);
    run(&p, false);
  }
}

Test(kernels_amx, tables_of_bf16) {
  static const int64_t shapes[][3] = {{2, 16, 64}, {35, 101, 96}, {17, 33, 40}, {197, 48, 32}};
  for (int i = 0; i < 8; i++) {
    const int64_t *s = shapes[i % 4];
    struct problem p = shape_of(i < 4 ? PRECISION_BF16 : PRECISION_INT8, s[0], s[1], s[2], 0, 1 + i % 2);
    add_stage(&p, OP_add, OPERAND_COLUMN);
    add_stage(&p, i % 2 == 0 ? OP_add : OP_mul, OPERAND_MATRIX);
    p.desc.stages[0].bf16 = i % 4 < 2;
    p.desc.stages[1].bf16 = true;
    p.desc.stages[1].row_stride = s[1];
    p.desc.stages[1].image_stride = 0;
    run(&p, false);
  }
}

Test(kernels_amx, residual_in_place) {
  struct problem p = shape(37, 101, 64, 2);
  add_stage(&p, OP_add, OPERAND_COLUMN);
  add_stage(&p, OP_add, OPERAND_MATRIX);
  run(&p, true);
}

Test(kernels_amx, int8) {
  static const int64_t shapes[][3] = {{2, 16, 64},   {7, 33, 1},    {16, 48, 100},  {17, 5, 130},   {31, 64, 256},
                                      {33, 100, 70}, {53, 17, 384}, {197, 48, 192}, {20, 40, 3072}, {37, 101, 333}};
  for (int i = 0; i < 10; i++) {
    struct problem p = shape_of(PRECISION_INT8, shapes[i][0], shapes[i][1], shapes[i][2], 0, 1 + i % 3);
    add_stage(&p, OP_add, OPERAND_COLUMN);
    if (i % 3 == 0) add_stage(&p, OP_gelu, OPERAND_NONE);
    if (i % 2 == 0) add_stage(&p, OP_add, OPERAND_MATRIX);
    run(&p, i % 4 == 0);
  }
}

Test(kernels_amx, int8_in_groups) {
  static const int64_t shapes[][4] = {{2, 16, 64, 128},   {9, 33, 128, 128}, {16, 48, 129, 128}, {33, 64, 384, 128},
                                      {53, 40, 500, 128}, {17, 32, 512, 64}, {49, 17, 1000, 256}};
  for (int i = 0; i < 7; i++) {
    struct problem p = shape_of(PRECISION_INT8, shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], 1 + i % 2);
    add_stage(&p, OP_add, OPERAND_COLUMN);
    add_stage(&p, OP_gelu, OPERAND_NONE);
    run(&p, false);
  }
}

typedef void dot_function(const void *, const void *, void *);

/* c += a b of whole tiles: tdpbf16ps or tdpbusd. */
static emit_value emit_dot(struct emit *e, const char *name, void (*dot)(struct emit *, int, int, int)) {
  LLVMTypeRef types[] = {e->pointer, e->pointer, e->pointer};
  emit_value function = emit_function_begin(e, name, e->void_type, types, 3), stride = emit_i64(e, AMX_ROW_BYTES);
  int rows[AMX_TILES];
  for (int t = 0; t < AMX_TILES; t++) rows[t] = AMX_ROWS;
  emit_amx_configure(e, rows);
  for (int t = 0; t < 3; t++) emit_amx_load(e, t, emit_parameter(e, t), stride);
  dot(e, 2, 0, 1);
  emit_amx_store(e, 2, emit_parameter(e, 2), stride);
  emit_amx_release(e);
  emit_function_end(e);
  return function;
}

/* Any bits but infinities and NaNs, many of them of small exponents, whose products and sums are denormal. */
static void random_words(uint32_t *words, uint32_t exponent_mask, uint32_t *seed) {
  for (int i = 0; i < AMX_ROWS * 16; i++) {
    next_random(seed);
    uint32_t bits = (*seed >> 8) | (*seed << 20);
    words[i] = bits & exponent_mask;
  }
}

/* The model against the processor, bit by bit, also where there are denormals. */
Test(kernels_amx, model_is_the_processor) {
  if (!amx_native() || !jit_runs(&target_levels[LEVEL_amx])) return;
  static const uint32_t masks[] = {0xbfffbfff, 0x9fff9fff, 0x83ff83ff, 0xa07f9fff, 0x807f80ff};
  struct jit jit;
  jit_init(&jit, &target_levels[LEVEL_amx]);
  emit_value bf16 = emit_dot(&jit.emit, "dot_bf16", emit_amx_dot_bf16),
             int8 = emit_dot(&jit.emit, "dot_int8", emit_amx_dot_int8);
  dot_function *const processor[] = {(dot_function *)jit_address(&jit, bf16), (dot_function *)jit_address(&jit, int8)};
  struct jit other;
  amx_model_install();
  jit_init(&other, &target_levels[LEVEL_avx2]);
  other.emit.tile_model = true;
  bf16 = emit_dot(&other.emit, "dot_bf16", emit_amx_dot_bf16);
  int8 = emit_dot(&other.emit, "dot_int8", emit_amx_dot_int8);
  dot_function *const model[] = {(dot_function *)jit_address(&other, bf16), (dot_function *)jit_address(&other, int8)};
  uint32_t seed = 1, a[256], b[256], c[256], expected[256];
  for (int round = 0; round < 500; round++)
    for (int type = 0; type < 2; type++) {
      random_words(a, type == 1 ? ~0u : masks[round % 5], &seed);
      random_words(b, type == 1 ? ~0u : masks[round / 5 % 5], &seed);
      random_words(c, type == 1 ? ~0u : masks[round / 25 % 5], &seed);
      memcpy(expected, c, sizeof c);
      model[type](a, b, expected);
      processor[type](a, b, c);
      for (int i = 0; i < 256; i++)
        cr_assert_eq(c[i], expected[i], "%s round %d element %d: processor %08x, model %08x", type == 0 ? "bf16" : "int8",
                     round, i, (unsigned)c[i], (unsigned)expected[i]);
    }
  jit_deinit(&jit);
  jit_deinit(&other);
}
