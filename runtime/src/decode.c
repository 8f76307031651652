#include "decode.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* No image of at most VITC_PIXELS_MAX pixels needs a larger file than its raw 16-bit RGBA samples. */
#define FILE_BYTES_MAX ((size_t)VITC_PIXELS_MAX * 8)

vitc_image_status fault(const struct detail *detail, vitc_image_status status, const char *format, ...) {
  if (detail->text && detail->size) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(detail->text, detail->size, format, arguments);
    va_end(arguments);
  }
  return status;
}

const char *vitc_image_status_text(vitc_image_status status) {
  switch (status) {
  case VITC_IMAGE_OK:
    return "ok";
  case VITC_IMAGE_E_FILE:
    return "cannot be read";
  case VITC_IMAGE_E_FORMAT:
    return "not a JPEG, PNG or WebP image";
  case VITC_IMAGE_E_CORRUPT:
    return "cut or corrupt";
  case VITC_IMAGE_E_SIZE:
    return "no pixels, or too many";
  case VITC_IMAGE_E_MEMORY:
    return "out of memory";
  case VITC_IMAGE_E_ARGUMENT:
    return "not usable as asked";
  }
  return "unknown status";
}

vitc_image_status image_alloc(uint32_t width, uint32_t height, vitc_image *out_image, const struct detail *detail) {
  uint64_t pixels = (uint64_t)width * height;
  *out_image = (vitc_image){0};
  if (pixels == 0) return fault(detail, VITC_IMAGE_E_SIZE, "image of %u x %u pixels", width, height);
  if (pixels > VITC_PIXELS_MAX)
    return fault(detail, VITC_IMAGE_E_SIZE, "image of %u x %u pixels, at most %u in all are read", width, height,
                 VITC_PIXELS_MAX);
  out_image->pixels = malloc((size_t)pixels * 3);
  if (!out_image->pixels) return fault(detail, VITC_IMAGE_E_MEMORY, "no memory for %u x %u pixels", width, height);
  out_image->width = width;
  out_image->height = height;
  return VITC_IMAGE_OK;
}

void vitc_image_free(vitc_image *image) {
  if (!image) return;
  free(image->pixels);
  *image = (vitc_image){0};
}

/* Offset in the upright image of the stored pixel (x, y), and the steps between neighbours, per EXIF orientation. */
struct walk {
  ptrdiff_t start, step_x, step_y;
};

static struct walk walk_of(int orientation, ptrdiff_t width, ptrdiff_t height) {
  switch (orientation) {
  case 2:
    return (struct walk){width - 1, -1, width};
  case 3:
    return (struct walk){width * height - 1, -1, -width};
  case 4:
    return (struct walk){(height - 1) * width, 1, -width};
  case 5:
    return (struct walk){0, height, 1};
  case 6:
    return (struct walk){height - 1, height, -1};
  case 7:
    return (struct walk){width * height - 1, -height, -1};
  default:
    return (struct walk){(width - 1) * height, -height, 1};
  }
}

vitc_image_status image_orient(vitc_image *image, int orientation, const struct detail *detail) {
  if (orientation < 2 || orientation > 8) return VITC_IMAGE_OK;
  uint32_t width = image->width, height = image->height;
  vitc_image upright;
  vitc_image_status status = image_alloc(orientation < 5 ? width : height, orientation < 5 ? height : width, &upright, detail);
  if (status != VITC_IMAGE_OK) return status;

  struct walk walk = walk_of(orientation, (ptrdiff_t)width, (ptrdiff_t)height);
  const uint8_t *from = image->pixels;
  for (uint32_t y = 0; y < height; y++) {
    ptrdiff_t to = walk.start + (ptrdiff_t)y * walk.step_y;
    for (uint32_t x = 0; x < width; x++, from += 3, to += walk.step_x) memcpy(upright.pixels + to * 3, from, 3);
  }
  vitc_image_free(image);
  *image = upright;
  return VITC_IMAGE_OK;
}

