#include "decode.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

/* Deflate turns one byte into at most this many. */
enum { DEFLATE_RATIO_MAX = 1032 };

/* Of one ancillary chunk, unpacked. */
enum { CHUNK_BYTES_MAX = 8 << 20 };

struct decoder {
  png_structp png;
  png_infop info;
  jmp_buf escape;
  struct bytes left; /* of the file, not yet read */
  vitc_image *image;
  uint8_t *samples; /* one row, or all of an interlaced image */
  size_t row_bytes;
  int colour, depth;
  uint8_t palette[256][3]; /* indices past the end of PLTE are black */
  const struct detail *detail;
  vitc_image_status status;
};

static void on_error(png_structp png, png_const_charp message) {
  struct decoder *decoder = png_get_error_ptr(png);
  vitc_image_status status = strstr(message, "emory") ? VITC_IMAGE_E_MEMORY : VITC_IMAGE_E_CORRUPT;
  decoder->status = fault(decoder->detail, status, "PNG: %s", message);
  longjmp(decoder->escape, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
  (void)png;
  (void)message;
}

static void on_read(png_structp png, png_bytep to, size_t count) {
  struct decoder *decoder = png_get_io_ptr(png);
  if (count > decoder->left.size) png_error(png, "cut");
  memcpy(to, decoder->left.data, count);
  decoder->left.data += count;
  decoder->left.size -= count;
}

static void set_up(struct decoder *decoder) {
  /* Pillow reads samples as stored: no colour chunk changes them. */
  static const png_byte ignored[] = "iCCP\0cHRM\0gAMA\0sRGB\0sPLT\0hIST\0bKGD\0sBIT\0tRNS\0pCAL\0sCAL\0oFFs\0pHYs\0tIME";
  decoder->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, decoder, on_error, on_warning);
  decoder->info = decoder->png ? png_create_info_struct(decoder->png) : NULL;
  if (!decoder->info) {
    decoder->status = fault(decoder->detail, VITC_IMAGE_E_MEMORY, "no memory for the PNG decoder");
    longjmp(decoder->escape, 1);
  }
  png_set_read_fn(decoder->png, decoder, on_read);
  png_set_keep_unknown_chunks(decoder->png, PNG_HANDLE_CHUNK_NEVER, ignored, sizeof ignored / 5);
  png_set_chunk_malloc_max(decoder->png, CHUNK_BYTES_MAX);
  png_set_user_limits(decoder->png, 0x7fffffff, 0x7fffffff);
}

static vitc_image_status read_header(struct decoder *decoder) {
  size_t file_bytes = decoder->left.size;
  png_read_info(decoder->png, decoder->info);
  uint32_t width = png_get_image_width(decoder->png, decoder->info);
  uint32_t height = png_get_image_height(decoder->png, decoder->info);
  decoder->colour = png_get_color_type(decoder->png, decoder->info);
  decoder->depth = png_get_bit_depth(decoder->png, decoder->info);

  uint64_t stored = (uint64_t)png_get_rowbytes(decoder->png, decoder->info) * height;
  if ((uint64_t)width * height <= VITC_PIXELS_MAX && stored / DEFLATE_RATIO_MAX > file_bytes)
    return fault(decoder->detail, VITC_IMAGE_E_CORRUPT, "PNG: cut: %zu bytes cannot hold %u x %u pixels", file_bytes, width,
                 height);
  png_colorp colours = NULL;
  int count = 0;
  if (png_get_PLTE(decoder->png, decoder->info, &colours, &count))
    for (int i = 0; i < count && i < 256; i++)
      memcpy(decoder->palette[i], (uint8_t[]){colours[i].red, colours[i].green, colours[i].blue}, 3);
  return image_alloc(width, height, decoder->image, decoder->detail);
}

/* Bytes of one sample's neighbour in the row: samples of less than 8 bits come unpacked. */
static size_t pixel_bytes(const struct decoder *decoder) {
  size_t channels = decoder->colour == PNG_COLOR_TYPE_RGB          ? 3
                    : decoder->colour == PNG_COLOR_TYPE_RGB_ALPHA  ? 4
                    : decoder->colour == PNG_COLOR_TYPE_GRAY_ALPHA ? 2
                                                                   : 1;
  return decoder->depth == 16 ? channels * 2 : channels;
}

/* Alpha is dropped. Samples of 16 bits keep their high byte, but plain grey, which Pillow holds as 16-bit integers, is clipped
 * at 255. */
