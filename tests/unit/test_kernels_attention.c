/* Attention kernels against softmax in double precision. */
#include "llvm/kernels.h"
#include "support/bf16.h"
#include "support/jit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef void pack_function(const float *, float *, const float *, int64_t, int64_t, int64_t);
typedef void run_function(const float *, const float *, const float *, float *, int64_t, int64_t, int64_t);
typedef void masked_function(const float *, const float *, const float *, float *, int64_t, int64_t, int64_t, const void *);

enum { SENTINEL = -7777 };

struct problem {
  struct attention_desc desc;
  int64_t images;
  float spread; /* of q and k: large values make a peaked softmax */
  bool in_place;
  double hidden; /* part of the mask that is minus infinity */
  float *q, *k, *v, *out, *mask;
  float *halves; /* with mask_bf16: the mask as the kernel gets it */
  size_t q_count, k_count, v_count, out_count, mask_count;
};

/* Heads of a row next to each other, with gaps between rows, windows and images. */
static struct attention_strides strides(int64_t windows, int64_t heads, int64_t rows, int64_t width, int64_t gap) {
  struct attention_strides s = {.head = width, .row = heads * width + gap};
  s.window = rows * s.row + 2;
  s.image = windows * s.window + 1;
  return s;
}

static struct problem windows(int64_t count, int64_t heads, int64_t kv_heads, int64_t q_rows, int64_t k_rows, int64_t head_dim,
                              int64_t v_dim, int64_t images) {
  struct problem p = {.images = images, .spread = 1};
  struct attention_desc *d = &p.desc;
  memset(d, 0, sizeof *d);
  d->windows = count;
  d->heads = heads;
  d->kv_heads = kv_heads;
  d->q_rows = q_rows;
  d->k_rows = k_rows;
  d->head_dim = head_dim;
  d->v_dim = v_dim;
  d->q = strides(count, heads, q_rows, head_dim, 3);
  d->k = strides(count, kv_heads, k_rows, head_dim, 7);
  d->v = strides(count, kv_heads, k_rows, v_dim, 1);
  d->out = strides(count, heads, q_rows, v_dim, 3);
  d->scale = 1 / sqrtf((float)head_dim);
  return p;
}

static struct problem shape(int64_t heads, int64_t q_rows, int64_t k_rows, int64_t head_dim, int64_t v_dim, int64_t images) {
  return windows(1, heads, heads, q_rows, k_rows, head_dim, v_dim, images);
}

/* A mask for each image, window and head, or (`shared`) one table of rows for all heads, or (`row`) one row of keys. */
enum mask_form { MASK_FULL, MASK_HEADS, MASK_TABLE, MASK_ROW };

static struct problem masked(struct problem p, enum mask_form form) {
  struct attention_desc *d = &p.desc;
  d->has_mask = 1;
  if (form != MASK_ROW) d->mask.row = d->k_rows + 5;
  if (form <= MASK_HEADS) d->mask.head = d->q_rows * d->mask.row;
  if (form == MASK_FULL) {
    d->mask.window = d->heads * d->mask.head + 1;
    d->mask.image = d->windows * d->mask.window + 3;
  }
  return p;
}

static float *make(size_t count, uint32_t *seed, float scale) {
  float *memory = guarded_floats(count, 0);
  for (size_t i = 0; i < count; i++) memory[i] = next_random(seed) * scale;
  return memory;
}

static int64_t offset(const struct attention_strides *s, int64_t image, int64_t window, int64_t head, int64_t row) {
  return image * s->image + window * s->window + head * s->head + row * s->row;
}

static size_t extent(const struct problem *p, const struct attention_strides *s, int64_t heads, int64_t rows, int64_t width) {
  return (size_t)(offset(s, p->images - 1, p->desc.windows - 1, heads - 1, rows - 1) + width);
}

static void halve_mask(struct problem *p) {
  p->halves = guarded_floats(bf16_floats(p->mask_count), NAN);
  for (size_t i = 0; i < p->mask_count; i++) {
    ((uint16_t *)(void *)p->halves)[i] = to_bf16(p->mask[i]);
    p->mask[i] = bf16_at(p->halves, i);
  }
}

static void fill(struct problem *p) {
  const struct attention_desc *d = &p->desc;
  uint32_t seed = (uint32_t)(d->q_rows + d->head_dim);
  p->q_count = extent(p, &d->q, d->heads, d->q_rows, d->head_dim);
  p->k_count = extent(p, &d->k, d->kv_heads, d->k_rows, d->head_dim);
  p->v_count = extent(p, &d->v, d->kv_heads, d->k_rows, d->v_dim);
  p->out_count = extent(p, &d->out, d->heads, d->q_rows, d->v_dim);
  p->mask_count = d->has_mask ? extent(p, &d->mask, d->heads, d->q_rows, d->k_rows) : 0;
  p->q = make(p->q_count, &seed, p->spread);
  p->k = make(p->k_count, &seed, p->spread);
  p->v = make(p->v_count, &seed, 1);
  p->mask = make(p->mask_count, &seed, 2);
  for (size_t i = 0; i < p->mask_count && p->hidden > 0; i++)
    if ((double)next_random(&seed) * 0.5 + 0.5 < p->hidden) p->mask[i] = -INFINITY;
  if (d->mask_bf16) halve_mask(p);
  p->out = guarded_floats(p->out_count, SENTINEL);
}

