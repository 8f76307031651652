/* Loops of the instructions that products are made of, on registers alone. */
#ifndef VITC_CMD_PEAK_WORK_H
#define VITC_CMD_PEAK_WORK_H

#include "target/target.h"

/* Runs for some microseconds and returns the operations that it did, two for each product. */
typedef double (*peak_work)(void);

/* The fastest multiply-adds of an arithmetic in the code of a level, which the caller has checked that this CPU, and with tiles
 * this process, may run and which computes in it (target_arithmetic, or fp32); NULL for no level. */
peak_work peak_work_of(const struct target_level *level, enum arithmetic arithmetic);

#endif
