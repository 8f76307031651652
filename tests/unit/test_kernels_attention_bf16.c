/* Attention in bf16 against softmax in double precision of the rounded operands, by vdpbf16ps and on AMX's tiles: the
 * processor's own where it has them, and the instruction-level model. */
#include "llvm/kernels.h"
#include "support/amx_model.h"
#include "support/bf16.h"
#include "support/jit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef void pack_function(const void *, void *, const void *, int64_t, int64_t, int64_t);
typedef void run_function(const void *, const void *, const void *, void *, int64_t, int64_t, int64_t, const void *);

enum { IMAGES = 2, HEADS = 3, WAYS_MAX = 3 };

/* Powers are rounded to bf16, and so are results in operand rows: 8 bits, so relative 2^-8 each. */
static const double BOUND = 1.0 / 256;

struct way {
  struct target_level level;
  bool model;
  const char *name;
};

static int find_ways(struct way *ways) {
  int count = 0;
  amx_model_install();
  const struct target_level *dot = &target_levels[LEVEL_avx512bf16], *amx = &target_levels[LEVEL_amx];
  if (jit_runs(dot)) ways[count++] = (struct way){*dot, false, "vdpbf16ps"};
  if (amx_native() && jit_runs(amx)) ways[count++] = (struct way){*amx, false, "AMX"};
  struct target_level model = *amx;
  model.features = dot->features;
  model.requires = dot->requires;
  if (jit_runs(&model)) ways[count++] = (struct way){model, true, "model of AMX"};
  return count;
}

enum mask { MASK_NONE, MASK_FP32, MASK_BF16 };

struct problem {
  struct attention_desc desc;
  uint16_t *q, *k, *v; /* operand rows; a row has the room of fp32 */
  float *mask, *out;
  float *halves; /* of bf16: the mask as the kernel gets it; else NULL */
  size_t q_words, k_words, v_words, out_words, mask_words;
};

static struct attention_strides strides(int64_t rows, int64_t width, bool operand) {
  struct attention_strides s = {.row = HEADS * width + 6, .head = operand ? width / 2 : width};
  s.window = rows * s.row;
  s.image = s.window + 4;
  return s;
}

static uint16_t *random_rows(size_t words, uint32_t *seed, float scale) {
  uint16_t *rows = (uint16_t *)guarded_floats(words, 0);
  for (size_t i = 0; i < 2 * words; i++) rows[i] = to_bf16(next_random(seed) * scale);
  return rows;
}

static struct problem make(int64_t queries, int64_t keys, int64_t head_dim, int64_t v_dim, bool operand, enum mask mask) {
  struct problem p;
  memset(&p, 0, sizeof p);
  struct attention_desc *d = &p.desc;
  uint32_t seed = (uint32_t)(queries * 131 + keys * 7 + head_dim);
  d->windows = 1;
  d->heads = d->kv_heads = HEADS;
  d->q_rows = queries;
  d->k_rows = keys;
  d->head_dim = head_dim;
  d->v_dim = v_dim;
  d->q = strides(queries, head_dim, true);
  d->k = strides(keys, head_dim, true);
  d->v = strides(keys, v_dim, true);
  d->out = strides(queries, v_dim, operand);
  d->scale = 1 / sqrtf((float)head_dim);
  d->precision = PRECISION_BF16;
  d->out_operand = operand;
  d->has_mask = mask != MASK_NONE;
  d->mask_bf16 = mask == MASK_BF16;
  d->mask = (struct attention_strides){.row = keys + 1, .head = queries * (keys + 1)};
  p.q_words = (size_t)(IMAGES * d->q.image);
  p.k_words = (size_t)(IMAGES * d->k.image);
  p.v_words = (size_t)(IMAGES * d->v.image);
  p.out_words = (size_t)(IMAGES * d->out.image);
  p.mask_words = (size_t)(HEADS * d->mask.head);
  p.q = random_rows(p.q_words, &seed, 3);
  p.k = random_rows(p.k_words, &seed, 3);
  p.v = random_rows(p.v_words, &seed, 1);
  p.out = guarded_floats(p.out_words, 0);
  p.mask = guarded_floats(p.mask_words, 0);
  for (size_t i = 0; i < p.mask_words; i++) p.mask[i] = next_random(&seed) < -0.9f ? -INFINITY : next_random(&seed);
  if (mask != MASK_BF16) return p;
  p.halves = guarded_floats(bf16_floats(p.mask_words), NAN);
  for (size_t i = 0; i < p.mask_words; i++) {
    ((uint16_t *)(void *)p.halves)[i] = to_bf16(p.mask[i]);
    p.mask[i] = bf16_at(p.halves, i);
  }
  return p;
}

