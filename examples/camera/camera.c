/* An 8-bit frame, as a camera driver gives it, classified without any image library and without the vitc runtime: the model was
 * compiled with `--input u8` and normalises in its first layer.
 *
 *   vitc compile digits.json --input u8 -o digits.o --header digits.h
 *   cc -O2 -include digits.h examples/camera/camera.c digits.o -lm -o camera
 *   ./camera < frame.ppm
 *
 * Reads a binary PPM (P6, 8 bits) in place of a driver, takes the centre square, and averages it down to the model's size. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct frame {
  unsigned width, height;
  uint8_t *rgb; /* (height, width, 3) */
};

static int read_frame(FILE *stream, struct frame *frame) {
  unsigned maximum;
  if (fscanf(stream, "P6 %u %u %u", &frame->width, &frame->height, &maximum) != 3 || maximum != 255 || fgetc(stream) == EOF)
    return -1;
  if (frame->width == 0 || frame->height == 0 || frame->width > 8192 || frame->height > 8192) return -1;
  size_t bytes = (size_t)frame->width * frame->height * 3;
  frame->rgb = malloc(bytes);
  return frame->rgb && fread(frame->rgb, 1, bytes, stream) == bytes ? 0 : -1;
}

/* The mean of each colour over a rectangle of the frame. */
static void average(const struct frame *frame, unsigned left, unsigned top, unsigned right, unsigned bottom, uint8_t *out_rgb) {
  for (unsigned channel = 0; channel < 3; channel++) {
    uint64_t sum = 0, count = (uint64_t)(right - left) * (bottom - top);
    for (unsigned y = top; y < bottom; y++) {
      for (unsigned x = left; x < right; x++) sum += frame->rgb[((size_t)y * frame->width + x) * 3 + channel];
    }
    out_rgb[channel] = (uint8_t)((sum + count / 2) / count);
  }
}

/* The centre square, (DIGITS_INPUT_HEIGHT, DIGITS_INPUT_WIDTH, 3). */
static int shrink(const struct frame *frame, uint8_t *out_rgb) {
  unsigned side = frame->width < frame->height ? frame->width : frame->height;
  unsigned left = (frame->width - side) / 2, top = (frame->height - side) / 2;
  if (side < DIGITS_INPUT_HEIGHT || side < DIGITS_INPUT_WIDTH) return -1;
  for (unsigned y = 0; y < DIGITS_INPUT_HEIGHT; y++) {
    for (unsigned x = 0; x < DIGITS_INPUT_WIDTH; x++) {
      average(frame, left + x * side / DIGITS_INPUT_WIDTH, top + y * side / DIGITS_INPUT_HEIGHT,
              left + (x + 1) * side / DIGITS_INPUT_WIDTH, top + (y + 1) * side / DIGITS_INPUT_HEIGHT,
              out_rgb + ((size_t)y * DIGITS_INPUT_WIDTH + x) * 3);
    }
  }
  return 0;
}

int main(void) {
  static uint8_t input[DIGITS_INPUT_ELEMENTS];
  static float logits[DIGITS_OUTPUT_ELEMENTS];
  struct frame frame = {0};
  if (read_frame(stdin, &frame) != 0 || shrink(&frame, input) != 0) {
    fprintf(stderr, "camera: stdin is no 8-bit binary PPM of at least %dx%d\n", (int)DIGITS_INPUT_WIDTH,
            (int)DIGITS_INPUT_HEIGHT);
    free(frame.rgb);
    return 1;
  }
  free(frame.rgb);

  vitc_model model;
  size_t arena_bytes = (DIGITS_ARENA_BYTES + (size_t)VITC_ALIGNMENT - 1) / VITC_ALIGNMENT * VITC_ALIGNMENT;
  void *arena = aligned_alloc(VITC_ALIGNMENT, arena_bytes);
  if (!arena) return 1;
  int status = digits_describe(&model, VITC_ABI_VERSION);
  if (status == VITC_OK) status = digits_run(input, logits, 1, arena, NULL);
  free(arena);
  if (status != VITC_OK) {
    fprintf(stderr, "camera: the model returned %d\n", status);
    return 1;
  }

  unsigned best = 0;
  double sum = 0;
  for (unsigned i = 1; i < DIGITS_OUTPUT_ELEMENTS; i++) best = logits[i] > logits[best] ? i : best;
  for (unsigned i = 0; i < DIGITS_OUTPUT_ELEMENTS; i++) sum += exp((double)logits[i] - (double)logits[best]);
  const char *label = model.labels;
  for (unsigned i = 0; i < best; i++) label += strlen(label) + 1;
  printf("%s %.1f%%\n", label, 100 / sum);
  return 0;
}
