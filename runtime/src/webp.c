#include "decode.h"

#include <stdlib.h>
#include <string.h>

#include <webp/decode.h>

enum { CHUNK_HEADER = 8, FRAME_HEADER = 16, ANIMATION_FLAG = 0x02 };

/* What the container holds; spans of the file. */
struct container {
  uint32_t canvas_width, canvas_height; /* of an animation, else 0 */
  struct bytes frame;                   /* payload of the animation's first frame, else empty */
  struct bytes exif, xmp;
};

static uint32_t little(const uint8_t *at, unsigned bytes) {
  uint32_t value = 0;
  for (unsigned i = bytes; i-- > 0;) value = value << 8 | at[i];
  return value;
}

static vitc_image_status read_container(struct bytes file, struct container *out_container, const struct detail *detail) {
  *out_container = (struct container){0};
  size_t end = little(file.data + 4, 4);
  if (end > file.size - CHUNK_HEADER)
    return fault(detail, VITC_IMAGE_E_CORRUPT, "WebP: cut: %zu of %zu bytes", file.size, end + CHUNK_HEADER);
  end += CHUNK_HEADER;
  for (size_t at = 12; at + CHUNK_HEADER <= end;) {
    size_t size = little(file.data + at + 4, 4);
    if (size > end - at - CHUNK_HEADER)
      return fault(detail, VITC_IMAGE_E_CORRUPT, "WebP: chunk at byte %zu reaches past the end", at);
    struct bytes chunk = {file.data + at + CHUNK_HEADER, size};
    const uint8_t *name = file.data + at;
    if (memcmp(name, "VP8X", 4) == 0 && size >= 10 && (chunk.data[0] & ANIMATION_FLAG)) {
      out_container->canvas_width = little(chunk.data + 4, 3) + 1;
      out_container->canvas_height = little(chunk.data + 7, 3) + 1;
    }
    if (memcmp(name, "ANMF", 4) == 0 && !out_container->frame.data) out_container->frame = chunk;
    if (memcmp(name, "EXIF", 4) == 0 && !out_container->exif.data) out_container->exif = chunk;
    if (memcmp(name, "XMP ", 4) == 0 && !out_container->xmp.data) out_container->xmp = chunk;
    at += CHUNK_HEADER + size + (size & 1);
  }
  return VITC_IMAGE_OK;
}

static vitc_image_status decode_into(struct bytes file, uint8_t *pixels, uint32_t width, uint32_t height, uint32_t stride,
                                     const struct detail *detail) {
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config)) return fault(detail, VITC_IMAGE_E_ARGUMENT, "the WebP library is of another version");
  VP8StatusCode code = WebPGetFeatures(file.data, file.size, &config.input);
  if (code == VP8_STATUS_OK && (config.input.width != (int)width || config.input.height != (int)height))
    return fault(detail, VITC_IMAGE_E_CORRUPT, "WebP: image of %d x %d in a frame of %u x %u", config.input.width,
                 config.input.height, width, height);
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = pixels;
  config.output.u.RGBA.stride = (int)stride;
  config.output.u.RGBA.size = (size_t)stride * (height - 1) + (size_t)width * 3;
  if (code == VP8_STATUS_OK) code = WebPDecode(file.data, file.size, &config);
  if (code == VP8_STATUS_OK) return VITC_IMAGE_OK;
  if (code == VP8_STATUS_OUT_OF_MEMORY) return fault(detail, VITC_IMAGE_E_MEMORY, "no memory for the WebP decoder");
  if (code == VP8_STATUS_NOT_ENOUGH_DATA || code == VP8_STATUS_SUSPENDED)
    return fault(detail, VITC_IMAGE_E_CORRUPT, "WebP: cut in the image data");
  return fault(detail, VITC_IMAGE_E_CORRUPT, "WebP: corrupt image data");
}

/* The decoder takes no frame of an animation, but the same chunks behind a header of their own are a still image. */
static vitc_image_status still_of_frame(struct bytes frame, uint8_t **out_file, size_t *out_size, const struct detail *detail) {
  static const uint8_t head[] = "RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0";
  enum { HEAD = sizeof head - 1, SIZES = 6 };
  struct bytes chunks = {frame.data + FRAME_HEADER, frame.size - FRAME_HEADER};
  uint8_t *file = malloc(HEAD + SIZES + chunks.size);
  if (!file) return fault(detail, VITC_IMAGE_E_MEMORY, "no memory for a frame of %zu bytes", chunks.size);
  memcpy(file, head, HEAD);
  memcpy(file + HEAD, frame.data + 6, SIZES);
  memcpy(file + HEAD + SIZES, chunks.data, chunks.size);
  size_t size = HEAD + SIZES + chunks.size;
  for (unsigned i = 0; i < 4; i++) file[4 + i] = (uint8_t)((size - CHUNK_HEADER) >> 8 * i);
  *out_file = file;
  *out_size = size;
  return VITC_IMAGE_OK;
}

/* The first frame on a black canvas, which is what Pillow shows of an animation. */
static vitc_image_status decode_frame(const struct container *container, vitc_image *out_image, const struct detail *detail) {
  struct bytes frame = container->frame;
  if (frame.size < FRAME_HEADER) return fault(detail, VITC_IMAGE_E_CORRUPT, "WebP: an animation without a frame");
  uint32_t left = little(frame.data, 3) * 2, top = little(frame.data + 3, 3) * 2;
  uint32_t width = little(frame.data + 6, 3) + 1, height = little(frame.data + 9, 3) + 1;
  uint32_t canvas_width = container->canvas_width, canvas_height = container->canvas_height;
  if (left + width > canvas_width || top + height > canvas_height)
    return fault(detail, VITC_IMAGE_E_CORRUPT, "WebP: the first frame reaches out of the canvas");
  vitc_image_status status = image_alloc(canvas_width, canvas_height, out_image, detail);
  if (status != VITC_IMAGE_OK) return status;
  if (width < canvas_width || height < canvas_height) memset(out_image->pixels, 0, (size_t)canvas_width * canvas_height * 3);

  uint8_t *file = NULL;
  size_t size = 0;
  status = still_of_frame(frame, &file, &size, detail);
  if (status == VITC_IMAGE_OK)
    status = decode_into((struct bytes){file, size}, out_image->pixels + ((size_t)top * canvas_width + left) * 3, width, height,
                         canvas_width * 3, detail);
  free(file);
  return status;
}

static vitc_image_status decode_still(struct bytes file, vitc_image *out_image, const struct detail *detail) {
  int width = 0, height = 0;
  if (!WebPGetInfo(file.data, file.size, &width, &height) || width <= 0 || height <= 0)
    return fault(detail, VITC_IMAGE_E_CORRUPT, "WebP: cut or corrupt header");
  vitc_image_status status = image_alloc((uint32_t)width, (uint32_t)height, out_image, detail);
  if (status != VITC_IMAGE_OK) return status;
  return decode_into(file, out_image->pixels, (uint32_t)width, (uint32_t)height, (uint32_t)width * 3, detail);
}

vitc_image_status webp_decode(struct bytes file, vitc_image *out_image, int *out_orientation, const struct detail *detail) {
  struct container container;
  vitc_image_status status = read_container(file, &container, detail);
  if (status != VITC_IMAGE_OK) return status;
  *out_orientation = orientation_of(container.exif, container.xmp);
  if (container.canvas_width)
    status = decode_frame(&container, out_image, detail);
  else
    status = decode_still(file, out_image, detail);
  if (status != VITC_IMAGE_OK) vitc_image_free(out_image);
  return status;
}
