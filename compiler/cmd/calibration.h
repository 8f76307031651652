/* compile --calibrate: int8 weights rounded for what the products see on the images of a folder. */
#ifndef VITC_CMD_CALIBRATION_H
#define VITC_CMD_CALIBRATION_H

#include "driver.h"

/* Interprets `graph` on images of `folder` (or the one file of that name), prepared as for any command that takes images: all
 * of them up to 64, and of more as many at even distances in their order, and fewer where one value of the whole batch would
 * take over 512 MB. An image that cannot be read is an error. `driver` says how the graph will be compiled; what is found for
 * its int8 products, whichever of them the driver's choices leave in int8, lives in `arena`. */
MUST_USE enum status calibrate_on_images(const char *graph, const char *folder, const struct driver_options *driver,
                                         struct arena *arena, struct calibration *out_calibration, struct diag *diag);

#endif
