#include "import.h"

#include <math.h>
#include <string.h>

static const double inception[3] = {0.5, 0.5, 0.5};
static const double imagenet_mean[3] = {0.485, 0.456, 0.406}, imagenet_std[3] = {0.229, 0.224, 0.225};

static const struct {
  double crop_pct, crop_pct_384; /* images of 384 and more are validated without a margin where the second is 1 */
  const double *mean, *std;
  enum vitc_filter filter;
} defaults[] = {
    [PREPROCESS_AUGREG] = {0.9, 1.0, inception, inception, VITC_BICUBIC},
    [PREPROCESS_DEIT] = {0.9, 1.0, imagenet_mean, imagenet_std, VITC_BICUBIC},
    [PREPROCESS_TORCHVISION] = {224.0 / 256, 224.0 / 256, imagenet_mean, imagenet_std, VITC_BILINEAR},
    [PREPROCESS_TORCHVISION_LARGE] = {224.0 / 242, 224.0 / 242, imagenet_mean, imagenet_std, VITC_BILINEAR},
    [PREPROCESS_IN21K] = {224.0 / 256, 224.0 / 256, inception, inception, VITC_BILINEAR},
};

void preprocess_timm(struct vitc_preprocess *preprocess, int64_t height, int64_t width, double crop_pct, bool squash) {
  /* 224 / (224 / 242) must not lose the last unit to rounding, and a crop_pct of 0.9 is far from any such edge. */
  double scaled_height = floor((double)height / crop_pct + 1e-9), scaled_width = floor((double)width / crop_pct + 1e-9);
  preprocess->resize = squash ? VITC_RESIZE_EXACT : VITC_RESIZE_SHORTEST;
  if (!squash && scaled_height != scaled_width) {
    /* One edge cannot be the shortest of both: the longer one covers the crop in either direction. */
    scaled_height = scaled_width = fmax(scaled_height, scaled_width);
  }
  preprocess->resize_height = (uint32_t)scaled_height;
  preprocess->resize_width = (uint32_t)scaled_width;
  preprocess->crop_height = (uint32_t)height;
  preprocess->crop_width = (uint32_t)width;
}

void preprocess_defaults(struct vit_config *config) {
  struct vitc_preprocess *preprocess = &config->preprocess;
  if (preprocess->resize != VITC_RESIZE_UNKNOWN || config->defaults == PREPROCESS_UNKNOWN || config->channels != 3) return;
  bool large = config->image_height >= 384 && config->image_width >= 384;
  double crop_pct = large ? defaults[config->defaults].crop_pct_384 : defaults[config->defaults].crop_pct;
  preprocess_timm(preprocess, config->image_height, config->image_width, crop_pct, false);
  preprocess->filter = (uint32_t)defaults[config->defaults].filter;
  preprocess->arithmetic = VITC_ARITHMETIC_TORCHVISION;
  preprocess->rescale = 1.0 / 255;
  memcpy(preprocess->mean, defaults[config->defaults].mean, sizeof preprocess->mean);
  memcpy(preprocess->std, defaults[config->defaults].std, sizeof preprocess->std);
}

void preprocess_scale(struct vitc_preprocess *preprocess, const struct vit_config *config, int64_t height, int64_t width) {
  if (preprocess->resize == VITC_RESIZE_UNKNOWN || preprocess->resize == VITC_RESIZE_NONE) return;
  double factor_height = (double)height / (double)config->image_height;
  double factor_width = (double)width / (double)config->image_width;
  if (preprocess->resize == VITC_RESIZE_SHORTEST) factor_height = factor_width = fmax(factor_height, factor_width);
  preprocess->resize_height = (uint32_t)floor((double)preprocess->resize_height * factor_height + 1e-9);
  preprocess->resize_width = (uint32_t)floor((double)preprocess->resize_width * factor_width + 1e-9);
  if (preprocess->crop_height == 0) return;
  preprocess->crop_height = (uint32_t)height;
  preprocess->crop_width = (uint32_t)width;
}