static void release(struct problem *p) {
  guarded_free((float *)p->q, p->q_words);
  guarded_free((float *)p->k, p->k_words);
  guarded_free((float *)p->v, p->v_words);
  guarded_free(p->out, p->out_words);
  guarded_free(p->mask, p->mask_words);
  if (p->halves != NULL) guarded_free(p->halves, bf16_floats(p->mask_words));
}

static double element(const uint16_t *rows, const struct attention_strides *s, int64_t image, int64_t head, int64_t row,
                      int64_t column) {
  return (double)from_bf16(rows[2 * (image * s->image + head * s->head + row * s->row) + column]);
}

/* The weights of one query, in double precision. */
static void weigh(const struct problem *p, int64_t image, int64_t head, int64_t row, double *weights) {
  const struct attention_desc *d = &p->desc;
  double largest = -INFINITY, sum = 0;
  for (int64_t key = 0; key < d->k_rows; key++) {
    double dot = 0;
    for (int64_t i = 0; i < d->head_dim; i++)
      dot += element(p->q, &d->q, image, head, row, i) * element(p->k, &d->k, image, head, key, i);
    weights[key] = dot * (double)d->scale;
    if (d->has_mask) weights[key] += (double)p->mask[head * d->mask.head + row * d->mask.row + key];
    largest = fmax(largest, weights[key]);
  }
  for (int64_t key = 0; key < d->k_rows; key++) sum += weights[key] = largest == -INFINITY ? 0 : exp(weights[key] - largest);
  for (int64_t key = 0; key < d->k_rows; key++) weights[key] /= sum > 0 ? sum : 1;
}

static double result(const struct problem *p, int64_t image, int64_t head, int64_t row, int64_t column) {
  const struct attention_strides *s = &p->desc.out;
  const float *at = p->out + image * s->image + row * s->row + head * s->head;
  return p->desc.out_operand ? (double)from_bf16(((const uint16_t *)at)[column]) : (double)at[column];
}

static void check(const struct problem *p, const char *way) {
  const struct attention_desc *d = &p->desc;
  double *weights = malloc((size_t)d->k_rows * sizeof *weights);
  for (int64_t unit = 0; unit < IMAGES * HEADS * d->q_rows; unit++) {
    int64_t image = unit / (HEADS * d->q_rows), head = unit / d->q_rows % HEADS, row = unit % d->q_rows;
    weigh(p, image, head, row, weights);
    for (int64_t j = 0; j < d->v_dim; j++) {
      double expected = 0, size = 0;
      for (int64_t key = 0; key < d->k_rows; key++) {
        double part = weights[key] * element(p->v, &d->v, image, head, key, j);
        expected += part;
        size += fabs(part);
      }
      double bound = BOUND * size * 1.02 + (d->out_operand ? BOUND * fabs(expected) * 1.01 : 0) + 1e-6;
      double got = result(p, image, head, row, j);
      cr_assert(fabs(got - expected) <= bound, "%s: %d queries, %d keys, heads of %d and %d: row %d column %d: %g, not %g", way,
                (int)d->q_rows, (int)d->k_rows, (int)d->head_dim, (int)d->v_dim, (int)row, (int)j, got, expected);
    }
  }
  free(weights);
}

