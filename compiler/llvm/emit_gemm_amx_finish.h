/* What AMX's products leave to the vector units: sums in memory become C while the next product runs. Internal to
 * compiler/llvm. */
#ifndef VITC_LLVM_EMIT_GEMM_AMX_FINISH_H
#define VITC_LLVM_EMIT_GEMM_AMX_FINISH_H

#include "llvm/emit_amx.h"
#include "llvm/emit_gemm_epilogue.h"

/* A product is of up to TILES tiles of 16 rows and two panels of columns; its sums lie in memory as rows of COPY_COLUMNS. */
enum { AMX_TILES_DOWN = 2, AMX_PANELS = 2, AMX_GROUP_ROWS = AMX_TILES_DOWN * AMX_ROWS, COPY_COLUMNS = AMX_PANELS * 16 };

struct amx_gemm {
  const struct gemm_desc *desc;
  int64_t stride;            /* of B's panels, words */
  int64_t steps;             /* along K */
  int64_t parts, part_steps; /* int8: parts of K with scales each; else one */
  int64_t tiles;             /* row tiles of an image */
  int fetch_places;          /* of B's next block, each of which gives a line with every step */
  emit_value product[AMX_TILES_DOWN];
  emit_value state, copy;
};

/* The words, of 64 bits, that one product leaves to the next: which rows of C are to be finished, and where their operands
 * are, for the scales of the last part; how many lines of each place were fetched. */
enum amx_state { STATE_ROWS, STATE_IMAGE, STATE_ROW, STATE_COLUMN, STATE_PANELS, STATE_A, STATE_B, STATE_FETCHED, STATES };

emit_value amx_state_load(struct emit *e, emit_value state, enum amx_state slot);
void amx_state_store(struct emit *e, emit_value state, enum amx_state slot, emit_value value); /* an integer or a pointer */

/* Rows of the copy: sums are floats; or integers of a part of K, and in floats what the parts before have come to. Then the
 * panels' scales. */
enum { AMX_COPY_ROWS = 2 * AMX_GROUP_ROWS + AMX_PANELS * GEMM_SCALES_WORDS / COPY_COLUMNS };
emit_value amx_sums(struct emit *e, emit_value copy);

struct amx_pending {
  const struct amx_gemm *gemm;
  emit_value rows, copy, has_second;
  struct gemm_scales scales[AMX_PANELS];
  struct gemm_tile panel[AMX_PANELS];
};

/* Not to be copied afterwards. */
void amx_pending_begin(struct emit *e, struct amx_pending *pending, const struct amx_gemm *gemm, emit_value state,
                       emit_value copy, emit_value operands, emit_value c);
/* Rows [begin, end) of those that are pending. */
void amx_pending_finish(struct emit *e, const struct amx_pending *pending, emit_value begin, emit_value end);

/* Scales of panel p of a product and a part: of operand rows from a on, and of the panel b, unpacked behind the copy. Without
 * `readable` (NULL: always) the panel is not there, and its scales are anything. */
struct gemm_scales amx_scales(struct emit *e, const struct amx_gemm *gemm, emit_value copy, int p, emit_value a, emit_value b,
                              emit_value part, emit_value readable);

/* Adds a part's integers to the floats: rows [begin, end); scales of each panel. Before the first part, nothing is there. */
void amx_add_part(struct emit *e, emit_value copy, const struct gemm_scales *scales, emit_value is_first, emit_value begin,
                  emit_value end);

#endif
