/* Axial rotary positions: each patch turns the pairs of a head by angles of its row and of its column. Computed in float32, in
 * the order of the source's own operations; only the powers, sines and cosines are taken in double and rounded once. */
#ifndef VITC_FRONTENDS_EVA_ROPE_H
#define VITC_FRONTENDS_EVA_ROPE_H

#include <stdbool.h>
#include <stdint.h>

enum rope_grid {
  ROPE_NONE,
  ROPE_INDEX,               /* 0, 1, .. along an axis, scaled to the reference's extent (EVA-02) */
  ROPE_CENTRED_PERIODS,     /* centres of patches in [-1, 1], divided by periods (timm's DINOv3) */
  ROPE_CENTRED_FREQUENCIES, /* the same, times frequencies (transformers' DINOv3) */
};

struct rope {
  enum rope_grid grid;
  double temperature, offset; /* offset: of the coordinates, in patches */
  int64_t reference[2];       /* rows, columns; 0: none */
  bool columns_first;         /* the angles of the column come before those of the row */
  bool halves;                /* element i turns with element i + d/2, else neighbours turn together */
};

/* Caches of RotaryEmbedding, (prefix + grid[0] * grid[1], head_dim / 2) each: `prefix` rows that do not turn, then the patches
 * row by row. head_dim is a multiple of 4. */
void rope_caches(const struct rope *rope, const int64_t *grid, int64_t prefix, int64_t head_dim, float *out_cos,
                 float *out_sin);

#endif
