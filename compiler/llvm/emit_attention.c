#include "llvm/emit_attention.h"
#include "llvm/emit_tile.h"

#include <assert.h>
#include <stdio.h>

int64_t attention_panel_stride(const struct attention_desc *desc) {
  return desc->head_dim * 16;
}

int64_t attention_packed_floats(const struct attention_desc *desc) {
  return pack_keys_floats(desc->k_rows, desc->head_dim);
}

int64_t attention_row_tiles(const struct target_level *level, const struct attention_desc *desc) {
  return tile_rows(desc->q_rows, attention_tile_height(level, desc)).count;
}

static emit_value begin_function(struct emit *e, const struct attention_desc *desc, const char *what, int pointers,
                                 bool takes_mask) {
  char name[128];
  snprintf(name, sizeof name, "%s%s_f32_q%lld_k%lld_d%lld_%s", what, desc->has_mask ? "_mask" : "", (long long)desc->q_rows,
           (long long)desc->k_rows, (long long)desc->head_dim, e->level->name);
  LLVMTypeRef types[8];
  int count = 0;
  while (count < pointers) types[count++] = e->pointer;
  for (int i = 0; i < 3; i++) types[count++] = e->i64;
  if (takes_mask) types[count++] = e->pointer;
  return emit_function_begin(e, name, e->void_type, types, count);
}

/* Of pair = (image * windows + window) * heads + head. */
struct place {
  emit_value image, window, head; /* window is NULL when there is only one */
};

static struct place place_of_pair(struct emit *e, const struct attention_desc *desc, emit_value pair, int64_t heads) {
  emit_value count = emit_i64(e, heads), outer = LLVMBuildUDiv(e->builder, pair, count, "");
  struct place place = {.image = outer, .head = LLVMBuildURem(e->builder, pair, count, "")};
  if (desc->windows == 1) return place;
  emit_value windows = emit_i64(e, desc->windows);
  place.image = LLVMBuildUDiv(e->builder, outer, windows, "");
  place.window = LLVMBuildURem(e->builder, outer, windows, "");
  return place;
}

static emit_value place_at(struct emit *e, emit_value pointer, const struct place *place,
                           const struct attention_strides *strides) {
  emit_value offset =
      emit_add(e, emit_mul(e, place->image, emit_i64(e, strides->image)), emit_mul(e, place->head, emit_i64(e, strides->head)));
  if (place->window != NULL) offset = emit_add(e, offset, emit_mul(e, place->window, emit_i64(e, strides->window)));
  return emit_at(e, pointer, offset);
}

/* Rows become columns: in step s, lanes with bit s clear and set change places between the rows i and i + s. */
static void transpose(struct emit *e, emit_value *rows) {
  int lanes = e->level->lanes;
  for (int s = 1; s < lanes; s *= 2)
    for (int i = 0; i < lanes; i++) {
      if ((i & s) != 0) continue;
      emit_value low[16], high[16];
      for (int lane = 0; lane < lanes; lane++) {
        low[lane] = emit_i32(e, (lane & s) == 0 ? lane : lanes + lane - s);
        high[lane] = emit_i32(e, (lane & s) == 0 ? lane + s : lanes + lane);
      }
      emit_value a = rows[i], b = rows[i + s];
      rows[i] = LLVMBuildShuffleVector(e->builder, a, b, LLVMConstVector(low, (unsigned)lanes), "");
      rows[i + s] = LLVMBuildShuffleVector(e->builder, a, b, LLVMConstVector(high, (unsigned)lanes), "");
    }
}

/* `depth` elements of `keys` keys, from dimension `d` on, become rows of 16 in the panel. */
static void pack_block(struct emit *e, const struct attention_desc *desc, emit_value k, emit_value panel, emit_value d,
                       int depth, int keys) {
  int lanes = e->level->lanes;
  for (int first = 0; first < 16; first += lanes) {
    emit_value rows[16];
    for (int i = 0; i < lanes; i++) {
      emit_value row = emit_at(e, emit_at_const(e, k, (first + i) * desc->k.row), d);
      rows[i] = first + i < keys ? emit_load_vector(e, row, depth) : emit_splat_const(e, 0);
    }
    transpose(e, rows);
    emit_value to = emit_at_const(e, emit_at(e, panel, emit_mul(e, d, emit_i64(e, 16))), first);
    for (int i = 0; i < depth; i++) emit_store_vector(e, rows[i], emit_at_const(e, to, i * 16), lanes);
  }
}

static void pack_panel(struct emit *e, const struct attention_desc *desc, emit_value k, emit_value panel, int keys) {
  int lanes = e->level->lanes;
  int64_t whole = desc->head_dim / lanes * lanes;
  if (whole > 0) {
    struct emit_loop loop;
    emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, whole), lanes, NULL, 0, EMIT_NOT_EMPTY);
    pack_block(e, desc, k, panel, loop.index, lanes, keys);
    emit_loop_end(e, &loop, NULL);
  }
  if (whole < desc->head_dim) pack_block(e, desc, k, panel, emit_i64(e, whole), (int)(desc->head_dim - whole), keys);
}

