#include "llvm/emit_attention.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

emit_value attention_begin(struct emit *e, const struct attention_desc *desc, const char *what, int pointers, bool takes_mask) {
  char name[128];
  snprintf(name, sizeof name, "%s%s_%s_q%lld_k%lld_d%lld_%s", what, desc->has_mask ? "_mask" : "",
           precision_name(desc->precision), (long long)desc->q_rows, (long long)desc->k_rows, (long long)desc->head_dim,
           e->level->name);
  LLVMTypeRef types[8];
  int count = 0;
  while (count < pointers) types[count++] = e->pointer;
  for (int i = 0; i < 3; i++) types[count++] = e->i64;
  if (takes_mask) types[count++] = e->pointer;
  return emit_function_begin(e, name, e->void_type, types, count);
}

struct attention_place attention_place_of(struct emit *e, const struct attention_desc *desc, emit_value pair, int64_t heads) {
  emit_value count = emit_i64(e, heads), outer = LLVMBuildUDiv(e->builder, pair, count, "");
  struct attention_place place = {.image = outer, .head = LLVMBuildURem(e->builder, pair, count, "")};
  if (desc->windows == 1) return place;
  emit_value windows = emit_i64(e, desc->windows);
  place.image = LLVMBuildUDiv(e->builder, outer, windows, "");
  place.window = LLVMBuildURem(e->builder, outer, windows, "");
  return place;
}

emit_value attention_place_offset(struct emit *e, const struct attention_place *place,
                                  const struct attention_strides *strides) {
  emit_value offset =
      emit_add(e, emit_mul(e, place->image, emit_i64(e, strides->image)), emit_mul(e, place->head, emit_i64(e, strides->head)));
  if (place->window != NULL) offset = emit_add(e, offset, emit_mul(e, place->window, emit_i64(e, strides->window)));
  return offset;
}

emit_value attention_place_at(struct emit *e, emit_value pointer, const struct attention_place *place,
                              const struct attention_strides *strides) {
  return emit_at(e, pointer, attention_place_offset(e, place, strides));
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

struct block_desc {
  int depth, keys;
};

/* The function void (const void *from, int64_t row, void *to): `depth` words of `keys` keys, `row` bytes from each other,
 * become rows of 16. A function of its own, since the code generator takes long over so many addresses in a loop. */
static emit_value block_function(struct emit *e, int depth, int keys) {
  struct block_desc desc;
  memset(&desc, 0, sizeof desc);
  desc.depth = depth;
  desc.keys = keys;
  emit_value found = kernel_find(e, "attention_block", &desc, sizeof desc);
  if (found != NULL) return found;
  struct emit_aside caller = emit_aside_begin(e);
  char name[64];
  snprintf(name, sizeof name, "attention_block_%dx%d_%s", keys, depth, e->level->name);
  LLVMTypeRef types[] = {e->pointer, e->i64, e->pointer};
  emit_value function = emit_function_begin(e, name, e->void_type, types, 3), row = emit_parameter(e, 0);
  int lanes = e->level->lanes;
  for (int first = 0; first < 16; first += lanes) {
    emit_value rows[16];
    for (int i = 0; i < lanes; i++) {
      rows[i] = first + i < keys ? emit_load_vector(e, row, depth) : emit_splat_const(e, 0);
      if (first + i + 1 < keys) row = emit_bytes(e, row, emit_parameter(e, 1));
    }
    transpose(e, rows);
    for (int i = 0; i < depth; i++)
      emit_store_vector(e, rows[i], emit_at_const(e, emit_parameter(e, 2), first + i * 16), lanes);
  }
  emit_function_end(e);
  kernel_add(e, "attention_block", &desc, sizeof desc, function);
  emit_aside_end(e, &caller);
  return function;
}

/* `depth` words of `keys` keys, from word `d` on, become rows of 16 in the panel. */
static void pack_block(struct emit *e, const struct attention_desc *desc, emit_value k, emit_value panel, emit_value d,
                       int depth, int keys) {
  emit_value arguments[] = {emit_at(e, k, d), emit_i64(e, desc->k.row * 4), emit_at(e, panel, emit_mul(e, d, emit_i64(e, 16)))};
  emit_call(e, block_function(e, depth, keys), arguments, 3);
}

static void pack_panel(struct emit *e, const struct attention_desc *desc, emit_value k, emit_value panel, int keys) {
  int lanes = e->level->lanes;
  int64_t depth = desc->precision == PRECISION_BF16 ? desc->head_dim / 2 : desc->head_dim, whole = depth / lanes * lanes;
  if (whole > 0) {
    struct emit_loop loop;
    emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, whole), lanes, NULL, 0, EMIT_NOT_EMPTY);
    pack_block(e, desc, k, panel, loop.index, lanes, keys);
    emit_loop_end(e, &loop, NULL);
  }
  if (whole < depth) pack_block(e, desc, k, panel, emit_i64(e, whole), (int)(depth - whole), keys);
  for (; depth < attention_depth(desc); depth++)
    emit_store_vector(e, emit_splat_const(e, 0), emit_at_const(e, panel, depth * 16), 16);
}

