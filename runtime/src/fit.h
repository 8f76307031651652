/* What of an image is shown at which size, by the rules of a vitc_preprocess: sizes only, no pixels. */
#ifndef VITC_RUNTIME_FIT_H
#define VITC_RUNTIME_FIT_H

#include "resample.h"

#include <stdbool.h>

/* Where one axis of the crop lies: `skip` samples of the image are cut off before it, or `pad` zeros come first. */
struct crop {
  uint32_t skip, pad, shown;
};

/* What of the resized image is shown, and where in the result. */
struct fit {
  struct window window;
  struct crop across, down;
  uint32_t width, height; /* of the result */
};

vitc_image_status fit_of(const vitc_image *image, const vitc_preprocess *preprocess, struct fit *out_fit);

/* Whether zeros after the normalisation fill the result up to crop_height x crop_width. */
bool fit_pads_after(const vitc_preprocess *preprocess);

#endif
