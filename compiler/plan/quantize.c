/* Weights to s8. Columns of a panel are side by side in vectors, so that sums and maxima need no order but that of rows. */
#include "plan/quantize.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { PANEL = QUANTIZE_PANEL };

#define LEVELS 127.0f

/* Columns whose largest value is smaller count as zeros: 127 over it would overflow. */
#define SMALLEST_MAX 1e-30f

/* Added to |x| < 2^22, the sum's low bits are x rounded to nearest even, in the FPU's default mode. */
#define ROUNDER 12582912.0f
enum { ROUNDER_BITS = 0x4B400000 };

int64_t quantize_block(int64_t k) {
  int64_t largest = k & -k;
  return largest < QUANTIZE_BLOCK_MAX ? largest : QUANTIZE_BLOCK_MAX;
}

int quantize_sum_bits(int64_t rows) {
  int bits = 1;
  for (int64_t most = 127 * rows; most > 0; most /= 2) bits++;
  return bits;
}

float quantize_scale(float scale, int64_t rows) {
  if (!isfinite(scale)) return INFINITY;
  uint32_t bits, below = ((uint32_t)1 << (quantize_sum_bits(rows) - 1)) - 1;
  memcpy(&bits, &scale, sizeof bits);
  bits = (bits + below) & ~below;
  memcpy(&scale, &bits, sizeof bits);
  return scale;
}

int64_t quantize_groups(int64_t k, int64_t group) {
  return group > 0 ? (k + group - 1) / group : 1;
}

/* Four values, what every x86-64 has in a register. */
typedef float lanes_float __attribute__((vector_size(16)));
typedef int32_t lanes_int __attribute__((vector_size(16)));

