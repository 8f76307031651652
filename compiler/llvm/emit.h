/* Loop and vector builders over LLVM's C API: what every generator of kernels is written in.
 *
 * An emitter holds the module and the CPU level that code is generated for. No IR passes run afterwards, so what is built
 * here is what the machine code generator gets: constants are folded by the builder, loops are in their final form, vectors
 * have the level's width. All pointers are opaque, all indices i64. fp32 elements unless said. */
#ifndef VITC_LLVM_EMIT_H
#define VITC_LLVM_EMIT_H

#include "target/target.h"

#include <llvm-c/Core.h>
#include <stdbool.h>
#include <stdint.h>

struct kernel;

struct emit {
  LLVMContextRef context;
  LLVMModuleRef module;
  LLVMBuilderRef builder;
  const struct target_level *level;
  LLVMTypeRef void_type, i1, i8, i32, i64, f32, pointer;
  LLVMTypeRef vector;     /* level->lanes x f32 */
  LLVMTypeRef ivector;    /* level->lanes x i32 */
  LLVMValueRef function;  /* being built */
  struct kernel *kernels; /* of kernels.h */
  bool tile_model;        /* AMX's instructions are calls (emit_amx.h) */
};

typedef LLVMValueRef emit_value;

/* The module belongs to the caller; emit_deinit disposes of the builder only. */
void emit_init(struct emit *e, LLVMModuleRef module, const struct target_level *level);
void emit_deinit(struct emit *e);

/* Starts an internal function with the level's CPU attributes and an entry block. Pointer parameters are noalias only where the
 * caller says so with emit_noalias. emit_function_end adds `ret void` when the last block has no terminator. */
emit_value emit_function_begin(struct emit *e, const char *name, LLVMTypeRef result, const LLVMTypeRef *parameters, int count);
void emit_function_end(struct emit *e);

/* Between the two other functions can be made, while one is not finished. */
struct emit_aside {
  LLVMValueRef function;
  LLVMBasicBlockRef block;
};

struct emit_aside emit_aside_begin(const struct emit *e);
void emit_aside_end(struct emit *e, const struct emit_aside *aside);
void emit_noalias(struct emit *e, int parameter);
emit_value emit_parameter(struct emit *e, int index);
emit_value emit_call(struct emit *e, emit_value function, const emit_value *arguments, int count);

emit_value emit_i64(struct emit *e, int64_t value);
emit_value emit_i32(struct emit *e, int32_t value);
emit_value emit_f32(struct emit *e, double value);
emit_value emit_add(struct emit *e, emit_value a, emit_value b); /* integers */
emit_value emit_sub(struct emit *e, emit_value a, emit_value b);
emit_value emit_mul(struct emit *e, emit_value a, emit_value b);
emit_value emit_min(struct emit *e, emit_value a, emit_value b); /* signed */
emit_value emit_max(struct emit *e, emit_value a, emit_value b);

/* pointer + index * 4 bytes * scale (elements of fp32); emit_bytes: pointer + bytes. */
emit_value emit_at(struct emit *e, emit_value pointer, emit_value index);
emit_value emit_at_const(struct emit *e, emit_value pointer, int64_t index);
emit_value emit_bytes(struct emit *e, emit_value pointer, emit_value bytes);

/* Scalars. */
emit_value emit_load_f32(struct emit *e, emit_value pointer);
void emit_store_f32(struct emit *e, emit_value value, emit_value pointer);

/* Vectors of `lanes` <= level->lanes elements: loads and stores touch exactly `lanes` elements (aligned to 4 bytes); the other
 * lanes of a load are zero. lanes is a compile-time count; emit_*_mask take a vector of i1. */
emit_value emit_load_vector(struct emit *e, emit_value pointer, int lanes);
void emit_store_vector(struct emit *e, emit_value vector, emit_value pointer, int lanes);
emit_value emit_splat(struct emit *e, emit_value scalar);
emit_value emit_splat_const(struct emit *e, double value);
emit_value emit_splat_i32(struct emit *e, int32_t value);
emit_value emit_lane_mask(struct emit *e, int lanes); /* <level->lanes x i1>, first `lanes` set */

/* Arithmetic on f32 scalars and vectors alike. */
emit_value emit_fadd(struct emit *e, emit_value a, emit_value b);
emit_value emit_fsub(struct emit *e, emit_value a, emit_value b);
emit_value emit_fmul(struct emit *e, emit_value a, emit_value b);
emit_value emit_fdiv(struct emit *e, emit_value a, emit_value b);
emit_value emit_fma(struct emit *e, emit_value a, emit_value b, emit_value c); /* a * b + c, one rounding */
emit_value emit_fmax(struct emit *e, emit_value a, emit_value b);              /* a > b ? a : b */
emit_value emit_fmin(struct emit *e, emit_value a, emit_value b);
emit_value emit_fsqrt(struct emit *e, emit_value a);
emit_value emit_fabs(struct emit *e, emit_value a);
emit_value emit_select(struct emit *e, emit_value condition, emit_value a, emit_value b);

