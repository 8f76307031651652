/* The one matrix product of the interpreter: both operands are packed as doubles, so that strides and dtypes stop mattering,
 * and tiles of TILE_ROWS x TILE_COLUMNS are accumulated in registers. */
#include "ops/eval.h"

enum {
  TILE_ROWS = 6,
  TILE_COLUMNS = 8,
  BLOCK_ROWS = 34 * TILE_ROWS,
  BLOCK_COLUMNS = 64 * TILE_COLUMNS,
  BLOCK_INNER = 256,
};

typedef double lanes __attribute__((vector_size(TILE_COLUMNS * sizeof(double)), aligned(sizeof(double))));

/* a: panel of (inner, TILE_ROWS); b: panel of (inner, TILE_COLUMNS); sums: tile with rows `stride` apart, added to. */
static inline __attribute__((always_inline)) void tile_body(int64_t inner, const double *a, const double *b, double *sums,
                                                            int64_t stride) {
  /* One variable a row: compilers keep an array in memory unless they unroll the loop over it. */
  lanes *to0 = (lanes *)sums, *to1 = (lanes *)(sums + stride), *to2 = (lanes *)(sums + 2 * stride);
  lanes *to3 = (lanes *)(sums + 3 * stride), *to4 = (lanes *)(sums + 4 * stride), *to5 = (lanes *)(sums + 5 * stride);
  lanes sum0 = *to0, sum1 = *to1, sum2 = *to2, sum3 = *to3, sum4 = *to4, sum5 = *to5;
  for (int64_t k = 0; k < inner; k++, a += TILE_ROWS, b += TILE_COLUMNS) {
    lanes row = *(const lanes *)b;
    sum0 += a[0] * row;
    sum1 += a[1] * row;
    sum2 += a[2] * row;
    sum3 += a[3] * row;
    sum4 += a[4] * row;
    sum5 += a[5] * row;
  }
  *to0 = sum0;
  *to1 = sum1;
  *to2 = sum2;
  *to3 = sum3;
  *to4 = sum4;
  *to5 = sum5;
}

typedef void tile_function(int64_t inner, const double *a, const double *b, double *sums, int64_t stride);

static void tile_plain(int64_t inner, const double *a, const double *b, double *sums, int64_t stride) {
  tile_body(inner, a, b, sums, stride);
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void tile_avx2(int64_t inner, const double *a, const double *b, double *sums,
                                                          int64_t stride) {
  tile_body(inner, a, b, sums, stride);
}

__attribute__((target("avx512f"))) static void tile_avx512(int64_t inner, const double *a, const double *b, double *sums,
                                                           int64_t stride) {
  tile_body(inner, a, b, sums, stride);
}
#endif

static tile_function *choose_tile(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return tile_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return tile_avx2;
#endif
  return tile_plain;
}

static int64_t min64(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static double matrix_at(const struct matrix *matrix, int64_t row, int64_t column) {
  int64_t at = row * matrix->row_stride + column * matrix->column_stride;
  return matrix->wide ? ((const double *)matrix->data)[at] : (double)((const float *)matrix->data)[at];
}

/* Panels of `width` lines; element k of line i of a panel at [k * width + i]; lines past `lines` are zero. */
static void pack(double *panels, const void *data, bool wide, int64_t line_stride, int64_t inner_stride, int64_t lines,
                 int64_t inner, int width) {
  for (int64_t first = 0; first < lines; first += width, panels += inner * width) {
    int64_t used = min64(width, lines - first);
    for (int64_t k = 0; k < inner; k++) {
      double *to = panels + k * width;
      int64_t at = first * line_stride + k * inner_stride;
      for (int64_t i = 0; i < used; i++, at += line_stride)
        to[i] = wide ? ((const double *)data)[at] : (double)((const float *)data)[at];
      for (int64_t i = used; i < width; i++) to[i] = 0;
    }
  }
}

static const void *matrix_offset(const struct matrix *matrix, int64_t row, int64_t column) {
  int64_t at = row * matrix->row_stride + column * matrix->column_stride;
  return (const char *)matrix->data + at * (int64_t)(matrix->wide ? sizeof(double) : sizeof(float));
}

static void store_block(const struct product *product, const double *sums, int64_t row, int64_t column, int64_t rows,
                        int64_t columns) {
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < columns; j++) {
      double element = product->alpha * sums[i * BLOCK_COLUMNS + j];
      if (product->addend.data != NULL) element += product->beta * matrix_at(&product->addend, row + i, column + j);
      int64_t at = (row + i) * product->out_row_stride + (column + j) * product->out_column_stride;
      if (product->out_wide)
        ((double *)product->out)[at] = element;
      else
        ((float *)product->out)[at] = (float)element;
    }
  }
}

struct buffers {
  double *a, *b, *sums;
};

static void product_block(const struct product *product, tile_function *tile, struct buffers *buffers, int64_t row,
                          int64_t column, int64_t rows, int64_t columns) {
  const struct matrix *a = &product->a, *b = &product->b;
  int64_t padded_rows = (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
  for (int64_t i = 0; i < padded_rows * BLOCK_COLUMNS; i++) buffers->sums[i] = 0;
  for (int64_t k = 0; k < product->inner; k += BLOCK_INNER) {
    int64_t inner = min64(BLOCK_INNER, product->inner - k);
    pack(buffers->a, matrix_offset(a, row, k), a->wide, a->row_stride, a->column_stride, rows, inner, TILE_ROWS);
    pack(buffers->b, matrix_offset(b, k, column), b->wide, b->column_stride, b->row_stride, columns, inner, TILE_COLUMNS);
    for (int64_t j = 0; j < columns; j += TILE_COLUMNS)
      for (int64_t i = 0; i < rows; i += TILE_ROWS)
        tile(inner, buffers->a + i * inner, buffers->b + j * inner, buffers->sums + i * BLOCK_COLUMNS + j, BLOCK_COLUMNS);
  }
  store_block(product, buffers->sums, row, column, rows, columns);
}

void matrix_product(const struct product *product) {
  struct arena scratch;
  arena_init(&scratch);
  struct buffers buffers = {
      .a = arena_array(&scratch, BLOCK_ROWS * BLOCK_INNER, sizeof(double)),
      .b = arena_array(&scratch, BLOCK_COLUMNS * BLOCK_INNER, sizeof(double)),
      .sums = arena_array(&scratch, BLOCK_ROWS * BLOCK_COLUMNS, sizeof(double)),
  };
  tile_function *tile = choose_tile();
  for (int64_t row = 0; row < product->rows; row += BLOCK_ROWS)
    for (int64_t column = 0; column < product->columns; column += BLOCK_COLUMNS)
      product_block(product, tile, &buffers, row, column, min64(BLOCK_ROWS, product->rows - row),
                    min64(BLOCK_COLUMNS, product->columns - column));
  arena_deinit(&scratch);
}
