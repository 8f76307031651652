#include "import.h"

#include <math.h>
#include <string.h>

static const double inception[3] = {0.5, 0.5, 0.5};
static const double imagenet_mean[3] = {0.485, 0.456, 0.406}, imagenet_std[3] = {0.229, 0.224, 0.225};

static const double zero[3] = {0, 0, 0}, one[3] = {1, 1, 1};
static const double clip_mean[] = {0.48145466, 0.4578275, 0.40821073}, clip_std[] = {0.26862954, 0.26130258, 0.27577711};

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
    [PREPROCESS_DINOV2] = {1.0, 1.0, imagenet_mean, imagenet_std, VITC_BICUBIC},
    [PREPROCESS_CLIP] = {1.0, 1.0, clip_mean, clip_std, VITC_BICUBIC},
    [PREPROCESS_SIGLIP] = {0.9, 0.9, inception, inception, VITC_BICUBIC},
    [PREPROCESS_SBB] = {0.95, 1.0, inception, inception, VITC_BICUBIC},
    [PREPROCESS_WHOLE] = {1.0, 1.0, inception, inception, VITC_BICUBIC},
    [PREPROCESS_MIIL] = {0.875, 0.875, zero, one, VITC_BILINEAR},
    [PREPROCESS_TIPS] = {1.0, 1.0, zero, one, VITC_BICUBIC},
};

static void use_defaults(struct picture *picture, const int64_t *from) {
  struct vitc_preprocess *preprocess = &picture->preprocess;
  bool large = from[0] >= 384 && from[1] >= 384;
  picture->crop_pct = large ? defaults[picture->defaults].crop_pct_384 : defaults[picture->defaults].crop_pct;
  preprocess->resize = VITC_RESIZE_SHORTEST;
  preprocess->filter = (uint32_t)defaults[picture->defaults].filter;
  preprocess->arithmetic = VITC_ARITHMETIC_TORCHVISION;
  preprocess->rescale = 1.0 / 255;
  memcpy(preprocess->mean, defaults[picture->defaults].mean, sizeof preprocess->mean);
  memcpy(preprocess->std, defaults[picture->defaults].std, sizeof preprocess->std);
}

/* timm's evaluation transform: edges floor(size / crop_pct), which a rectangle's image covers, then the crop. */
static void resize_by_crop_pct(struct picture *picture, const int64_t *size) {
  struct vitc_preprocess *preprocess = &picture->preprocess;
  preprocess->resize = picture->squash ? VITC_RESIZE_EXACT : VITC_RESIZE_SHORTEST;
  preprocess->resize_height = (uint32_t)floor((double)size[0] / picture->crop_pct);
  preprocess->resize_width = (uint32_t)floor((double)size[1] / picture->crop_pct);
  preprocess->crop_height = (uint32_t)size[0];
  preprocess->crop_width = (uint32_t)size[1];
}

/* A source's sizes, in proportion, for another image size. */
static void resize_in_proportion(struct vitc_preprocess *preprocess, const int64_t *size) {
  bool crop = preprocess->crop_height != 0;
  uint64_t from_height = crop ? preprocess->crop_height : preprocess->resize_height;
  uint64_t from_width = crop ? preprocess->crop_width : preprocess->resize_width;
  preprocess->resize_height = (uint32_t)(preprocess->resize_height * (uint64_t)size[0] / from_height);
  preprocess->resize_width = (uint32_t)(preprocess->resize_width * (uint64_t)size[1] / from_width);
  if (!crop) return;
  preprocess->crop_height = (uint32_t)size[0];
  preprocess->crop_width = (uint32_t)size[1];
}

void preprocess_finish(struct picture *picture, const int64_t *from, const int64_t *size) {
  struct vitc_preprocess *preprocess = &picture->preprocess;
  if (preprocess->resize == VITC_RESIZE_UNKNOWN && picture->defaults != PREPROCESS_UNKNOWN) use_defaults(picture, from);
  /* What keeps a picture's shape has the source's sizes for any image of the model. */
  if (preprocess->resize == VITC_RESIZE_UNKNOWN || preprocess->resize == VITC_RESIZE_ASPECT ||
      preprocess->resize == VITC_RESIZE_LIMITED)
    return;
  if (picture->crop_pct != 0)
    resize_by_crop_pct(picture, size);
  else if (preprocess->resize != VITC_RESIZE_NONE)
    resize_in_proportion(preprocess, size);
}