/* Two bf16 in each 32-bit lane, of vectors of any type: sum + a.low * b.low + a.high * b.high, as vdpbf16ps rounds. Levels with
 * dot_bf16. */
emit_value emit_dot_bf16(struct emit *e, emit_value sum, emit_value a, emit_value b);
/* Four u8 of a and four s8 of b in each 32-bit lane: sum + their products, in 32-bit integers; levels with dot_int8. Vectors of
 * any type but for the sum. */
emit_value emit_dot_int8(struct emit *e, emit_value sum, emit_value a, emit_value b);
/* Two 16-bit numbers of each: sum - their products. Subtracted, since the code generator joins sums of sums in an order that
 * needs more registers. */
emit_value emit_dot_int16(struct emit *e, emit_value sum, emit_value a, emit_value b);
/* level->lanes bf16, 2 bytes each and adjacent, or one as an f32, widened. */
emit_value emit_load_bf16(struct emit *e, emit_value pointer);
emit_value emit_load_bf16_scalar(struct emit *e, emit_value pointer);
/* Rounds a vector of fp32 to bf16, nearest even, and stores level->lanes of them, 2 bytes each. Levels with dot_bf16. */
void emit_store_bf16(struct emit *e, emit_value vector, emit_value pointer);
/* The same of two vectors at once, `low` first: one instruction for both, and one store of a whole cache line. */
void emit_store_bf16_pair(struct emit *e, emit_value low, emit_value high, emit_value pointer);

/* Sum or maximum of a vector's lanes, as a tree: lanes i and i + n/2 first, so the order is fixed. */
emit_value emit_reduce_add(struct emit *e, emit_value vector);
emit_value emit_reduce_max(struct emit *e, emit_value vector);

/* Calls an LLVM intrinsic, overloaded on one type, e.g. "llvm.fma", or not, e.g. "llvm.x86.avx2.packuswb". */
emit_value emit_intrinsic(struct emit *e, const char *name, LLVMTypeRef type, const emit_value *arguments, int count);

/* A counted loop with up to EMIT_CARRIED_MAX carried values:
 *
 *   struct emit_loop loop;
 *   emit_loop_begin(e, &loop, begin, end, step, initial, n, EMIT_MAYBE_EMPTY);
 *   ... uses loop.index, loop.carried[i] ...
 *   emit_loop_end(e, &loop, next);
 *   ... loop.carried[i] are the final values ...
 *
 * EMIT_NOT_EMPTY promises begin < end and gives a bottom-tested loop. loop.step can be set to another step meanwhile. */
enum { EMIT_CARRIED_MAX = 64, EMIT_MAYBE_EMPTY = 0, EMIT_NOT_EMPTY = 1 };

struct emit_loop {
  LLVMBasicBlockRef body, exit, head;
  emit_value index, step, end;
  emit_value carried[EMIT_CARRIED_MAX];
  int carried_count;
  int not_empty;
};

void emit_loop_begin(struct emit *e, struct emit_loop *loop, emit_value begin, emit_value end, int64_t step,
                     const emit_value *initial, int carried_count, int not_empty);
void emit_loop_end(struct emit *e, struct emit_loop *loop, const emit_value *next);

/* A loop along pointers, each of which goes on by as many bytes with every turn, by none where they are NULL: between the two
 * calls at[i] is what it is in this turn. */
struct emit_walk {
  struct emit_loop loop;
  emit_value next[EMIT_CARRIED_MAX];
};
void emit_walk_begin(struct emit *e, struct emit_walk *walk, emit_value begin, emit_value end, emit_value *at,
                     const emit_value *bytes, int count, int not_empty);
void emit_walk_end(struct emit *e, struct emit_walk *walk);

/* if (condition) { ... } : emit_if_begin .. emit_if_end. */
struct emit_if {
  LLVMBasicBlockRef exit;
};
void emit_if_begin(struct emit *e, struct emit_if *branch, emit_value condition);
void emit_if_end(struct emit *e, struct emit_if *branch);

/* Entry-block stack memory of `bytes`, aligned to 64. */
emit_value emit_stack(struct emit *e, int64_t bytes);

/* A constant of the module's own, whose name need not be new: its address. */
emit_value emit_table(struct emit *e, emit_value constant, const char *name);

#endif
