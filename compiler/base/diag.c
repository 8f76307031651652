#include "base/diag.h"

#include <stdarg.h>
#include <stdio.h>

enum status diag_fail(struct diag *diag, enum status status, const char *format, ...) {
  if (diag->status != STATUS_OK) return status;
  diag->status = status;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(diag->message, sizeof diag->message, format, arguments);
  va_end(arguments);
  for (char *at = diag->message; *at != '\0'; at++) {
    unsigned char c = (unsigned char)*at;
    if (c < 0x20 || c == 0x7f) *at = '?';
  }
  return status;
}