static lanes_float load_floats(const float *from) {
  lanes_float lanes;
  memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

static lanes_int load_bits(const float *from) {
  return (lanes_int)load_floats(from);
}

static void butterfly(float *a, float *b) {
  lanes_float x = load_floats(a), y = load_floats(b), sum = x + y, difference = x - y;
  memcpy(a, &sum, sizeof sum);
  memcpy(b, &difference, sizeof difference);
}

/* Two stages of the transform at once, of rows that are `step` floats apart. */
static void butterflies(float *x, int64_t step) {
  lanes_float a = load_floats(x), b = load_floats(x + step), c = load_floats(x + 2 * step), d = load_floats(x + 3 * step);
  lanes_float sum = a + b, difference = a - b, sum2 = c + d, difference2 = c - d;
  a = sum + sum2, b = difference + difference2, c = sum - sum2, d = difference - difference2;
  memcpy(x, &a, sizeof a);
  memcpy(x + step, &b, sizeof b);
  memcpy(x + 2 * step, &c, sizeof c);
  memcpy(x + 3 * step, &d, sizeof d);
}

/* Sylvester's Hadamard matrix times `block` rows of 16 columns. */
static void hadamard_panel(float *rows, int64_t block) {
  int64_t half = 1;
  for (; half * 4 <= block; half *= 4)
    for (int64_t i = 0; i < block; i += 4 * half)
      for (int64_t j = i * PANEL; j < (i + half) * PANEL; j += 4) butterflies(rows + j, half * PANEL);
  for (int64_t j = 0; half < block && j < half * PANEL; j += 4) butterfly(rows + j, rows + j + half * PANEL);
}

/* Rows [i, i + count) of the panel at `column`, zero past column n. */
static void load_rows(const struct quantize_matrix *matrix, int64_t column, int64_t i, int64_t count, float *restrict out) {
  int64_t valid = matrix->n - column < PANEL ? matrix->n - column : PANEL;
  if (valid < PANEL) memset(out, 0, (size_t)(count * PANEL) * sizeof *out);
  for (int64_t j = 0; matrix->transposed && j < valid; j++) {
    const float *from = matrix->b + (column + j) * matrix->k + i;
    for (int64_t r = 0; r < count; r++) out[r * PANEL + j] = from[r];
  }
  for (int64_t r = 0; !matrix->transposed && r < count; r++)
    memcpy(out + r * PANEL, matrix->b + (i + r) * matrix->n + column, (size_t)valid * sizeof *out);
}

static void scale_rows(const float *balance, int64_t count, float *restrict rows) {
  for (int64_t r = 0; r < count; r++)
    for (int64_t j = 0; j < PANEL; j++) rows[r * PANEL + j] *= balance[r];
}

/* As integers the bits of absolute values are in the values' order, with infinities and NaNs above all. */
static void largest_of_columns(const float *rows, int64_t count, float *out) {
  for (int64_t j = 0; j < PANEL; j += 4) {
    lanes_int largest = {0};
    for (int64_t r = 0; r < count; r++) {
      lanes_int bits = load_bits(rows + r * PANEL + j) & INT32_MAX, more = bits > largest;
      largest = (bits & more) | (largest & ~more);
    }
    memcpy(out + j, &largest, sizeof largest);
  }
}

/* Four rows of four columns become four words. */
static lanes_int round_words(const float *rows, lanes_float inverse, lanes_int *sum) {
  lanes_int words = {0};
  for (int64_t r = 3; r >= 0; r--) {
    lanes_float shifted = load_floats(rows + r * PANEL) * inverse + ROUNDER;
    lanes_int value = (lanes_int)shifted - ROUNDER_BITS;
    *sum += value;
    words = words << 8 | (value & 0xff);
  }
  return words;
}

static void round_columns(const float *rows, int64_t count, const float *inverse, int8_t *q, int32_t *out_sum) {
  for (int64_t j = 0; j < PANEL; j += 4) {
    lanes_float factor = load_floats(inverse + j);
    lanes_int sum = {0};
    for (int64_t r = 0; r < count; r += 4) {
      lanes_int words = round_words(rows + r * PANEL + j, factor, &sum);
      memcpy(q + r * PANEL + 4 * j, &words, sizeof words);
    }
    memcpy(out_sum + j, &sum, sizeof sum);
  }
}

static void clear_rows(float *rows, int64_t count, int64_t column) {
  for (int64_t r = 0; r < count; r++) rows[r * PANEL + column] = 0;
}

/* One group: `count` rows, those up to the next multiple of four being zeros. */
static void quantize_group(float *rows, int64_t count, int64_t scale_rows, float factor, int8_t *q, float *scale,
                           int32_t *sum) {
  float largest[PANEL], inverse[PANEL];
  largest_of_columns(rows, count, largest);
  for (int64_t j = 0; j < PANEL; j++) {
    bool finite = isfinite(largest[j]), zero = largest[j] < SMALLEST_MAX;
    if (!finite) clear_rows(rows, count, j);
    scale[j] = zero ? 0 : quantize_scale(largest[j] / LEVELS, scale_rows);
    inverse[j] = finite && !zero ? 1 / scale[j] : 0;
    scale[j] *= factor;
  }
  round_columns(rows, count, inverse, q, sum);
}

void quantize_panel(const struct quantize_matrix *matrix, int64_t column, float *work, int8_t *q, float *scale, int32_t *sum) {
  int64_t k = matrix->k, block = matrix->hadamard ? quantize_block(k) : 1;
  int64_t part = block > 1 ? block : QUANTIZE_BLOCK_MAX;
  int64_t group = matrix->group > 0 ? matrix->group : k;
  assert(matrix->group % 4 == 0 && column >= 0 && column < matrix->n);
  for (int64_t i = 0; i < k; i += part) {
    int64_t count = k - i < part ? k - i : part;
    load_rows(matrix, column, i, count, work + i * PANEL);
    if (matrix->balance) scale_rows(matrix->balance + i, count, work + i * PANEL);
    if (block > 1) hadamard_panel(work + i * PANEL, block);
  }
  if (k % 4) memset(work + k * PANEL, 0, (size_t)((4 - k % 4) * PANEL) * sizeof *work);
  for (int64_t i = 0; i < k; i += group, scale += PANEL, sum += PANEL) {
    int64_t count = k - i < group ? k - i : group;
    quantize_group(work + i * PANEL, count, group < k ? group : k, 1.0f / (float)block, q + i * PANEL, scale, sum);
  }
}

void quantize_copy_panel(const struct quantized *quantized, int64_t k, int64_t column, int8_t *q, float *scale, int32_t *sum) {
  int64_t panel_bytes = (k + 3) / 4 * 4 * PANEL;
  memcpy(q, quantized->q + column / PANEL * panel_bytes, (size_t)panel_bytes);
  memcpy(scale, quantized->scale + column, PANEL * sizeof *scale);
  memcpy(sum, quantized->sum + column, PANEL * sizeof *sum);
}

void quantize_add_squares(const struct quantize_matrix *matrix, float *squares) {
  const float *b = matrix->b;
  int64_t k = matrix->k, n = matrix->n;
  for (int64_t j = 0; matrix->transposed && j < n; j++)
    for (int64_t i = 0; i < k; i++) squares[i] += b[j * k + i] * b[j * k + i];
  for (int64_t i = 0; !matrix->transposed && i < k; i++) {
    float lanes[PANEL] = {0};
    int64_t whole = n - n % PANEL;
    for (int64_t j = 0; j < whole; j += PANEL)
      for (int64_t lane = 0; lane < PANEL; lane++) lanes[lane] += b[i * n + j + lane] * b[i * n + j + lane];
    for (int64_t j = whole; j < n; j++) lanes[j - whole] += b[i * n + j] * b[i * n + j];
    for (int64_t lane = 0; lane < PANEL; lane++) squares[i] += lanes[lane];
  }
}

void quantize_balance(const float *gain, const float *bias, const float *squares, int64_t k, int64_t columns, float *balance) {
  double mean = 0;
  for (int64_t i = 0; i < k; i++) {
    double size = (double)gain[i] * gain[i] + (bias ? (double)bias[i] * bias[i] : 0);
    double ratio = squares[i] > 0 ? size * (double)columns / squares[i] : 0;
    balance[i] = isfinite(ratio) ? (float)sqrt(sqrt(ratio)) : 0;
    mean += (double)balance[i] / (double)k;
  }
  if (!(mean > 0)) mean = 1;
  for (int64_t i = 0; i < k; i++) {
    double low = mean / 16, high = mean * 16, value = squares[i] > 0 ? balance[i] : mean;
    balance[i] = (float)(value < low ? low : value > high ? high : value);
  }
}
