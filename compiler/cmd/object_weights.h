/* The int8 weights that an object holds, so that its products can be compiled again with the very same ones, however they were
 * rounded. */
#ifndef VITC_CMD_OBJECT_WEIGHTS_H
#define VITC_CMD_OBJECT_WEIGHTS_H

#include "cmd/machine.h"
#include "driver.h"

/* Everything is copied to the arena. An account that does not fit the weights is STATUS_INPUT. */
MUST_USE enum status object_weights_read(const struct machine *machine, const struct account *account, struct arena *arena,
                                         struct calibration *out_weights, struct diag *diag);

#endif
