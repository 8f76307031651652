/* Attention kernels against softmax in double precision. */
#include "llvm/kernels.h"
#include "support/jit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef void pack_function(const float *, float *, int64_t, int64_t, int64_t);
typedef void run_function(const float *, const float *, const float *, float *, int64_t, int64_t, int64_t);

enum { SENTINEL = -7777 };

struct problem {
  struct attention_desc desc;
  int64_t images;
  float spread; /* of q and k: large values make a peaked softmax */
  bool in_place;
  float *q, *k, *v, *out;
  size_t q_count, k_count, v_count, out_count;
};

static struct problem shape(int64_t heads, int64_t q_rows, int64_t k_rows, int64_t head_dim, int64_t v_dim, int64_t images) {
  struct problem p = {.images = images, .spread = 1};
  struct attention_desc *d = &p.desc;
  *d = (struct attention_desc){.heads = heads, .q_rows = q_rows, .k_rows = k_rows, .head_dim = head_dim, .v_dim = v_dim};
  d->q_row_stride = heads * head_dim + 3;
  d->q_image_stride = q_rows * d->q_row_stride + 1;
  d->k_row_stride = heads * head_dim + 7;
  d->k_image_stride = k_rows * d->k_row_stride;
  d->v_row_stride = heads * v_dim + 1;
  d->v_image_stride = k_rows * d->v_row_stride + 9;
  d->out_row_stride = heads * v_dim + 3;
  d->out_image_stride = q_rows * d->out_row_stride + 1;
  d->scale = 1 / sqrtf((float)head_dim);
  return p;
}

static float *make(size_t count, uint32_t *seed, float scale) {
  float *memory = guarded_floats(count, 0);
  for (size_t i = 0; i < count; i++) memory[i] = next_random(seed) * scale;
  return memory;
}

static size_t extent(int64_t images, int64_t image_stride, int64_t rows, int64_t row_stride, int64_t columns) {
  return (size_t)((images - 1) * image_stride + (rows - 1) * row_stride + columns);
}

static void fill(struct problem *p) {
  const struct attention_desc *d = &p->desc;
  uint32_t seed = (uint32_t)(d->q_rows + d->head_dim);
  p->q_count = extent(p->images, d->q_image_stride, d->q_rows, d->q_row_stride, d->heads * d->head_dim);
  p->k_count = extent(p->images, d->k_image_stride, d->k_rows, d->k_row_stride, d->heads * d->head_dim);
  p->v_count = extent(p->images, d->v_image_stride, d->k_rows, d->v_row_stride, d->heads * d->v_dim);
  p->out_count = extent(p->images, d->out_image_stride, d->q_rows, d->out_row_stride, d->heads * d->v_dim);
  p->q = make(p->q_count, &seed, p->spread);
  p->k = make(p->k_count, &seed, p->spread);
  p->v = make(p->v_count, &seed, 1);
  p->out = guarded_floats(p->out_count, SENTINEL);
}

static void destroy(struct problem *p) {
  guarded_free(p->q, p->q_count);
  guarded_free(p->k, p->k_count);
  guarded_free(p->v, p->v_count);
  guarded_free(p->out, p->out_count);
}

/* Row i of head h of image g into want[v_dim]. */
static void expected(const struct problem *p, int64_t g, int64_t h, int64_t i, double *want) {
  const struct attention_desc *d = &p->desc;
  const float *q = p->q + g * d->q_image_stride + i * d->q_row_stride + h * d->head_dim;
  double *weight = malloc((size_t)d->k_rows * sizeof *weight), maximum = -INFINITY, sum = 0;
  for (int64_t j = 0; j < d->k_rows; j++) {
    const float *k = p->k + g * d->k_image_stride + j * d->k_row_stride + h * d->head_dim;
    weight[j] = 0;
    for (int64_t c = 0; c < d->head_dim; c++) weight[j] += (double)q[c] * (double)k[c];
    weight[j] *= (double)d->scale;
    maximum = fmax(maximum, weight[j]);
  }
  for (int64_t c = 0; c < d->v_dim; c++) want[c] = 0;
  for (int64_t j = 0; j < d->k_rows; j++) sum += weight[j] = exp(weight[j] - maximum);
  for (int64_t j = 0; j < d->k_rows; j++) {
    const float *v = p->v + g * d->v_image_stride + j * d->v_row_stride + h * d->v_dim;
    for (int64_t c = 0; c < d->v_dim; c++) want[c] += weight[j] / sum * (double)v[c];
  }
  free(weight);
}

static void check(const struct problem *p, const float *out, const char *level) {
  const struct attention_desc *d = &p->desc;
  double *want = malloc((size_t)d->v_dim * sizeof *want);
  for (int64_t g = 0; g < p->images; g++)
    for (int64_t h = 0; h < d->heads; h++)
      for (int64_t i = 0; i < d->q_rows; i += d->q_rows > 400 ? 37 : 1) {
        expected(p, g, h, i, want);
        const float *row = out + g * d->out_image_stride + i * d->out_row_stride + h * d->v_dim;
        for (int64_t c = 0; c < d->v_dim; c++)
          cr_assert(fabs((double)row[c] - want[c]) <= 3e-6 * (double)fmaxf(1, p->spread * p->spread),
                    "%s q %d k %d d %d: image %d head %d row %d column %d is %.9g, not %.9g", level, (int)d->q_rows,
                    (int)d->k_rows, (int)d->head_dim, (int)g, (int)h, (int)i, (int)c, (double)row[c], want[c]);
      }
  free(want);
}

