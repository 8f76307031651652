/* Runs the runtime's image functions for tests/reference/preprocess.py. Each line of standard input is one job, its fields
 * apart by tabs; each job answers with one line, "ok" or the status and the fault, and writes its result as height and width
 * (uint32) followed by the values.
 *
 *   decode  IMAGE OUT                              bytes (height, width, 3)
 *   resize  IMAGE OUT width height filter          bytes (height, width, 3)
 *   pixels  IMAGE OUT preprocess...                float32 (3, height, width), by way of vitc_image_input
 *   bytes   IMAGE OUT preprocess...                bytes (height, width, 3), by way of vitc_image_input
 *   size    - OUT width height preprocess...       no values, by way of vitc_image_fit_size */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vitc/image.h"

enum { FIELDS_MAX = 24, PREPROCESS_FIELDS = 15 };

static int write_result(const char *path, uint32_t height, uint32_t width, const void *values, size_t bytes) {
  uint32_t size[2] = {height, width};
  FILE *file = fopen(path, "wb");
  if (!file) return 0;
  int good = fwrite(size, sizeof size, 1, file) == 1 && fwrite(values, 1, bytes, file) == bytes;
  return fclose(file) == 0 && good;
}

static int answer(vitc_image_status status, const char *detail) {
  if (status == VITC_IMAGE_OK)
    puts("ok");
  else
    printf("%s: %s\n", vitc_image_status_text(status), detail);
  fflush(stdout);
  return 1;
}

static uint32_t number(const char *text) {
  return (uint32_t)strtoul(text, NULL, 10);
}

static vitc_preprocess parse_preprocess(char *const *field) {
  vitc_preprocess preprocess = {.resize = number(field[0]),
                                .filter = number(field[1]),
                                .arithmetic = number(field[2]),
                                .crop_floor = number(field[3]),
                                .resize_height = number(field[4]),
                                .resize_width = number(field[5]),
                                .crop_height = number(field[6]),
                                .crop_width = number(field[7]),
                                .rescale = strtod(field[8], NULL)};
  for (int c = 0; c < 3; c++) {
    preprocess.mean[c] = strtod(field[9 + c], NULL);
    preprocess.std[c] = strtod(field[12 + c], NULL);
  }
  return preprocess;
}

static int input_job(const vitc_image *image, char *const *field, vitc_dtype dtype) {
  vitc_model model = {.input_count = 1, .preprocess = parse_preprocess(field + 3)};
  uint32_t width = 0, height = 0;
  vitc_image_status status = vitc_image_fit_size(&model.preprocess, image->width, image->height, &width, &height);
  if (status != VITC_IMAGE_OK) return answer(status, "size");
  if (model.preprocess.crop_floor == VITC_CROP_PAD) {
    width = model.preprocess.crop_width;
    height = model.preprocess.crop_height;
  }
  model.inputs[0] = (vitc_tensor){.name = "pixels", .dtype = dtype, .rank = 4, .dim = {1, 3, height, width}};
  if (dtype == VITC_U8) memcpy(model.inputs[0].dim, (int64_t[]){1, height, width, 3}, 4 * sizeof(int64_t));
  size_t bytes = (size_t)width * height * 3 * (dtype == VITC_U8 ? 1 : sizeof(float));
  void *values = malloc(bytes);
  if (!values) return answer(VITC_IMAGE_E_MEMORY, "values");
  status = vitc_image_input(image, &model, values);
  int good = status != VITC_IMAGE_OK || write_result(field[2], height, width, values, bytes);
  free(values);
  return good && answer(status, "input");
}

static int resize_job(const vitc_image *image, char *const *field) {
  vitc_image resized;
  vitc_image_status status =
      vitc_image_resize(image, number(field[3]), number(field[4]), (vitc_filter)number(field[5]), &resized);
  if (status != VITC_IMAGE_OK) return answer(status, "resize");
  int good = write_result(field[2], resized.height, resized.width, resized.pixels, (size_t)resized.width * resized.height * 3);
  vitc_image_free(&resized);
  return good && answer(status, "");
}

static int size_job(char *const *field) {
  uint32_t width = 0, height = 0;
  vitc_preprocess preprocess = parse_preprocess(field + 5);
  vitc_image_status status = vitc_image_fit_size(&preprocess, number(field[3]), number(field[4]), &width, &height);
  if (status == VITC_IMAGE_OK && !write_result(field[2], height, width, "", 0)) return 0;
  return answer(status, "size");
}

static int job(char *const *field, int count) {
  char detail[200] = "";
  vitc_image image;
  if (count < 3) return 0;
  if (strcmp(field[0], "size") == 0) return count == 5 + PREPROCESS_FIELDS && size_job(field);
  vitc_image_status status = vitc_image_load(field[1], &image, detail, sizeof detail);
  if (status != VITC_IMAGE_OK) return answer(status, detail);
  int good = 0;
  if (strcmp(field[0], "decode") == 0)
    good = write_result(field[2], image.height, image.width, image.pixels, (size_t)image.width * image.height * 3) &&
           answer(status, "");
  else if (strcmp(field[0], "resize") == 0 && count == 6)
    good = resize_job(&image, field);
  else if (count == 3 + PREPROCESS_FIELDS)
    good = input_job(&image, field, strcmp(field[0], "bytes") == 0 ? VITC_U8 : VITC_F32);
  vitc_image_free(&image);
  return good;
}

int main(void) {
  char line[8192];
  while (fgets(line, sizeof line, stdin)) {
    char *field[FIELDS_MAX];
    int count = 0;
    for (char *text = strtok(line, "\t\n"); text && count < FIELDS_MAX; text = strtok(NULL, "\t\n")) field[count++] = text;
    if (!job(field, count)) return 2;
  }
  return 0;
}
