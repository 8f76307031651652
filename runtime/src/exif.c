#include "decode.h"

#include <string.h>

enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, TYPE_LONG = 4, ENTRY_BYTES = 12 };

static uint32_t read_integer(const uint8_t *at, unsigned bytes, int big_endian) {
  uint32_t value = 0;
  for (unsigned i = 0; i < bytes; i++) value = value << 8 | at[big_endian ? i : bytes - 1 - i];
  return value;
}

static struct bytes without_prefix(struct bytes exif) {
  for (int i = 0; i < 2 && exif.size >= 6 && memcmp(exif.data, "Exif\0\0", 6) == 0; i++) {
    exif.data += 6;
    exif.size -= 6;
  }
  return exif;
}

int exif_orientation(struct bytes exif) {
  exif = without_prefix(exif);
  if (exif.size < 8) return 0;
  int big_endian = memcmp(exif.data, "MM\0*", 4) == 0 || memcmp(exif.data, "MM*\0", 4) == 0;
  if (!big_endian && memcmp(exif.data, "II*\0", 4) != 0 && memcmp(exif.data, "II\0*", 4) != 0) return 0;
  size_t directory = read_integer(exif.data + 4, 4, big_endian);
  if (directory > exif.size || exif.size - directory < 2) return 0;

  size_t count = read_integer(exif.data + directory, 2, big_endian);
  int orientation = 0;
  for (size_t i = 0, at = directory + 2; i < count && at + ENTRY_BYTES <= exif.size; i++, at += ENTRY_BYTES) {
    const uint8_t *entry = exif.data + at;
    uint32_t type = read_integer(entry + 2, 2, big_endian), length = read_integer(entry + 4, 4, big_endian);
    if (read_integer(entry, 2, big_endian) != TAG_ORIENTATION || length == 0) continue;
    unsigned bytes = type == TYPE_SHORT ? 2 : type == TYPE_LONG ? 4 : 0;
    if (bytes == 0) continue;

    /* Of more values than one, which lie elsewhere when they take over 4 bytes, the first counts. */
    size_t value = at + 8, size = (size_t)length * bytes;
    if (size > 4) {
      value = read_integer(entry + 8, 4, big_endian);
      if (value > exif.size || exif.size - value < size) continue;
    }
    uint32_t found = read_integer(exif.data + value, bytes, big_endian);
    orientation = found >= 2 && found <= 8 ? (int)found : 1;
  }
  return orientation;
}

int xmp_orientation(struct bytes xmp) {
  static const char name[] = "tiff:Orientation";
  const size_t length = sizeof name - 1;
  if (!xmp.data) return 0;
  const uint8_t *at = xmp.data, *end = xmp.data + xmp.size;
  while ((size_t)(end - at) > length) {
    at = memchr(at, 't', (size_t)(end - at) - length);
    if (!at) break;
    if (memcmp(at, name, length) != 0) {
      at++;
      continue;
    }
    at += length;
    size_t left = (size_t)(end - at);
    size_t digit = left >= 3 && at[0] == '=' && at[1] == '"' ? 2 : left >= 2 && at[0] == '>' ? 1 : 0;
    if (digit && at[digit] >= '0' && at[digit] <= '9') return at[digit] - '0';
  }
  return 0;
}

int orientation_of(struct bytes exif, struct bytes xmp) {
  int orientation = exif_orientation(exif);
  if (orientation == 0) orientation = xmp_orientation(xmp);
  return orientation >= 2 && orientation <= 8 ? orientation : 1;
}
