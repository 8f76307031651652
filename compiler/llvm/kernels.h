/* The generators of kernels: each builds one internal LLVM function for one CPU level and one description, and returns it.
 * Asking again for an equal description at the same level returns the same function (kernel_cache), so that twelve layers
 * share their kernels. Names tell what they are: gemm_bias_gelu_f32_9x48_avx512.
 *
 * Results are the same bits however rows, panels, heads or images are split among calls: every output element is computed by
 * the same operations in the same order at a given level. */
#ifndef VITC_LLVM_KERNELS_H
#define VITC_LLVM_KERNELS_H

#include "ir/graph.h"
#include "llvm/emit.h"
#include "plan/pack.h"

/* One elementwise operation on the running value of an output element at (image g, row i, column j). */
enum operand_kind {
  OPERAND_NONE,   /* unary */
  OPERAND_SCALAR, /* `scalar` */
  OPERAND_COLUMN, /* vector: operand[j] */
  OPERAND_MATRIX  /* operand[g * image_stride + i * row_stride + j]; may be the output itself (residual in place) */
}; /* either may be of bf16, with room for PACK_TABLE_ROOM elements after its last */

struct stage {
  enum op op;      /* OP_add, OP_sub, OP_mul, OP_div, OP_gelu, OP_tanh, OP_sigmoid, OP_relu, OP_erf, OP_exp, OP_sqrt, OP_neg,
                      OP_reciprocal, OP_max, OP_min, OP_swish */
  int running;     /* position (0 or 1) of the running value in a binary operation */
  int approximate; /* OP_gelu: 1 is tanh */
  bool rough; /* OP_gelu, OP_sigmoid, OP_swish: an error of 1e-4 is small beside that of the product of bf16 or int8 before */
  enum operand_kind kind;
  bool bf16;                        /* COLUMN and MATRIX: elements of bf16, else fp32 */
  float scalar;                     /* OP_swish: alpha */
  int64_t row_stride, image_stride; /* elements */
};

enum { STAGES_MAX = 16 };

/* ---- Operand rows: how a product of a precision reads A at a level, in words of 32 bits. Written by emit_rows or by the
 * product before it, at least pack_padded_k(precision, k) words of room, rows 64-byte aligned in low precision.
 *   fp32: k floats
 *   bf16: pack_padded_k bf16 where level->dot_bf16, else as many floats, unrounded; zeros past k
 *   int8: pack_padded_k u8 where level->dot_int8; else as many u16, of each four the first and third, then the second and
 *         fourth; any value past k. Then, from word operand_tables on, for each group two floats, a scale and an offset:
 *         x = scale * u8 - offset. */
int64_t operand_tables(const struct target_level *level, int64_t k);

/* ---- GEMM: C[g] (m x n) = stages(A[g] (m x k) @ B (k x n)), A in operand rows, B packed once for all levels:
 * panels of 16 columns, [ceil(n / 16)][pack_words(k)][16] words, the last panel padded with zeros; pack_panel_stride(k) words
 * from panel to panel.
 * Function: void (const void *a, const void *b, void *c, const void *const *operands, int64_t images,
 *                 int64_t panel_begin, int64_t panel_end, int64_t tile_begin, int64_t tile_end)
 * operands[s] belongs to stages[s] (pointer to its element (0, 0, 0); unused entries are not read). Panels are in units of 16
 * columns and ranges of them begin and end at multiples of gemm_split_panels or at the last; tiles are row tiles, those of all
 * images counted through, any range of them; so both can be split among threads. A and C don't overlap; a MATRIX operand may be
 * C. With m == 1 rows of different images are tiled together, all images are computed and the tiles are not looked at.
 * Prefetches (never loads) may go past the ends of A and B: what follows B in memory is best the B of the next GEMM. */
struct gemm_desc {
  enum precision precision;
  bool c_operand; /* C in operand rows of bf16; n a multiple of 32. Else fp32 */
  int64_t group;  /* int8: length along K of what shares a scale, a multiple of 64; 0: all of K */
  int64_t m, n, k;
  int64_t images_max;                                                 /* the largest number of images, 0: any */
  int64_t a_row_stride, a_image_stride, c_row_stride, c_image_stride; /* words */
  int stage_count;
  struct stage stages[STAGES_MAX];
};

emit_value emit_gemm(struct emit *e, const struct gemm_desc *desc);

/* The panels of a tile, which a split among threads must not cut. */
int64_t gemm_split_panels(const struct target_level *level, const struct gemm_desc *desc);

/* Row tiles of one image. */
int64_t gemm_row_tiles(const struct target_level *level, const struct gemm_desc *desc);