static void destroy(struct problem *p) {
  guarded_free(p->q, p->q_count);
  guarded_free(p->k, p->k_count);
  guarded_free(p->v, p->v_count);
  guarded_free(p->out, p->out_count);
  guarded_free(p->mask, p->mask_count);
  if (p->desc.mask_bf16) guarded_free(p->halves, bf16_floats(p->mask_count));
}

/* The exponent of key j for row i of head h. */
static double exponent(const struct problem *p, int64_t g, int64_t w, int64_t h, int64_t i, int64_t j) {
  const struct attention_desc *d = &p->desc;
  const float *q = p->q + offset(&d->q, g, w, h, i), *k = p->k + offset(&d->k, g, w, h / (d->heads / d->kv_heads), j);
  double score = 0;
  for (int64_t c = 0; c < d->head_dim; c++) score += (double)q[c] * (double)k[c];
  score *= (double)d->scale;
  if (d->softcap > 0) score = (double)d->softcap * tanh(score / (double)d->softcap);
  if (d->has_mask) score += (double)p->mask[offset(&d->mask, g, w, h, i) + j];
  return d->causal && j > i ? -INFINITY : score;
}

/* Row i of head h of window w of image g into want[v_dim]. */
static void expected(const struct problem *p, int64_t g, int64_t w, int64_t h, int64_t i, double *want) {
  const struct attention_desc *d = &p->desc;
  double *weight = malloc((size_t)d->k_rows * sizeof *weight), maximum = -1e300, sum = 0;
  for (int64_t j = 0; j < d->k_rows; j++) {
    weight[j] = exponent(p, g, w, h, i, j);
    maximum = fmax(maximum, weight[j]);
  }
  for (int64_t c = 0; c < d->v_dim; c++) want[c] = 0;
  for (int64_t j = 0; j < d->k_rows; j++) sum += weight[j] = exp(weight[j] - maximum);
  for (int64_t j = 0; j < d->k_rows && sum > 0; j++) {
    const float *v = p->v + offset(&d->v, g, w, h / (d->heads / d->kv_heads), j);
    for (int64_t c = 0; c < d->v_dim; c++) want[c] += weight[j] / sum * (double)v[c];
  }
  free(weight);
}

static void check(const struct problem *p, const float *out, const char *level) {
  const struct attention_desc *d = &p->desc;
  double *want = malloc((size_t)d->v_dim * sizeof *want);
  for (int64_t at = 0; at < p->images * d->windows * d->heads; at++) {
    int64_t g = at / d->heads / d->windows, w = at / d->heads % d->windows, h = at % d->heads;
    for (int64_t i = 0; i < d->q_rows; i += d->q_rows > 400 ? 37 : 1) {
      expected(p, g, w, h, i, want);
      const float *row = out + offset(&d->out, g, w, h, i);
      for (int64_t c = 0; c < d->v_dim; c++)
        cr_assert(fabs((double)row[c] - want[c]) <= 3e-6 * (double)fmaxf(1, p->spread * p->spread),
                  "%s q %d k %d d %d: image %d window %d head %d row %d column %d is %.9g, not %.9g", level, (int)d->q_rows,
                  (int)d->k_rows, (int)d->head_dim, (int)g, (int)w, (int)h, (int)i, (int)c, (double)row[c], want[c]);
    }
  }
  free(want);
}

/* Elements that belong to no row of any image keep what they held. */
static void check_outside(const struct problem *p, const float *out, const float *before, const char *level) {
  const struct attention_desc *d = &p->desc;
  for (int64_t at = 0; at < (int64_t)p->out_count; at++) {
    int64_t in_window = at % d->out.image % d->out.window, column = in_window % d->out.row;
    bool inside =
        at % d->out.image / d->out.window < d->windows && in_window / d->out.row < d->q_rows && column < d->heads * d->v_dim;
    cr_assert(inside || memcmp(&out[at], &before[at], sizeof(float)) == 0, "%s: wrote outside of the result at %d", level,
              (int)at);
  }
}

static void run_units(const struct problem *p, void *kernel, const float *packed, float *out, int64_t begin, int64_t end) {
  const float *q = p->in_place ? out : p->q;
  if (p->desc.has_mask)
    ((masked_function *)kernel)(q, packed, p->v, out, p->images, begin, end, p->desc.mask_bf16 ? p->halves : p->mask);
  else
    ((run_function *)kernel)(q, packed, p->v, out, p->images, begin, end);
}

