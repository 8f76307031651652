/* Images: resizing and cropping where closed forms exist, and files that are cut, corrupt or hostile. The values of real images
 * are compared with Pillow, timm and transformers in tests/reference/preprocess.py. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jpeglib.h>
#include <png.h>
#include <webp/encode.h>

#include "vitc/image.h"

enum { WIDTH = 19, HEIGHT = 13, PIXEL_BYTES = WIDTH * HEIGHT * 3 };

static uint8_t pixels[PIXEL_BYTES];

struct file {
  const char *name;
  uint8_t *data;
  size_t size;
};

static void fill_pixels(void) {
  for (unsigned i = 0; i < PIXEL_BYTES; i++) pixels[i] = (uint8_t)(i * i % 251);
}

static struct file make_jpeg(int progressive) {
  struct jpeg_compress_struct jpeg;
  struct jpeg_error_mgr errors;
  unsigned char *data = NULL;
  unsigned long size = 0;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  jpeg_mem_dest(&jpeg, &data, &size);
  jpeg.image_width = WIDTH;
  jpeg.image_height = HEIGHT;
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  if (progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  while (jpeg.next_scanline < HEIGHT) {
    JSAMPROW row = pixels + jpeg.next_scanline * WIDTH * 3;
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  return (struct file){progressive ? "progressive JPEG" : "JPEG", data, size};
}

static struct file make_png(void) {
  png_image image = {.version = PNG_IMAGE_VERSION, .width = WIDTH, .height = HEIGHT, .format = PNG_FORMAT_RGB};
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  uint8_t *data = malloc(size);
  cr_assert(png_image_write_to_memory(&image, data, &size, 0, pixels, 0, NULL));
  return (struct file){"PNG", data, size};
}

static struct file make_webp(int lossless) {
  uint8_t *data = NULL;
  size_t size = lossless ? WebPEncodeLosslessRGB(pixels, WIDTH, HEIGHT, WIDTH * 3, &data)
                         : WebPEncodeRGB(pixels, WIDTH, HEIGHT, WIDTH * 3, 80, &data);
  cr_assert(gt(sz, size, 0));
  return (struct file){lossless ? "lossless WebP" : "lossy WebP", data, size};
}

/* Exactly `size` bytes on the heap, so that a sanitizer sees a read behind them. */
static vitc_image_status decode(const uint8_t *data, size_t size, vitc_image *out_image, char detail[120]) {
  uint8_t *copy = malloc(size ? size : 1);
  memcpy(copy, data, size);
  detail[0] = '\0';
  vitc_image_status status = vitc_image_decode(copy, size, out_image, detail, 120);
  free(copy);
  return status;
}

static void check_fault(const char *name, vitc_image_status status, const vitc_image *image, const char *detail) {
  cr_assert(eq(ptr, image->pixels, NULL), "%s", name);
  cr_assert(ne(chr, detail[0], '\0'), "%s: %s", name, vitc_image_status_text(status));
  cr_assert(eq(ptr, strchr(detail, '\n'), NULL), "%s: %s", name, detail);
}

static void check_cut_and_flipped(struct file file) {
  char detail[120];
  vitc_image whole, image;
  cr_assert(eq(int, decode(file.data, file.size, &whole, detail), VITC_IMAGE_OK), "%s: %s", file.name, detail);
  cr_assert(eq(u32, whole.width, WIDTH));
  cr_assert(eq(u32, whole.height, HEIGHT));

  /* A cut is a fault, or it took nothing but what follows the image. */
  for (size_t size = 0; size < file.size; size++) {
    vitc_image_status status = decode(file.data, size, &image, detail);
    if (status == VITC_IMAGE_OK)
      cr_assert(eq(int, memcmp(image.pixels, whole.pixels, PIXEL_BYTES), 0), "%s cut to %zu bytes", file.name, size);
    else
      check_fault(file.name, status, &image, detail);
    vitc_image_free(&image);
    if (size < file.size - 12) cr_assert(ne(int, status, VITC_IMAGE_OK), "%s cut to %zu bytes", file.name, size);
  }
  for (size_t at = 0; at < file.size; at++) {
    for (int bit = 0; bit < 8; bit++) {
      file.data[at] ^= (uint8_t)(1 << bit);
      vitc_image_status status = decode(file.data, file.size, &image, detail);
      if (status != VITC_IMAGE_OK) check_fault(file.name, status, &image, detail);
      vitc_image_free(&image);
      file.data[at] ^= (uint8_t)(1 << bit);
    }
  }
  vitc_image_free(&whole);
}

