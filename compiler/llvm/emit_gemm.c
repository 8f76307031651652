#include "llvm/kernels.h"

#include "llvm/emit_gemm_amx.h"
#include "llvm/emit_gemm_epilogue.h"
#include "llvm/emit_gemm_tile.h"
#include "llvm/emit_gemm_walk.h"
#include "llvm/emit_tile.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* B's share of the second-level cache: a block of tile columns while the rows of A pass, as much again for the next block.
 * Where rows of A are longer than K_MAX, K is cut into equal parts, one after the other over the whole of C. */
enum { BLOCK_WORDS = 80 * 1024, BLOCK_TILES_MAX = 8, K_MAX = 1536, K_PART = 1024, K_PARTS_MAX = 64 };

/* The product of a part of K: the first applies the stages, the others add to C. */
struct gemm_part {
  struct gemm_desc desc;
  struct gemm_walk_tiles tiles;
  emit_value a, b, operands;
  emit_value following; /* panels that are needed after the last block */
};

struct gemm {
  struct gemm_desc desc;
  bool rows_are_images;                             /* the number of rows is known when it runs */
  int panels, tile_panels, remainder_panels, block; /* block: panels */
  int parts;
  int64_t a_lines;           /* of a row of A that each tile of a block fetches for the next row tile */
  int heights[WALK_HEIGHTS]; /* 0: none */
};

int64_t gemm_split_panels(const struct target_level *level, const struct gemm_desc *desc) {
  if (gemm_uses_amx(level, desc)) return gemm_amx_split_panels(desc);
  int64_t panels = (desc->n + 15) / 16, tile = (int64_t)level->nv * level->lanes / 16;
  return panels < tile ? panels : tile;
}

int64_t gemm_row_tiles(const struct target_level *level, const struct gemm_desc *desc) {
  if (gemm_uses_amx(level, desc)) return gemm_amx_row_tiles(desc);
  return desc->m == 1 ? 1 : tile_rows(desc->m, tile_height(level, desc->precision)).count;
}

/* With one row an image, rows of different images make the tiles: then images are the rows of one image. */
static void choose_heights(const struct emit *e, struct gemm *gemm) {
  struct gemm_desc *desc = &gemm->desc;
  gemm->rows_are_images = desc->m == 1;
  if (!gemm->rows_are_images) {
    struct row_tiles tiles = tile_rows(desc->m, tile_height(e->level, desc->precision));
    gemm->heights[0] = tiles.height;
    if (tiles.tall < tiles.count) gemm->heights[1] = tiles.height - 1;
    return;
  }
  desc->a_row_stride = desc->a_image_stride;
  desc->c_row_stride = desc->c_image_stride;
  for (int s = 0; s < desc->stage_count; s++) desc->stages[s].row_stride = desc->stages[s].image_stride;
  int most = tile_height(e->level, desc->precision), heights[] = {most, most / 2, 1};
  for (int i = 0; i < WALK_HEIGHTS; i++)
    if (heights[i] == 1 || desc->images_max == 0 || heights[i] <= desc->images_max) gemm->heights[i] = heights[i];
}

static int64_t panel_stride(const struct gemm *gemm) {
  return pack_panel_stride(gemm->desc.precision, gemm->desc.k, gemm->desc.group);
}

/* K in equal parts, or in one where there are none, or where the stages need the whole sum. Partial sums stay in C, so the
 * stages come first, while C may still be an operand. */
static int choose_parts(const struct gemm *gemm) {
  const struct gemm_desc *desc = &gemm->desc;
  if (desc->k <= K_MAX || gemm->rows_are_images || desc->precision != PRECISION_FP32) return 1;
  for (int s = 0; s < desc->stage_count; s++)
    if (desc->stages[s].op != OP_add) return 1;
  int64_t least = (desc->k + K_PART - 1) / K_PART;
  for (int64_t parts = least; parts <= 2 * least && parts <= K_PARTS_MAX; parts++)
    if (desc->k % (parts * 16) == 0) return (int)parts;
  return 1;
}

