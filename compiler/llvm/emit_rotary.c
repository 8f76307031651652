#include "llvm/emit_tile.h"
#include "llvm/kernels.h"

#include <assert.h>
#include <stdio.h>

/* One token. A vector of angles is loaded once and turns all heads. */
struct token {
  const struct rotary_desc *desc;
  emit_value x, y, cos, sin;
};

enum { HEADS_UNROLL = 4 };

static emit_value shuffle(struct emit *e, emit_value vector, int (*source)(int lane)) {
  emit_value lanes[64];
  assert(e->level->lanes <= 64);
  for (int i = 0; i < e->level->lanes; i++) lanes[i] = emit_i32(e, source(i));
  return LLVMBuildShuffleVector(e->builder, vector, LLVMGetUndef(e->vector), LLVMConstVector(lanes, (unsigned)e->level->lanes),
                                "");
}

static int half_of(int lane) {
  return lane / 2;
}

static int neighbour_of(int lane) {
  return lane ^ 1;
}

/* -1 for the first of each pair, 1 for the second. */
static emit_value pair_signs(struct emit *e) {
  emit_value lanes[64];
  for (int i = 0; i < e->level->lanes; i++) lanes[i] = emit_f32(e, i % 2 == 0 ? -1 : 1);
  return LLVMConstVector(lanes, (unsigned)e->level->lanes);
}

static emit_value head_at(struct emit *e, emit_value base, emit_value head, int unrolled, int64_t stride, emit_value column) {
  emit_value offset = emit_mul(e, emit_add(e, head, emit_i64(e, unrolled)), emit_i64(e, stride));
  return emit_at(e, base, emit_add(e, offset, column));
}

/* Pairs from `pair` on, `count` of them, as neighbours: one vector of 2 * count elements of each head. */
static void turn_neighbours(struct emit *e, const struct token *t, emit_value head, int unroll, emit_value pair, int count,
                            const emit_value angles[2]) {
  emit_value column = emit_mul(e, pair, emit_i64(e, 2));
  for (int i = 0; i < unroll; i++) {
    emit_value x = emit_load_vector(e, head_at(e, t->x, head, i, t->desc->x_stride[2], column), 2 * count);
    emit_value across = emit_fmul(e, angles[1], shuffle(e, x, neighbour_of));
    emit_value y = head_at(e, t->y, head, i, t->desc->y_stride[2], column);
    emit_store_vector(e, emit_fma(e, angles[0], x, across), y, 2 * count);
  }
}

/* The same where a pair's second element is half a rotation away: two vectors of `count` elements of each head. */
static void turn_halves(struct emit *e, const struct token *t, emit_value head, int unroll, emit_value pair, int count,
                        const emit_value angles[2]) {
  emit_value second = emit_add(e, pair, emit_i64(e, t->desc->rotated / 2));
  for (int i = 0; i < unroll; i++) {
    emit_value a = emit_load_vector(e, head_at(e, t->x, head, i, t->desc->x_stride[2], pair), count);
    emit_value b = emit_load_vector(e, head_at(e, t->x, head, i, t->desc->x_stride[2], second), count);
    emit_value from_b = LLVMBuildFNeg(e->builder, emit_fmul(e, angles[1], b), "");
    emit_value to_a = emit_fma(e, angles[0], a, from_b);
    emit_value to_b = emit_fma(e, angles[0], b, emit_fmul(e, angles[1], a));
    emit_store_vector(e, to_a, head_at(e, t->y, head, i, t->desc->y_stride[2], pair), count);
    emit_store_vector(e, to_b, head_at(e, t->y, head, i, t->desc->y_stride[2], second), count);
  }
}

static void turn_pairs(struct emit *e, const struct token *t, emit_value pair, int count) {
  emit_value angles[2] = {emit_load_vector(e, emit_at(e, t->cos, pair), count),
                          emit_load_vector(e, emit_at(e, t->sin, pair), count)};
  if (t->desc->interleaved) {
    for (int i = 0; i < 2; i++) angles[i] = shuffle(e, angles[i], half_of);
    angles[1] = emit_fmul(e, angles[1], pair_signs(e));
  }
  int unroll = HEADS_UNROLL;
  while (t->desc->heads % unroll != 0) unroll--;
  struct emit_loop heads;
  emit_loop_begin(e, &heads, emit_i64(e, 0), emit_i64(e, t->desc->heads), unroll, NULL, 0, EMIT_NOT_EMPTY);
  if (t->desc->interleaved)
    turn_neighbours(e, t, heads.index, unroll, pair, count, angles);
  else
    turn_halves(e, t, heads.index, unroll, pair, count, angles);
  emit_loop_end(e, &heads, NULL);
}

