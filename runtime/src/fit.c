#include "fit.h"

#include <math.h>

/* An image's edges, before or after a resize; those after it may be 0 or past what an image can have. */
struct edges {
  uint64_t width, height;
};

/* torchvision and transformers alike: the other edge is cut to an integer after one correctly rounded division. */
static struct edges shortest_size(uint32_t edge, uint32_t width, uint32_t height) {
  uint64_t shorter = width <= height ? width : height, longer = width <= height ? height : width;
  uint64_t other = (uint64_t)((double)(edge * longer) / (double)shorter);
  return width <= height ? (struct edges){edge, other} : (struct edges){other, edge};
}

/* timm's ResizeKeepRatio. */
static struct edges covering_size(const vitc_preprocess *preprocess, uint32_t width, uint32_t height) {
  double down = (double)height / preprocess->resize_height, across = (double)width / preprocess->resize_width;
  double ratio = down < across ? down : across;
  return (struct edges){(uint64_t)rint(width / ratio), (uint64_t)rint(height / ratio)};
}

/* transformers' SAM, where both sizes are one number. */
static struct edges longest_size(const vitc_preprocess *preprocess, uint32_t width, uint32_t height) {
  double down = (double)preprocess->resize_height / height, across = (double)preprocess->resize_width / width;
  double scale = down < across ? down : across;
  return (struct edges){(uint64_t)(width * scale + 0.5), (uint64_t)(height * scale + 0.5)};
}

/* transformers' DPT, which looks at the height where both scales are as near to 1. */
static struct edges aspect_size(const vitc_preprocess *preprocess, struct edges step, uint32_t width, uint32_t height) {
  double down = (double)preprocess->resize_height / height, across = (double)preprocess->resize_width / width;
  double scale = fabs(1 - across) < fabs(1 - down) ? across : down;
  double columns = rint(scale * width / (double)step.width), rows = rint(scale * height / (double)step.height);
  return (struct edges){(uint64_t)columns * step.width, (uint64_t)rows * step.height};
}

/* transformers' YOLOS. The limit makes the shortest edge a fraction, from which the longest one is computed, while the shortest
 * one itself is rounded. */
static struct edges limited_size(const vitc_preprocess *preprocess, struct edges step, uint32_t width, uint32_t height) {
  double shorter = width < height ? width : height, longer = width < height ? height : width;
  double exact = preprocess->resize_height, limit = preprocess->resize_width;
  uint64_t edge = preprocess->resize_height;
  if (longer / shorter * exact > limit) {
    exact = limit * shorter / longer;
    edge = (uint64_t)rint(exact);
  }
  struct edges size;
  if (width < height)
    size = (struct edges){edge, (uint64_t)(exact * height / width)};
  else if (height == edge)
    size = (struct edges){width, height};
  else
    size = (struct edges){(uint64_t)(exact * width / height), edge};
  return (struct edges){size.width - size.width % step.width, size.height - size.height % step.height};
}

/* Of these rules an object's one size is not the size of every image, so that they leave crop_height and crop_width free. */
static bool has_steps(const vitc_preprocess *preprocess) {
  return preprocess->resize == VITC_RESIZE_ASPECT || preprocess->resize == VITC_RESIZE_LIMITED;
}

static bool sizes_given(const vitc_preprocess *preprocess) {
  uint32_t height = preprocess->resize_height, width = preprocess->resize_width;
  if (preprocess->resize == VITC_RESIZE_NONE) return true;
  if (height == 0 || height > INT32_MAX || width > INT32_MAX) return false;
  return width != 0 || preprocess->resize == VITC_RESIZE_SHORTEST;
}