/* Elements that belong to no row of any image keep what they held. */
static void check_outside(const struct problem *p, const float *out, const float *before, const char *level) {
  const struct attention_desc *d = &p->desc;
  for (int64_t at = 0; at < (int64_t)p->out_count; at++) {
    int64_t in_image = at % d->out_image_stride, column = in_image % d->out_row_stride;
    bool inside = in_image / d->out_row_stride < d->q_rows && column < d->heads * d->v_dim;
    cr_assert(inside || memcmp(&out[at], &before[at], sizeof(float)) == 0, "%s: wrote outside of the result at %d", level,
              (int)at);
  }
}

static void run_level(struct problem *p, const struct target_level *level) {
  const struct attention_desc *d = &p->desc;
  struct jit jit;
  jit_init(&jit, level);
  emit_value pack_kernel = emit_attention_pack(&jit.emit, d), run_kernel = emit_attention(&jit.emit, d);
  pack_function *pack = (pack_function *)jit_address(&jit, pack_kernel);
  run_function *run = (run_function *)jit_address(&jit, run_kernel);
  int64_t pairs = p->images * d->heads, units = pairs * attention_row_tiles(level, d);
  size_t packed_count = (size_t)(pairs * attention_packed_floats(d));
  float *packed = guarded_floats(packed_count, NAN), *out = p->out, *before = malloc(p->out_count * sizeof(float));
  if (p->in_place) {
    cr_assert_eq(p->q_count, p->out_count);
    out = guarded_floats(p->out_count, 0);
    memcpy(out, p->q, p->out_count * sizeof(float));
  }
  memcpy(before, out, p->out_count * sizeof(float));
  for (int64_t at = pairs - 1; at >= 0; at--) pack(p->k, packed, p->images, at, at + 1);
  run(p->in_place ? out : p->q, packed, p->v, out, p->images, 0, units);
  check(p, out, level->name);
  check_outside(p, out, before, level->name);
  float *whole = malloc(p->out_count * sizeof(float));
  memcpy(whole, out, p->out_count * sizeof(float));
  memcpy(out, before, p->out_count * sizeof(float));
  for (int64_t end = units; end > 0; end -= end < 3 ? end : 3)
    run(p->in_place ? out : p->q, packed, p->v, out, p->images, end < 3 ? 0 : end - 3, end);
  cr_assert(memcmp(whole, out, p->out_count * sizeof(float)) == 0, "%s: other bits when units are split", level->name);
  memcpy(p->out, before, p->out_count * sizeof(float));
  if (p->in_place) guarded_free(out, p->out_count);
  guarded_free(packed, packed_count);
  free(before);
  free(whole);
  kernels_free(&jit.emit);
  jit_deinit(&jit);
}

static void run(struct problem p) {
  fill(&p);
  int levels = 0;
  for (int i = 0; i < LEVEL_COUNT; i++) {
    if (!jit_runs(&target_levels[i])) continue;
    levels++;
    run_level(&p, &target_levels[i]);
  }
  cr_assert(levels > 0);
  destroy(&p);
}

Test(kernels_attention, rows_and_dimensions) {
  static const int64_t rows[] = {1, 5, 17, 197}, dims[] = {20, 64, 80, 37};
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) run(shape(rows[i] > 100 ? 2 : 3, rows[i], rows[i], dims[j], dims[j], 1 + (i + j) % 2));
}

Test(kernels_attention, one_query_row) {
  run(shape(3, 1, 197, 64, 64, 2));
  run(shape(1, 1, 1370, 64, 64, 1));
}

Test(kernels_attention, other_width_of_values) {
  run(shape(2, 9, 33, 16, 40, 1));
  run(shape(2, 9, 33, 48, 7, 1));
  run(shape(1, 15, 50, 8, 300, 1));
}

Test(kernels_attention, long_sequences) {
  run(shape(2, 577, 577, 64, 64, 1));
  run(shape(1, 1370, 1370, 64, 64, 1));
  run(shape(1, 30, 641, 20, 20, 1));
  run(shape(1, 7, 1297, 37, 37, 2));
}

Test(kernels_attention, output_in_place_of_queries) {
  struct problem p = shape(3, 50, 50, 20, 20, 2);
  p.in_place = true;
  run(p);
  p = shape(1, 700, 700, 16, 16, 1);
  p.in_place = true;
  run(p);
}

Test(kernels_attention, peaked_and_far_below_zero) {
  struct problem p = shape(2, 40, 100, 64, 64, 1);
  p.spread = 8;
  run(p);
  p = shape(1, 20, 900, 64, 64, 1);
  p.spread = 8;
  run(p);
  p = shape(1, 20, 90, 64, 64, 1);
  p.desc.scale = -0.5f;
  run(p);
}
