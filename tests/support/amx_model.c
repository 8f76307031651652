#include "support/amx_model.h"

#include "vitc/host.h"

#include <float.h>
#include <llvm-c/Support.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TILES = 8, ROWS = 16, ROW_BYTES = 64, WORDS = ROW_BYTES / 4, CONFIG_BYTES = 64, COLUMNS_AT = 16, ROWS_AT = 48 };

struct tile {
  unsigned rows, bytes; /* as configured */
  unsigned char data[ROWS][ROW_BYTES];
};

static struct {
  bool configured;
  struct tile tiles[TILES];
} state;

static void require(bool allowed, const char *instruction, const char *why) {
  if (allowed) return;
  fprintf(stderr, "AMX model: %s: %s\n", instruction, why);
  abort();
}

static struct tile *find(uint8_t tile, const char *instruction) {
  require(state.configured, instruction, "#UD: tiles are not configured");
  require(tile < TILES && state.tiles[tile].rows > 0, instruction, "#UD: no such tile is configured");
  return &state.tiles[tile];
}

void amx_ldtilecfg(const void *memory) {
  const unsigned char *config = memory;
  memset(&state, 0, sizeof state);
  require(config[0] <= 1, "ldtilecfg", "#GP: unknown palette");
  if (config[0] == 0) return;
  for (int i = 2; i < COLUMNS_AT; i++) require(config[i] == 0, "ldtilecfg", "#GP: reserved bytes");
  for (int i = COLUMNS_AT + 2 * TILES; i < ROWS_AT; i++) require(config[i] == 0, "ldtilecfg", "#GP: reserved bytes");
  for (int i = ROWS_AT + TILES; i < CONFIG_BYTES; i++) require(config[i] == 0, "ldtilecfg", "#GP: reserved bytes");
  for (int t = 0; t < TILES; t++) {
    struct tile *tile = &state.tiles[t];
    tile->bytes = config[COLUMNS_AT + 2 * t] + 256u * config[COLUMNS_AT + 2 * t + 1];
    tile->rows = config[ROWS_AT + t];
    require(tile->rows <= ROWS && tile->bytes <= ROW_BYTES, "ldtilecfg", "#GP: a tile is too large");
    require((tile->rows == 0) == (tile->bytes == 0), "ldtilecfg", "#GP: rows without columns");
  }
  state.configured = true;
}

void amx_tilerelease(void) {
  memset(&state, 0, sizeof state);
}

void amx_tilezero(uint8_t tile) {
  struct tile *to = find(tile, "tilezero");
  memset(to->data, 0, sizeof to->data);
}

void amx_tileloadd64(uint8_t tile, const void *memory, int64_t stride) {
  struct tile *to = find(tile, "tileloadd");
  memset(to->data, 0, sizeof to->data);
  for (unsigned r = 0; r < to->rows; r++) memcpy(to->data[r], (const char *)memory + (int64_t)r * stride, to->bytes);
}

/* The hint changes no result. */
void amx_tileloaddt164(uint8_t tile, const void *memory, int64_t stride) {
  amx_tileloadd64(tile, memory, stride);
}

void amx_tilestored64(uint8_t tile, void *memory, int64_t stride) {
  const struct tile *from = find(tile, "tilestored");
  for (unsigned r = 0; r < from->rows; r++) memcpy((char *)memory + (int64_t)r * stride, from->data[r], from->bytes);
}

static void check_product(uint8_t sum, uint8_t a, uint8_t b, const char *instruction) {
  const struct tile *c = find(sum, instruction), *x = find(a, instruction), *y = find(b, instruction);
  require(sum != a && sum != b && a != b, instruction, "#UD: the same tile twice");
  require(c->bytes % 4 == 0 && x->bytes % 4 == 0 && y->bytes % 4 == 0, instruction, "#UD: columns are not words");
  require(c->rows == x->rows && x->bytes / 4 == y->rows && c->bytes == y->bytes, instruction, "#UD: sizes do not match");
}

