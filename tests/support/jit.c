#include "support/jit.h"

#include "support/vector_model.h"
#include "vitc/host.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void die(const char *what, const char *message) {
  fprintf(stderr, "jit: %s: %s\n", what, message != NULL ? message : "failed");
  abort();
}

void jit_init(struct jit *jit, const struct target_level *level) {
  LLVMInitializeNativeTarget();
  LLVMInitializeNativeAsmPrinter();
  LLVMLinkInMCJIT();
  *jit = (struct jit){0};
  LLVMModuleRef module = LLVMModuleCreateWithNameInContext("test", LLVMContextCreate());
  char *triple = LLVMGetDefaultTargetTriple();
  LLVMSetTarget(module, triple);
  LLVMDisposeMessage(triple);
  emit_init(&jit->emit, module, level);
}

void jit_deinit(struct jit *jit) {
  LLVMContextRef context = jit->emit.context;
  emit_deinit(&jit->emit);
  if (jit->engine != NULL)
    LLVMDisposeExecutionEngine(jit->engine);
  else
    LLVMDisposeModule(jit->emit.module);
  LLVMContextDispose(context);
}

static void verify(struct jit *jit) {
  char *message = NULL;
  if (LLVMVerifyModule(jit->emit.module, LLVMReturnStatusAction, &message)) die("invalid module", message);
  LLVMDisposeMessage(message);
}

/* Feature bits that the level's code needs and this CPU lacks; when the environment asks for the model, all vector instructions
 * above AVX2. */
static unsigned lacking(const struct target_level *level) {
  const char *modelled = getenv("VITC_MODEL_LEVELS");
  unsigned has = target_host_features();
  if (modelled != NULL && modelled[0] != 0) has &= target_levels[LEVEL_avx2].requires;
  return level->requires & ~has;
}

static void start(struct jit *jit) {
  if (lacking(jit->emit.level) != 0) vector_model_apply(jit->emit.module);
  verify(jit);
  for (LLVMValueRef f = LLVMGetFirstFunction(jit->emit.module); f != NULL; f = LLVMGetNextFunction(f))
    LLVMSetLinkage(f, LLVMExternalLinkage);
  struct LLVMMCJITCompilerOptions options;
  LLVMInitializeMCJITCompilerOptions(&options, sizeof options);
  options.OptLevel = VITC_CODE_LEVEL;
  char *message = NULL;
  if (LLVMCreateMCJITCompilerForModule(&jit->engine, jit->emit.module, &options, sizeof options, &message))
    die("no engine", message);
}

void *jit_address(struct jit *jit, emit_value function) {
  if (jit->engine == NULL) start(jit);
  size_t length;
  return (void *)(uintptr_t)LLVMGetFunctionAddress(jit->engine, LLVMGetValueName2(function, &length));
}

char *jit_assembly(struct jit *jit) {
  verify(jit);
  char *triple = LLVMGetDefaultTargetTriple(), *message = NULL;
  LLVMTargetRef target;
  if (LLVMGetTargetFromTriple(triple, &target, &message)) die("no target", message);
  LLVMTargetMachineRef machine =
      LLVMCreateTargetMachine(target, triple, "", "", LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelSmall);
  LLVMMemoryBufferRef buffer;
  if (LLVMTargetMachineEmitToMemoryBuffer(machine, jit->emit.module, LLVMAssemblyFile, &message, &buffer))
    die("no assembly", message);
  char *text = LLVMCreateMessage(LLVMGetBufferStart(buffer));
  LLVMDisposeMemoryBuffer(buffer);
  LLVMDisposeTargetMachine(machine);
  LLVMDisposeMessage(triple);
  return text;
}

bool jit_runs(const struct target_level *level) {
  if ((level->requires & TARGET_AMX_TILE) != 0) return lacking(level) == 0 && vitc_cpu_request_amx() == 1;
  if (lacking(level) != 0) fprintf(stderr, "%s: not on this CPU, but by the model of its instructions\n", level->name);
  return true;
}

static size_t guarded_bytes(size_t count, size_t *out_page) {
  *out_page = (size_t)sysconf(_SC_PAGESIZE);
  return (count * sizeof(float) + *out_page - 1) / *out_page * *out_page;
}

float *guarded_floats(size_t count, float fill) {
  size_t page, bytes = guarded_bytes(count, &page);
  char *memory = mmap(NULL, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory + bytes, page, PROT_NONE) != 0) die("guarded memory", NULL);
  float *floats = (float *)(void *)(memory + bytes - count * sizeof(float));
  for (size_t i = 0; i < count; i++) floats[i] = fill;
  return floats;
}

void guarded_free(float *memory, size_t count) {
  size_t page, bytes = guarded_bytes(count, &page);
  munmap((char *)memory + count * sizeof(float) - bytes, bytes + page);
}

float next_random(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return (float)(int32_t)(*state & 0xffffff00u) / 2147483648.0f;
}
