/* C is computed in groups of two tiles of 16 rows times two panels: four tiles of sums, two of A and one of B. TMUL takes as
 * long for a tile of few rows as for 16, so all tiles are 16 rows high and the last one of an image overlaps the one before it:
 * rows that both have are the same bits, and are finished once.
 *
 * A tile that is zeroed after its last use gives its physical register back. Where another thread runs on the same core there
 * are few of them, and products wait for loads and loads for products without: the same loop then takes up to 1.7 times as
 * long, and so does one of three tiles times two panels, which is 13 % faster where the core is this thread's alone.
 *
 * The sums of a group are stored to memory, and the stages are applied to them piece by piece during the product of the next
 * group: the vector units work while TMUL does.
 *
 * Meanwhile the block of B that comes next is brought into the second-level cache, a few lines with every step along K. They
 * are of places far apart: lines that follow each other at each place come so slowly that the cache's own prefetcher is ahead
 * of them, and the few buffers of the first-level cache, which the tiles' loads need too, are not held for as long as memory
 * takes. Cold weights then cost 10.3 ns for each product of tiles, where they cost 14 without, 11.3 when the lines all follow
 * each other, and 9.2 when the weights are in the cache already (ViT-B/16 in bf16, one image, a Sapphire Rapids of 2.3 GHz). */
#include "llvm/emit_gemm_amx.h"

#include "llvm/emit_gemm_amx_finish.h"
#include "llvm/emit_tile.h"

#include <assert.h>
#include <stdio.h>

/* Panels of B that stay in the second-level cache while the rows of A pass: few where A stays there too. */
enum { BLOCK_FEW = AMX_PANELS, BLOCK_BYTES = 768 * 1024, A_BYTES = 1280 * 1024 };

enum { LINE_WORDS = 16, FETCH_PLACES_MAX = 8 };

/* The registers: sums[t * AMX_PANELS + p] are 0 to 3; A's tile t. */
enum { TILE_A = AMX_TILES_DOWN * AMX_PANELS, TILE_B = TILE_A + AMX_TILES_DOWN };

/* Parameters of the function of a group. */
enum {
  PARAMETER_A,
  PARAMETER_LAST,
  PARAMETER_B,
  PARAMETER_COPY = PARAMETER_B + AMX_PANELS,
  PARAMETER_STATE,
  PARAMETER_OPERANDS,
  PARAMETER_C,
  PARAMETER_OUT,
  PARAMETER_ROWS,
  PARAMETER_FETCH,
  PARAMETER_FETCH_LINES,
  PARAMETER_FETCH_STEPS,
  PARAMETERS
};

bool gemm_uses_amx(const struct target_level *level, const struct gemm_desc *desc) {
  return level->tiles && desc->precision != PRECISION_FP32 && desc->m > 1;
}

int64_t gemm_amx_split_panels(const struct gemm_desc *desc) {
  return desc->n > 16 ? AMX_PANELS : 1;
}

int64_t gemm_amx_row_tiles(const struct gemm_desc *desc) {
  return (desc->m + AMX_ROWS - 1) / AMX_ROWS;
}

/* ---- one product */

/* Rows of the group from its first one to that of tile t. */
static emit_value tile_row(struct emit *e, int tiles, int t) {
  return t == tiles - 1 ? emit_parameter(e, PARAMETER_LAST) : emit_i64(e, (int64_t)t * AMX_ROWS);
}