TestSuite(image, .init = fill_pixels);

Test(image, lossless_files_give_their_pixels_back) {
  struct file files[] = {make_png(), make_webp(1)};
  for (int i = 0; i < 2; i++) {
    char detail[120];
    vitc_image image;
    cr_assert(eq(int, decode(files[i].data, files[i].size, &image, detail), VITC_IMAGE_OK), "%s", detail);
    cr_assert(eq(int, memcmp(image.pixels, pixels, PIXEL_BYTES), 0));
    vitc_image_free(&image);
    cr_assert(eq(ptr, image.pixels, NULL));
    free(files[i].data);
  }
}

Test(image, damaged_jpeg) {
  struct file file = make_jpeg(0);
  check_cut_and_flipped(file);
  free(file.data);
}

Test(image, damaged_progressive_jpeg) {
  struct file file = make_jpeg(1);
  check_cut_and_flipped(file);
  free(file.data);
}

Test(image, damaged_png) {
  struct file file = make_png();
  check_cut_and_flipped(file);
  free(file.data);
}

Test(image, damaged_webp) {
  for (int lossless = 0; lossless < 2; lossless++) {
    struct file file = make_webp(lossless);
    check_cut_and_flipped(file);
    WebPFree(file.data);
  }
}

Test(image, bombs_are_refused_before_memory_is_taken) {
  char detail[120];
  vitc_image image;
  struct file png = make_png(), jpeg = make_jpeg(0);
  static const uint8_t sides[] = {0, 0, 0xff, 0xff};
  for (size_t at = 0; at + 5 < jpeg.size; at++)
    if (jpeg.data[at] == 0xff && jpeg.data[at + 1] == 0xc0) memcpy(jpeg.data + at + 5, (uint8_t[]){0xff, 0, 0xff, 0}, 4);
  cr_assert(eq(int, decode(jpeg.data, jpeg.size, &image, detail), VITC_IMAGE_E_SIZE), "%s", detail);
  memcpy(png.data + 16, sides, 4);
  memcpy(png.data + 20, sides, 4);
  cr_assert(ne(int, decode(png.data, png.size, &image, detail), VITC_IMAGE_OK));
  free(png.data);
  free(jpeg.data);
}

Test(image, other_files_and_arguments) {
  char detail[120];
  vitc_image image;
  cr_assert(eq(int, decode((const uint8_t *)"GIF89a", 6, &image, detail), VITC_IMAGE_E_FORMAT));
  cr_assert(eq(int, decode((const uint8_t *)"", 0, &image, detail), VITC_IMAGE_E_FORMAT));
  cr_assert(eq(int, vitc_image_decode(NULL, 5, &image, NULL, 0), VITC_IMAGE_E_ARGUMENT));
  cr_assert(eq(int, vitc_image_decode("", 0, NULL, NULL, 0), VITC_IMAGE_E_ARGUMENT));
  cr_assert(eq(int, vitc_image_load("/nowhere/image.png", &image, detail, sizeof detail), VITC_IMAGE_E_FILE));
  cr_assert(eq(str, detail, "cannot be opened: No such file or directory"));
  cr_assert(eq(int, vitc_image_load("/", &image, detail, 8), VITC_IMAGE_E_FILE));
  cr_assert(eq(sz, strlen(detail), 7));
  for (int status = -1; status < 9; status++) cr_assert(gt(sz, strlen(vitc_image_status_text((vitc_image_status)status)), 0));
  vitc_image_free(NULL);
}