static void turn_token(struct emit *e, const struct token *t) {
  int64_t pairs = t->desc->rotated / 2, step = t->desc->interleaved ? e->level->lanes / 2 : e->level->lanes;
  int64_t whole = pairs / step * step;
  if (whole > 0) {
    struct emit_loop blocks;
    emit_loop_begin(e, &blocks, emit_i64(e, 0), emit_i64(e, whole), step, NULL, 0, EMIT_NOT_EMPTY);
    turn_pairs(e, t, blocks.index, (int)step);
    emit_loop_end(e, &blocks, NULL);
  }
  if (whole < pairs) turn_pairs(e, t, emit_i64(e, whole), (int)(pairs - whole));
}

struct rest {
  emit_value x, y;
};

static emit_value visit_copy(struct emit *e, void *context, emit_value column, int lanes, emit_value acc) {
  const struct rest *rest = context;
  emit_store_vector(e, emit_load_vector(e, emit_at(e, rest->x, column), lanes), emit_at(e, rest->y, column), lanes);
  return acc;
}

static void copy_rest(struct emit *e, const struct token *t) {
  const struct rotary_desc *desc = t->desc;
  struct emit_loop heads;
  emit_value column = emit_i64(e, desc->rotated);
  emit_loop_begin(e, &heads, emit_i64(e, 0), emit_i64(e, desc->heads), 1, NULL, 0, EMIT_NOT_EMPTY);
  struct rest rest = {head_at(e, t->x, heads.index, 0, desc->x_stride[2], column),
                      head_at(e, t->y, heads.index, 0, desc->y_stride[2], column)};
  struct sweep sweep = {.columns = desc->width - desc->rotated, .visit = visit_copy, .context = &rest};
  emit_sweep(e, &sweep);
  emit_loop_end(e, &heads, NULL);
}

struct place {
  emit_value image, sequence, token;
};

static emit_value token_at(struct emit *e, emit_value base, const struct place *at, int64_t image_stride,
                           const int64_t *stride) {
  emit_value offset = emit_mul(e, at->image, emit_i64(e, image_stride));
  offset = emit_add(e, offset, emit_mul(e, at->sequence, emit_i64(e, stride[0])));
  return emit_at(e, base, emit_add(e, offset, emit_mul(e, at->token, emit_i64(e, stride[1]))));
}

static emit_value operand(struct emit *e, int index) {
  emit_value slot = emit_bytes(e, emit_parameter(e, 2), emit_i64(e, index * (int64_t)sizeof(void *)));
  return LLVMBuildLoad2(e->builder, e->pointer, slot, "");
}

emit_value emit_rotary(struct emit *e, const struct rotary_desc *desc) {
  assert(desc->rotated >= 2 && desc->rotated % 2 == 0 && desc->rotated <= desc->width && desc->heads > 0);
  emit_value found = kernel_find(e, "rotary", desc, sizeof *desc);
  if (found != NULL) return found;
  char name[96];
  snprintf(name, sizeof name, "rotary_f32_%lldx%lld_%s", (long long)desc->heads, (long long)desc->rotated, e->level->name);
  LLVMTypeRef types[] = {e->pointer, e->pointer, e->pointer, e->i64, e->i64, e->i64};
  emit_value function = emit_function_begin(e, name, e->void_type, types, 6), cos = operand(e, 0), sin = operand(e, 1);
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_parameter(e, 4), emit_parameter(e, 5), 1, NULL, 0, EMIT_MAYBE_EMPTY);
  emit_value tokens = emit_i64(e, desc->tokens), sequences = emit_i64(e, desc->sequences);
  emit_value sequence = LLVMBuildUDiv(e->builder, loop.index, tokens, "");
  struct place at = {.image = LLVMBuildUDiv(e->builder, sequence, sequences, ""),
                     .sequence = LLVMBuildURem(e->builder, sequence, sequences, ""),
                     .token = LLVMBuildURem(e->builder, loop.index, tokens, "")};
  struct token token = {.desc = desc,
                        .x = token_at(e, emit_parameter(e, 0), &at, desc->x_image_stride, desc->x_stride),
                        .y = token_at(e, emit_parameter(e, 1), &at, desc->y_image_stride, desc->y_stride),
                        .cos = token_at(e, cos, &at, desc->cos_image_stride, desc->cos_stride),
                        .sin = token_at(e, sin, &at, desc->sin_image_stride, desc->sin_stride)};
  turn_token(e, &token);
  if (desc->copies && desc->rotated < desc->width) copy_rest(e, &token);
  emit_loop_end(e, &loop, NULL);
  emit_function_end(e);
  kernel_add(e, "rotary", desc, sizeof *desc, function);
  return function;
}
