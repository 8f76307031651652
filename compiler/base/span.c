#include "base/span.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static enum status map_descriptor(int descriptor, const char *path, struct span *out_span, struct diag *diag) {
  struct stat info;
  if (fstat(descriptor, &info) != 0) return diag_fail(diag, STATUS_INPUT, "%s: cannot read: %s", path, strerror(errno));
  if (S_ISDIR(info.st_mode)) return diag_fail(diag, STATUS_INPUT, "%s: is a directory, expected a file", path);
  if (!S_ISREG(info.st_mode)) return diag_fail(diag, STATUS_INPUT, "%s: is not a regular file", path);
  if (info.st_size == 0) return STATUS_OK;
  if ((uintmax_t)info.st_size > PTRDIFF_MAX) return diag_fail(diag, STATUS_SYSTEM, "%s: too large to map", path);
  void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (data == MAP_FAILED) return diag_fail(diag, STATUS_SYSTEM, "%s: cannot map: %s", path, strerror(errno));
  *out_span = (struct span){data, (size_t)info.st_size};
  return STATUS_OK;
}

enum status span_map_file(const char *path, struct span *out_span, struct diag *diag) {
  *out_span = (struct span){NULL, 0};
  /* Without O_NONBLOCK, opening a FIFO would wait for a writer. */
  int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return diag_fail(diag, STATUS_INPUT, "%s: cannot open: %s", path, strerror(errno));
  enum status status = map_descriptor(descriptor, path, out_span, diag);
  close(descriptor);
  return status;
}

void span_unmap(struct span *span) {
  if (span->data != NULL) munmap((void *)(uintptr_t)span->data, span->size);
  *span = (struct span){NULL, 0};
}
