#include "llvm/emit_amx.h"
#include "llvm/emit_attention_tile.h"
#include "llvm/emit_tile.h"

#include <assert.h>
#include <stdio.h>

int64_t attention_depth(const struct attention_desc *desc) {
  return desc->precision == PRECISION_BF16 ? (desc->head_dim / 2 + 15) / 16 * 16 : desc->head_dim;
}

int64_t attention_panel_stride(const struct attention_desc *desc) {
  return attention_depth(desc) * 16;
}

int attention_split(const struct target_level *level, const struct attention_desc *desc) {
  int64_t left = desc->k_rows % level->lanes;
  int split = 1;
  if (desc->precision != PRECISION_FP32 || left == 0) return 1;
  while (left * split * 2 <= level->lanes && desc->head_dim % (split * 2) == 0) split *= 2;
  return split;
}

int64_t attention_value_stride(const struct attention_desc *desc) {
  return (desc->v_dim + 15) / 16 * 16;
}

int64_t attention_packed_words(const struct attention_desc *desc) {
  return pack_keys_words(desc->precision, desc->k_rows, desc->head_dim, desc->v_dim);
}

/* `count` tiles: `tall` of `height` rows, then those of `low` rows. AMX's time is the rows', so that one tile takes the rest.
 */
struct tiles {
  int64_t count, tall;
  int height, low;
};

static struct tiles tiles_of(const struct target_level *level, const struct attention_desc *desc) {
  int height = attention_tile_height(level, desc);
  if (attention_uses_amx(level, desc)) {
    if (desc->q_rows < height) height = (int)desc->q_rows;
    int64_t tall = desc->q_rows / height, rest = desc->q_rows % height;
    return (struct tiles){.count = tall + (rest > 0), .tall = tall, .height = height, .low = (int)rest};
  }
  struct row_tiles rows = tile_rows(desc->q_rows, height);
  return (struct tiles){.count = rows.count, .tall = rows.tall, .height = rows.height, .low = rows.height - 1};
}

int64_t attention_row_tiles(const struct target_level *level, const struct attention_desc *desc) {
  return tiles_of(level, desc).count;
}

/* The place of the head of k and v that serves this one; *out_pair is its pair. */
static struct attention_place shared_head(struct emit *e, const struct attention_desc *desc,
                                          const struct attention_place *place, emit_value *out_pair) {
  if (desc->kv_heads == desc->heads) return *place;
  struct attention_place shared = *place;
  shared.head = LLVMBuildUDiv(e->builder, place->head, emit_i64(e, desc->heads / desc->kv_heads), "");
  emit_value outer = LLVMBuildUDiv(e->builder, *out_pair, emit_i64(e, desc->heads), "");
  *out_pair = emit_add(e, emit_mul(e, outer, emit_i64(e, desc->kv_heads)), shared.head);
  return shared;
}

static void call_tile(struct emit *e, const struct attention_desc *desc, emit_value tile, emit_value pair, emit_value row) {
  struct attention_place place = attention_place_of(e, desc, pair, desc->heads), shared = shared_head(e, desc, &place, &pair);
  emit_value q = attention_place_at(e, emit_parameter(e, 0), &place, &desc->q);
  emit_value out = attention_place_at(e, emit_parameter(e, 3), &place, &desc->out);
  emit_value arguments[6] = {
      emit_at(e, q, emit_mul(e, row, emit_i64(e, desc->q.row))),
      emit_at(e, emit_parameter(e, 1), emit_mul(e, pair, emit_i64(e, attention_packed_words(desc)))),
      attention_place_at(e, emit_parameter(e, 2), &shared, &desc->v),
      emit_at(e, out, emit_mul(e, row, emit_i64(e, desc->out.row))),
  };
  int count = 4;
  if (desc->precision == PRECISION_BF16)
    arguments[2] = emit_at_const(e, arguments[1], pack_values_at(desc->k_rows, desc->head_dim));
  if (desc->has_mask) {
    emit_value mask = attention_mask_at(e, desc, emit_parameter(e, 7), attention_place_offset(e, &place, &desc->mask));
    arguments[count++] = attention_mask_at(e, desc, mask, emit_mul(e, row, emit_i64(e, desc->mask.row)));
  }
  if (desc->causal) arguments[count++] = row;
  emit_call(e, tile, arguments, count);
}

static emit_value tile_function(struct emit *e, const struct attention_desc *desc, int rows) {
  emit_value exact = emit_attention_tile(e, desc, rows);
  return attention_streams(e->level, desc) ? emit_attention_stream(e, desc, rows, exact) : exact;
}

emit_value emit_attention(struct emit *e, const struct attention_desc *desc) {
  assert(desc->windows > 0 && desc->kv_heads > 0 && desc->heads % desc->kv_heads == 0);
  assert(desc->heads > 0 && desc->q_rows > 0 && desc->k_rows > 0 && desc->head_dim > 0 && desc->v_dim > 0);
  emit_value found = kernel_find(e, "attention", desc, sizeof *desc);
  if (found != NULL) return found;
  struct tiles tiles = tiles_of(e->level, desc);
  emit_value tall = tile_function(e, desc, tiles.height);
  emit_value low = tiles.tall < tiles.count ? tile_function(e, desc, tiles.low) : NULL;
  emit_value function = attention_begin(e, desc, "attention", 4, desc->has_mask);
  if (attention_streams(e->level, desc)) emit_attention_stream_begin(e);
  struct emit_loop unit;
  emit_loop_begin(e, &unit, emit_parameter(e, 5), emit_parameter(e, 6), 1, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_value count = emit_i64(e, tiles.count), tall_count = emit_i64(e, tiles.tall);
  emit_value pair = LLVMBuildUDiv(e->builder, unit.index, count, ""), tile = LLVMBuildURem(e->builder, unit.index, count, "");
  emit_value row = emit_mul(e, tile, emit_i64(e, tiles.height));
  if (low == NULL) {
    call_tile(e, desc, tall, pair, row);
  } else {
    struct emit_if branch;
    emit_value is_low = LLVMBuildICmp(e->builder, LLVMIntSGE, tile, tall_count, "");
    emit_if_begin(e, &branch, LLVMBuildNot(e->builder, is_low, ""));
    call_tile(e, desc, tall, pair, row);
    emit_if_end(e, &branch);
    emit_if_begin(e, &branch, is_low);
    call_tile(e, desc, low, pair, emit_sub(e, row, emit_sub(e, tile, tall_count)));
    emit_if_end(e, &branch);
  }
  emit_loop_end(e, &unit, NULL);
  if (attention_streams(e->level, desc)) emit_amx_release(e);
  emit_function_end(e);
  kernel_add(e, "attention", desc, sizeof *desc, function);
  return function;
}
