/* Loops of the instructions that products are made of, on registers alone. */
#ifndef VITC_CMD_PEAK_WORK_H
#define VITC_CMD_PEAK_WORK_H

#include "target/target.h"

/* Runs for some microseconds and returns the operations that it did, two for each product. */
typedef double (*peak_work)(void);

/* For the products of a precision in the code of a level, which the caller has checked that this CPU, and with tiles this
 * process, may run; NULL for no level. out_what: the instruction's precision, "bf16": fp32 where the level has none of its own.
 */
peak_work peak_work_of(const struct target_level *level, enum precision precision, enum precision *out_what);

#endif