static vitc_image_status decode_any(struct bytes file, vitc_image *out_image, int *out_orientation,
                                    const struct detail *detail) {
  if (file.size == 0) return fault(detail, VITC_IMAGE_E_FORMAT, "empty file");
  if (file.size >= 3 && memcmp(file.data, "\xff\xd8\xff", 3) == 0) return jpeg_decode(file, out_image, out_orientation, detail);
  if (file.size >= 8 && memcmp(file.data, "\x89PNG\r\n\x1a\n", 8) == 0)
    return png_decode(file, out_image, out_orientation, detail);
  if (file.size >= 12 && memcmp(file.data, "RIFF", 4) == 0 && memcmp(file.data + 8, "WEBP", 4) == 0)
    return webp_decode(file, out_image, out_orientation, detail);
  return fault(detail, VITC_IMAGE_E_FORMAT, "not a JPEG, PNG or WebP file");
}

vitc_image_status vitc_image_decode(const void *bytes, size_t size, vitc_image *out_image, char *detail, size_t detail_size) {
  struct detail where = {detail, detail_size};
  if (!out_image) return fault(&where, VITC_IMAGE_E_ARGUMENT, "no image to decode to");
  *out_image = (vitc_image){0};
  if (!bytes && size) return fault(&where, VITC_IMAGE_E_ARGUMENT, "no bytes to decode");

  int orientation = 1;
  vitc_image_status status = decode_any((struct bytes){bytes, size}, out_image, &orientation, &where);
  if (status == VITC_IMAGE_OK) status = image_orient(out_image, orientation, &where);
  if (status != VITC_IMAGE_OK) vitc_image_free(out_image);
  return status;
}

/* Reads to the end instead of trusting the size that stat gives, which pipes don't have and which can change. */
static vitc_image_status read_all(int file, size_t expected, uint8_t **out_data, size_t *out_size,
                                  const struct detail *detail) {
  size_t size = 0, room = expected + 1;
  uint8_t *data = malloc(room);
  if (!data) return fault(detail, VITC_IMAGE_E_MEMORY, "no memory for a file of %zu bytes", expected);
  for (;;) {
    if (size == room) {
      uint8_t *larger = realloc(data, room + room / 2 + 65536);
      if (!larger) {
        free(data);
        return fault(detail, VITC_IMAGE_E_MEMORY, "no memory for a file of over %zu bytes", size);
      }
      data = larger;
      room += room / 2 + 65536;
    }
    ssize_t got = read(file, data + size, room - size);
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    int error = errno;
    if (got > 0) size += (size_t)got;
    if (got < 0 || size > FILE_BYTES_MAX) {
      free(data);
      if (got < 0) return fault(detail, VITC_IMAGE_E_FILE, "cannot be read: %s", strerror(error));
      return fault(detail, VITC_IMAGE_E_SIZE, "file larger than %zu bytes", FILE_BYTES_MAX);
    }
  }
  *out_data = data;
  *out_size = size;
  return VITC_IMAGE_OK;
}

vitc_image_status vitc_image_load(const char *path, vitc_image *out_image, char *detail, size_t detail_size) {
  struct detail where = {detail, detail_size};
  if (!path || !out_image) return fault(&where, VITC_IMAGE_E_ARGUMENT, "no path, or no image to load to");
  *out_image = (vitc_image){0};
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return fault(&where, VITC_IMAGE_E_FILE, "cannot be opened: %s", strerror(errno));

  struct stat info;
  size_t expected = 0;
  if (fstat(file, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0) expected = (size_t)info.st_size;
  uint8_t *data = NULL;
  size_t size = 0;
  vitc_image_status status = VITC_IMAGE_OK;
  if (expected > FILE_BYTES_MAX)
    status = fault(&where, VITC_IMAGE_E_SIZE, "file larger than %zu bytes", FILE_BYTES_MAX);
  else
    status = read_all(file, expected, &data, &size, &where);
  close(file);
  if (status != VITC_IMAGE_OK) return status;
  status = vitc_image_decode(data, size, out_image, detail, detail_size);
  free(data);
  return status;
}