static void row_to_rgb(const struct decoder *decoder, const uint8_t *row, uint8_t *rgb) {
  size_t step = pixel_bytes(decoder), sample = decoder->depth == 16 ? 2 : 1;
  uint32_t width = decoder->image->width;
  if (decoder->colour == PNG_COLOR_TYPE_PALETTE) {
    for (uint32_t x = 0; x < width; x++) memcpy(rgb + 3 * (size_t)x, decoder->palette[row[x]], 3);
  } else if (decoder->colour & PNG_COLOR_MASK_COLOR) {
    for (uint32_t x = 0; x < width; x++, row += step, rgb += 3)
      for (size_t c = 0; c < 3; c++) rgb[c] = row[c * sample];
  } else {
    int clip = decoder->colour == PNG_COLOR_TYPE_GRAY && decoder->depth == 16;
    int scale = decoder->depth < 8 ? 255 / ((1 << decoder->depth) - 1) : 1;
    for (uint32_t x = 0; x < width; x++, row += step, rgb += 3) {
      int grey = clip ? (row[0] ? 255 : row[1]) : row[0] * scale;
      rgb[0] = rgb[1] = rgb[2] = (uint8_t)grey;
    }
  }
}

static vitc_image_status read_rows(struct decoder *decoder) {
  const vitc_image *image = decoder->image;
  int passes = png_set_interlace_handling(decoder->png);
  png_set_packing(decoder->png);
  png_read_update_info(decoder->png, decoder->info);
  decoder->row_bytes = png_get_rowbytes(decoder->png, decoder->info);
  size_t rows = passes > 1 ? image->height : 1;
  decoder->samples = calloc(rows, decoder->row_bytes);
  if (!decoder->samples || decoder->row_bytes < pixel_bytes(decoder) * image->width)
    return fault(decoder->detail, VITC_IMAGE_E_MEMORY, "no memory for %zu rows of %zu bytes", rows, decoder->row_bytes);

  for (int pass = 0; pass < passes; pass++) {
    for (uint32_t y = 0; y < image->height; y++) {
      uint8_t *row = decoder->samples + (passes > 1 ? y * decoder->row_bytes : 0);
      png_read_row(decoder->png, row, NULL);
      if (pass == passes - 1) row_to_rgb(decoder, row, image->pixels + (size_t)y * image->width * 3);
    }
  }
  return VITC_IMAGE_OK;
}

static vitc_image_status read_image(struct decoder *decoder) {
  set_up(decoder);
  vitc_image_status status = read_header(decoder);
  if (status == VITC_IMAGE_OK) status = read_rows(decoder);
  return status;
}

/* These two stand alone with setjmp, so that no variable of a frame that longjmp returns to can be stale. */
static void read_guarded(struct decoder *decoder) {
  if (setjmp(decoder->escape) == 0) decoder->status = read_image(decoder);
}

/* The image is complete here: what is wrong behind it is no fault, as in Pillow. */
static void read_tail_guarded(struct decoder *decoder) {
  const struct detail none = {NULL, 0};
  decoder->detail = &none;
  if (setjmp(decoder->escape) == 0) png_read_end(decoder->png, decoder->info);
  decoder->status = VITC_IMAGE_OK;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* ImageMagick's way of storing EXIF: "\nexif\n<length>\n" and lines of hexadecimal digits. Decodes in place. */
static struct bytes raw_profile(char *text, size_t size) {
  struct bytes none = {NULL, 0};
  size_t at = 0, length = 0;
  for (int lines = 0; lines < 3; lines++) {
    while (at < size && text[at] != '\n') at++;
    if (at++ >= size) return none;
  }
  for (int high = -1; at < size; at++) {
    int digit = hex_digit(text[at]);
    if (digit < 0) continue;
    if (high >= 0) text[length++] = (char)(high << 4 | digit);
    high = high >= 0 ? -1 : digit;
  }
  return (struct bytes){(const uint8_t *)text, length};
}

static int orientation_in(struct decoder *decoder) {
  struct bytes exif = {NULL, 0}, xmp = {NULL, 0};
  png_textp texts = NULL;
  int count = 0;
  png_get_text(decoder->png, decoder->info, &texts, &count);
  for (int i = 0; i < count; i++) {
    size_t size = texts[i].itxt_length ? texts[i].itxt_length : texts[i].text_length;
    if (!texts[i].text) continue;
    if (strcmp(texts[i].key, "XML:com.adobe.xmp") == 0) xmp = (struct bytes){(uint8_t *)texts[i].text, size};
    if (strcmp(texts[i].key, "Raw profile type exif") == 0) exif = raw_profile(texts[i].text, size);
  }
  png_bytep block = NULL;
  png_uint_32 size = 0;
  if (png_get_eXIf_1(decoder->png, decoder->info, &size, &block)) exif = (struct bytes){block, size};
  return orientation_of(exif, xmp);
}

vitc_image_status png_decode(struct bytes file, vitc_image *out_image, int *out_orientation, const struct detail *detail) {
  struct decoder decoder = {.left = file, .image = out_image, .detail = detail};
  read_guarded(&decoder);
  if (decoder.status == VITC_IMAGE_OK) {
    read_tail_guarded(&decoder);
    *out_orientation = orientation_in(&decoder);
  } else {
    vitc_image_free(out_image);
  }
  free(decoder.samples);
  png_destroy_read_struct(&decoder.png, &decoder.info, NULL);
  return decoder.status;
}
