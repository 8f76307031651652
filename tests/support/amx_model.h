/* AMX's tile instructions in C, after the pseudo-code of Intel's Software Developer's Manual (volume 2: LDTILECFG, TILELOADD,
 * TILESTORED, TILEZERO, TDPBF16PS, TDPBUSD, TILERELEASE), for kernels that are generated with emit->tile_model. What the
 * processor would refuse (#GP, #UD) ends the program with a message. */
#ifndef VITC_TESTS_AMX_MODEL_H
#define VITC_TESTS_AMX_MODEL_H

#include <stdbool.h>
#include <stdint.h>

/* Makes the functions known to JIT-compiled code under the names that emit_amx.h says. */
void amx_model_install(void);

/* Whether this process may use AMX itself; says so on stderr when it may not. */
bool amx_native(void);

void amx_ldtilecfg(const void *memory);
void amx_tilerelease(void);
void amx_tilezero(uint8_t tile);
void amx_tileloadd64(uint8_t tile, const void *memory, int64_t stride);
void amx_tileloaddt164(uint8_t tile, const void *memory, int64_t stride);
void amx_tilestored64(uint8_t tile, void *memory, int64_t stride);
void amx_tdpbf16ps(uint8_t sum, uint8_t a, uint8_t b);
void amx_tdpbusd(uint8_t sum, uint8_t a, uint8_t b);

#endif
