/* The instructions above AVX2 that kernels ask for by name (AVX-512, its VNNI and BF16, AVX-VNNI), in C after the pseudo-code
 * of Intel's Software Developer's Manual, volume 2. A level that this machine lacks is run by them: each call of an intrinsic
 * becomes a call of its model, and the rest of the module is compiled for AVX2, where LLVM halves vectors of 512 bits. So what
 * is tested is all that the kernels say, and not LLVM's choice of AVX-512 encodings for it.
 *
 * Where the machine has the instructions, tests/unit/test_vector_model.c holds the models against them bit by bit. */
#ifndef VITC_TESTS_VECTOR_MODEL_H
#define VITC_TESTS_VECTOR_MODEL_H

#include <llvm-c/Core.h>

/* The module's functions as functions for AVX2, before it is compiled by a JIT of this process. Ends the program with a message
 * at an intrinsic without a model. */
void vector_model_apply(LLVMModuleRef module);

#endif