static void run_level(struct problem *p, const struct target_level *level) {
  const struct attention_desc *d = &p->desc;
  struct jit jit;
  jit_init(&jit, level);
  emit_value pack_kernel = emit_attention_pack(&jit.emit, d), run_kernel = emit_attention(&jit.emit, d);
  pack_function *pack = (pack_function *)jit_address(&jit, pack_kernel);
  void *run = jit_address(&jit, run_kernel);
  int64_t pairs = p->images * d->windows * d->kv_heads;
  int64_t units = p->images * d->windows * d->heads * attention_row_tiles(level, d);
  size_t packed_count = (size_t)(pairs * attention_packed_words(d));
  float *packed = guarded_floats(packed_count, NAN), *out = p->out, *before = malloc(p->out_count * sizeof(float));
  if (p->in_place) {
    cr_assert_eq(p->q_count, p->out_count);
    out = guarded_floats(p->out_count, 0);
    memcpy(out, p->q, p->out_count * sizeof(float));
  }
  memcpy(before, out, p->out_count * sizeof(float));
  for (int64_t at = pairs - 1; at >= 0; at--) pack(p->k, packed, p->v, p->images, at, at + 1);
  run_units(p, run, packed, out, 0, units);
  check(p, out, level->name);
  check_outside(p, out, before, level->name);
  float *whole = malloc(p->out_count * sizeof(float));
  memcpy(whole, out, p->out_count * sizeof(float));
  memcpy(out, before, p->out_count * sizeof(float));
  for (int64_t end = units; end > 0; end -= end < 3 ? end : 3) run_units(p, run, packed, out, end < 3 ? 0 : end - 3, end);
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

/* Counts past whole vectors, with widths that can and cannot be cut into equal parts. */
Test(kernels_attention, left_over_keys) {
  static const int64_t keys[] = {1, 2, 4, 8, 18}, dims[] = {64, 6};
  for (int i = 0; i < 5; i++)
    for (int j = 0; j < 2; j++) run(shape(2, 7, keys[i], dims[j], 16, 1));
  run(shape(1, 5, 1281, 32, 32, 1));
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

Test(kernels_attention, masks) {
  static const int64_t rows[] = {1, 5, 17, 197}, keys[] = {7, 5, 37, 197};
  for (int i = 0; i < 4; i++)
    for (int form = MASK_FULL; form <= MASK_ROW; form++) {
      struct problem p = masked(shape(2, rows[i], keys[i], 20, 20, 1 + i % 2), (enum mask_form)form);
      run(p);
      p.hidden = 0.6;
      run(p);
      p.desc.mask_bf16 = 1;
      run(p);
    }
}

Test(kernels_attention, masks_of_long_sequences) {
  run(masked(shape(1, 30, 641, 20, 20, 1), MASK_FULL));
  struct problem p = masked(shape(2, 1297, 1297, 37, 37, 1), MASK_HEADS);
  p.hidden = 0.5;
  run(p);
  p = masked(shape(1, 9, 1370, 64, 64, 2), MASK_TABLE);
  p.hidden = 0.999; /* whole blocks of keys, and whole rows, hidden */
  run(p);
  p.desc.mask_bf16 = 1;
  run(p);
}

Test(kernels_attention, nothing_seen) {
  struct problem p = masked(shape(2, 15, 33, 16, 16, 1), MASK_FULL);
  p.hidden = 2;
  run(p);
  p = masked(shape(1, 3, 1297, 16, 16, 1), MASK_FULL);
  p.hidden = 2;
  run(p);
}

Test(kernels_attention, causal) {
  static const int64_t rows[][2] = {{1, 5}, {17, 17}, {40, 9}, {197, 197}, {700, 1297}};
  for (int i = 0; i < 5; i++) {
    struct problem p = shape(2, rows[i][0], rows[i][1], 20, 20, 1);
    p.desc.causal = 1;
    run(p);
    if (i < 4) run(masked(p, MASK_FULL));
  }
}

Test(kernels_attention, softcap) {
  struct problem p = shape(2, 17, 37, 20, 20, 1);
  p.desc.softcap = 1.5f;
  p.spread = 4;
  run(p);
  run(masked(p, MASK_HEADS));
  p.desc.causal = 1;
  run(p);
}

Test(kernels_attention, groups_of_heads) {
  run(windows(1, 6, 2, 17, 37, 20, 20, 2));
  run(windows(1, 4, 1, 197, 197, 64, 64, 1));
  run(masked(windows(1, 6, 3, 5, 9, 8, 24, 2), MASK_FULL));
}

Test(kernels_attention, windows) {
  run(windows(3, 2, 2, 25, 25, 20, 20, 2));
  run(windows(5, 4, 2, 1, 17, 16, 8, 3));
  run(masked(windows(4, 3, 3, 49, 49, 20, 20, 2), MASK_FULL));
  run(masked(windows(4, 3, 3, 49, 49, 20, 20, 2), MASK_HEADS));
}
