#include "decode.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

/* A progressive file may repeat scans over the whole image at a few bytes each: real ones have about ten. */
enum { SCANS_MAX = 100 };

struct decoder {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr errors;
  struct jpeg_progress_mgr progress;
  struct jpeg_source_mgr source;
  jmp_buf escape;
  struct bytes file;
  vitc_image *image;
  uint8_t *row; /* of CMYK */
  const struct detail *detail;
  vitc_image_status status;
};

static struct decoder *decoder_of(j_common_ptr jpeg) {
  return jpeg->client_data;
}

static void on_error(j_common_ptr jpeg) {
  char message[JMSG_LENGTH_MAX];
  struct decoder *decoder = decoder_of(jpeg);
  jpeg->err->format_message(jpeg, message);
  int memory = jpeg->err->msg_code == JERR_OUT_OF_MEMORY;
  decoder->status = fault(decoder->detail, memory ? VITC_IMAGE_E_MEMORY : VITC_IMAGE_E_CORRUPT, "JPEG: %s", message);
  longjmp(decoder->escape, 1);
}

static void on_message(j_common_ptr jpeg) {
  (void)jpeg;
}

static void on_progress(j_common_ptr jpeg) {
  struct decoder *decoder = decoder_of(jpeg);
  if (decoder->jpeg.input_scan_number <= SCANS_MAX) return;
  decoder->status = fault(decoder->detail, VITC_IMAGE_E_CORRUPT, "JPEG: more than %d scans", SCANS_MAX);
  longjmp(decoder->escape, 1);
}

static void source_nothing(j_decompress_ptr jpeg) {
  (void)jpeg;
}

/* The end of the data suspends the decoder instead of ending the image in grey: a cut file is a fault. */
static boolean source_fill(j_decompress_ptr jpeg) {
  (void)jpeg;
  return FALSE;
}

static void source_skip(j_decompress_ptr jpeg, long count) {
  struct jpeg_source_mgr *source = jpeg->src;
  size_t skip = count < 0 ? 0 : (size_t)count;
  if (skip > source->bytes_in_buffer) skip = source->bytes_in_buffer;
  source->next_input_byte += skip;
  source->bytes_in_buffer -= skip;
}

static void set_up(struct decoder *decoder) {
  struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
  jpeg->err = jpeg_std_error(&decoder->errors);
  decoder->errors.error_exit = on_error;
  decoder->errors.output_message = on_message;
  jpeg->client_data = decoder;
  jpeg_create_decompress(jpeg);
  decoder->progress.progress_monitor = on_progress;
  jpeg->progress = &decoder->progress;
  decoder->source = (struct jpeg_source_mgr){.next_input_byte = decoder->file.data,
                                             .bytes_in_buffer = decoder->file.size,
                                             .init_source = source_nothing,
                                             .fill_input_buffer = source_fill,
                                             .skip_input_data = source_skip,
                                             .resync_to_restart = jpeg_resync_to_restart,
                                             .term_source = source_nothing};
  jpeg->src = &decoder->source;
}

/* Huffman coding spends at least one bit on each 8 x 8 block, which bounds what a file of this size can hold. */
static int too_short(const struct decoder *decoder) {
  const struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
  uint64_t blocks = 0;
  if (jpeg->arith_code) return 0;
  for (int i = 0; i < jpeg->num_components; i++) {
    const jpeg_component_info *component = &jpeg->comp_info[i];
    uint64_t width = (uint64_t)jpeg->image_width * (uint64_t)component->h_samp_factor / (uint64_t)jpeg->max_h_samp_factor;
    uint64_t height = (uint64_t)jpeg->image_height * (uint64_t)component->v_samp_factor / (uint64_t)jpeg->max_v_samp_factor;
    blocks += (width / 8) * (height / 8);
  }
  return blocks / 8 > decoder->file.size;
}

