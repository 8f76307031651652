#include "resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Weights of as many outputs as fit in this are kept at a time (a few rows of pixels need no more; an image of one row and
 * millions of columns would). */
enum { WEIGHTS_KEPT = 1 << 20 };

static double weight_bilinear(double x) {
  x = fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

/* Keys' cubic with a = -0.5, in the order of operations that gives Pillow's bits. */
static double weight_bicubic(double x) {
  x = fabs(x);
  if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * -0.5;
  return 0.0;
}

static double sinc(double x) {
  if (x == 0.0) return 1.0;
  x = x * 3.14159265358979323846;
  return sin(x) / x;
}

static double weight_lanczos(double x) {
  return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

struct filter {
  double (*weight)(double x);
  double radius;
};

static const struct filter *filter_of(vitc_filter filter) {
  static const struct filter bilinear = {weight_bilinear, 1.0}, bicubic = {weight_bicubic, 2.0},
                             lanczos = {weight_lanczos, 3.0};
  switch (filter) {
  case VITC_BILINEAR:
    return &bilinear;
  case VITC_BICUBIC:
    return &bicubic;
  case VITC_LANCZOS:
    return &lanczos;
  default:
    return NULL;
  }
}

/* One axis: `in` samples become `out`. */
struct axis {
  const struct filter *filter;
  uint32_t in, out;
  double scale, stretch, support;
};

static struct axis axis_of(const struct filter *filter, uint32_t in, uint32_t out) {
  struct axis axis = {.filter = filter, .in = in, .out = out};
  axis.scale = (double)(float)in / out; /* Pillow's box is float */
  axis.stretch = axis.scale < 1.0 ? 1.0 : axis.scale;
  axis.support = filter->radius * axis.stretch;
  return axis;
}

static size_t room_of(const struct axis *axis) {
  double widest = ceil(axis->support) * 2 + 1;
  return widest < axis->in ? (size_t)widest : axis->in;
}

static void span_of(const struct axis *axis, uint32_t out, uint32_t *out_start, uint32_t *out_length) {
  double centre = (out + 0.5) * axis->scale;
  int64_t start = (int64_t)(centre - axis->support + 0.5), end = (int64_t)(centre + axis->support + 0.5);
  if (start < 0) start = 0;
  if (end > axis->in) end = axis->in;
  *out_start = (uint32_t)start;
  *out_length = (uint32_t)(end - start);
}

/* `scratch` and `weights` have room for the output's span. */
static void weigh(const struct axis *axis, uint32_t out, uint32_t start, uint32_t length, double *scratch, int32_t *weights) {
  double centre = (out + 0.5) * axis->scale, inverse = 1.0 / axis->stretch, sum = 0.0;
  for (uint32_t i = 0; i < length; i++) {
    scratch[i] = axis->filter->weight(((double)i + start - centre + 0.5) * inverse);
    sum += scratch[i];
  }
  for (uint32_t i = 0; i < length; i++) {
    double weight = sum != 0.0 ? scratch[i] / sum : scratch[i];
    weights[i] = (int32_t)((weight < 0 ? -0.5 : 0.5) + weight * (1 << WEIGHT_BITS));
  }
}

/* The columns of `window` from rows [top, top + rows) of the image. */
static vitc_image_status pass_horizontal(const vitc_image *image, const struct window *window, const struct axis *axis,
                                         uint32_t top, uint32_t rows, uint8_t *to) {
  size_t room = room_of(axis), kept = WEIGHTS_KEPT / room ? WEIGHTS_KEPT / room : 1;
  if (kept > window->width) kept = window->width;
  double *scratch = malloc(room * sizeof *scratch);
  int32_t *weights = malloc(kept * room * sizeof *weights);
  uint32_t *spans = malloc(kept * 2 * sizeof *spans);
  vitc_image_status status = scratch && weights && spans ? VITC_IMAGE_OK : VITC_IMAGE_E_MEMORY;

  size_t stride = (size_t)image->width * 3;
  struct horizontal_pass pass = {.from = image->pixels + top * stride,
                                 .stride = stride,
                                 .readable = (image->height - top) * stride,
                                 .to = to,
                                 .rows = rows,
                                 .width = window->width,
                                 .left = window->left};
  struct taps taps = {.room = room, .start = spans, .length = spans ? spans + kept : NULL, .weights = weights};
  for (uint32_t done = 0; status == VITC_IMAGE_OK && done < window->width; done += taps.count) {
    taps.first = window->left + done;
    taps.count = window->width - done < kept ? window->width - done : (uint32_t)kept;
    for (uint32_t i = 0; i < taps.count; i++) {
      span_of(axis, taps.first + i, &taps.start[i], &taps.length[i]);
      weigh(axis, taps.first + i, taps.start[i], taps.length[i], scratch, weights + i * room);
    }
    resample_horizontal(&pass, &taps);
  }
  free(scratch);
  free(weights);
  free(spans);
  return status;
}

/* Row 0 of `from` is row `top` of the image that is resized. */
static vitc_image_status pass_vertical(const uint8_t *from, size_t stride, const struct window *window, const struct axis *axis,
                                       uint32_t top, uint8_t *to) {
  size_t room = room_of(axis), bytes = (size_t)window->width * 3;
  double *scratch = malloc(room * sizeof *scratch);
  int32_t *weights = malloc(room * sizeof *weights);
  vitc_image_status status = scratch && weights ? VITC_IMAGE_OK : VITC_IMAGE_E_MEMORY;
  for (uint32_t y = 0; status == VITC_IMAGE_OK && y < window->height; y++) {
    uint32_t start, length;
    span_of(axis, window->top + y, &start, &length);
    weigh(axis, window->top + y, start, length, scratch, weights);
    resample_vertical(from + (start - top) * stride, stride, length, weights, bytes, to + y * bytes);
  }
  free(scratch);
  free(weights);
  return status;
}

static vitc_image_status resample_filtered(const vitc_image *image, const struct window *window, const struct filter *filter,
                                           vitc_image *out_image) {
  struct axis across = axis_of(filter, image->width, window->full_width);
  struct axis down = axis_of(filter, image->height, window->full_height);
  int need_across = image->width != window->full_width, need_down = image->height != window->full_height;
  uint32_t top = window->top, rows = window->height;
  if (need_down) {
    uint32_t last, length;
    span_of(&down, window->top, &top, &length);
    span_of(&down, window->top + window->height - 1, &last, &length);
    rows = last + length - top;
  }

  const uint8_t *from = image->pixels + (top * (size_t)image->width + window->left) * 3;
  size_t stride = (size_t)image->width * 3;
  uint8_t *between = NULL;
  vitc_image_status status = VITC_IMAGE_OK;
  if (need_across && need_down) {
    if ((uint64_t)rows * window->width > VITC_PIXELS_MAX) return VITC_IMAGE_E_SIZE;
    between = malloc((size_t)rows * window->width * 3);
    if (!between) return VITC_IMAGE_E_MEMORY;
  }
  if (need_across) {
    status = pass_horizontal(image, window, &across, top, rows, between ? between : out_image->pixels);
    from = between;
    stride = (size_t)window->width * 3;
  }
  if (status == VITC_IMAGE_OK && need_down)
    status = pass_vertical(from, stride, window, &down, top, out_image->pixels);
  else if (!need_across)
    for (uint32_t y = 0; y < rows; y++)
      memcpy(out_image->pixels + y * (size_t)window->width * 3, from + y * stride, (size_t)window->width * 3);
  free(between);
  return status;
}

/* Input positions that are accumulated one step after the other, as Pillow does: a product would round elsewhere. UINT32_MAX
 * stands for a position past the end, which Pillow fills with black. */
static void nearest_positions(uint32_t in, uint32_t out, uint32_t first, uint32_t count, uint32_t *positions) {
  double step = (double)(float)in / out, at = step * 0.5;
  for (uint32_t i = 0; i < first + count; i++, at += step)
    if (i >= first) positions[i - first] = at < in ? (uint32_t)at : UINT32_MAX;
}

static vitc_image_status resample_nearest(const vitc_image *image, const struct window *window, vitc_image *out_image) {
  uint32_t *columns = malloc(((size_t)window->width + window->height) * sizeof *columns);
  if (!columns) return VITC_IMAGE_E_MEMORY;
  uint32_t *rows = columns + window->width;
  nearest_positions(image->width, window->full_width, window->left, window->width, columns);
  nearest_positions(image->height, window->full_height, window->top, window->height, rows);
  uint8_t *to = out_image->pixels;
  for (uint32_t y = 0; y < window->height; y++) {
    const uint8_t *from = image->pixels + (rows[y] == UINT32_MAX ? 0 : (size_t)rows[y] * image->width * 3);
    for (uint32_t x = 0; x < window->width; x++, to += 3) {
      if (rows[y] == UINT32_MAX || columns[x] == UINT32_MAX)
        memset(to, 0, 3);
      else
        memcpy(to, from + (size_t)columns[x] * 3, 3);
    }
  }
  free(columns);
  return VITC_IMAGE_OK;
}

vitc_image_status image_resample(const vitc_image *image, const struct window *window, vitc_filter filter,
                                 vitc_image *out_image) {
  const struct detail none = {NULL, 0};
  const struct filter *weighted = filter_of(filter);
  if (!weighted && filter != VITC_NEAREST) return VITC_IMAGE_E_ARGUMENT;
  vitc_image_status status = image_alloc(window->width, window->height, out_image, &none);
  if (status != VITC_IMAGE_OK) return status;
  status = weighted ? resample_filtered(image, window, weighted, out_image) : resample_nearest(image, window, out_image);
  if (status != VITC_IMAGE_OK) vitc_image_free(out_image);
  return status;
}

vitc_image_status vitc_image_resize(const vitc_image *image, uint32_t width, uint32_t height, vitc_filter filter,
                                    vitc_image *out_image) {
  if (out_image) *out_image = (vitc_image){0};
  if (!image || !image->pixels || image->width == 0 || image->height == 0 || !out_image) return VITC_IMAGE_E_ARGUMENT;
  if (width > INT32_MAX || height > INT32_MAX) return VITC_IMAGE_E_SIZE;
  struct window window = {width, height, 0, 0, width, height};
  return image_resample(image, &window, filter, out_image);
}
