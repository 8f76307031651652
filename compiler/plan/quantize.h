/* Weights to s8: one symmetric scale for each column (or each group of rows of a column) of B (k x n), round to nearest even.
 *
 * A product x @ B is computed as x' @ B' with x' = (x / balance) @ H and B' = H^T @ (balance * B), both exact in real
 * arithmetic: H is block-diagonal, of Hadamard matrices of `quantize_block(k)` rows, and spreads outliers over a block, so that
 * one scale serves a whole row of x' and a whole column of B'. H holds +1 and -1 in Sylvester's order (entry (i, j) is -1 where
 * i & j has an odd number of bits); the factor 1 / block that H @ H^T leaves is in the scales, a power of two.
 *
 * Pure functions: the same bits for the same input on every machine (sums are in a fixed order, no libm but the exact sqrt).
 * Everything is borrowed, nothing is allocated. */
#ifndef VITC_PLAN_QUANTIZE_H
#define VITC_PLAN_QUANTIZE_H

#include <stdbool.h>
#include <stdint.h>

enum { QUANTIZE_PANEL = 16, QUANTIZE_BLOCK_MAX = 128 };

/* B: element (i, j) is b[i * n + j], or b[j * k + i] when `transposed`. */
struct quantize_matrix {
  const float *b;
  int64_t k, n;
  bool transposed;
  bool hadamard;        /* false: H is the identity */
  const float *balance; /* k positive numbers, or NULL: all 1 */
  int64_t group;        /* rows that share a scale, a multiple of 4; the last group may be shorter; 0: all of k */
};

/* All panels of a matrix, each as quantize_panel gives it, without groups. */
struct quantized {
  int8_t *q;    /* k rounded up to a multiple of 4, x 16, a panel */
  float *scale; /* 16 a panel */
  int32_t *sum; /* 16 a panel */
};

/* Rows and columns of one Hadamard matrix: the largest power of two that divides k, at most QUANTIZE_BLOCK_MAX. */
int64_t quantize_block(int64_t k);

/* Bits that a sum of `rows` numbers of -127 to 127 takes, with its sign. The rest of a word of 32 bits is the scale's, where
 * the two are kept together (pack.h): for up to QUANTIZE_ROWS_MAX rows that is at least an exponent. */
enum { QUANTIZE_ROWS_MAX = 66000 };
int quantize_sum_bits(int64_t rows);

/* The least number that is not below `scale` and has no bits where the sum of `rows` has its; `scale` is not negative.
 * Infinity where it is not finite. */
float quantize_scale(float scale, int64_t rows);

/* Scales in one column: 1, or k over group rounded up. */
int64_t quantize_groups(int64_t k, int64_t group);

/* The 16 columns from `column` on, zeros past column n:
 *   work:  room for k, rounded up to a multiple of 4, x 16 floats
 *   q:     words of four s8 of consecutive rows, byte (i, j) at (i / 4 * 16 + j) * 4 + i % 4; zeros past k in the last word
 *   scale: groups x 16, as quantize_scale gives them: B' is close to q * scale * block, that is x @ B to sum_i x'_i * q_i *
 * scale sum:   groups x 16: the sums of q |q| <= 127. A column with a value that is not finite has zeros for q and a scale that
 * is not finite, so that products with it are NaN as they are in fp32. */
void quantize_panel(const struct quantize_matrix *matrix, int64_t column, float *work, int8_t *q, float *scale, int32_t *sum);

/* squares[i] += the sum of the squares of row i of B: for the balance of all products that read the same x. */
void quantize_add_squares(const struct quantize_matrix *matrix, float *squares);

/* Copies the panel at `column` of a matrix with k rows. */
void quantize_copy_panel(const struct quantized *quantized, int64_t k, int64_t column, int8_t *q, float *scale, int32_t *sum);

/* The balance of products that read x = gain * z + bias, z of a LayerNormalization; bias may be NULL. It makes rows of B and
 * channels of x alike in size: sqrt(rms of x / rms of B's rows), x taken as gain^2 + bias^2, which needs no data. Kept within
 * 1/16 to 16 times its mean, so that dead channels and rows of zeros do no harm. `columns`: those that `squares` sums over. */
void quantize_balance(const float *gain, const float *bias, const float *squares, int64_t k, int64_t columns, float *balance);

#endif