/* Asks early for the lines of C, of rows [begin, end), that the next group's function writes. */
static void fetch_out(struct emit *e, const struct amx_gemm *gemm, emit_value begin, emit_value end) {
  bool narrow = gemm->desc->c_operand && e->level->dot_bf16;
  struct emit_loop loop;
  emit_loop_begin(e, &loop, begin, end, 1, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_value row = gemm_offset(e, emit_parameter(e, PARAMETER_OUT), loop.index, gemm->desc->c_row_stride);
  emit_fetch_write(e, row);
  if (!narrow) emit_fetch_write(e, emit_at_const(e, row, 16));
  emit_loop_end(e, &loop, NULL);
}

/* One line of each of the places that B's next block is fetched at. */
static void fetch_block(struct emit *e, const struct amx_gemm *gemm, emit_value step) {
  struct emit_if more;
  emit_if_begin(e, &more, LLVMBuildICmp(e->builder, LLVMIntSLT, step, emit_parameter(e, PARAMETER_FETCH_STEPS), ""));
  emit_value line = step;
  for (int i = 0; i < gemm->fetch_places; i++) {
    emit_fetch(e, gemm_offset(e, emit_parameter(e, PARAMETER_FETCH), line, LINE_WORDS), 2);
    line = emit_add(e, line, emit_parameter(e, PARAMETER_FETCH_LINES));
  }
  emit_if_end(e, &more);
}

/* Down the tiles of A under the first panel and up under the second: a tile's last product comes as early as it can. `at`: the
 * step's words of the panels of B, then of the tiles of A. */
static void multiply_step(struct emit *e, const struct amx_gemm *gemm, int tiles, const emit_value *at) {
  emit_value a_stride = emit_i64(e, gemm->desc->a_row_stride * 4), b_stride = emit_i64(e, AMX_ROW_BYTES);
  bool is_int8 = gemm->desc->precision == PRECISION_INT8;
  for (int p = 0; p < AMX_PANELS; p++) {
    emit_amx_load(e, TILE_B, at[p], b_stride);
    for (int i = 0; i < tiles; i++) {
      int t = p == 0 ? i : tiles - 1 - i;
      if (p == 0) emit_amx_load_once(e, TILE_A + t, at[AMX_PANELS + t], a_stride);
      (is_int8 ? emit_amx_dot_int8 : emit_amx_dot_bf16)(e, t * AMX_PANELS + p, TILE_A + t, TILE_B);
      if (p == AMX_PANELS - 1) emit_amx_zero(e, TILE_A + t);
    }
    emit_amx_zero(e, TILE_B);
  }
}

static void store_sums(struct emit *e, int tiles) {
  for (int t = 0; t < tiles; t++) {
    emit_value to = gemm_offset(e, emit_parameter(e, PARAMETER_COPY), tile_row(e, tiles, t), COPY_COLUMNS);
    for (int p = 0; p < AMX_PANELS; p++)
      emit_amx_store(e, t * AMX_PANELS + p, emit_at_const(e, to, p * 16), emit_i64(e, COPY_COLUMNS * 4));
  }
}

/* What a product is of, and what is done meanwhile. */
struct product {
  const struct amx_gemm *gemm;
  int tiles;
  emit_value a[AMX_TILES_DOWN];
  struct amx_pending pending;
};

/* The vector units' work during the first part: the stages of the product before. During the others: the part before. */
static void work_beside(struct emit *e, const struct product *product, emit_value part, emit_value begin, emit_value end) {
  const struct amx_gemm *gemm = product->gemm;
  emit_value copy = emit_parameter(e, PARAMETER_COPY), own_end = emit_min(e, end, emit_parameter(e, PARAMETER_ROWS));
  if (part == NULL) {
    amx_pending_finish(e, &product->pending, begin, emit_min(e, end, product->pending.rows));
    fetch_out(e, gemm, begin, own_end);
    return;
  }
  struct gemm_scales scales[AMX_PANELS];
  emit_value before = emit_sub(e, part, emit_i64(e, 1));
  for (int p = 0; p < AMX_PANELS; p++)
    scales[p] = amx_scales(e, gemm, copy, p, emit_parameter(e, PARAMETER_A), emit_parameter(e, PARAMETER_B + p), before, NULL);
  emit_value is_first = LLVMBuildICmp(e->builder, LLVMIntEQ, before, emit_i64(e, 0), "");
  amx_add_part(e, copy, scales, is_first, begin, own_end);
}

/* Sums of `steps` steps: of a part of K, NULL for the first. */
static void emit_part(struct emit *e, const struct product *product, emit_value part, int64_t steps) {
  const struct amx_gemm *gemm = product->gemm;
  for (int sum = 0; sum < product->tiles * AMX_PANELS; sum++) emit_amx_zero(e, sum);
  emit_value share = emit_i64(e, (AMX_GROUP_ROWS + steps - 1) / steps);
  emit_value first = part != NULL ? emit_mul(e, part, emit_i64(e, gemm->part_steps)) : emit_i64(e, 0);
  emit_value at[AMX_PANELS + AMX_TILES_DOWN], bytes[AMX_PANELS + AMX_TILES_DOWN];
  int pointers = AMX_PANELS + product->tiles;
  for (int i = 0; i < pointers; i++) {
    bool is_b = i < AMX_PANELS;
    bytes[i] = emit_i64(e, AMX_ROW_BYTES * (is_b ? 16 : 1));
    at[i] = is_b ? emit_parameter(e, PARAMETER_B + i) : product->a[i - AMX_PANELS];
    if (part != NULL) at[i] = emit_bytes(e, at[i], emit_mul(e, first, bytes[i]));
  }
  struct emit_walk walk;
  emit_walk_begin(e, &walk, emit_i64(e, 0), emit_i64(e, steps), at, bytes, pointers, EMIT_NOT_EMPTY);
  emit_value step = walk.loop.index, begin = emit_mul(e, step, share);
  multiply_step(e, gemm, product->tiles, at);
  fetch_block(e, gemm, emit_add(e, first, step));
  work_beside(e, product, part, begin, emit_add(e, begin, share));
  emit_walk_end(e, &walk);
  store_sums(e, product->tiles);
}

/* Function: void (const void *a, int64_t last, const void *b, const void *b, float *copy, int64_t *state, const void *const
 * *operands, void *c, void *out, int64_t rows, const void *fetch, int64_t lines, int64_t steps): the product of `tiles` tiles
 * from a on and two panels, into copy; the last tile is `last` rows below a. Meanwhile, the stages of the rows that the state
 * names. out: where `rows` rows of it will go. fetch: the first of the places that a line is fetched from in each of the first
 * `steps` steps, `lines` lines from one to the next. */
static emit_value emit_product(struct emit *e, const struct amx_gemm *gemm, int tiles) {
  char stages[256], name[320];
  gemm_name(gemm->desc, stages, sizeof stages);
  snprintf(name, sizeof name, "%s_%s_%dx%d_%s", stages, precision_name(gemm->desc->precision), tiles * AMX_ROWS, COPY_COLUMNS,
           e->level->name);
  LLVMTypeRef types[] = {e->pointer, e->i64,     e->pointer, e->pointer, e->pointer, e->pointer, e->pointer,
                         e->pointer, e->pointer, e->i64,     e->pointer, e->i64,     e->i64};
  emit_value function = emit_function_begin(e, name, e->void_type, types, PARAMETERS);
  emit_value state = emit_parameter(e, PARAMETER_STATE);
  struct product product = {.gemm = gemm, .tiles = tiles};
  amx_pending_begin(e, &product.pending, gemm, state, emit_parameter(e, PARAMETER_COPY), emit_parameter(e, PARAMETER_OPERANDS),
                    emit_parameter(e, PARAMETER_C));
  for (int t = 0; t < tiles; t++)
    product.a[t] = gemm_offset(e, emit_parameter(e, PARAMETER_A), tile_row(e, tiles, t), gemm->desc->a_row_stride);
  int64_t last = gemm->parts - 1;
  emit_part(e, &product, NULL, last > 0 ? gemm->part_steps : gemm->steps);
  if (last > 1) {
    struct emit_loop loop;
    emit_loop_begin(e, &loop, emit_i64(e, 1), emit_i64(e, last), 1, NULL, 0, EMIT_NOT_EMPTY);
    emit_part(e, &product, loop.index, gemm->part_steps);
    emit_loop_end(e, &loop, NULL);
  }
  if (last > 0) emit_part(e, &product, emit_i64(e, last), gemm->steps - last * gemm->part_steps);
  emit_function_end(e);
  return function;
}

/* ---- the whole */

/* Panels [begin, end) of B that the rows of A pass by; `lines` of what follows are fetched from each place meanwhile. */
struct block {
  emit_value begin, end, lines;
};

/* The group of `count` tiles from `tile` on of one image, times the panels of the block. */
static void emit_panels(struct emit *e, const struct amx_gemm *gemm, int count, emit_value image, emit_value tile,
                        const struct block *block) {
  const struct gemm_desc *desc = gemm->desc;
  emit_value row = emit_mul(e, tile, emit_i64(e, AMX_ROWS)), below = emit_sub(e, emit_i64(e, desc->m), row);
  emit_value last = emit_i64(e, (int64_t)(count - 1) * AMX_ROWS);
  if (desc->m > AMX_ROWS) last = emit_min(e, last, emit_sub(e, below, emit_i64(e, AMX_ROWS)));
  emit_value a = gemm_offset(e, emit_parameter(e, 0), image, desc->a_image_stride);
  a = gemm_offset(e, a, row, desc->a_row_stride);
  emit_value rows = emit_min(e, below, emit_i64(e, (int64_t)count * AMX_ROWS));
  emit_value c = gemm_offset(e, emit_parameter(e, 2), image, desc->c_image_stride);
  c = gemm_offset(e, c, row, desc->c_row_stride);
  int64_t element = desc->c_operand && e->level->dot_bf16 ? 2 : 4;
  struct emit_loop loop;
  emit_loop_begin(e, &loop, block->begin, block->end, AMX_PANELS, NULL, 0, EMIT_NOT_EMPTY);
  emit_value left = emit_sub(e, block->end, loop.index);
  /* Without a second panel the first is multiplied twice. */
  emit_value width = emit_min(e, left, emit_i64(e, AMX_PANELS)), second = emit_sub(e, width, emit_i64(e, 1));
  emit_value b = gemm_offset(e, emit_parameter(e, 1), loop.index, gemm->stride);
  emit_value out = emit_bytes(e, c, emit_mul(e, loop.index, emit_i64(e, 16 * element)));
  emit_value fetched = amx_state_load(e, gemm->state, STATE_FETCHED);
  emit_value fetch = gemm_offset(e, emit_parameter(e, 1), block->end, gemm->stride);
  emit_value arguments[] = {a,
                            last,
                            b,
                            gemm_offset(e, b, second, gemm->stride),
                            gemm->copy,
                            gemm->state,
                            emit_parameter(e, 3),
                            emit_parameter(e, 2),
                            out,
                            rows,
                            gemm_offset(e, fetch, fetched, LINE_WORDS),
                            block->lines,
                            emit_sub(e, block->lines, fetched)};
  emit_call(e, gemm->product[count - 1], arguments, PARAMETERS);
  amx_state_store(e, gemm->state, STATE_ROWS, rows);
  amx_state_store(e, gemm->state, STATE_IMAGE, image);
  amx_state_store(e, gemm->state, STATE_ROW, row);
  amx_state_store(e, gemm->state, STATE_COLUMN, emit_mul(e, loop.index, emit_i64(e, 16)));
  amx_state_store(e, gemm->state, STATE_PANELS, width);
  amx_state_store(e, gemm->state, STATE_A, a);
  amx_state_store(e, gemm->state, STATE_B, b);
  amx_state_store(e, gemm->state, STATE_FETCHED, emit_add(e, fetched, emit_i64(e, gemm->steps)));
  emit_loop_end(e, &loop, NULL);
}

/* Row tiles [begin, end) of one image. */
static void emit_rows_of_image(struct emit *e, const struct amx_gemm *gemm, emit_value image, emit_value begin, emit_value end,
                               const struct block *block) {
  struct emit_loop loop;
  emit_loop_begin(e, &loop, begin, end, AMX_TILES_DOWN, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_value count = emit_min(e, emit_sub(e, end, loop.index), emit_i64(e, AMX_TILES_DOWN));
  for (int i = 1; i <= AMX_TILES_DOWN && i <= gemm->tiles; i++) {
    struct emit_if branch;
    emit_if_begin(e, &branch, LLVMBuildICmp(e->builder, LLVMIntEQ, count, emit_i64(e, i), ""));
    emit_panels(e, gemm, i, image, loop.index, block);
    emit_if_end(e, &branch);
  }
  emit_loop_end(e, &loop, NULL);
}

/* The row tiles of this call for the panels of the block, which are not empty. */
static void emit_block(struct emit *e, const struct amx_gemm *gemm, const struct block *block) {
  amx_state_store(e, gemm->state, STATE_FETCHED, emit_i64(e, 0));
  emit_value begin = emit_parameter(e, 7), end = emit_parameter(e, 8), tiles = emit_i64(e, gemm->tiles);
  emit_value first = LLVMBuildSDiv(e->builder, begin, tiles, "");
  emit_value last = LLVMBuildSDiv(e->builder, emit_add(e, end, emit_i64(e, gemm->tiles - 1)), tiles, "");
  struct emit_loop loop;
  emit_loop_begin(e, &loop, first, last, 1, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_value start = emit_mul(e, loop.index, tiles);
  emit_value low = emit_max(e, emit_sub(e, begin, start), emit_i64(e, 0)), high = emit_min(e, emit_sub(e, end, start), tiles);
  emit_rows_of_image(e, gemm, loop.index, low, high, block);
  emit_loop_end(e, &loop, NULL);
}

/* Row tiles of A that stay in the second-level cache beside a few panels and their columns of C. */
static int64_t cached_tiles(const struct amx_gemm *gemm) {
  int64_t row_bytes = pack_words(gemm->desc->precision, gemm->desc->k) * 4 + BLOCK_FEW * 16 * 4;
  return A_BYTES / (row_bytes * AMX_ROWS) + 1;
}

/* Whether the rows of A that pass stay in the second-level cache beside a few panels. */
static emit_value rows_stay(struct emit *e, const struct amx_gemm *gemm) {
  emit_value tiles = emit_sub(e, emit_parameter(e, 8), emit_parameter(e, 7));
  return LLVMBuildICmp(e->builder, LLVMIntSLT, tiles, emit_i64(e, cached_tiles(gemm)), "");
}

/* Blocks are of few panels as long as the rows stay, else of as many as stay in the cache themselves: what follows is then not
 * fetched, since the rows that pass need the rest of it. The last block fetches too: what follows is of this thread's next
 * task, or of the next product (kernels.h). */
static void emit_blocks(struct emit *e, const struct amx_gemm *gemm) {
  int64_t many = BLOCK_BYTES / (gemm->stride * 4), few_lines = BLOCK_FEW * gemm->stride / LINE_WORDS;
  many = many < AMX_PANELS ? AMX_PANELS : many / AMX_PANELS * AMX_PANELS;
  emit_value begin = emit_parameter(e, 5), end = emit_parameter(e, 6), is_few = rows_stay(e, gemm);
  emit_value size = emit_select(e, is_few, emit_i64(e, BLOCK_FEW), emit_i64(e, many));
  emit_value blocks = emit_sub(e, emit_add(e, emit_sub(e, end, begin), size), emit_i64(e, 1));
  blocks = LLVMBuildSDiv(e->builder, blocks, size, "");
  few_lines = (few_lines + gemm->fetch_places - 1) / gemm->fetch_places;
  emit_value lines = emit_select(e, is_few, emit_i64(e, few_lines), emit_i64(e, 0));
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, 0), blocks, 1, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_value from = emit_add(e, begin, emit_mul(e, loop.index, size)), next = emit_add(e, from, size);
  struct block block = {.begin = from, .end = emit_min(e, next, end), .lines = lines};
  emit_block(e, gemm, &block);
  emit_loop_end(e, &loop, NULL);
}

/* Places that are enough for a pair of panels to be there when the rows of one image, or as many as stay in the second-level
 * cache, have passed by the pair before. */
static int fetch_places(const struct amx_gemm *gemm) {
  int64_t lines = AMX_PANELS * gemm->stride / LINE_WORDS, most = cached_tiles(gemm);
  int64_t tiles = gemm->tiles < most ? gemm->tiles : most, steps = (tiles + AMX_TILES_DOWN - 1) / AMX_TILES_DOWN * gemm->steps;
  int64_t places = (lines + steps - 1) / steps;
  return (int)(places < FETCH_PLACES_MAX ? places : FETCH_PLACES_MAX);
}

static void emit_whole(struct emit *e, struct amx_gemm *gemm) {
  const struct gemm_desc *desc = gemm->desc;
  /* Above the copy, rows of a tile that overlaps the product before its own; below, floats. */
  enum { SLACK = AMX_ROWS, ROWS = SLACK + AMX_COPY_ROWS };
  gemm->state = emit_stack(e, STATES * 8);
  gemm->copy = emit_at_const(e, emit_stack(e, (int64_t)ROWS * COPY_COLUMNS * 4), SLACK * COPY_COLUMNS);
  int rows[AMX_TILES];
  for (int t = 0; t < AMX_TILES; t++) rows[t] = desc->m < AMX_ROWS && t != TILE_B ? (int)desc->m : AMX_ROWS;
  emit_amx_configure(e, rows);
  for (int slot = 0; slot < STATES; slot++) amx_state_store(e, gemm->state, (enum amx_state)slot, emit_i64(e, 0));
  emit_blocks(e, gemm);
  struct amx_pending pending;
  amx_pending_begin(e, &pending, gemm, gemm->state, gemm->copy, emit_parameter(e, 3), emit_parameter(e, 2));
  amx_pending_finish(e, &pending, emit_i64(e, 0), pending.rows);
  emit_amx_release(e);
}

emit_value emit_gemm_amx(struct emit *e, const struct gemm_desc *desc) {
  assert(desc->m > 1 && desc->n > 0 && desc->k > 0);
  emit_value found = kernel_find(e, "gemm_amx", desc, sizeof *desc);
  if (found != NULL) return found;
  struct amx_gemm gemm = {.desc = desc, .tiles = gemm_amx_row_tiles(desc)};
  gemm.stride = pack_panel_stride(desc->precision, desc->k, desc->group);
  gemm.steps = pack_words(desc->precision, desc->k) / (AMX_ROW_BYTES / 4);
  gemm.part_steps = desc->precision == PRECISION_INT8 && desc->group > 0 ? desc->group / AMX_ROW_BYTES : gemm.steps;
  gemm.fetch_places = fetch_places(&gemm);
  gemm.parts = (gemm.steps + gemm.part_steps - 1) / gemm.part_steps;
  for (int i = 1; i <= AMX_TILES_DOWN && i <= gemm.tiles; i++) gemm.product[i - 1] = emit_product(e, &gemm, i);
  char stages[256], name[320];
  gemm_name(desc, stages, sizeof stages);
  snprintf(name, sizeof name, "%s_%s_m%lld_n%lld_k%lld_%s", stages, precision_name(desc->precision), (long long)desc->m,
           (long long)desc->n, (long long)desc->k, e->level->name);
  LLVMTypeRef types[] = {e->pointer, e->pointer, e->pointer, e->pointer, e->i64, e->i64, e->i64, e->i64, e->i64};
  emit_value function = emit_function_begin(e, name, e->void_type, types, 9);
  emit_whole(e, &gemm);
  emit_function_end(e);
  kernel_add(e, "gemm_amx", desc, sizeof *desc, function);
  return function;
}
