/* The tables of inspect, on stdout. */
#ifndef VITC_CMD_INSPECT_H
#define VITC_CMD_INSPECT_H

#include "driver.h"
#include "load/load.h"

void inspect_values(const struct account *account);  /* inputs and outputs */
void inspect_account(const struct account *account); /* all else that the compiler says of a model */
void inspect_object(const struct loaded *loaded, const struct account *account); /* account: NULL when the object has none */
void inspect_ranges(struct compilation *compilation);                            /* of a planned graph's weights */
void inspect_ranges_json(struct compilation *compilation);                       /* a member */
void inspect_object_json(const struct loaded *loaded);

#endif
