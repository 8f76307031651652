#include "lower.h"

#include <string.h>

/* Taps first .. first + count - 1 in j of a phase. */
struct phase {
  int64_t first, count, pad_begin, pad_end;
};

static int64_t floor_div(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* Outputs of a phase; the last one is perhaps past the end. */
static int64_t per_phase(const struct transposed_axis *axis) {
  return (axis->out + axis->stride - 1) / axis->stride;
}

static struct phase phase_of(const struct transposed_axis *axis, int64_t r) {
  int64_t first = -floor_div(r + axis->begin, axis->stride), last = floor_div(axis->kernel - 1 - r - axis->begin, axis->stride);
  struct phase phase = {first, last - first + 1, last, 0};
  phase.pad_end = per_phase(axis) - axis->in - last + phase.count - 1;
  return phase;
}

bool transposed_supported(const struct transposed_axis *axis) {
  for (int64_t r = 0; r < axis->stride; r++) {
    struct phase phase = phase_of(axis, r);
    if (phase.count < 1 || phase.pad_begin < 0 || phase.pad_end < 0) return false;
  }
  return true;
}

/* Of the phase r0, r1: (outputs, inputs, taps, taps). */
static void phase_weights(const struct transposed *t, int64_t r0, int64_t r1, float *out) {
  const struct transposed_axis *a = t->axis;
  struct phase p[] = {phase_of(&a[0], r0), phase_of(&a[1], r1)};
  int64_t k1 = a[1].kernel, plane = a[0].kernel * k1;
  for (int64_t m = 0; m < t->outputs; m++)
    for (int64_t c = 0; c < t->inputs; c++)
      for (int64_t i = p[0].count - 1; i >= 0; i--)
        for (int64_t j = p[1].count - 1; j >= 0; j--) {
          int64_t y = r0 + a[0].begin + a[0].stride * (p[0].first + i), x = r1 + a[1].begin + a[1].stride * (p[1].first + j);
          double tap = (double)t->weight[(c * t->outputs + m) * plane + y * k1 + x];
          *out++ = (float)(t->scale != NULL ? tap * t->scale[m] : tap);
        }
}

/* Phases [first, first + count), which differ in nothing but their weights, as one convolution. */
static enum status phases_conv(const struct lowering *lowering, const char *name, const struct transposed *t, int64_t first,
                               int64_t count, struct value *x, struct value **out) {
  struct arena *arena = lowering->graph->arena;
  int64_t columns = t->axis[1].stride;
  struct phase p[] = {phase_of(&t->axis[0], first / columns), phase_of(&t->axis[1], first % columns)};
  struct shape shape = {.rank = 4, .dim = {count * t->outputs, t->inputs, p[0].count, p[1].count}};
  struct shape row = {.rank = 1, .dim = {count * t->outputs}};
  int64_t each = t->outputs * t->inputs * p[0].count * p[1].count;
  float *weights = arena_array(arena, (size_t)(count * each), sizeof *weights);
  float *bias = arena_array(arena, (size_t)row.dim[0], sizeof *bias);
  for (int64_t i = 0; i < count; i++) phase_weights(t, (first + i) / columns, (first + i) % columns, weights + i * each);
  for (int64_t i = 0; i < row.dim[0] && t->bias != NULL; i++) bias[i] = t->bias[i % t->outputs];
  struct value *inputs[] = {x, lower_floats(lowering, arena_printf(arena, "%s.weight", name), &shape, weights),
                            t->bias != NULL ? lower_floats(lowering, arena_printf(arena, "%s.bias", name), &row, bias) : NULL};
  struct node *node = lower_node(lowering, name, OP_conv, inputs, t->bias != NULL ? 3 : 2);
  const int64_t pads[] = {p[0].pad_begin, p[1].pad_begin, p[0].pad_end, p[1].pad_end};
  node_set_ints(lowering->graph, node, "pads", pads, 4);
  return lower_ready(lowering, node, out);
}

/* (s0 s1 M, Q0, Q1) of the joined phases to (M, Q0 s0, Q1 s1), cut to the extents. */
static enum status weave(const struct lowering *lowering, const char *name, const struct transposed *t, struct value *x,
                         struct value **out) {
  struct arena *arena = lowering->graph->arena;
  const struct transposed_axis *a = t->axis;
  int64_t per[] = {per_phase(&a[0]), per_phase(&a[1])};
  const int64_t apart[] = {1, a[0].stride, a[1].stride, t->outputs, per[0], per[1]}, perm[] = {0, 3, 4, 1, 5, 2};
  const int64_t woven[] = {1, t->outputs, a[0].stride * per[0], a[1].stride * per[1]};
  bool whole = woven[2] == a[0].out && woven[3] == a[1].out;
  TRY(lower_reshape(lowering, arena_printf(arena, "%s.apart", name), x, apart, 6, &x));
  TRY(lower_transpose(lowering, arena_printf(arena, "%s.woven", name), x, perm, 6, &x));
  TRY(lower_reshape(lowering, whole ? name : arena_printf(arena, "%s.long", name), x, woven, 4, out));
  if (whole) return STATUS_OK;
  const int64_t starts[] = {0, 0}, ends[] = {a[0].out, a[1].out}, axes[] = {2, 3};
  struct value *inputs[] = {*out, lower_ints(lowering, arena_printf(arena, "%s.starts", name), starts, 2, false),
                            lower_ints(lowering, arena_printf(arena, "%s.ends", name), ends, 2, false),
                            lower_ints(lowering, arena_printf(arena, "%s.axes", name), axes, 2, false)};
  return lower_ready(lowering, lower_node(lowering, name, OP_slice, inputs, 4), out);
}

static bool phases_alike(const struct transposed_axis *axis) {
  struct phase first = phase_of(axis, 0);
  for (int64_t r = 1; r < axis->stride; r++) {
    struct phase phase = phase_of(axis, r);
    if (phase.count != first.count || phase.pad_begin != first.pad_begin || phase.pad_end != first.pad_end) return false;
  }
  return true;
}

enum status lower_transposed(const struct lowering *lowering, const char *name, const struct transposed *t, struct value *x,
                             struct value **out) {
  struct arena *arena = lowering->graph->arena;
  int64_t columns = t->axis[1].stride, phases = t->axis[0].stride * columns;
  const char *joined = phases > 1 ? arena_printf(arena, "%s.phases", name) : name;
  if (phases_alike(&t->axis[0]) && phases_alike(&t->axis[1])) {
    TRY(phases_conv(lowering, joined, t, 0, phases, x, out));
  } else {
    struct value *values[PHASES_MAX];
    for (int64_t i = 0; i < phases; i++) {
      const char *phase = arena_printf(arena, "%s.phase%lld_%lld", name, (long long)(i / columns), (long long)(i % columns));
      TRY(phases_conv(lowering, phase, t, i, 1, x, &values[i]));
    }
    struct node *node = lower_node(lowering, joined, OP_concat, values, (int)phases);
    node_set_int(lowering->graph, node, "axis", 1);
    TRY(lower_ready(lowering, node, out));
  }
  return phases > 1 ? weave(lowering, name, t, *out, out) : STATUS_OK;
}