static int multiply_255(int a, int b) {
  int product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

/* Four-component files store Adobe's inverted CMYK, which is how Pillow takes all of them. */
static void row_from_cmyk(const uint8_t *cmyk, uint8_t *rgb, size_t width) {
  for (size_t x = 0; x < width; x++, cmyk += 4, rgb += 3) {
    int light = cmyk[3];
    for (int c = 0; c < 3; c++) {
      int value = light - multiply_255(255 - cmyk[c], light);
      rgb[c] = (uint8_t)(value < 0 ? 0 : value);
    }
  }
}

/* In place: the grey values lie at the start of the row. */
static void row_from_grey(uint8_t *row, size_t width) {
  for (size_t x = width; x-- > 0;) row[3 * x] = row[3 * x + 1] = row[3 * x + 2] = row[x];
}

static vitc_image_status read_rows(struct decoder *decoder) {
  struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
  size_t width = jpeg->output_width;
  while (jpeg->output_scanline < jpeg->output_height) {
    uint32_t y = jpeg->output_scanline;
    uint8_t *out = decoder->image->pixels + (size_t)y * width * 3;
    JSAMPROW row = decoder->row ? decoder->row : out;
    if (jpeg_read_scanlines(jpeg, &row, 1) != 1)
      return fault(decoder->detail, VITC_IMAGE_E_CORRUPT, "JPEG: cut in row %u of %u", y, jpeg->output_height);
    if (jpeg->out_color_space == JCS_CMYK) row_from_cmyk(decoder->row, out, width);
    if (jpeg->out_color_space == JCS_GRAYSCALE) row_from_grey(out, width);
  }
  return VITC_IMAGE_OK;
}

static vitc_image_status read_image(struct decoder *decoder) {
  struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
  set_up(decoder);
  if (jpeg_read_header(jpeg, TRUE) != JPEG_HEADER_OK)
    return fault(decoder->detail, VITC_IMAGE_E_CORRUPT, "JPEG: cut in the header");
  switch (jpeg->num_components) {
  case 1:
    jpeg->out_color_space = JCS_GRAYSCALE;
    break;
  case 3:
    jpeg->out_color_space = JCS_RGB;
    break;
  case 4:
    jpeg->out_color_space = JCS_CMYK;
    break;
  default:
    return fault(decoder->detail, VITC_IMAGE_E_CORRUPT, "JPEG: %d components, not 1, 3 or 4", jpeg->num_components);
  }
  if ((uint64_t)jpeg->image_width * jpeg->image_height <= VITC_PIXELS_MAX && too_short(decoder))
    return fault(decoder->detail, VITC_IMAGE_E_CORRUPT, "JPEG: cut: %zu bytes cannot hold %u x %u pixels", decoder->file.size,
                 jpeg->image_width, jpeg->image_height);
  vitc_image_status status = image_alloc(jpeg->image_width, jpeg->image_height, decoder->image, decoder->detail);
  if (status != VITC_IMAGE_OK) return status;
  if (jpeg->out_color_space == JCS_CMYK && !(decoder->row = malloc((size_t)jpeg->image_width * 4)))
    return fault(decoder->detail, VITC_IMAGE_E_MEMORY, "no memory for a row of %u pixels", jpeg->image_width);
  if (!jpeg_start_decompress(jpeg)) return fault(decoder->detail, VITC_IMAGE_E_CORRUPT, "JPEG: cut in the image data");
  return read_rows(decoder);
}

/* Alone with setjmp, so that no variable of a frame that longjmp returns to can be stale. */
static void read_guarded(struct decoder *decoder) {
  if (setjmp(decoder->escape) == 0) decoder->status = read_image(decoder);
}

/* Segments before the first scan. Several EXIF segments are one block cut in pieces; of XMP the last one counts. */
struct segments {
  struct bytes exif, xmp;
  uint8_t *joined; /* owns exif.data when there was more than one piece */
};

static int join_exif(struct segments *segments, struct bytes piece) {
  if (!segments->exif.size) {
    segments->exif = piece;
    return 1;
  }
  piece.data += 6;
  piece.size -= 6;
  uint8_t *joined = malloc(segments->exif.size + piece.size);
  if (!joined) return 0;
  memcpy(joined, segments->exif.data, segments->exif.size);
  memcpy(joined + segments->exif.size, piece.data, piece.size);
  free(segments->joined);
  segments->joined = joined;
  segments->exif = (struct bytes){joined, segments->exif.size + piece.size};
  return 1;
}

static int find_segments(struct bytes file, struct segments *out_segments) {
  static const char exif[] = "Exif\0", xmp[] = "http://ns.adobe.com/xap/1.0/";
  for (size_t at = 2; at + 4 <= file.size;) {
    uint8_t marker = file.data[at + 1];
    if (file.data[at] != 0xff || marker == 0xff || marker == 0 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += file.data[at] == 0xff && marker != 0xff ? 2 : 1;
      continue;
    }
    size_t length = (size_t)file.data[at + 2] << 8 | file.data[at + 3];
    if (marker == 0xda || marker == 0xd9 || length < 2 || length > file.size - at - 2) break;
    struct bytes segment = {file.data + at + 4, length - 2};
    if (marker == 0xe1 && segment.size >= sizeof exif && memcmp(segment.data, exif, sizeof exif) == 0) {
      if (!join_exif(out_segments, segment)) return 0;
    } else if (marker == 0xe1 && segment.size >= sizeof xmp && memcmp(segment.data, xmp, sizeof xmp) == 0) {
      out_segments->xmp = (struct bytes){segment.data + sizeof xmp, segment.size - sizeof xmp};
    }
    at += 2 + length;
  }
  return 1;
}

vitc_image_status jpeg_decode(struct bytes file, vitc_image *out_image, int *out_orientation, const struct detail *detail) {
  struct segments segments = {0};
  int joined = find_segments(file, &segments);
  if (joined) *out_orientation = orientation_of(segments.exif, segments.xmp);
  free(segments.joined);
  if (!joined) return fault(detail, VITC_IMAGE_E_MEMORY, "no memory for the EXIF block");

  struct decoder decoder = {.file = file, .image = out_image, .detail = detail};
  read_guarded(&decoder);
  jpeg_destroy_decompress(&decoder.jpeg);
  free(decoder.row);
  if (decoder.status != VITC_IMAGE_OK) vitc_image_free(out_image);
  return decoder.status;
}