static float zero_denormal(float x) {
  return fabsf(x) < FLT_MIN ? copysignf(0, x) : x;
}

static float bf16_at(const unsigned char *row, unsigned index) {
  uint32_t bits = (uint32_t)row[2 * index] << 16 | (uint32_t)row[2 * index + 1] << 24;
  float value;
  memcpy(&value, &bits, sizeof value);
  return zero_denormal(value);
}

/* The even and the odd products of a row have sums of their own, each step one fused multiply-add, rounded to nearest even;
 * then both are added, and that to the tile. Denormals are zero wherever they come from. */
void amx_tdpbf16ps(uint8_t sum, uint8_t a, uint8_t b) {
  check_product(sum, a, b, "tdpbf16ps");
  struct tile *c = &state.tiles[sum];
  const struct tile *x = &state.tiles[a], *y = &state.tiles[b];
  for (unsigned m = 0; m < c->rows; m++) {
    float parts[WORDS][2] = {{0}}, values[WORDS] = {0};
    for (unsigned k = 0; k < x->bytes / 4; k++)
      for (unsigned n = 0; n < c->bytes / 4; n++)
        for (unsigned odd = 0; odd < 2; odd++)
          parts[n][odd] =
              zero_denormal(fmaf(bf16_at(x->data[m], 2 * k + odd), bf16_at(y->data[k], 2 * n + odd), parts[n][odd]));
    memcpy(values, c->data[m], c->bytes);
    for (unsigned n = 0; n < c->bytes / 4; n++)
      values[n] = zero_denormal(zero_denormal(values[n]) + zero_denormal(parts[n][0] + parts[n][1]));
    memset(c->data[m], 0, ROW_BYTES);
    memcpy(c->data[m], values, c->bytes);
  }
  for (unsigned m = c->rows; m < ROWS; m++) memset(c->data[m], 0, ROW_BYTES);
}

void amx_tdpbusd(uint8_t sum, uint8_t a, uint8_t b) {
  check_product(sum, a, b, "tdpbusd");
  struct tile *c = &state.tiles[sum];
  const struct tile *x = &state.tiles[a], *y = &state.tiles[b];
  for (unsigned m = 0; m < c->rows; m++) {
    uint32_t values[WORDS] = {0};
    memcpy(values, c->data[m], c->bytes);
    for (unsigned k = 0; k < x->bytes / 4; k++)
      for (unsigned n = 0; n < c->bytes / 4; n++)
        for (unsigned i = 0; i < 4; i++) values[n] += (uint32_t)(x->data[m][4 * k + i] * (int8_t)y->data[k][4 * n + i]);
    memset(c->data[m], 0, ROW_BYTES);
    memcpy(c->data[m], values, c->bytes);
  }
  for (unsigned m = c->rows; m < ROWS; m++) memset(c->data[m], 0, ROW_BYTES);
}

void amx_model_install(void) {
  static const struct {
    const char *name;
    void *function;
  } functions[] = {
      {"amx_ldtilecfg", (void *)amx_ldtilecfg},         {"amx_tilerelease", (void *)amx_tilerelease},
      {"amx_tilezero", (void *)amx_tilezero},           {"amx_tileloadd64", (void *)amx_tileloadd64},
      {"amx_tileloaddt164", (void *)amx_tileloaddt164}, {"amx_tilestored64", (void *)amx_tilestored64},
      {"amx_tdpbf16ps", (void *)amx_tdpbf16ps},         {"amx_tdpbusd", (void *)amx_tdpbusd},
  };
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) LLVMAddSymbol(functions[i].name, functions[i].function);
}

bool amx_native(void) {
  bool native = vitc_cpu_request_amx() == 1;
  if (!native) fprintf(stderr, "AMX: this machine has none, kernels run on the instruction-level model alone\n");
  return native;
}