static void choose_tiles(const struct emit *e, struct gemm *gemm) {
  const struct gemm_desc *desc = &gemm->desc;
  gemm->panels = (int)((desc->n + 15) / 16);
  gemm->tile_panels = (int)gemm_split_panels(e->level, desc);
  gemm->remainder_panels = gemm->panels % gemm->tile_panels;
  choose_heights(e, gemm);
  gemm->parts = choose_parts(gemm);
  int64_t words = pack_words(desc->precision, desc->k / gemm->parts), tiles = BLOCK_WORDS / (words * 16 * gemm->tile_panels);
  gemm->block = gemm->tile_panels * (int)(tiles < 1 ? 1 : tiles > BLOCK_TILES_MAX ? BLOCK_TILES_MAX : tiles);
  int64_t a_words = words * tile_a_step(tile_dot(e->level, desc->precision));
  int64_t lines = (a_words + 15) / 16, columns = gemm->block / gemm->tile_panels;
  gemm->a_lines = (lines + columns - 1) / columns;
}

/* With one image at a time strides from image to image don't matter: more products share their tiles. */
static void forget_images(struct gemm_desc *desc) {
  desc->a_image_stride = desc->c_image_stride = 0;
  for (int s = 0; s < desc->stage_count; s++) desc->stages[s].image_stride = 0;
}

/* What a tile's code depends on: products of other sizes share it. */
struct tile_key {
  struct gemm_desc desc;
  int64_t rows, panels, panel_stride, a_lines, a_share;
};

static void make_key(const struct gemm *gemm, const struct gemm_desc *desc, int rows, int panels, struct tile_key *out_key) {
  memset(out_key, 0, sizeof *out_key);
  memcpy(&out_key->desc, desc, sizeof *desc);
  out_key->rows = rows;
  out_key->panels = panels;
  out_key->panel_stride = panel_stride(gemm);
  out_key->a_lines = gemm->a_lines;
  out_key->a_share = gemm_tile_share(desc);
  out_key->desc.m = out_key->desc.images_max = 0;
  if (desc->n % 16 == 0) out_key->desc.n = 0;
  if (desc->precision != PRECISION_FP32) out_key->desc.c_row_stride = 0;
}

static emit_value emit_one_tile(struct emit *e, const struct gemm *gemm, const struct gemm_part *part, int rows, int panels) {
  struct tile_key key;
  make_key(gemm, &part->desc, rows, panels, &key);
  emit_value tile = kernel_find(e, "gemm_tile", &key, sizeof key);
  if (tile != NULL) return tile;
  bool is_int8 = part->desc.precision == PRECISION_INT8;
  tile = (is_int8 ? emit_gemm_int8_tile : emit_gemm_tile)(e, &part->desc, rows, panels, panel_stride(gemm), gemm->a_lines);
  kernel_add(e, "gemm_tile", &key, sizeof key, tile);
  return tile;
}

static void emit_tiles(struct emit *e, const struct gemm *gemm, struct gemm_part *part) {
  for (int i = 0; i < WALK_HEIGHTS; i++) {
    int height = gemm->heights[i];
    if (height == 0) continue;
    part->tiles.function[WALK_FULL][i] = emit_one_tile(e, gemm, part, height, gemm->tile_panels);
    if (gemm->remainder_panels > 0)
      part->tiles.function[WALK_REMAINDER][i] = emit_one_tile(e, gemm, part, height, gemm->remainder_panels);
  }
}

static emit_value emit_measures(struct emit *e, const struct gemm *gemm) {
  const struct gemm_desc *desc = &gemm->desc;
  struct gemm_walk walk = {.rows_are_images = gemm->rows_are_images,
                           .rows = desc->m,
                           .tile_panels = gemm->tile_panels,
                           .block = gemm->block,
                           .panel_stride = panel_stride(gemm),
                           .a_row_stride = desc->a_row_stride,
                           .a_image_stride = desc->a_image_stride,
                           .c_row_stride = desc->c_row_stride,
                           .a_lines = gemm->a_lines};
  memcpy(walk.heights, gemm->heights, sizeof walk.heights);
  return emit_gemm_walk_measures(e, &walk);
}

static void call_walk(struct emit *e, emit_value walk, const struct gemm_part *part, emit_value tiles, emit_value measures) {
  emit_value arguments[WALK_PARAMETERS];
  for (int i = 0; i < WALK_FOLLOWING; i++) arguments[i] = emit_parameter(e, i);
  arguments[0] = part->a;
  arguments[1] = part->b;
  arguments[3] = part->operands;
  arguments[WALK_FOLLOWING] = part->following;
  arguments[WALK_TILES] = tiles;
  arguments[WALK_MEASURES] = measures;
  emit_call(e, walk, arguments, WALK_PARAMETERS);
}

