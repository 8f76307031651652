#include "llvm/unit.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Core.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>

#include <pthread.h>
#include <stddef.h>

static const char triple[] = "x86_64-unknown-linux-gnu";

/* Loops are built with the addresses that they are to have (emit.h): to look for better ones takes a quarter of the time of
 * generating code, and finds none. LLVM takes its options once in a process. */
static void set_options(void) {
  const char *const options[] = {"vitc", "-disable-lsr"};
  LLVMParseCommandLineOptions(2, options, "");
}

enum status units_prepare(struct diag *diag) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, set_options);
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  LLVMInitializeX86AsmParser();
  LLVMTargetRef target;
  char *message = NULL;
  if (LLVMGetTargetFromTriple(triple, &target, &message) == 0) return STATUS_OK;
  enum status status = diag_fail(diag, STATUS_SYSTEM, "LLVM has no target %s: %s", triple, message);
  LLVMDisposeMessage(message);
  return status;
}

void unit_init(struct unit *unit, const char *name) {
  LLVMTargetRef target = LLVMGetTargetFromName("x86-64");
  *unit = (struct unit){.context = LLVMContextCreate()};
  unit->module = LLVMModuleCreateWithNameInContext(name, unit->context);
  unit->machine = LLVMCreateTargetMachine(target, triple, "x86-64", "", VITC_CODE_LEVEL, LLVMRelocPIC, LLVMCodeModelSmall);
  LLVMSetTarget(unit->module, triple);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(unit->machine);
  LLVMSetModuleDataLayout(unit->module, layout);
  LLVMDisposeTargetData(layout);
}

void unit_deinit(struct unit *unit) {
  if (unit->context == NULL) return;
  if (unit->code != NULL) LLVMDisposeMemoryBuffer(unit->code);
  LLVMDisposeTargetMachine(unit->machine);
  LLVMDisposeModule(unit->module);
  LLVMContextDispose(unit->context);
  *unit = (struct unit){.context = NULL};
}

int64_t unit_size(const struct unit *unit) {
  int64_t size = 0;
  for (LLVMValueRef f = LLVMGetFirstFunction(unit->module); f != NULL; f = LLVMGetNextFunction(f))
    for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(f); block != NULL; block = LLVMGetNextBasicBlock(block))
      for (LLVMValueRef i = LLVMGetFirstInstruction(block); i != NULL; i = LLVMGetNextInstruction(i)) size++;
  return size;
}

enum status unit_verify(const struct unit *unit, struct diag *diag) {
  enum status status = STATUS_OK;
  char *message = NULL;
  if (LLVMVerifyModule(unit->module, LLVMReturnStatusAction, &message) != 0)
    status = diag_fail(diag, STATUS_SYSTEM, "internal error: invalid code: %s", message);
  LLVMDisposeMessage(message);
  return status;
}

enum status unit_generate(struct unit *unit, LLVMCodeGenFileType type, struct diag *diag) {
  TRY(unit_verify(unit, diag));
  char *message = NULL;
  if (LLVMTargetMachineEmitToMemoryBuffer(unit->machine, unit->module, type, &message, &unit->code) == 0) return STATUS_OK;
  enum status status = diag_fail(diag, STATUS_SYSTEM, "LLVM cannot generate code: %s", message);
  LLVMDisposeMessage(message);
  return status;
}
