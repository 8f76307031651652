#include "llvm/emit_hadamard_amx.h"

#include "llvm/emit_amx.h"
#include "llvm/emit_tile.h"

#include <assert.h>

enum { HALVES = 2, WORDS = 16, ONE = 0x3f80, SIGN = 0x8000 };
enum { TILE_SUMS, TILE_A = TILE_SUMS + HADAMARD_ROWS_MAX * HALVES, TILE_MATRIX = TILE_A + HADAMARD_ROWS_MAX };

/* The matrix's columns in two tiles: words of two bf16, of rows 2i and 2i + 1. Entry (i, j) is -1 where i & j has an odd number
 * of bits. */
static emit_value matrix(struct emit *e) {
  static const char name[] = "hadamard";
  emit_value found = LLVMGetNamedGlobal(e->module, name), words[HALVES * AMX_ROWS * WORDS];
  if (found != NULL) return found;
  for (int at = 0; at < HALVES * AMX_ROWS * WORDS; at++) {
    int column = at / (AMX_ROWS * WORDS) * WORDS + at % WORDS, row = at / WORDS % AMX_ROWS * 2;
    int even = __builtin_parity((unsigned)(row & column)), odd = __builtin_parity((unsigned)((row + 1) & column));
    words[at] = emit_i32(e, (int32_t)((uint32_t)(ONE + odd * SIGN) << 16 | (uint32_t)(ONE + even * SIGN)));
  }
  emit_value array = LLVMConstArray2(e->i32, words, HALVES * AMX_ROWS * WORDS);
  emit_value global = emit_table(e, array, name);
  LLVMSetAlignment(global, AMX_ROW_BYTES);
  return global;
}

struct hadamard_tiles emit_hadamard_begin(struct emit *e, int64_t columns) {
  assert(columns > 0 && columns % HADAMARD_TILE == 0);
  struct hadamard_tiles tiles = {.blocks = columns / HADAMARD_TILE};
  tiles.count = (tiles.blocks + AMX_ROWS - 1) / AMX_ROWS;
  tiles.height = (int)((tiles.blocks + tiles.count - 1) / tiles.count);
  int rows[AMX_TILES];
  for (int t = 0; t < AMX_TILES; t++) rows[t] = t < TILE_MATRIX ? tiles.height : AMX_ROWS;
  emit_amx_configure(e, rows);
  for (int half = 0; half < HALVES; half++) {
    emit_value words = emit_at_const(e, matrix(e), (int64_t)half * AMX_ROWS * WORDS);
    emit_amx_load(e, TILE_MATRIX + half, words, emit_i64(e, AMX_ROW_BYTES));
  }
  return tiles;
}

/* All rows' products before they are stored: a product takes long to come, and others can begin meanwhile. */
void emit_hadamard_rows(struct emit *e, const struct hadamard_tiles *tiles, const emit_value *from, const emit_value *to,
                        int count, int64_t ahead) {
  assert(count <= HADAMARD_ROWS_MAX);
  struct emit_loop loop;
  emit_loop_begin(e, &loop, emit_i64(e, 0), emit_i64(e, tiles->count), 1, NULL, 0, EMIT_NOT_EMPTY);
  emit_value block = emit_mul(e, loop.index, emit_i64(e, tiles->height));
  block = emit_mul(e, emit_min(e, block, emit_i64(e, tiles->blocks - tiles->height)), emit_i64(e, HADAMARD_TILE));
  for (int r = 0; r < count; r++) {
    emit_value a = emit_bytes(e, from[r], emit_mul(e, block, emit_i64(e, 2)));
    emit_amx_load(e, TILE_A + r, a, emit_i64(e, (int64_t)HADAMARD_TILE * 2));
    for (int i = 0; i < tiles->height; i++) emit_fetch(e, emit_bytes(e, a, emit_i64(e, ahead + (int64_t)i * AMX_ROW_BYTES)), 3);
    for (int half = 0; half < HALVES; half++) {
      int sum = TILE_SUMS + r * HALVES + half;
      emit_amx_zero(e, sum);
      emit_amx_dot_bf16(e, sum, TILE_A + r, TILE_MATRIX + half);
    }
    emit_amx_zero(e, TILE_A + r);
  }
  for (int sum = 0; sum < count * HALVES; sum++) {
    emit_value at = emit_at_const(e, emit_at(e, to[sum / HALVES], block), (int64_t)(sum % HALVES) * WORDS);
    emit_amx_store(e, TILE_SUMS + sum, at, emit_i64(e, (int64_t)HADAMARD_TILE * 4));
    emit_amx_zero(e, TILE_SUMS + sum);
  }
  emit_loop_end(e, &loop, NULL);
}
