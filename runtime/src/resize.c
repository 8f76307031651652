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

/* Part of an image: `pixels` is its column `left` in row `top`. */
struct view {
  const uint8_t *pixels;
  size_t stride, readable; /* bytes; readable from `pixels` on */
  uint32_t left, top;
};

static struct view view_of(const vitc_image *image, uint32_t left, uint32_t top) {
  size_t stride = (size_t)image->width * 3, skipped = top * stride + (size_t)left * 3;
  return (struct view){image->pixels + skipped, stride, stride * image->height - skipped, left, top};
}

/* Outputs [first, first + count) of the axis in each of the view's first `rows` rows. */
static vitc_image_status pass_horizontal(const struct view *view, uint32_t rows, const struct axis *axis, uint32_t first,
                                         uint32_t count, uint8_t *to) {
  size_t room = room_of(axis), kept = WEIGHTS_KEPT / room ? WEIGHTS_KEPT / room : 1;
  if (kept > count) kept = count;
  double *scratch = malloc(room * sizeof *scratch);
  int32_t *weights = malloc(kept * room * sizeof *weights);
  uint32_t *spans = malloc(kept * 2 * sizeof *spans);
  vitc_image_status status = scratch && weights && spans ? VITC_IMAGE_OK : VITC_IMAGE_E_MEMORY;

  struct horizontal_pass pass = {view->pixels, view->stride, view->readable, to, rows, count, first};
  struct taps taps = {.room = room, .start = spans, .length = spans ? spans + kept : NULL, .weights = weights};
  for (uint32_t done = 0; status == VITC_IMAGE_OK && done < count; done += taps.count) {
    taps.first = first + done;
    taps.count = count - done < kept ? count - done : (uint32_t)kept;
    for (uint32_t i = 0; i < taps.count; i++) {
      span_of(axis, taps.first + i, &taps.start[i], &taps.length[i]);
      weigh(axis, taps.first + i, taps.start[i], taps.length[i], scratch, weights + i * room);
      taps.start[i] -= view->left;
    }
    resample_horizontal(&pass, &taps);
  }
  free(scratch);
  free(weights);
  free(spans);
  return status;
}

/* Outputs [first, first + count) of the axis in each of the view's first `columns` columns. */
static vitc_image_status pass_vertical(const struct view *view, uint32_t columns, const struct axis *axis, uint32_t first,
                                       uint32_t count, uint8_t *to) {
  size_t room = room_of(axis), bytes = (size_t)columns * 3;
  double *scratch = malloc(room * sizeof *scratch);
  int32_t *weights = malloc(room * sizeof *weights);
  vitc_image_status status = scratch && weights ? VITC_IMAGE_OK : VITC_IMAGE_E_MEMORY;
  for (uint32_t y = 0; status == VITC_IMAGE_OK && y < count; y++) {
    uint32_t start, length;
    span_of(axis, first + y, &start, &length);
    weigh(axis, first + y, start, length, scratch, weights);
    resample_vertical(view->pixels + (start - view->top) * view->stride, view->stride, length, weights, bytes, to + y * bytes);
  }
  free(scratch);
  free(weights);
  return status;
}

/* The inputs that outputs [first, first + count) are made of. */
static void inputs_of(const struct axis *axis, uint32_t first, uint32_t count, uint32_t *out_first, uint32_t *out_count) {
  uint32_t last, length;
  span_of(axis, first, out_first, &length);
  span_of(axis, first + count - 1, &last, &length);
  *out_count = last + length - *out_first;
}

/* Since version 13 Pillow starts with the columns where they lose more than twice as many pixels as the rows; the order shows,
 * as the first pass is rounded to bytes. */
static int vertical_first(const vitc_image *image, const struct window *window) {
  int64_t fewer_rows = (int64_t)image->height - window->full_height, fewer_columns = (int64_t)image->width - window->full_width;
  return fewer_rows > 0 && fewer_rows > 2 * fewer_columns;
}

static vitc_image_status two_passes(const vitc_image *image, const struct window *window, const struct axis *across,
                                    const struct axis *down, uint8_t *to) {
  uint32_t left, top, columns, rows;
  inputs_of(across, window->left, window->width, &left, &columns);
  inputs_of(down, window->top, window->height, &top, &rows);
  int down_first = vertical_first(image, window);
  if (down_first)
    rows = window->height;
  else
    columns = window->width;
  if ((uint64_t)rows * columns > VITC_PIXELS_MAX) return VITC_IMAGE_E_SIZE;
  size_t stride = (size_t)columns * 3;
  uint8_t *between = malloc(rows * stride);
  if (!between) return VITC_IMAGE_E_MEMORY;

  vitc_image_status status;
  if (down_first) {
    struct view from = view_of(image, left, top), half = {between, stride, rows * stride, left, 0};
    status = pass_vertical(&from, columns, down, window->top, window->height, between);
    if (status == VITC_IMAGE_OK) status = pass_horizontal(&half, rows, across, window->left, window->width, to);
  } else {
    struct view from = view_of(image, left, top), half = {between, stride, rows * stride, 0, top};
    status = pass_horizontal(&from, rows, across, window->left, window->width, between);
    if (status == VITC_IMAGE_OK) status = pass_vertical(&half, columns, down, window->top, window->height, to);
  }
  free(between);
  return status;
}

static vitc_image_status resample_filtered(const vitc_image *image, const struct window *window, const struct filter *filter,
                                           uint8_t *to) {
  struct axis across = axis_of(filter, image->width, window->full_width);
  struct axis down = axis_of(filter, image->height, window->full_height);
  int need_across = image->width != window->full_width, need_down = image->height != window->full_height;
  if (need_across && need_down) return two_passes(image, window, &across, &down, to);
  if (need_across) {
    struct view rows = view_of(image, 0, window->top);
    return pass_horizontal(&rows, window->height, &across, window->left, window->width, to);
  }
  if (need_down) {
    struct view columns = view_of(image, window->left, 0);
    return pass_vertical(&columns, window->width, &down, window->top, window->height, to);
  }
  struct view part = view_of(image, window->left, window->top);
  size_t bytes = (size_t)window->width * 3;
  for (uint32_t y = 0; y < window->height; y++) memcpy(to + y * bytes, part.pixels + y * part.stride, bytes);
  return VITC_IMAGE_OK;
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
  status =
      weighted ? resample_filtered(image, window, weighted, out_image->pixels) : resample_nearest(image, window, out_image);
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
