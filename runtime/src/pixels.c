#include "resample.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* torchvision and transformers alike: the other edge is cut to an integer after one correctly rounded division. */
static void shortest_size(uint32_t edge, uint32_t width, uint32_t height, uint64_t *out_width, uint64_t *out_height) {
  uint64_t shorter = width <= height ? width : height, longer = width <= height ? height : width;
  uint64_t other = (uint64_t)((double)(edge * longer) / (double)shorter);
  *out_width = width <= height ? edge : other;
  *out_height = width <= height ? other : edge;
}

/* timm's ResizeKeepRatio. */
static void covering_size(const vitc_preprocess *preprocess, uint32_t width, uint32_t height, uint64_t *out_width,
                          uint64_t *out_height) {
  double down = (double)height / preprocess->resize_height, across = (double)width / preprocess->resize_width;
  double ratio = down < across ? down : across;
  *out_width = (uint64_t)rint(width / ratio);
  *out_height = (uint64_t)rint(height / ratio);
}

/* Size after the resize and before the crop. */
static vitc_image_status resized_size(const vitc_preprocess *preprocess, uint32_t width, uint32_t height, uint32_t *out_width,
                                      uint32_t *out_height) {
  uint64_t wide = width, high = height;
  uint32_t edge = preprocess->resize_height, other = preprocess->resize_width;
  if (width == 0 || height == 0) return VITC_IMAGE_E_ARGUMENT;
  switch (preprocess->resize) {
  case VITC_RESIZE_NONE:
    break;
  case VITC_RESIZE_SHORTEST:
    if (edge == 0 || edge > INT32_MAX || other > INT32_MAX) return VITC_IMAGE_E_ARGUMENT;
    if (other == 0 || other == edge)
      shortest_size(edge, width, height, &wide, &high);
    else
      covering_size(preprocess, width, height, &wide, &high);
    break;
  case VITC_RESIZE_EXACT:
    if (edge == 0 || other == 0) return VITC_IMAGE_E_ARGUMENT;
    wide = other;
    high = edge;
    break;
  default:
    return VITC_IMAGE_E_ARGUMENT;
  }
  if (wide == 0 || high == 0 || wide > INT32_MAX || high > INT32_MAX) return VITC_IMAGE_E_SIZE;
  *out_width = (uint32_t)wide;
  *out_height = (uint32_t)high;
  return VITC_IMAGE_OK;
}

vitc_image_status vitc_image_fit_size(const vitc_preprocess *preprocess, uint32_t width, uint32_t height, uint32_t *out_width,
                                      uint32_t *out_height) {
  if (!preprocess || !out_width || !out_height) return VITC_IMAGE_E_ARGUMENT;
  vitc_image_status status = resized_size(preprocess, width, height, out_width, out_height);
  if (status != VITC_IMAGE_OK) return status;
  if (preprocess->crop_width) *out_width = preprocess->crop_width;
  if (preprocess->crop_height) *out_height = preprocess->crop_height;
  return VITC_IMAGE_OK;
}

/* Where one axis of the crop lies: `skip` samples of the image are cut off before it, or `pad` zeros come first. */
struct crop {
  uint32_t skip, pad, shown;
};

static struct crop crop_of(uint32_t size, uint32_t crop, int floor_rule) {
  if (crop == 0) return (struct crop){0, 0, size};
  if (crop > size) return (struct crop){0, (crop - size + (floor_rule ? 1 : 0)) / 2, size};
  uint32_t cut = size - crop, half = cut / 2;
  if (!floor_rule && (cut & 1) && (half & 1)) half++; /* half to even */
  return (struct crop){half, 0, crop};
}

/* What of the resized image is shown, and where in the result. */
struct fit {
  struct window window;
  struct crop across, down;
  uint32_t width, height; /* of the result */
};

static vitc_image_status fit_of(const vitc_image *image, const vitc_preprocess *preprocess, struct fit *out_fit) {
  struct window *window = &out_fit->window;
  *window = (struct window){0};
  vitc_image_status status = resized_size(preprocess, image->width, image->height, &window->full_width, &window->full_height);
  if (status != VITC_IMAGE_OK) return status;
  out_fit->across = crop_of(window->full_width, preprocess->crop_width, preprocess->crop_floor != 0);
  out_fit->down = crop_of(window->full_height, preprocess->crop_height, preprocess->crop_floor != 0);
  out_fit->width = preprocess->crop_width ? preprocess->crop_width : window->full_width;
  out_fit->height = preprocess->crop_height ? preprocess->crop_height : window->full_height;
  window->left = out_fit->across.skip;
  window->top = out_fit->down.skip;
  window->width = out_fit->across.shown;
  window->height = out_fit->down.shown;
  return VITC_IMAGE_OK;
}

vitc_image_status vitc_image_fit(const vitc_image *image, const vitc_preprocess *preprocess, vitc_image *out_image) {
  const struct detail none = {NULL, 0};
  struct fit fit;
  if (out_image) *out_image = (vitc_image){0};
  if (!image || !image->pixels || !preprocess || !out_image) return VITC_IMAGE_E_ARGUMENT;
  vitc_image_status status = fit_of(image, preprocess, &fit);
  if (status != VITC_IMAGE_OK) return status;
  uint32_t width = fit.width, height = fit.height;
  if (width == fit.window.width && height == fit.window.height)
    return image_resample(image, &fit.window, (vitc_filter)preprocess->filter, out_image);

  vitc_image shown = {0};
  status = image_alloc(width, height, out_image, &none);
  if (status == VITC_IMAGE_OK) status = image_resample(image, &fit.window, (vitc_filter)preprocess->filter, &shown);
  if (status == VITC_IMAGE_OK) {
    memset(out_image->pixels, 0, (size_t)width * height * 3);
    for (uint32_t y = 0; y < shown.height; y++)
      memcpy(out_image->pixels + ((size_t)(fit.down.pad + y) * width + fit.across.pad) * 3,
             shown.pixels + (size_t)y * shown.width * 3, (size_t)shown.width * 3);
  } else {
    vitc_image_free(out_image);
  }
  vitc_image_free(&shown);
  return status;
}

