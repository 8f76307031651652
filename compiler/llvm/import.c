/* What one module of a model refers to in another. */
#include "llvm/lower.h"

#include <string.h>

enum { PARAMETERS_MAX = 8 };

/* The type in e's context. */
static LLVMTypeRef function_type(struct emit *e, LLVMTypeRef from) {
  LLVMTypeRef parameters[PARAMETERS_MAX];
  unsigned count = LLVMCountParamTypes(from);
  LLVMGetParamTypes(from, parameters);
  for (unsigned i = 0; i < count; i++)
    parameters[i] = LLVMGetTypeKind(parameters[i]) == LLVMPointerTypeKind
                        ? e->pointer
                        : LLVMIntTypeInContext(e->context, LLVMGetIntTypeWidth(parameters[i]));
  return LLVMFunctionType(e->void_type, parameters, count, 0);
}

static void share(emit_value global, const struct graph *graph) {
  if (LLVMGetLinkage(global) != LLVMInternalLinkage) return;
  size_t length;
  const char *name = arena_printf(graph->arena, "%s.%s", graph->name, LLVMGetValueName2(global, &length));
  LLVMSetValueName2(global, name, strlen(name));
  LLVMSetLinkage(global, LLVMExternalLinkage);
  LLVMSetVisibility(global, LLVMHiddenVisibility);
}

emit_value lower_import(struct emit *e, emit_value global, const struct graph *graph) {
  if (LLVMGetGlobalParent(global) == e->module) return global;
  share(global, graph);
  size_t length;
  const char *name = LLVMGetValueName2(global, &length);
  bool is_function = LLVMIsAFunction(global) != NULL;
  emit_value here = is_function ? LLVMGetNamedFunction(e->module, name) : LLVMGetNamedGlobal(e->module, name);
  if (here != NULL) return here;
  here = is_function ? LLVMAddFunction(e->module, name, function_type(e, LLVMGlobalGetValueType(global)))
                     : LLVMAddGlobal(e->module, e->i8, name);
  LLVMSetVisibility(here, LLVMHiddenVisibility);
  return here;
}