emit_value emit_attention_pack(struct emit *e, const struct attention_desc *desc) {
  emit_value found = kernel_find(e, "attention_pack", desc, sizeof *desc);
  if (found != NULL) return found;
  emit_value function = begin_function(e, desc, "attention_pack", 2, false);
  struct emit_loop pair, panel;
  emit_loop_begin(e, &pair, emit_parameter(e, 3), emit_parameter(e, 4), 1, NULL, 0, EMIT_MAYBE_EMPTY);
  struct place place = place_of_pair(e, desc, pair.index, desc->kv_heads);
  emit_value k = place_at(e, emit_parameter(e, 0), &place, &desc->k);
  emit_value packed = emit_at(e, emit_parameter(e, 1), emit_mul(e, pair.index, emit_i64(e, attention_packed_floats(desc))));
  int64_t whole = desc->k_rows / 16, stride = attention_panel_stride(desc);
  if (whole > 0) {
    emit_loop_begin(e, &panel, emit_i64(e, 0), emit_i64(e, whole), 1, NULL, 0, EMIT_NOT_EMPTY);
    emit_value from = emit_at(e, k, emit_mul(e, panel.index, emit_i64(e, 16 * desc->k.row)));
    pack_panel(e, desc, from, emit_at(e, packed, emit_mul(e, panel.index, emit_i64(e, stride))), 16);
    emit_loop_end(e, &panel, NULL);
  }
  if (whole * 16 < desc->k_rows)
    pack_panel(e, desc, emit_at_const(e, k, whole * 16 * desc->k.row), emit_at_const(e, packed, whole * stride),
               (int)(desc->k_rows - whole * 16));
  emit_loop_end(e, &pair, NULL);
  emit_function_end(e);
  kernel_add(e, "attention_pack", desc, sizeof *desc, function);
  return function;
}

/* The place of the head of k and v that serves this one; *out_pair is its pair. */
static struct place shared_head(struct emit *e, const struct attention_desc *desc, const struct place *place,
                                emit_value *out_pair) {
  if (desc->kv_heads == desc->heads) return *place;
  struct place shared = *place;
  shared.head = LLVMBuildUDiv(e->builder, place->head, emit_i64(e, desc->heads / desc->kv_heads), "");
  emit_value outer = LLVMBuildUDiv(e->builder, *out_pair, emit_i64(e, desc->heads), "");
  *out_pair = emit_add(e, emit_mul(e, outer, emit_i64(e, desc->kv_heads)), shared.head);
  return shared;
}

static void call_tile(struct emit *e, const struct attention_desc *desc, emit_value tile, emit_value pair, emit_value row) {
  struct place place = place_of_pair(e, desc, pair, desc->heads), shared = shared_head(e, desc, &place, &pair);
  emit_value q = place_at(e, emit_parameter(e, 0), &place, &desc->q);
  emit_value out = place_at(e, emit_parameter(e, 3), &place, &desc->out);
  emit_value arguments[6] = {
      emit_at(e, q, emit_mul(e, row, emit_i64(e, desc->q.row))),
      emit_at(e, emit_parameter(e, 1), emit_mul(e, pair, emit_i64(e, attention_packed_floats(desc)))),
      place_at(e, emit_parameter(e, 2), &shared, &desc->v),
      emit_at(e, out, emit_mul(e, row, emit_i64(e, desc->out.row))),
  };
  int count = 4;
  if (desc->has_mask) {
    emit_value mask = place_at(e, emit_parameter(e, 7), &place, &desc->mask);
    arguments[count++] = emit_at(e, mask, emit_mul(e, row, emit_i64(e, desc->mask.row)));
  }
  if (desc->causal) arguments[count++] = row;
  emit_call(e, tile, arguments, count);
}

emit_value emit_attention(struct emit *e, const struct attention_desc *desc) {
  assert(desc->windows > 0 && desc->kv_heads > 0 && desc->heads % desc->kv_heads == 0);
  assert(desc->heads > 0 && desc->q_rows > 0 && desc->k_rows > 0 && desc->head_dim > 0 && desc->v_dim > 0);
  emit_value found = kernel_find(e, "attention", desc, sizeof *desc);
  if (found != NULL) return found;
  struct row_tiles tiles = tile_rows(desc->q_rows, attention_tile_height(e->level, desc));
  emit_value tall = emit_attention_tile(e, desc, tiles.height);
  emit_value low = tiles.tall < tiles.count ? emit_attention_tile(e, desc, tiles.height - 1) : NULL;
  emit_value function = begin_function(e, desc, "attention", 4, desc->has_mask);
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
  emit_function_end(e);
  kernel_add(e, "attention", desc, sizeof *desc, function);
  return function;
}