/* The same of floats, and normalised: (3, height, width). */
static vitc_image_status float_input(const vitc_image *image, const vitc_preprocess *preprocess, float *out_pixels) {
  struct fit fit;
  if (!(preprocess->rescale > 0)) return VITC_IMAGE_E_ARGUMENT;
  for (size_t channel = 0; channel < 3; channel++)
    if (!((float)preprocess->std[channel] != 0.0f)) return VITC_IMAGE_E_ARGUMENT;
  vitc_image_status status = fit_of(image, preprocess, &fit);
  if (status != VITC_IMAGE_OK) return status;
  size_t count = (size_t)fit.width * fit.height;
  memset(out_pixels, 0, 3 * count * sizeof *out_pixels);
  struct float_target target = {out_pixels + (size_t)fit.down.pad * fit.width + fit.across.pad, fit.width, count};
  status = image_resample_float(image, &fit.window, (vitc_filter)preprocess->filter, preprocess->rescale, &target);
  if (status != VITC_IMAGE_OK) return status;
  for (size_t channel = 0; channel < 3; channel++) {
    float mean = (float)preprocess->mean[channel], std = (float)preprocess->std[channel], *plane = out_pixels + channel * count;
    for (size_t i = 0; i < count; i++) {
      float centred = plane[i] - mean;
      plane[i] = centred / std;
    }
  }
  return VITC_IMAGE_OK;
}

/* All 256 values of one channel, each rounded to float after every operation as the reference does. */
static void normalize_table(const vitc_preprocess *preprocess, size_t channel, float table[256]) {
  float mean = (float)preprocess->mean[channel], std = (float)preprocess->std[channel];
  float divisor = (float)(1.0 / preprocess->rescale);
  for (int value = 0; value < 256; value++) {
    float scaled = preprocess->arithmetic == VITC_ARITHMETIC_TRANSFORMERS ? (float)((double)value * preprocess->rescale)
                   : preprocess->arithmetic == VITC_ARITHMETIC_FLOAT      ? (float)value * (float)preprocess->rescale
                                                                          : (float)value / divisor;
    float centred = scaled - mean;
    table[value] = centred / std;
  }
}

vitc_image_status vitc_image_normalize(const vitc_image *image, const vitc_preprocess *preprocess, float *out_pixels) {
  if (!image || !image->pixels || !preprocess || !out_pixels) return VITC_IMAGE_E_ARGUMENT;
  if (preprocess->arithmetic > VITC_ARITHMETIC_FLOAT || !(preprocess->rescale > 0)) return VITC_IMAGE_E_ARGUMENT;
  size_t count = (size_t)image->width * image->height;
  for (size_t channel = 0; channel < 3; channel++) {
    float table[256];
    if (!((float)preprocess->std[channel] != 0.0f)) return VITC_IMAGE_E_ARGUMENT;
    normalize_table(preprocess, channel, table);
    const uint8_t *from = image->pixels + channel;
    float *to = out_pixels + channel * count;
    for (size_t i = 0; i < count; i++) to[i] = table[from[3 * i]];
  }
  return VITC_IMAGE_OK;
}

/* Height and width of the model's first input, which must be (N, 3, H, W) of floats or (N, H, W, 3) of bytes. */
static int input_size(const vitc_model *model, int64_t *out_height, int64_t *out_width) {
  const vitc_tensor *input = &model->inputs[0];
  int bytes = input->dtype == VITC_U8;
  if (model->input_count < 1 || input->rank != 4 || input->dim[bytes ? 3 : 1] != 3) return 0;
  *out_height = input->dim[bytes ? 1 : 2];
  *out_width = input->dim[bytes ? 2 : 3];
  return bytes || input->dtype == VITC_F32;
}

vitc_image_status vitc_image_input(const vitc_image *image, const vitc_model *model, void *out_input) {
  int64_t high = 0, wide = 0;
  uint32_t width, height;
  if (!image || !image->pixels || !model || !out_input || !input_size(model, &high, &wide)) return VITC_IMAGE_E_ARGUMENT;
  vitc_image_status status = vitc_image_fit_size(&model->preprocess, image->width, image->height, &width, &height);
  if (status != VITC_IMAGE_OK) return status;
  if ((int64_t)width != wide || (int64_t)height != high) return VITC_IMAGE_E_ARGUMENT;

  bool floats = model->preprocess.arithmetic == VITC_ARITHMETIC_FLOAT && model->preprocess.resize != VITC_RESIZE_NONE;
  if (floats && model->inputs[0].dtype == VITC_U8) return VITC_IMAGE_E_ARGUMENT;
  if (floats) return float_input(image, &model->preprocess, out_input);

  vitc_image fitted;
  status = vitc_image_fit(image, &model->preprocess, &fitted);
  if (status != VITC_IMAGE_OK) return status;
  if (model->inputs[0].dtype == VITC_U8)
    memcpy(out_input, fitted.pixels, (size_t)width * height * 3);
  else
    status = vitc_image_normalize(&fitted, &model->preprocess, out_input);
  vitc_image_free(&fitted);
  return status;
}