/* ---- Attention: out = softmax(cap(scale * q k^T) + mask) v for each image, window and head, without a (q_rows x k_rows)
 * matrix in memory. A window is an attention of its own, as an image is; heads / kv_heads heads after each other share keys
 * and values. cap(x) is softcap * tanh(x / softcap), or x for softcap 0; with causal, query i sees keys up to i. A query whose
 * keys are all masked by minus infinity has a result of zero. With mask, softcap or causal the scale is positive.
 *
 * Two functions, run one after the other with all of the first done before the second starts:
 *
 * attention_pack: void (const void *k, void *packed, const void *v, int64_t images, int64_t begin, int64_t end) packs the keys,
 * and with bf16 the values, of the pairs [begin, end), pair = (image * windows + window) * kv_heads + head, into packed + pair
 * * attention_packed_words(desc), as pack.h says.
 *
 * attention_run: void (const void *q, const void *packed, const float *v, void *out, int64_t images, int64_t begin, int64_t
 * end[, const void *mask]) computes the units [begin, end), unit = ((image * windows + window) * heads + head) *
 * attention_row_tiles(level, desc) + row tile; mask is a parameter with has_mask only. out may be q itself when strides and
 * widths are equal (each tile of q is read before its rows are written). Long sequences are blocked over keys with a running
 * maximum, with the same bits however units are split. With bf16, at levels with dot_bf16 only, q, k and v are operand rows and
 * scores' powers are rounded to bf16; sums, maxima and the softmax are fp32. */
struct attention_strides {
  int64_t image, window, head, row; /* words; the elements of a row are adjacent */
};

struct attention_desc {
  int64_t windows, heads, kv_heads, q_rows, k_rows, head_dim, v_dim;
  struct attention_strides q, k, v, out, mask;
  float scale, softcap;
  int32_t causal, has_mask;
  enum precision precision; /* fp32 or bf16 */
  int32_t out_operand;      /* out in operand rows of bf16; v_dim a multiple of 16 */
  int32_t mask_bf16;        /* the mask's elements, as those of a stage's operand; else fp32 */
};

int64_t attention_packed_words(const struct attention_desc *desc);
int64_t attention_row_tiles(const struct target_level *level, const struct attention_desc *desc);
emit_value emit_attention_pack(struct emit *e, const struct attention_desc *desc);
emit_value emit_attention(struct emit *e, const struct attention_desc *desc);

/* ---- Rows: void (const float *x, void *y, const void *const *operands, int64_t images, int64_t begin, int64_t end)
 * on the rows [begin, end) of images * rows; y may be x, or, when it becomes operand rows, must not. OP_identity only converts.
 * Layer normalisation in two passes over the row (mean, then centred sum of squares); operands[0] scale, operands[1] bias or
 * NULL by has_bias. */
struct rows_desc {
  enum op op;            /* OP_layer_normalization, OP_softmax, OP_identity */
  enum precision to;     /* of the operand rows that y becomes; fp32 for softmax */
  int64_t group;         /* int8 */
  int64_t hadamard;      /* int8: length of the blocks that the row is transformed in (pack_hadamard), 0: none */
  int x_operand;         /* int8, OP_identity: x in operand rows of bf16; columns a multiple of 32 */
  int64_t rows, columns; /* of one image */
  int64_t x_row_stride, x_image_stride, y_row_stride, y_image_stride;
  float epsilon;
  int has_bias;
};
emit_value emit_rows(struct emit *e, const struct rows_desc *desc);
bool rows_use_tiles(const struct rows_desc *desc);   /* where a level has them */
const char *rows_name(const struct rows_desc *desc); /* "layer_norm", "softmax", "convert" */

/* ---- Rotary embedding: void (const float *x, float *y, const void *const *operands, int64_t images, int64_t begin,
 * int64_t end) on the tokens [begin, end) of images * sequences * tokens; operands: cos, sin. The pairs of each head, two
 * neighbours (interleaved) or element i and i + rotated / 2, turn by the token's angles. y may be x with equal strides; the
 * elements past `rotated` are copied only with `copies`. Strides of x and y: sequence, token, head; of cos and sin: sequence,
 * token. */
struct rotary_desc {
  int64_t sequences, tokens, heads, width, rotated, interleaved, copies;
  int64_t x_stride[3], y_stride[3], cos_stride[2], sin_stride[2];
  int64_t x_image_stride, y_image_stride, cos_image_stride, sin_image_stride;
};
emit_value emit_rotary(struct emit *e, const struct rotary_desc *desc);

/* ---- Vector mathematics on level->lanes x f32 (largest errors in emit_math.c). */
emit_value emit_math_exp(struct emit *e, emit_value x);
emit_value emit_math_erf(struct emit *e, emit_value x);
emit_value emit_math_tanh(struct emit *e, emit_value x);
emit_value emit_math_sigmoid(struct emit *e, emit_value x);
emit_value emit_math_sigmoid_rough(struct emit *e, emit_value x);
emit_value emit_math_gelu(struct emit *e, emit_value x, int approximate);
emit_value emit_math_gelu_rough(struct emit *e, emit_value x, int approximate);

/* Applies one stage to a vector; `operand` is the loaded or splat other operand (NULL for unary). */
emit_value emit_stage(struct emit *e, const struct stage *stage, emit_value x, emit_value operand);
/* Short name for kernel names: "bias", "gelu", "add", ... */
const char *stage_name(const struct stage *stage);

/* Kernels already built at one level: a function is found again by its kind and description (compared byte by byte, so
 * descriptions start zeroed). kernel_find returns NULL when there is none yet. emit->kernels is the list; NULL starts it. */
emit_value kernel_find(const struct emit *e, const char *kind, const void *desc, size_t size);
void kernel_add(struct emit *e, const char *kind, const void *desc, size_t size, emit_value function);
void kernels_free(struct emit *e);

#endif
