/* vitc/image.h: from an image file to the pixels that a model was trained on, bit for bit as Pillow with timm or transformers.
 *
 * Every function returns a vitc_image_status, never prints or exits, and is safe to call from any number of threads. */
#ifndef VITC_IMAGE_H
#define VITC_IMAGE_H

#include "vitc/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vitc_image_status {
  VITC_IMAGE_OK = 0,
  VITC_IMAGE_E_FILE = 1,    /* cannot be opened or read */
  VITC_IMAGE_E_FORMAT = 2,  /* not a JPEG, PNG or WebP */
  VITC_IMAGE_E_CORRUPT = 3, /* cut or corrupt */
  VITC_IMAGE_E_SIZE = 4,    /* more than VITC_PIXELS_MAX pixels, or a side of 0 */
  VITC_IMAGE_E_MEMORY = 5,
  VITC_IMAGE_E_ARGUMENT = 6
} vitc_image_status;

/* Pillow's own limit against decompression bombs (an error there at twice this number). */
#define VITC_PIXELS_MAX 178956970u

/* 8-bit RGB, row-major, rows without padding; `pixels` comes from malloc and goes by vitc_image_free. */
typedef struct vitc_image {
  uint32_t width, height;
  uint8_t *pixels; /* (height, width, 3) */
} vitc_image;

const char *vitc_image_status_text(vitc_image_status status);

/* Decodes, converts to RGB as Pillow's convert("RGB") and applies the EXIF orientation as Pillow's exif_transpose. `detail`,
 * when not NULL, receives a line of at most detail_size bytes about the fault. */
vitc_image_status vitc_image_load(const char *path, vitc_image *out_image, char *detail, size_t detail_size);
vitc_image_status vitc_image_decode(const void *bytes, size_t size, vitc_image *out_image, char *detail, size_t detail_size);
void vitc_image_free(vitc_image *image);

/* Pillow's Image.resize, bit for bit, as since version 13 (which makes the vertical pass first where the height shrinks by more
 * than twice as many pixels as the width; older versions never do). */
vitc_image_status vitc_image_resize(const vitc_image *image, uint32_t width, uint32_t height, vitc_filter filter,
                                    vitc_image *out_image);

/* Resize and crop as `preprocess` says: 8-bit RGB, (height, width, 3), exactly what the float pixels are made of, unless those
 * are resized as floats (VITC_ARITHMETIC_FLOAT). Zeros that follow the normalisation (VITC_CROP_PAD) are no part of it. */
vitc_image_status vitc_image_fit(const vitc_image *image, const vitc_preprocess *preprocess, vitc_image *out_image);

/* Size of vitc_image_fit's result for an image of width x height. */
vitc_image_status vitc_image_fit_size(const vitc_preprocess *preprocess, uint32_t width, uint32_t height, uint32_t *out_width,
                                      uint32_t *out_height);

/* Normalises 8-bit pixels (height, width, 3) to float32 (3, height, width), without any padding after it. */
vitc_image_status vitc_image_normalize(const vitc_image *image, const vitc_preprocess *preprocess, float *out_pixels);

/* All of it: file to the input tensor of one image of `model` (float32 CHW, or uint8 HWC when the model's input is 8-bit).
 * An image that does not come out at the model's height and width, or within them where it is padded, is VITC_IMAGE_E_ARGUMENT:
 * vitc_image_fit_size tells what it comes out at. */
vitc_image_status vitc_image_input(const vitc_image *image, const vitc_model *model, void *out_input);

#ifdef __cplusplus
}
#endif
#endif