/* The keys that fill no vector, in place of their columns: see attention_split. */
static void pack_split(struct emit *e, const struct attention_desc *desc, emit_value k, emit_value packed, int split) {
  int lanes = e->level->lanes;
  int64_t left = desc->k_rows % lanes, first = desc->k_rows - left;
  LLVMTypeRef type = LLVMVectorType(e->f32, (unsigned)split);
  emit_value from = emit_at_const(e, k, first * desc->k.row);
  emit_value to = emit_at_const(e, packed, first / 16 * attention_panel_stride(desc) + first % 16);
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, desc->head_dim / split), 1, NULL, 0, EMIT_NOT_EMPTY);
  emit_value step = emit_at(e, from, emit_mul(e, loop.index, emit_i64(e, split)));
  emit_value row = emit_at(e, to, emit_mul(e, loop.index, emit_i64(e, 16)));
  emit_store_vector(e, emit_splat_const(e, 0), row, lanes);
  for (int64_t key = 0; key < left; key++) {
    emit_value part = LLVMBuildLoad2(e->builder, type, emit_at_const(e, step, key * desc->k.row), "");
    LLVMSetAlignment(part, 4);
    LLVMSetAlignment(LLVMBuildStore(e->builder, part, emit_at_const(e, row, key * split)), 4);
  }
  emit_loop_end(e, &loop, NULL);
}

/* Panels of 16 keys; with bf16 an even number of them. */
static void pack_keys(struct emit *e, const struct attention_desc *desc, emit_value k, emit_value packed) {
  int64_t whole = desc->k_rows / 16, stride = attention_panel_stride(desc);
  if (whole > 0) {
    struct emit_loop panel;
    emit_loop_begin(e, &panel, emit_i64(e, 0), emit_i64(e, whole), 1, NULL, 0, EMIT_NOT_EMPTY);
    emit_value from = emit_at(e, k, emit_mul(e, panel.index, emit_i64(e, 16 * desc->k.row)));
    pack_panel(e, desc, from, emit_at(e, packed, emit_mul(e, panel.index, emit_i64(e, stride))), 16);
    emit_loop_end(e, &panel, NULL);
  }
  int64_t end = desc->precision == PRECISION_BF16 ? (desc->k_rows + 31) / 32 * 2 : (desc->k_rows + 15) / 16;
  int split = attention_split(e->level, desc);
  if (split > 1 && e->level->lanes == 16) end = whole;
  for (int64_t panel = whole; panel < end; panel++) {
    int64_t keys = desc->k_rows - panel * 16;
    emit_value from = keys > 0 ? emit_at_const(e, k, panel * 16 * desc->k.row) : k;
    pack_panel(e, desc, from, emit_at_const(e, packed, panel * stride), keys > 0 ? (int)keys : 0);
  }
  if (split > 1) pack_split(e, desc, k, packed, split);
}

