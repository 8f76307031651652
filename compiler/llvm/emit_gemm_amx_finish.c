#include "llvm/emit_gemm_amx_finish.h"

static emit_value state_slot(struct emit *e, emit_value state, enum amx_state slot) {
  return emit_bytes(e, state, emit_i64(e, (int64_t)slot * 8));
}

emit_value amx_state_load(struct emit *e, emit_value state, enum amx_state slot) {
  return LLVMBuildLoad2(e->builder, e->i64, state_slot(e, state, slot), "");
}

static emit_value state_load_pointer(struct emit *e, emit_value state, enum amx_state slot) {
  return LLVMBuildLoad2(e->builder, e->pointer, state_slot(e, state, slot), "");
}

void amx_state_store(struct emit *e, emit_value state, enum amx_state slot, emit_value value) {
  LLVMBuildStore(e->builder, value, state_slot(e, state, slot));
}

emit_value amx_sums(struct emit *e, emit_value copy) {
  return emit_at_const(e, copy, AMX_GROUP_ROWS * COPY_COLUMNS);
}

struct gemm_scales amx_scales(struct emit *e, const struct amx_gemm *gemm, emit_value copy, int p, emit_value a, emit_value b,
                              emit_value part, emit_value readable) {
  struct gemm_scales scales = {.row_stride = gemm->desc->a_row_stride, .panel_stride = gemm->stride};
  a = emit_at_const(e, a, operand_tables(e->level, gemm->desc->k));
  b = emit_at_const(e, b, pack_words(gemm->desc->precision, gemm->desc->k) * 16);
  scales.a = gemm_offset(e, a, part, 2);
  scales.b = gemm_offset(e, b, part, 16);
  if (readable != NULL) scales.b = emit_select(e, readable, scales.b, copy);
  emit_value to = emit_at_const(e, copy, 2 * AMX_GROUP_ROWS * COPY_COLUMNS + (int64_t)p * GEMM_SCALES_WORDS);
  return gemm_unpack_scales(e, &scales, 1, pack_sum_bits(gemm->desc->k, gemm->desc->group), to);
}

/* One row of a panel; is_first: NULL for never. */
static void add_row(struct emit *e, const struct gemm_scales *scales, emit_value integers, emit_value sums, emit_value row,
                    emit_value is_first) {
  emit_value row_scales[2], column_scales[2];
  int lanes = e->level->lanes;
  gemm_row_scales(e, gemm_offset(e, scales->a, row, scales->row_stride), row_scales);
  for (int v = 0; v < 16 / lanes; v++) {
    emit_value place = emit_at_const(e, sums, (int64_t)v * lanes), sum = emit_load_vector(e, place, lanes);
    if (is_first != NULL) sum = emit_select(e, is_first, emit_splat_const(e, 0), sum);
    gemm_column_scales(e, scales, v, column_scales);
    emit_value part = emit_load_vector(e, emit_at_const(e, integers, (int64_t)v * lanes), lanes);
    part = LLVMBuildBitCast(e->builder, part, e->ivector, "");
    emit_store_vector(e, gemm_scaled(e, sum, part, row_scales, column_scales), place, lanes);
  }
}

