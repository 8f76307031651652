#include "llvm/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kernel {
  struct kernel *next;
  const char *kind;
  emit_value function;
  size_t size;
  unsigned char desc[];
};

emit_value kernel_find(const struct emit *e, const char *kind, const void *desc, size_t size) {
  for (const struct kernel *kernel = e->kernels; kernel != NULL; kernel = kernel->next)
    if (kernel->size == size && strcmp(kernel->kind, kind) == 0 && memcmp(kernel->desc, desc, size) == 0)
      return kernel->function;
  return NULL;
}

void kernel_add(struct emit *e, const char *kind, const void *desc, size_t size, emit_value function) {
  struct kernel *kernel = malloc(sizeof *kernel + size);
  if (kernel == NULL) {
    fputs("vitc: out of memory\n", stderr);
    exit(4);
  }
  *kernel = (struct kernel){.next = e->kernels, .kind = kind, .function = function, .size = size};
  memcpy(kernel->desc, desc, size);
  e->kernels = kernel;
}

void kernels_free(struct emit *e) {
  while (e->kernels != NULL) {
    struct kernel *next = e->kernels->next;
    free(e->kernels);
    e->kernels = next;
  }
}
