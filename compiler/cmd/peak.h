/* The fp32 peak of this CPU, measured: fused multiply-adds on registers alone. */
#ifndef VITC_CMD_PEAK_H
#define VITC_CMD_PEAK_H

#include "vitc/threads.h"

/* Operations a second on `threads` threads of the pool at once (NULL: the calling thread), over some `seconds`. 0 where this
 * CPU has no vectors that vitc uses. */
double measure_peak(const vitc_parallel *parallel, double seconds);

double seconds_now(void); /* monotonic */

#endif
