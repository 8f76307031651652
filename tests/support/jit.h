/* Runs kernels in the test's own process: one module per CPU level, compiled when the first address is asked for.
 *
 *   struct jit jit;
 *   jit_init(&jit, &target_levels[LEVEL_avx2]);
 *   emit_value kernel = emit_gemm(&jit.emit, &desc);
 *   gemm_function *run = jit_address(&jit, kernel);
 *   jit_deinit(&jit);                              the addresses end here
 */
#ifndef VITC_TESTS_JIT_H
#define VITC_TESTS_JIT_H

#include "llvm/emit.h"

#include <llvm-c/ExecutionEngine.h>
#include <stddef.h>

struct jit {
  struct emit emit;
  LLVMExecutionEngineRef engine; /* owns the module once it exists */
};

void jit_init(struct jit *jit, const struct target_level *level);
void jit_deinit(struct jit *jit);

/* Kernels must all be built before the first call. Ends the program with a message when the module is not valid IR. */
void *jit_address(struct jit *jit, emit_value function);

/* The machine code as assembly text, to be freed with LLVMDisposeMessage. Before the first jit_address. */
char *jit_assembly(struct jit *jit);

/* Whether the level can be run: by this CPU, or by the model of its vector instructions (vector_model.h), which stderr tells.
 * With VITC_MODEL_LEVELS in the environment all levels above AVX2 are run by the model. Tiles of AMX have a model of their own,
 * which kernels are emitted for. */
bool jit_runs(const struct target_level *level);

/* Memory for `count` floats with an unreadable page right behind the last one, filled with `fill`. */
float *guarded_floats(size_t count, float fill);
void guarded_free(float *memory, size_t count);

/* The same numbers on every machine: uniform in [-1, 1). */
float next_random(uint32_t *state);

#endif