/* Unit after unit, last first, then all at once: the same bits. */
static void run(struct problem *p, const struct way *way) {
  const struct attention_desc *d = &p->desc;
  struct jit jit;
  jit_init(&jit, &way->level);
  jit.emit.tile_model = way->model;
  emit_value pack_kernel = emit_attention_pack(&jit.emit, d), run_kernel = emit_attention(&jit.emit, d);
  pack_function *pack = (pack_function *)jit_address(&jit, pack_kernel);
  run_function *attend = (run_function *)jit_address(&jit, run_kernel);
  size_t packed_words = (size_t)(IMAGES * HEADS * attention_packed_words(d)), bytes = p->out_words * sizeof(float);
  float *packed = guarded_floats(packed_words, NAN), *one_by_one = malloc(bytes);
  int64_t units = IMAGES * HEADS * attention_row_tiles(&way->level, d);
  const void *mask = p->halves != NULL ? p->halves : p->mask;
  pack(p->k, packed, p->v, IMAGES, 0, IMAGES * HEADS);
  for (int64_t unit = units - 1; unit >= 0; unit--) attend(p->q, packed, p->v, p->out, IMAGES, unit, unit + 1, mask);
  check(p, way->name);
  memcpy(one_by_one, p->out, bytes);
  attend(p->q, packed, p->v, p->out, IMAGES, 0, units, mask);
  cr_assert(memcmp(one_by_one, p->out, bytes) == 0, "%s: other bits when units are split", way->name);
  free(one_by_one);
  guarded_free(packed, packed_words);
  kernels_free(&jit.emit);
  jit_deinit(&jit);
}

static void run_all(int64_t queries, int64_t keys, int64_t head_dim, int64_t v_dim, bool operand, enum mask mask) {
  struct way ways[WAYS_MAX];
  int count = find_ways(ways);
  for (int i = 0; i < count; i++) {
    struct problem p = make(queries, keys, head_dim, v_dim, operand, mask);
    run(&p, &ways[i]);
    release(&p);
  }
}

Test(kernels_attention_bf16, odd_shapes) {
  static const int64_t shapes[][4] = {{1, 1, 2, 16},    {1, 197, 64, 64}, {5, 3, 30, 16},   {16, 32, 32, 32},
                                      {17, 33, 64, 64}, {31, 16, 72, 80}, {33, 47, 80, 96}, {13, 64, 128, 16}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    run_all(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], i % 2 == 0, MASK_NONE);
}

Test(kernels_attention_bf16, columns_that_fill_no_vector) {
  run_all(7, 21, 20, 20, false, MASK_NONE);
  run_all(19, 37, 10, 35, false, MASK_NONE);
}

Test(kernels_attention_bf16, vit) {
  run_all(197, 197, 64, 64, true, MASK_NONE);
}

Test(kernels_attention_bf16, long_sequences_in_blocks) {
  run_all(18, 1371, 64, 64, true, MASK_NONE);
  run_all(3, 2051, 32, 48, false, MASK_NONE);
}

/* Blocks of 32 keys: none, one and many whole ones, with half a block and one key more; heads whose queries stay in tiles and
 * others; rows that fill no tile. */
Test(kernels_attention_bf16, blocks_of_keys) {
  static const int64_t keys[] = {15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 95, 96, 97, 128, 160, 161};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) run_all(17, keys[i], 64, 64, i % 2 == 0, MASK_NONE);
  run_all(16, 70, 96, 64, true, MASK_NONE);
  run_all(35, 100, 128, 80, true, MASK_NONE);
  run_all(21, 99, 32, 33, false, MASK_NONE);
}

/* Scores that grow by more than e^44 after the first keys, in some rows only, and shrink. */
Test(kernels_attention_bf16, scores_that_grow) {
  struct way ways[WAYS_MAX];
  int count = find_ways(ways);
  for (int i = 0; i < count; i++)
    for (int direction = 0; direction < 2; direction++) {
      struct problem p = make(37, 197, 64, 64, true, MASK_NONE);
      p.desc.scale = 4;
      for (int64_t image = 0; image < IMAGES; image++)
        for (int64_t key = 0; key < 197; key++) {
          uint16_t *row = p.k + 2 * (image * p.desc.k.image + key * p.desc.k.row);
          float size = (key < 100) == (direction == 0) ? 0.01f : 2.0f;
          for (int64_t j = 0; j < 2 * HEADS * p.desc.k.head; j++) row[j] = to_bf16(from_bf16(row[j]) * size);
        }
      run(&p, &ways[i]);
      release(&p);
    }
}

Test(kernels_attention_bf16, masks) {
  for (enum mask mask = MASK_FP32; mask <= MASK_BF16; mask++) {
    run_all(23, 41, 32, 32, true, mask);
    run_all(9, 1300, 16, 16, false, mask);
  }
}