/* The parts of K in order. After a part's last block comes the next part's first; after the last part, what follows B's panels
 * in memory, which is usually the next GEMM's B. */
static void emit_parts(struct emit *e, const struct gemm *gemm, emit_value walk, struct gemm_part *first,
                       struct gemm_part *others) {
  int64_t k = gemm->desc.k / gemm->parts;
  emit_value stride = emit_i64(e, panel_stride(gemm)), b = emit_parameter(e, 1), measures = emit_measures(e, gemm);
  emit_value b_begin = emit_at(e, b, emit_mul(e, emit_parameter(e, 5), stride));
  emit_value b_end = emit_at(e, b, emit_mul(e, emit_parameter(e, 6), stride));
  first->a = emit_parameter(e, 0);
  first->b = b;
  first->operands = emit_parameter(e, 3);
  first->following = gemm->parts == 1 ? b_end : emit_at_const(e, b_begin, k * 16);
  call_walk(e, walk, first, emit_gemm_walk_tiles(e, &first->tiles), measures);
  if (gemm->parts == 1) return;
  others->operands = emit_stack(e, (int64_t)sizeof(void *));
  LLVMBuildStore(e->builder, emit_parameter(e, 2), others->operands);
  emit_value tiles = emit_gemm_walk_tiles(e, &others->tiles);
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, k), emit_i64(e, gemm->desc.k), k, NULL, 0, EMIT_NOT_EMPTY);
  emit_value rows = emit_mul(e, loop.index, emit_i64(e, 16)), next = emit_add(e, loop.index, emit_i64(e, k));
  others->a = emit_at(e, emit_parameter(e, 0), loop.index);
  others->b = emit_at(e, b, rows);
  emit_value is_last = LLVMBuildICmp(e->builder, LLVMIntSGE, next, emit_i64(e, gemm->desc.k), "");
  others->following = emit_select(e, is_last, b_end, emit_at(e, b_begin, emit_mul(e, next, emit_i64(e, 16))));
  call_walk(e, walk, others, tiles, measures);
  emit_loop_end(e, &loop, NULL);
}

emit_value emit_gemm(struct emit *e, const struct gemm_desc *desc) {
  assert(desc->m > 0 && desc->n > 0 && desc->k > 0);
  if (gemm_uses_amx(e->level, desc)) return emit_gemm_amx(e, desc);
  emit_value found = kernel_find(e, "gemm", desc, sizeof *desc);
  if (found != NULL) return found;
  struct gemm gemm;
  struct gemm_part first, others; /* copied byte by byte: descriptions are compared so */
  memset(&gemm, 0, sizeof gemm);
  memcpy(&gemm.desc, desc, sizeof *desc);
  if (desc->images_max == 1 && desc->m > 1) forget_images(&gemm.desc);
  choose_tiles(e, &gemm);
  memset(&first, 0, sizeof first);
  memcpy(&first.desc, &gemm.desc, sizeof gemm.desc);
  memcpy(&others, &first, sizeof first);
  first.desc.k = others.desc.k = desc->k / gemm.parts;
  others.desc.stage_count = 1;
  memset(&others.desc.stages[0], 0, sizeof others.desc.stages[0]);
  others.desc.stages[0].op = OP_add;
  others.desc.stages[0].kind = OPERAND_MATRIX;
  others.desc.stages[0].row_stride = gemm.desc.c_row_stride;
  others.desc.stages[0].image_stride = gemm.desc.c_image_stride;
  emit_tiles(e, &gemm, &first);
  if (gemm.parts > 1) emit_tiles(e, &gemm, &others);
  emit_value walk = emit_gemm_walk(e, gemm.rows_are_images);
  char stages[256], name[320];
  gemm_name(desc, stages, sizeof stages);
  snprintf(name, sizeof name, "%s_%s_m%lld_n%lld_k%lld_%s", stages, precision_name(desc->precision), (long long)desc->m,
           (long long)desc->n, (long long)desc->k, e->level->name);
  LLVMTypeRef types[] = {e->pointer, e->pointer, e->pointer, e->pointer, e->i64, e->i64, e->i64, e->i64, e->i64};
  emit_value function = emit_function_begin(e, name, e->void_type, types, 9);
  emit_parts(e, &gemm, walk, &first, &others);
  emit_function_end(e);
  kernel_add(e, "gemm", desc, sizeof *desc, function);
  return function;
}
