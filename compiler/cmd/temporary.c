#include "cmd/temporary.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum status temporary_open(struct temporary *out_temporary, struct diag *diag) {
  const char *folder = getenv("TMPDIR");
  char path[4096];
  int length = snprintf(path, sizeof path, "%s/vitc-XXXXXX", folder != NULL && folder[0] != '\0' ? folder : "/tmp");
  out_temporary->descriptor = length < (int)sizeof path ? mkostemp(path, 0) : -1;
  if (out_temporary->descriptor < 0) return diag_fail(diag, STATUS_SYSTEM, "%s: cannot create: %s", path, strerror(errno));
  unlink(path);
  snprintf(out_temporary->path, sizeof out_temporary->path, "/dev/fd/%d", out_temporary->descriptor);
  return STATUS_OK;
}

void temporary_close(struct temporary *temporary) {
  if (temporary->descriptor >= 0) close(temporary->descriptor);
  temporary->descriptor = -1;
}
