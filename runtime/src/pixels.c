#include "fit.h"

#include <stdlib.h>
#include <string.h>

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

/* The same of floats, and normalised, to planes of an input. */
static vitc_image_status float_input(const vitc_image *image, const vitc_preprocess *preprocess,
                                     const struct float_target *input) {
  struct fit fit;
  if (!(preprocess->rescale > 0)) return VITC_IMAGE_E_ARGUMENT;
  for (size_t channel = 0; channel < 3; channel++)
    if (!((float)preprocess->std[channel] != 0.0f)) return VITC_IMAGE_E_ARGUMENT;
  vitc_image_status status = fit_of(image, preprocess, &fit);
  if (status != VITC_IMAGE_OK) return status;
  memset(input->pixels, 0, 3 * input->plane * sizeof *input->pixels);
  struct float_target target = *input;
  target.pixels += (size_t)fit.down.pad * input->stride + fit.across.pad;
  status = image_resample_float(image, &fit.window, (vitc_filter)preprocess->filter, preprocess->rescale, &target);
  if (status != VITC_IMAGE_OK) return status;
  for (size_t channel = 0; channel < 3; channel++) {
    float mean = (float)preprocess->mean[channel], std = (float)preprocess->std[channel];
    for (size_t y = 0; y < fit.height; y++) {
      float *row = input->pixels + channel * input->plane + y * input->stride;
      for (size_t x = 0; x < fit.width; x++) {
        float centred = row[x] - mean;
        row[x] = centred / std;
      }
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

static vitc_image_status normalize(const vitc_image *image, const vitc_preprocess *preprocess,
                                   const struct float_target *target) {
  if (preprocess->arithmetic > VITC_ARITHMETIC_FLOAT || !(preprocess->rescale > 0)) return VITC_IMAGE_E_ARGUMENT;
  for (size_t channel = 0; channel < 3; channel++) {
    float table[256];
    if (!((float)preprocess->std[channel] != 0.0f)) return VITC_IMAGE_E_ARGUMENT;
    normalize_table(preprocess, channel, table);
    for (size_t y = 0; y < image->height; y++) {
      const uint8_t *from = image->pixels + y * image->width * 3 + channel;
      float *to = target->pixels + channel * target->plane + y * target->stride;
      for (size_t x = 0; x < image->width; x++) to[x] = table[from[3 * x]];
    }
  }
  return VITC_IMAGE_OK;
}

vitc_image_status vitc_image_normalize(const vitc_image *image, const vitc_preprocess *preprocess, float *out_pixels) {
  if (!image || !image->pixels || !preprocess || !out_pixels) return VITC_IMAGE_E_ARGUMENT;
  return normalize(image, preprocess, &(struct float_target){out_pixels, image->width, (size_t)image->width * image->height});
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

/* Whether an image that comes out at width x height fills an input of wide x high, with the padding that there may be. */
static bool fills(const vitc_preprocess *preprocess, uint32_t width, uint32_t height, int64_t wide, int64_t high) {
  if (!fit_pads_after(preprocess)) return (int64_t)width == wide && (int64_t)height == high;
  return preprocess->crop_width == wide && preprocess->crop_height == high && (int64_t)width <= wide && (int64_t)height <= high;
}

vitc_image_status vitc_image_input(const vitc_image *image, const vitc_model *model, void *out_input) {
  int64_t high = 0, wide = 0;
  uint32_t width, height;
  if (!image || !image->pixels || !model || !out_input || !input_size(model, &high, &wide)) return VITC_IMAGE_E_ARGUMENT;
  const vitc_preprocess *preprocess = &model->preprocess;
  vitc_image_status status = vitc_image_fit_size(preprocess, image->width, image->height, &width, &height);
  if (status != VITC_IMAGE_OK) return status;
  if (!fills(preprocess, width, height, wide, high)) return VITC_IMAGE_E_ARGUMENT;

  bool bytes = model->inputs[0].dtype == VITC_U8;
  bool floats = preprocess->arithmetic == VITC_ARITHMETIC_FLOAT && preprocess->resize != VITC_RESIZE_NONE;
  if (bytes && (floats || fit_pads_after(preprocess))) return VITC_IMAGE_E_ARGUMENT;
  const struct float_target target = {out_input, (size_t)wide, (size_t)wide * (size_t)high};
  if (floats) return float_input(image, preprocess, &target);

  vitc_image fitted;
  status = vitc_image_fit(image, preprocess, &fitted);
  if (status != VITC_IMAGE_OK) return status;
  if (!bytes && ((int64_t)width < wide || (int64_t)height < high)) memset(out_input, 0, 3 * target.plane * sizeof(float));
  if (bytes)
    memcpy(out_input, fitted.pixels, (size_t)width * height * 3);
  else
    status = normalize(&fitted, preprocess, &target);
  vitc_image_free(&fitted);
  return status;
}