/* A lossless WebP of 2 x 3 pixels a b, c d, e f with an EXIF chunk behind. */
static size_t make_oriented(int orientation, uint8_t file[400]) {
  static const uint8_t exif[] = {'I', 'I', '*', 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  uint8_t stored[18], *webp = NULL;
  for (int i = 0; i < 18; i++) stored[i] = (uint8_t)("abcdef"[i / 3]);
  size_t size = WebPEncodeLosslessRGB(stored, 2, 3, 6, &webp);
  memcpy(file, webp, 12);
  memcpy(file + 12, "VP8X\x0a\0\0\0\x08\0\0\0\1\0\0\2\0\0", 18);
  memcpy(file + 30, webp + 12, size - 12);
  size_t at = 30 + size - 12;
  WebPFree(webp);
  memcpy(file + at, "EXIF\x1a\0\0\0", 8);
  memcpy(file + at + 8, exif, sizeof exif);
  file[at + 8 + 18] = (uint8_t)orientation;
  at += 8 + sizeof exif;
  memcpy(file + 4, (uint8_t[]){(uint8_t)(at - 8), (uint8_t)((at - 8) >> 8), 0, 0}, 4);
  return at;
}

Test(image, exif_orientation_turns_the_image) {
  static const char *const upright[] = {"abcdef", "abcdef", "badcfe", "fedcba", "efcdab",
                                        "acebdf", "ecafdb", "fdbeca", "bdface", "abcdef"};
  for (int orientation = 0; orientation <= 9; orientation++) {
    uint8_t file[400];
    char detail[120];
    vitc_image image;
    size_t size = make_oriented(orientation, file);
    cr_assert(eq(int, decode(file, size, &image, detail), VITC_IMAGE_OK), "%s", detail);
    cr_assert(eq(u32, image.width, orientation >= 5 && orientation <= 8 ? 3 : 2));
    for (int i = 0; i < 6; i++)
      cr_assert(eq(chr, (char)image.pixels[3 * i], upright[orientation][i]), "orientation %d, pixel %d", orientation, i);
    vitc_image_free(&image);
  }
}

static vitc_image image_of(uint32_t width, uint32_t height, uint8_t *values) {
  return (vitc_image){width, height, values};
}

Test(image, a_constant_stays_constant) {
  static const uint32_t sides[] = {1, 2, 3, 17, 64, 200};
  static uint8_t values[40 * 30 * 3];
  for (int value = 0; value < 256; value += 51) {
    memset(values, value, sizeof values);
    vitc_image image = image_of(40, 30, values), resized;
    for (int filter = VITC_NEAREST; filter <= VITC_LANCZOS; filter++) {
      for (size_t i = 0; i < 36; i++) {
        uint32_t width = sides[i / 6], height = sides[i % 6];
        cr_assert(eq(int, vitc_image_resize(&image, width, height, (vitc_filter)filter, &resized), VITC_IMAGE_OK));
        for (size_t at = 0; at < (size_t)width * height * 3; at++) cr_assert(eq(u8, resized.pixels[at], (uint8_t)value));
        vitc_image_free(&resized);
      }
    }
  }
}

Test(image, the_same_size_is_a_copy) {
  vitc_image image = image_of(WIDTH, HEIGHT, pixels), resized;
  for (int filter = VITC_NEAREST; filter <= VITC_LANCZOS; filter++) {
    cr_assert(eq(int, vitc_image_resize(&image, WIDTH, HEIGHT, (vitc_filter)filter, &resized), VITC_IMAGE_OK));
    cr_assert(eq(int, memcmp(resized.pixels, pixels, PIXEL_BYTES), 0));
    vitc_image_free(&resized);
  }
}

/* Two equal weights: the mean, halves rounded up, first of each row and then of each column. */
Test(image, bilinear_halves_are_means) {
  for (int a = 0; a < 256; a += 5) {
    uint8_t values[12] = {(uint8_t)a, 1, 2, 4, 3, 254, 255, (uint8_t)a, 9, 0, 200, 255};
    vitc_image image = image_of(2, 2, values), resized;
    cr_assert(eq(int, vitc_image_resize(&image, 1, 1, VITC_BILINEAR, &resized), VITC_IMAGE_OK));
    for (int c = 0; c < 3; c++) {
      int top = (values[c] + values[3 + c] + 1) / 2, bottom = (values[6 + c] + values[9 + c] + 1) / 2;
      cr_assert(eq(u8, resized.pixels[c], (uint8_t)((top + bottom + 1) / 2)));
    }
    vitc_image_free(&resized);
  }
}

Test(image, nearest_repeats_pixels) {
  vitc_image image = image_of(WIDTH, HEIGHT, pixels), resized;
  cr_assert(eq(int, vitc_image_resize(&image, WIDTH * 3, HEIGHT * 2, VITC_NEAREST, &resized), VITC_IMAGE_OK));
  for (size_t y = 0; y < HEIGHT * 2; y++)
    for (size_t x = 0; x < WIDTH * 3; x++)
      cr_assert(eq(int, memcmp(resized.pixels + (y * WIDTH * 3 + x) * 3, pixels + (y / 2 * WIDTH + x / 3) * 3, 3), 0));
  vitc_image_free(&resized);
}

Test(image, resize_checks_its_arguments) {
  vitc_image image = image_of(WIDTH, HEIGHT, pixels), resized;
  cr_assert(eq(int, vitc_image_resize(&image, 0, 5, VITC_BICUBIC, &resized), VITC_IMAGE_E_SIZE));
  cr_assert(eq(int, vitc_image_resize(&image, 20000, 20000, VITC_BICUBIC, &resized), VITC_IMAGE_E_SIZE));
  cr_assert(eq(int, vitc_image_resize(&image, UINT32_MAX, 1, VITC_BICUBIC, &resized), VITC_IMAGE_E_SIZE));
  cr_assert(eq(int, vitc_image_resize(&image, 5, 5, (vitc_filter)4, &resized), VITC_IMAGE_E_ARGUMENT));
  cr_assert(eq(int, vitc_image_resize(NULL, 5, 5, VITC_BICUBIC, &resized), VITC_IMAGE_E_ARGUMENT));
  cr_assert(eq(ptr, resized.pixels, NULL));
}

static vitc_preprocess shortest(uint32_t edge, uint32_t crop) {
  return (vitc_preprocess){.resize = VITC_RESIZE_SHORTEST,
                           .filter = VITC_BICUBIC,
                           .resize_height = edge,
                           .resize_width = edge,
                           .crop_height = crop,
                           .crop_width = crop,
                           .rescale = 1.0 / 255,
                           .mean = {0.5, 0.25, 0},
                           .std = {0.5, 0.25, 1}};
}

Test(image, sizes_after_the_resize) {
  uint32_t width, height;
  vitc_preprocess preprocess = shortest(256, 0);
  cr_assert(eq(int, vitc_image_fit_size(&preprocess, 640, 427, &width, &height), VITC_IMAGE_OK));
  cr_assert(eq(u32, width, 383));
  cr_assert(eq(u32, height, 256));
  cr_assert(eq(int, vitc_image_fit_size(&preprocess, 1, 4000, &width, &height), VITC_IMAGE_OK));
  cr_assert(eq(u32, width, 256));
  cr_assert(eq(u32, height, 1024000));
  preprocess.resize_width = 100; /* covers 256 x 100: 640 / 100 is less shrinking than 427 / 256 */
  cr_assert(eq(int, vitc_image_fit_size(&preprocess, 640, 427, &width, &height), VITC_IMAGE_OK));
  cr_assert(eq(u32, width, 384));
  cr_assert(eq(u32, height, 256));
  cr_assert(eq(int, vitc_image_fit_size(&preprocess, 0, 427, &width, &height), VITC_IMAGE_E_ARGUMENT));
  preprocess.resize = VITC_RESIZE_UNKNOWN;
  cr_assert(eq(int, vitc_image_fit_size(&preprocess, 640, 427, &width, &height), VITC_IMAGE_E_ARGUMENT));
  preprocess = shortest(INT32_MAX, 0);
  cr_assert(eq(int, vitc_image_fit_size(&preprocess, 640, 427, &width, &height), VITC_IMAGE_E_SIZE));
}

/* Width `from` cropped to `to`: the offset of the crop in the image, or of the image in the crop as a negative number. */
static int crop_offset(uint32_t from, uint32_t to, uint32_t floor_rule) {
  uint8_t values[30 * 3];
  for (int i = 0; i < 30 * 3; i++) values[i] = (uint8_t)(i / 3 + 1);
  vitc_image image = image_of(from, 1, values), fitted;
  vitc_preprocess preprocess = {
      .resize = VITC_RESIZE_NONE, .crop_height = 1, .crop_width = to, .crop_floor = floor_rule, .rescale = 1};
  cr_assert(eq(int, vitc_image_fit(&image, &preprocess, &fitted), VITC_IMAGE_OK));
  int offset = fitted.pixels[0] - 1;
  for (uint32_t x = 0; to > from && fitted.pixels[3 * x] == 0; x++) offset = -(int)x - 1;
  vitc_image_free(&fitted);
  return offset;
}

Test(image, crops_are_centred_by_each_rule) {
  cr_assert(eq(int, crop_offset(10, 8, 0), 1));
  cr_assert(eq(int, crop_offset(10, 7, 0), 2)); /* 1.5 to even */
  cr_assert(eq(int, crop_offset(10, 7, 1), 1));
  cr_assert(eq(int, crop_offset(10, 5, 0), 2)); /* 2.5 to even */
  cr_assert(eq(int, crop_offset(10, 9, 0), 0));
  cr_assert(eq(int, crop_offset(10, 9, 1), 0));
  cr_assert(eq(int, crop_offset(2, 5, 0), -1));
  cr_assert(eq(int, crop_offset(2, 5, 1), -2));
  cr_assert(eq(int, crop_offset(2, 4, 0), -1));
  cr_assert(eq(int, crop_offset(5, 5, 1), 0));
}

Test(image, a_crop_has_the_bits_of_the_whole_resize) {
  vitc_image image = image_of(WIDTH, HEIGHT, pixels), whole, fitted;
  for (uint32_t edge = 5; edge < 40; edge += 4) {
    for (uint32_t filter = VITC_NEAREST; filter <= VITC_LANCZOS; filter++) {
      vitc_preprocess preprocess = shortest(edge, 5);
      uint32_t width = edge * WIDTH / HEIGHT, left = (width - 5) / 2, top = (edge - 5) / 2;
      preprocess.filter = filter;
      preprocess.crop_floor = 1;
      cr_assert(eq(int, vitc_image_resize(&image, width, edge, (vitc_filter)filter, &whole), VITC_IMAGE_OK));
      cr_assert(eq(int, vitc_image_fit(&image, &preprocess, &fitted), VITC_IMAGE_OK));
      for (uint32_t y = 0; y < 5; y++)
        cr_assert(eq(int, memcmp(fitted.pixels + y * 15, whole.pixels + ((top + y) * width + left) * 3, 15), 0));
      vitc_image_free(&whole);
      vitc_image_free(&fitted);
    }
  }
}

Test(image, input_is_normalised_planes_or_bytes) {
  uint8_t values[12] = {0, 255, 51, 255, 0, 102, 51, 51, 0, 0, 0, 255};
  vitc_image image = image_of(2, 2, values);
  vitc_model model = {.input_count = 1, .preprocess = shortest(2, 2)};
  model.inputs[0] = (vitc_tensor){.dtype = VITC_F32, .rank = 4, .dim = {1, 3, 2, 2}};
  for (uint32_t arithmetic = 0; arithmetic < 2; arithmetic++) {
    float input[12];
    model.preprocess.arithmetic = arithmetic;
    cr_assert(eq(int, vitc_image_input(&image, &model, input), VITC_IMAGE_OK));
    static const float expected[12] = {-1, 1, (0.2f - 0.5f) / 0.5f, -1, 3, -1, (0.2f - 0.25f) / 0.25f, -1, 0.2f, 0.4f, 0, 1};
    for (int i = 0; i < 12; i++) cr_assert(eq(flt, input[i], expected[i]), "value %d", i);
  }
  uint8_t bytes[12];
  model.inputs[0] = (vitc_tensor){.dtype = VITC_U8, .rank = 4, .dim = {1, 2, 2, 3}};
  cr_assert(eq(int, vitc_image_input(&image, &model, bytes), VITC_IMAGE_OK));
  cr_assert(eq(int, memcmp(bytes, values, 12), 0));
  model.inputs[0].dim[2] = 3;
  cr_assert(eq(int, vitc_image_input(&image, &model, bytes), VITC_IMAGE_E_ARGUMENT));
  cr_assert(eq(int, vitc_image_input(&image, NULL, bytes), VITC_IMAGE_E_ARGUMENT));
}

static vitc_preprocess kept(uint32_t resize, uint32_t height, uint32_t width, uint32_t step) {
  return (vitc_preprocess){.resize = resize,
                           .filter = VITC_BILINEAR,
                           .resize_height = height,
                           .resize_width = width,
                           .crop_height = step,
                           .crop_width = step,
                           .rescale = 1.0 / 255,
                           .std = {1, 1, 1}};
}

static void comes_out(const vitc_preprocess *preprocess, uint32_t height, uint32_t width, uint32_t rows, uint32_t columns) {
  uint32_t got_width = 0, got_height = 0;
  cr_assert(eq(int, vitc_image_fit_size(preprocess, width, height, &got_width, &got_height), VITC_IMAGE_OK));
  cr_expect(got_height == rows && got_width == columns, "%u x %u became %u x %u", height, width, got_height, got_width);
}

/* Each by hand from the rule; thousands more against transformers in tests/reference/preprocess.py. */
Test(image, sizes_of_pictures_that_keep_their_shape) {
  uint32_t width, height;
  vitc_preprocess longest = kept(VITC_RESIZE_LONGEST, 1024, 1024, 0);
  comes_out(&longest, 427, 640, 683, 1024); /* 683.2 */
  comes_out(&longest, 2000, 3, 1024, 2);    /* 1.536 */
  comes_out(&longest, 1, 1, 1024, 1024);
  cr_assert(eq(int, vitc_image_fit_size(&longest, 1, 3000, &width, &height), VITC_IMAGE_E_SIZE)); /* 0.34 */
  longest.resize_width = 512;
  comes_out(&longest, 427, 640, 342, 512); /* 341.6 */
  comes_out(&longest, 1024, 300, 1024, 300);

  vitc_preprocess aspect = kept(VITC_RESIZE_ASPECT, 518, 518, 14);
  comes_out(&aspect, 480, 640, 518, 686); /* 690.7, and 49.3 times 14 */
  comes_out(&aspect, 2000, 1000, 1036, 518);
  comes_out(&aspect, 518, 518, 518, 518);
  cr_assert(eq(int, vitc_image_fit_size(&aspect, 2000, 10, &width, &height), VITC_IMAGE_E_SIZE));

  vitc_preprocess limited = kept(VITC_RESIZE_LIMITED, 800, 1333, 16);
  comes_out(&limited, 480, 640, 800, 1056); /* 1066.7 */
  comes_out(&limited, 640, 480, 1056, 800);
  comes_out(&limited, 400, 1600, 320, 1328); /* 333.25, 1333 */
  limited.crop_height = limited.crop_width = 0;
  comes_out(&limited, 400, 1600, 333, 1333);
  limited.resize_width = 0;
  cr_assert(eq(int, vitc_image_fit_size(&limited, 400, 1600, &width, &height), VITC_IMAGE_E_ARGUMENT));
}

Test(image, padding_follows_the_normalisation) {
  uint8_t values[12] = {255, 51, 0, 255, 51, 0, 255, 51, 0, 255, 51, 0}, bytes[48];
  vitc_image image = image_of(4, 1, values), fitted;
  vitc_model model = {.input_count = 1, .preprocess = kept(VITC_RESIZE_LONGEST, 4, 4, 4)};
  model.inputs[0] = (vitc_tensor){.dtype = VITC_F32, .rank = 4, .dim = {1, 3, 4, 4}};
  model.preprocess.crop_floor = VITC_CROP_PAD;
  for (int i = 0; i < 3; i++) model.preprocess.mean[i] = 0.5;
  for (uint32_t arithmetic = 0; arithmetic <= VITC_ARITHMETIC_FLOAT; arithmetic++) {
    float input[48];
    for (int i = 0; i < 48; i++) input[i] = -9;
    model.preprocess.arithmetic = arithmetic;
    cr_assert(eq(int, vitc_image_input(&image, &model, input), VITC_IMAGE_OK));
    static const float shown[3] = {0.5f, -0.3f, -0.5f};
    for (int i = 0; i < 48; i++) {
      float expected = i % 16 < 4 ? shown[i / 16] : 0;
      cr_expect(input[i] >= expected - 1e-6f && input[i] <= expected + 1e-6f, "arithmetic %u, value %d", arithmetic, i);
    }
  }
  /* What is padded is the input, not the fitted picture. */
  cr_assert(eq(int, vitc_image_fit(&image, &model.preprocess, &fitted), VITC_IMAGE_OK));
  cr_expect(fitted.width == 4 && fitted.height == 1);
  vitc_image_free(&fitted);
  float input[48];
  model.preprocess.resize_height = model.preprocess.resize_width = 5;
  cr_expect(eq(int, vitc_image_input(&image, &model, input), VITC_IMAGE_E_ARGUMENT));
  model.preprocess.resize_height = model.preprocess.resize_width = 4;
  model.preprocess.crop_width = 3;
  cr_expect(eq(int, vitc_image_input(&image, &model, input), VITC_IMAGE_E_ARGUMENT));
  model.preprocess.crop_width = 4;
  model.inputs[0] = (vitc_tensor){.dtype = VITC_U8, .rank = 4, .dim = {1, 4, 4, 3}};
  cr_expect(eq(int, vitc_image_input(&image, &model, bytes), VITC_IMAGE_E_ARGUMENT));
}