/* Size after the resize and before the crop. */
static vitc_image_status resized_size(const vitc_preprocess *preprocess, uint32_t width, uint32_t height, uint32_t *out_width,
                                      uint32_t *out_height) {
  struct edges size = {width, height}, step = {1, 1};
  uint32_t edge = preprocess->resize_height, other = preprocess->resize_width;
  if (width == 0 || height == 0 || !sizes_given(preprocess)) return VITC_IMAGE_E_ARGUMENT;
  if (preprocess->crop_width) step.width = preprocess->crop_width;
  if (preprocess->crop_height) step.height = preprocess->crop_height;
  switch (preprocess->resize) {
  case VITC_RESIZE_NONE:
    break;
  case VITC_RESIZE_SHORTEST:
    size = other == 0 || other == edge ? shortest_size(edge, width, height) : covering_size(preprocess, width, height);
    break;
  case VITC_RESIZE_EXACT:
    size = (struct edges){other, edge};
    break;
  case VITC_RESIZE_LONGEST:
    size = longest_size(preprocess, width, height);
    break;
  case VITC_RESIZE_ASPECT:
    size = aspect_size(preprocess, step, width, height);
    break;
  case VITC_RESIZE_LIMITED:
    size = limited_size(preprocess, step, width, height);
    break;
  default:
    return VITC_IMAGE_E_ARGUMENT;
  }
  if (size.width == 0 || size.height == 0 || size.width > INT32_MAX || size.height > INT32_MAX) return VITC_IMAGE_E_SIZE;
  *out_width = (uint32_t)size.width;
  *out_height = (uint32_t)size.height;
  return VITC_IMAGE_OK;
}

bool fit_pads_after(const vitc_preprocess *preprocess) {
  return preprocess->resize == VITC_RESIZE_LONGEST && preprocess->crop_floor == VITC_CROP_PAD && preprocess->crop_height != 0 &&
         preprocess->crop_width != 0;
}

static bool crops(const vitc_preprocess *preprocess) {
  return !has_steps(preprocess) && !fit_pads_after(preprocess);
}

vitc_image_status vitc_image_fit_size(const vitc_preprocess *preprocess, uint32_t width, uint32_t height, uint32_t *out_width,
                                      uint32_t *out_height) {
  if (!preprocess || !out_width || !out_height) return VITC_IMAGE_E_ARGUMENT;
  vitc_image_status status = resized_size(preprocess, width, height, out_width, out_height);
  if (status != VITC_IMAGE_OK || !crops(preprocess)) return status;
  if (preprocess->crop_width) *out_width = preprocess->crop_width;
  if (preprocess->crop_height) *out_height = preprocess->crop_height;
  return VITC_IMAGE_OK;
}

static struct crop crop_of(uint32_t size, uint32_t crop, bool floor_rule) {
  if (crop == 0) return (struct crop){0, 0, size};
  if (crop > size) return (struct crop){0, (crop - size + (floor_rule ? 1 : 0)) / 2, size};
  uint32_t cut = size - crop, half = cut / 2;
  if (!floor_rule && (cut & 1) && (half & 1)) half++; /* half to even */
  return (struct crop){half, 0, crop};
}

vitc_image_status fit_of(const vitc_image *image, const vitc_preprocess *preprocess, struct fit *out_fit) {
  struct window *window = &out_fit->window;
  *window = (struct window){0};
  vitc_image_status status = resized_size(preprocess, image->width, image->height, &window->full_width, &window->full_height);
  if (status != VITC_IMAGE_OK) return status;
  uint32_t crop_width = crops(preprocess) ? preprocess->crop_width : 0;
  uint32_t crop_height = crops(preprocess) ? preprocess->crop_height : 0;
  bool floor_rule = preprocess->crop_floor != VITC_CROP_HALF_EVEN;
  out_fit->across = crop_of(window->full_width, crop_width, floor_rule);
  out_fit->down = crop_of(window->full_height, crop_height, floor_rule);
  out_fit->width = crop_width ? crop_width : window->full_width;
  out_fit->height = crop_height ? crop_height : window->full_height;
  window->left = out_fit->across.skip;
  window->top = out_fit->down.skip;
  window->width = out_fit->across.shown;
  window->height = out_fit->down.shown;
  return VITC_IMAGE_OK;
}