/* `lanes` bf16 as the low halves of words. */
static emit_value load_halves(struct emit *e, emit_value pointer, int lanes) {
  LLVMTypeRef halves = LLVMVectorType(LLVMInt16TypeInContext(e->context), 16);
  emit_value loaded;
  if (lanes == 16) {
    loaded = LLVMBuildLoad2(e->builder, halves, pointer, "");
    LLVMSetAlignment(loaded, 2);
  } else {
    LLVMTypeRef types[] = {halves, e->pointer};
    emit_value arguments[] = {pointer, emit_i32(e, 2), emit_lane_mask(e, lanes), LLVMConstNull(halves)};
    emit_value load = LLVMGetIntrinsicDeclaration(e->module, LLVMLookupIntrinsicID("llvm.masked.load", 16), types, 2);
    loaded = emit_call(e, load, arguments, 4);
  }
  return LLVMBuildZExt(e->builder, loaded, e->ivector, "");
}

/* Two keys' values side by side in each word; `second` is NULL for zeros. */
static void pair_values(struct emit *e, const struct attention_desc *desc, emit_value first, emit_value second, emit_value to) {
  for (int64_t column = 0; column < desc->v_dim; column += 16) {
    int lanes = desc->v_dim - column < 16 ? (int)(desc->v_dim - column) : 16;
    emit_value at = emit_i64(e, column * 2), words = load_halves(e, emit_bytes(e, first, at), lanes);
    if (second != NULL) {
      emit_value high = LLVMBuildShl(e->builder, load_halves(e, emit_bytes(e, second, at), lanes), emit_splat_i32(e, 16), "");
      words = LLVMBuildOr(e->builder, words, high, "");
    }
    emit_store_vector(e, LLVMBuildBitCast(e->builder, words, e->vector, ""), emit_at_const(e, to, column), 16);
  }
}

static void pack_values(struct emit *e, const struct attention_desc *desc, emit_value v, emit_value to) {
  int64_t stride = attention_value_stride(desc), pairs = desc->k_rows / 2, end = (desc->k_rows + 31) / 32 * 16;
  struct emit_loop pair;
  if (pairs > 0) {
    emit_loop_begin(e, &pair, emit_i64(e, 0), emit_i64(e, pairs), 1, NULL, 0, EMIT_NOT_EMPTY);
    emit_value row = emit_at(e, v, emit_mul(e, pair.index, emit_i64(e, 2 * desc->v.row)));
    pair_values(e, desc, row, emit_at_const(e, row, desc->v.row), emit_at(e, to, emit_mul(e, pair.index, emit_i64(e, stride))));
    emit_loop_end(e, &pair, NULL);
  }
  if (desc->k_rows % 2 != 0) {
    pair_values(e, desc, emit_at_const(e, v, 2 * pairs * desc->v.row), NULL, emit_at_const(e, to, pairs * stride));
    pairs++;
  }
  if (pairs == end) return;
  emit_loop_begin(e, &pair, emit_i64(e, pairs * stride), emit_i64(e, end * stride), 16, NULL, 0, EMIT_NOT_EMPTY);
  emit_store_vector(e, emit_splat_const(e, 0), emit_at(e, to, pair.index), 16);
  emit_loop_end(e, &pair, NULL);
}

emit_value emit_attention_pack(struct emit *e, const struct attention_desc *desc) {
  assert(desc->precision == PRECISION_FP32 || (e->level->dot_bf16 && desc->head_dim % 2 == 0));
  emit_value found = kernel_find(e, "attention_pack", desc, sizeof *desc);
  if (found != NULL) return found;
  emit_value function = attention_begin(e, desc, "attention_pack", 3, false);
  struct emit_loop pair;
  emit_loop_begin(e, &pair, emit_parameter(e, 4), emit_parameter(e, 5), 1, NULL, 0, EMIT_MAYBE_EMPTY);
  struct attention_place place = attention_place_of(e, desc, pair.index, desc->kv_heads);
  emit_value packed = emit_at(e, emit_parameter(e, 1), emit_mul(e, pair.index, emit_i64(e, attention_packed_words(desc))));
  pack_keys(e, desc, attention_place_at(e, emit_parameter(e, 0), &place, &desc->k), packed);
  if (desc->precision == PRECISION_BF16)
    pack_values(e, desc, attention_place_at(e, emit_parameter(e, 2), &place, &desc->v),
                emit_at_const(e, packed, pack_values_at(desc->k_rows, desc->head_dim)));
  emit_loop_end(e, &pair, NULL);
  emit_function_end(e);
  kernel_add(e, "attention_pack", desc, sizeof *desc, function);
  return function;
}
