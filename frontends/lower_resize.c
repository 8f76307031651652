#include "lower.h"

#include <math.h>
#include <string.h>

enum { TAPS = 4 };

/* Coordinates in float32 go wrong by as much as a weight's 1e-5 at some hundred pixels: what a checkpoint was trained with. */
static double narrow_coordinate(const struct sampling *s, int axis, int64_t o) {
  float in = (float)s->in[axis], out = (float)s->out[axis];
  if (strcmp(s->coordinates, "align_corners") == 0) return out > 1 ? (double)((in - 1) / (out - 1) * (float)o) : 0;
  float scale = s->scale[axis] != (double)out / (double)in ? (float)(1 / s->scale[axis]) : in / out;
  if (strcmp(s->coordinates, "asymmetric") == 0) return (double)((float)o * scale);
  return (double)(scale * ((float)o + 0.5F) - 0.5F);
}

static double coordinate(const struct sampling *s, int axis, int64_t o) {
  double out = (double)s->out[axis], in = (double)s->in[axis];
  if (strcmp(s->coordinates, "pytorch_half_pixel") == 0 && s->out[axis] == 1) return 0;
  if (s->narrow) return narrow_coordinate(s, axis, o);
  if (strcmp(s->coordinates, "align_corners") == 0) return out > 1 ? (double)o * (in - 1) / (out - 1) : 0;
  if (strcmp(s->coordinates, "asymmetric") == 0) return (double)o / s->scale[axis];
  return ((double)o + 0.5) / s->scale[axis] - 0.5;
}

static double nearest(const struct sampling *s, double x) {
  if (strcmp(s->nearest, "floor") == 0) return floor(x);
  if (strcmp(s->nearest, "ceil") == 0) return ceil(x);
  return strcmp(s->nearest, "round_prefer_ceil") == 0 ? floor(x + 0.5) : ceil(x - 0.5);
}

/* The cubic convolution's weights at distances t + 1, t, 1 - t, 2 - t. */
static void cubic_taps(double a, double t, double out[TAPS]) {
  for (int i = 0; i < TAPS; i++) {
    double d = fabs(t + 1 - i);
    out[i] = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  }
}

/* The filter at distance d, of a reach of 1 (linear) or 2 (cubic). */
static double filter(const struct sampling *s, bool cubic, double d) {
  double taps[TAPS];
  if (!cubic) return d < 1 ? 1 - d : 0;
  if (d >= 2) return 0;
  cubic_taps(s->cubic, d - floor(d), taps);
  return d < 1 ? taps[1] : taps[0];
}

/* Shrunk images are filtered as wide as what one of their pixels stands for. */
static void fill_wide_row(const struct sampling *s, int axis, int64_t o, double *row) {
  bool cubic = strcmp(s->mode, "cubic") == 0;
  double x = coordinate(s, axis, o), scale = s->scale[axis] < 1 ? s->scale[axis] : 1, reach = (cubic ? 2 : 1) / scale;
  double last = (double)(s->in[axis] - 1), sum = 0;
  for (double at = ceil(x - reach); at <= x + reach; at++) {
    double weight = filter(s, cubic, fabs(at - x) * scale);
    if (s->exclude_outside && (at < 0 || at > last)) continue;
    row[(int64_t)(at < 0 ? 0 : at > last ? last : at)] += weight;
    sum += weight;
  }
  for (int64_t i = 0; i < s->in[axis]; i++) row[i] /= sum;
}

static void fill_row(const struct sampling *s, int axis, int64_t o, double *row) {
  double x = coordinate(s, axis, o), last = (double)(s->in[axis] - 1), taps[TAPS] = {0, 1, 0, 0}, sum = 0;
  bool cubic = strcmp(s->mode, "cubic") == 0;
  if (strcmp(s->mode, "nearest") == 0) x = nearest(s, x);
  if (!cubic) x = x < 0 ? 0 : x > last ? last : x;
  double base = floor(x);
  if (cubic) cubic_taps(s->cubic, x - base, taps);
  if (strcmp(s->mode, "linear") == 0) {
    taps[1] = 1 - (x - base);
    taps[2] = x - base;
  }
  for (int i = 0; i < TAPS; i++) {
    double at = base + i - 1;
    bool outside = at < 0 || at > last;
    if (outside && cubic && s->exclude_outside) continue;
    row[(int64_t)(at < 0 ? 0 : at > last ? last : at)] += taps[i];
    sum += taps[i];
  }
  for (int64_t i = 0; i < s->in[axis] && cubic && s->exclude_outside; i++) row[i] /= sum;
}

double *sampling_matrix(struct arena *arena, const struct sampling *s, int axis) {
  int64_t in = s->in[axis], out = s->out[axis];
  double *matrix = arena_array(arena, (size_t)(in * out), sizeof *matrix);
  double *row = arena_array(arena, (size_t)in, sizeof *row);
  for (int64_t o = 0; o < out; o++) {
    memset(row, 0, (size_t)in * sizeof *row);
    if (s->antialias && strcmp(s->mode, "nearest") != 0)
      fill_wide_row(s, axis, o, row);
    else
      fill_row(s, axis, o, row);
    for (int64_t i = 0; i < in; i++) matrix[i * out + o] = row[i];
  }
  return matrix;
}

static bool keeps(const struct sampling *s, int axis) {
  return s->in[axis] == s->out[axis] && s->scale[axis] == 1;
}

/* The last axis, which is the sampling's `axis`. */
static enum status resample(const struct lowering *lowering, const char *name, const struct sampling *s, int axis,
                            struct value **value) {
  struct arena *arena = lowering->graph->arena;
  struct shape shape = {.rank = 2, .dim = {s->in[axis], s->out[axis]}};
  int64_t elements = s->in[axis] * s->out[axis];
  const double *matrix = sampling_matrix(arena, s, axis);
  float *weights = arena_array(arena, (size_t)elements, sizeof *weights);
  for (int64_t i = 0; i < elements; i++) weights[i] = (float)matrix[i];
  const char *constant = arena_printf(arena, "%s.weights%d", name, axis);
  struct value *inputs[] = {*value, lower_floats(lowering, constant, &shape, weights)};
  return lower_ready(lowering, lower_node(lowering, name, OP_mat_mul, inputs, 2), value);
}

enum status lower_resize(const struct lowering *lowering, const char *name, const struct sampling *s, struct value *x,
                         struct value **out) {
  static const int64_t turned[] = {0, 1, 3, 2};
  struct arena *arena = lowering->graph->arena;
  *out = x;
  bool down = !keeps(s, 0);
  if (!keeps(s, 1)) TRY(resample(lowering, down ? arena_printf(arena, "%s.across", name) : name, s, 1, out));
  if (!down) return STATUS_OK;
  TRY(lower_transpose(lowering, arena_printf(arena, "%s.turned", name), *out, turned, 4, out));
  TRY(resample(lowering, arena_printf(arena, "%s.down", name), s, 0, out));
  return lower_transpose(lowering, name, *out, turned, 4, out);
}
