/* What the image decoders share: a fault with its one-line detail, a limited allocation, and the EXIF orientation.
 *
 * A decoder gets the whole file as bytes and fills `out_image` with 8-bit RGB as stored, and `out_orientation` with 1 to 8 (1
 * when the file says nothing). On any status but VITC_IMAGE_OK it has freed what it allocated and left out_image->pixels NULL.
 */
#ifndef VITC_RUNTIME_DECODE_H
#define VITC_RUNTIME_DECODE_H

#include "vitc/image.h"

/* Where the caller wants the line about a fault; text may be NULL. */
struct detail {
  char *text;
  size_t size;
};

struct bytes {
  const uint8_t *data;
  size_t size;
};

/* Writes the line and returns `status`, so that a fault is one statement where it is found. */
vitc_image_status fault(const struct detail *detail, vitc_image_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Checks width x height against VITC_PIXELS_MAX before it allocates. */
vitc_image_status image_alloc(uint32_t width, uint32_t height, vitc_image *out_image, const struct detail *detail);

vitc_image_status jpeg_decode(struct bytes file, vitc_image *out_image, int *out_orientation, const struct detail *detail);
vitc_image_status png_decode(struct bytes file, vitc_image *out_image, int *out_orientation, const struct detail *detail);
vitc_image_status webp_decode(struct bytes file, vitc_image *out_image, int *out_orientation, const struct detail *detail);

/* The orientation tag in the first directory of a TIFF block, with or without "Exif\0\0" before it; 0 when there is none. */
int exif_orientation(struct bytes exif);

/* The first tiff:Orientation in an XMP packet; 0 when there is none. */
int xmp_orientation(struct bytes xmp);

/* Pillow's rule: XMP counts only where EXIF has no orientation, and what is not in 2 .. 8 changes nothing. */
int orientation_of(struct bytes exif, struct bytes xmp);

/* Turns and mirrors the image as `orientation` says; replaces image->pixels. */
vitc_image_status image_orient(vitc_image *image, int orientation, const struct detail *detail);

#endif
