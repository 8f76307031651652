/* Register tiles and row sweeps: the inner loops that the kernels of GEMM, attention and rows are made of. Internal to
 * compiler/llvm. A tile is `rows` x `vectors` accumulators, acc[r * vectors + v]. */
#ifndef VITC_LLVM_EMIT_TILE_H
#define VITC_LLVM_EMIT_TILE_H

#include "llvm/emit.h"

enum { TILE_VECTORS_MAX = 8 };

/* `lines` cache lines from each of `runs` places, `stride` elements apart; from NULL: none. */
struct tile_fetch {
  emit_value from;
  int64_t lines, runs, stride;
};

/* What one step along K multiplies. */
enum tile_dot {
  DOT_F32,        /* a float of A and of B */
  DOT_BF16,       /* a word of two bf16 of each, vdpbf16ps */
  DOT_BF16_WIDEN, /* two floats of A, a word of two bf16 of B */
  DOT_INT8,       /* a word of four u8 of A and of four s8 of B, vpdpbusd; accumulators of 32-bit integers */
  DOT_INT8_WIDEN, /* the same with A's four as two words of 16-bit numbers (kernels.h), vpmaddwd; the sums are negative */
};
enum tile_dot tile_dot(const struct target_level *level, enum precision precision);

/* Words of A that one step reads. */
int64_t tile_a_step(enum tile_dot dot);

/* acc[r][v] += sum over k steps, in ascending order, of a[r * a_row_stride + k * a step] * b[k * b_step + b_offset[v] ..], all
 * in words of 32 bits. Only the first `last_lanes` lanes of the last vector are read. */
struct tile_product {
  enum tile_dot dot;
  int rows, vectors, last_lanes;
  int a_lanes; /* with DOT_F32: floats of A that one step reads, which meet lanes next to each other in B; 0: one, for all lanes
                */
  emit_value a, b;
  int64_t a_row_stride, b_step, b_offset[TILE_VECTORS_MAX];
  int64_t k;
  int64_t k_all; /* of which this product is a part, from `k_begin` on: what is fetched meanwhile spreads over all parts; */
  emit_value k_begin;         /* 0 and NULL: the whole. Both multiples of 8, as k is */
  int64_t fetch_steps;        /* rows of b fetched this many steps early; 0: none, the rows follow each other in memory */
  struct tile_fetch ahead[2]; /* brought into the second-level cache meanwhile */
  emit_value residual;        /* as large as the tile, fetched row by row meanwhile; NULL: none */
  int64_t residual_row_stride;
};

void emit_tile_multiply(struct emit *e, const struct tile_product *product, emit_value *acc);

/* Asks for the cache line of a pointer, which may be any address: 3 for the first-level cache, 2 for the second. */
void emit_fetch(struct emit *e, emit_value pointer, int locality);
void emit_fetch_write(struct emit *e, emit_value pointer); /* into the first-level cache, to be written */

/* Rows of a GEMM's tile: as many as leave registers for what a step holds besides the sums. */
int tile_height(const struct target_level *level, enum precision precision);

/* The most vectors that a tile of `rows` rows can have without spilling, at most `wanted`. */
int tile_vectors(const struct target_level *level, int rows, int wanted);

/* Tiles of a column of `rows` rows: `count` tiles, the first `tall` of `height` rows, the rest of height - 1. */
struct row_tiles {
  int64_t count, tall;
  int height;
};
struct row_tiles tile_rows(int64_t rows, int height_max);

/* Loads and stores under a run-time mask (vector of i1); lanes that are off are zero, and untouched in memory. */
emit_value emit_load_mask(struct emit *e, emit_value pointer, emit_value mask);
void emit_store_mask(struct emit *e, emit_value vector, emit_value pointer, emit_value mask);

/* Visits a row of `columns` elements vector by vector, four at a time, the last one with its own number of lanes. With
 * `initial`, four accumulators start at it, visit returns the next value of the one that it is given, and `combine` joins them
 * in a fixed order; else visit's result is not used and emit_sweep returns NULL. */
struct sweep {
  int64_t columns;
  emit_value initial;
  emit_value (*combine)(struct emit *e, emit_value a, emit_value b);
  emit_value (*visit)(struct emit *e, void *context, emit_value column, int lanes, emit_value accumulator);
  void *context;
};
emit_value emit_sweep(struct emit *e, const struct sweep *sweep);

/* The same of several rows of as many columns, vector by vector of each in turn: what one row waits for, the others hide. Each
 * has the bits that it has alone. */
enum { SWEEPS_MAX = 2 };
void emit_sweeps(struct emit *e, const struct sweep *sweeps, int count, emit_value *out);

/* One vector from those of at most level->lanes rows: lane i is rows[i]'s lanes combined, those i and i + n/2 first. */
emit_value emit_reduce_rows(struct emit *e, const emit_value *rows, int count,
                            emit_value (*combine)(struct emit *, emit_value, emit_value));

#endif
