/* An unnamed file for an object that only this process loads. It has no name that a signal could leave behind. */
#ifndef VITC_CMD_TEMPORARY_H
#define VITC_CMD_TEMPORARY_H

#include "base/diag.h"

struct temporary {
  int descriptor; /* -1: none */
  char path[32];  /* opens the file while the descriptor lives */
};

MUST_USE enum status temporary_open(struct temporary *out_temporary, struct diag *diag);
void temporary_close(struct temporary *temporary);

#endif
