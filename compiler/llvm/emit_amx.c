#include "llvm/emit_amx.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_BYTES = 64, CONFIG_COLUMNS = 16, CONFIG_ROWS = 48, PALETTE = 1 };

static void instruction(struct emit *e, const char *name, const emit_value *operands, int count) {
  char full[64];
  if (!e->tile_model) {
    snprintf(full, sizeof full, "llvm.x86.%s", name);
    unsigned id = LLVMLookupIntrinsicID(full, strlen(full));
    assert(id != 0);
    emit_call(e, LLVMGetIntrinsicDeclaration(e->module, id, NULL, 0), operands, count);
    return;
  }
  snprintf(full, sizeof full, "amx_%s", name);
  emit_value function = LLVMGetNamedFunction(e->module, full);
  if (function == NULL) {
    LLVMTypeRef types[4];
    assert(count <= 4);
    for (int i = 0; i < count; i++) types[i] = LLVMTypeOf(operands[i]);
    function = LLVMAddFunction(e->module, full, LLVMFunctionType(e->void_type, types, (unsigned)count, 0));
  }
  emit_call(e, function, operands, count);
}

static emit_value number(struct emit *e, int tile) {
  assert(tile >= 0 && tile < AMX_TILES);
  return LLVMConstInt(e->i8, (unsigned long long)tile, 0);
}

void emit_amx_configure(struct emit *e, const int rows[AMX_TILES]) {
  unsigned char config[CONFIG_BYTES] = {PALETTE};
  for (int tile = 0; tile < AMX_TILES; tile++) {
    assert(rows[tile] > 0 && rows[tile] <= AMX_ROWS);
    config[CONFIG_COLUMNS + 2 * tile] = AMX_ROW_BYTES;
    config[CONFIG_ROWS + tile] = (unsigned char)rows[tile];
  }
  emit_value memory = emit_stack(e, CONFIG_BYTES);
  for (int at = 0; at < CONFIG_BYTES; at += 8) {
    uint64_t word;
    memcpy(&word, config + at, sizeof word);
    LLVMBuildStore(e->builder, emit_i64(e, (int64_t)word), emit_bytes(e, memory, emit_i64(e, at)));
  }
  instruction(e, "ldtilecfg", &memory, 1);
}

void emit_amx_release(struct emit *e) {
  instruction(e, "tilerelease", NULL, 0);
}

void emit_amx_zero(struct emit *e, int tile) {
  emit_value operand = number(e, tile);
  instruction(e, "tilezero", &operand, 1);
}

void emit_amx_load(struct emit *e, int tile, emit_value pointer, emit_value stride) {
  emit_value operands[] = {number(e, tile), pointer, stride};
  instruction(e, "tileloadd64", operands, 3);
}

void emit_amx_load_once(struct emit *e, int tile, emit_value pointer, emit_value stride) {
  emit_value operands[] = {number(e, tile), pointer, stride};
  instruction(e, "tileloaddt164", operands, 3);
}

void emit_amx_store(struct emit *e, int tile, emit_value pointer, emit_value stride) {
  emit_value operands[] = {number(e, tile), pointer, stride};
  instruction(e, "tilestored64", operands, 3);
}

void emit_amx_dot_bf16(struct emit *e, int sum, int a, int b) {
  emit_value operands[] = {number(e, sum), number(e, a), number(e, b)};
  instruction(e, "tdpbf16ps", operands, 3);
}

void emit_amx_dot_int8(struct emit *e, int sum, int a, int b) {
  emit_value operands[] = {number(e, sum), number(e, a), number(e, b)};
  instruction(e, "tdpbusd", operands, 3);
}
