/* The tables of inspect, on stdout. */
#ifndef VITC_CMD_INSPECT_H
#define VITC_CMD_INSPECT_H

#include "driver.h"
#include "load/load.h"

void inspect_graph(struct compilation *compilation); /* after driver_optimize */
void inspect_object(const struct loaded *loaded, bool json);

#endif