void amx_add_part(struct emit *e, emit_value copy, const struct gemm_scales *scales, emit_value is_first, emit_value begin,
                  emit_value end) {
  struct emit_loop loop;
  emit_loop_begin(e, &loop, begin, end, 1, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_value integers = gemm_offset(e, copy, loop.index, COPY_COLUMNS);
  emit_value sums = gemm_offset(e, amx_sums(e, copy), loop.index, COPY_COLUMNS);
  for (int p = 0; p < AMX_PANELS; p++)
    add_row(e, &scales[p], emit_at_const(e, integers, p * 16), emit_at_const(e, sums, p * 16), loop.index, is_first);
  emit_loop_end(e, &loop, NULL);
}

/* Without a remainder of one panel the two are one tile, whose scales follow each other. */
static int panels_of(const struct amx_gemm *gemm) {
  return gemm->desc->n % COPY_COLUMNS == 0 ? AMX_PANELS : 1;
}

void amx_pending_begin(struct emit *e, struct amx_pending *pending, const struct amx_gemm *gemm, emit_value state,
                       emit_value copy, emit_value operands, emit_value c) {
  *pending = (struct amx_pending){.gemm = gemm, .rows = amx_state_load(e, state, STATE_ROWS), .copy = copy};
  pending->has_second = LLVMBuildICmp(e->builder, LLVMIntSGT, amx_state_load(e, state, STATE_PANELS), emit_i64(e, 1), "");
  int panels = panels_of(gemm);
  for (int p = 0; p < AMX_PANELS; p += panels) {
    struct gemm_tile *tile = &pending->panel[p];
    *tile = (struct gemm_tile){.desc = gemm->desc, .panels = panels, .vectors = panels * 16 / e->level->lanes};
    tile->operands = operands;
    tile->image = amx_state_load(e, state, STATE_IMAGE);
    tile->row = amx_state_load(e, state, STATE_ROW);
    tile->column = emit_add(e, amx_state_load(e, state, STATE_COLUMN), emit_i64(e, p * 16));
    gemm_tile_begin(e, tile, c);
    if (gemm->desc->precision == PRECISION_INT8 && gemm->parts == 1) tile->scales = &pending->scales[p];
  }
  for (int p = 0; p < AMX_PANELS && gemm->desc->precision == PRECISION_INT8; p++) {
    emit_value a = state_load_pointer(e, state, STATE_A), last = emit_i64(e, gemm->parts - 1);
    emit_value b = emit_at_const(e, state_load_pointer(e, state, STATE_B), p * gemm->stride);
    emit_value some = LLVMBuildICmp(e->builder, LLVMIntSGT, pending->rows, emit_i64(e, 0), "");
    pending->scales[p] = amx_scales(e, gemm, copy, p, a, b, last, p == 0 ? some : pending->has_second);
  }
}

/* The row's columns of a tile that begins at panel p. */
static void finish_row(struct emit *e, const struct amx_pending *pending, int p, emit_value row, const struct gemm_rows *rows) {
  const struct gemm_tile *tile = &pending->panel[p];
  if (pending->gemm->parts > 1) {
    emit_value integers = gemm_offset(e, pending->copy, row, COPY_COLUMNS);
    for (int of = p; of < p + tile->panels; of++)
      add_row(e, &pending->scales[of], emit_at_const(e, integers, of * 16),
              emit_at_const(e, rows->at[ROWS_COPY], (of - p) * 16), row, NULL);
  }
  gemm_tile_finish_row(e, tile, rows, 0);
}

void amx_pending_finish(struct emit *e, const struct amx_pending *pending, emit_value begin, emit_value end) {
  struct gemm_rows rows[AMX_PANELS];
  struct emit_walk walk[AMX_PANELS];
  emit_value sums = pending->gemm->parts > 1 ? amx_sums(e, pending->copy) : pending->copy;
  int tiles = pending->panel[0].panels == 1 ? AMX_PANELS : 1;
  for (int p = 0; p < tiles; p++) {
    struct emit_if there;
    if (p > 0) emit_if_begin(e, &there, pending->has_second);
    gemm_rows_begin(e, &pending->panel[p], emit_at_const(e, sums, p * 16), COPY_COLUMNS, begin, &rows[p]);
    emit_walk_begin(e, &walk[p], begin, end, rows[p].at, rows[p].bytes, ROWS_POINTERS, EMIT_MAYBE_EMPTY);
    finish_row(e, pending, p, walk[p].loop.index, &rows[p]);
    emit_walk_end(e, &walk[p]);
    if (p > 0) emit_if_end(e, &there);
  }
}
