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
    [PREPROCESS_TORCHVISION] = {0.875, 0.875, imagenet_mean, imagenet_std, VITC_BILINEAR},
    /* 224 / 0.9256 is 242 */
    [PREPROCESS_TORCHVISION_LARGE] = {0.9256, 0.9256, imagenet_mean, imagenet_std, VITC_BILINEAR},
    [PREPROCESS_IN21K] = {0.875, 0.875, inception, inception, VITC_BILINEAR},
};

static void use_defaults(struct vit_config *config) {
  struct vitc_preprocess *preprocess = &config->preprocess;
  bool large = config->image_height >= 384 && config->image_width >= 384;
  config->crop_pct = large ? defaults[config->defaults].crop_pct_384 : defaults[config->defaults].crop_pct;
  preprocess->resize = VITC_RESIZE_SHORTEST;
  preprocess->filter = (uint32_t)defaults[config->defaults].filter;
  preprocess->arithmetic = VITC_ARITHMETIC_TORCHVISION;
  preprocess->rescale = 1.0 / 255;
  memcpy(preprocess->mean, defaults[config->defaults].mean, sizeof preprocess->mean);
  memcpy(preprocess->std, defaults[config->defaults].std, sizeof preprocess->std);
}

/* timm's evaluation transform: edges floor(size / crop_pct), which a rectangle's image covers, then the crop. */
static void resize_by_crop_pct(const struct vit_config *config, struct vitc_preprocess *preprocess, int64_t height,
                               int64_t width) {
  preprocess->resize = config->squash ? VITC_RESIZE_EXACT : VITC_RESIZE_SHORTEST;
  preprocess->resize_height = (uint32_t)floor((double)height / config->crop_pct);
  preprocess->resize_width = (uint32_t)floor((double)width / config->crop_pct);
  preprocess->crop_height = (uint32_t)height;
  preprocess->crop_width = (uint32_t)width;
}

/* A source's sizes, in proportion, for another image size. */
static void resize_in_proportion(struct vitc_preprocess *preprocess, int64_t height, int64_t width) {
  bool crop = preprocess->crop_height != 0;
  uint64_t from_height = crop ? preprocess->crop_height : preprocess->resize_height;
  uint64_t from_width = crop ? preprocess->crop_width : preprocess->resize_width;
  preprocess->resize_height = (uint32_t)(preprocess->resize_height * (uint64_t)height / from_height);
  preprocess->resize_width = (uint32_t)(preprocess->resize_width * (uint64_t)width / from_width);
  if (!crop) return;
  preprocess->crop_height = (uint32_t)height;
  preprocess->crop_width = (uint32_t)width;
}

void preprocess_finish(struct vit_config *config, int64_t height, int64_t width) {
  struct vitc_preprocess *preprocess = &config->preprocess;
  if (config->channels != 3) return;
  if (preprocess->resize == VITC_RESIZE_UNKNOWN && config->defaults != PREPROCESS_UNKNOWN) use_defaults(config);
  if (preprocess->resize == VITC_RESIZE_UNKNOWN) return;
  if (config->crop_pct != 0)
    resize_by_crop_pct(config, preprocess, height, width);
  else if (preprocess->resize != VITC_RESIZE_NONE)
    resize_in_proportion(preprocess, height, width);
}
