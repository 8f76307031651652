/* The weights blob: which constants it holds, in which layout, and its bytes. */
#include "ops/eval.h"
#include "plan/planner.h"

#include <assert.h>
#include <string.h>

enum { PANEL = 16, ALIGNMENT = 64, PADDED_ROWS_MAX = 1024 };

int64_t pack_panel_stride(int64_t k) {
  return (k < PADDED_ROWS_MAX ? k | 1 : k) * PANEL;
}

int64_t pack_keys_floats(int64_t keys, int64_t head_dim) {
  return (keys + PANEL - 1) / PANEL * PANEL * head_dim;
}

static int add_packed(struct planner *p, const struct packed *packed) {
  struct plan *plan = p->plan;
  for (int i = 0; i < plan->packed_count; i++) {
    const struct packed *other = &plan->packed[i];
    bool same_data = other->value->data == packed->value->data && other->value->dtype == packed->value->dtype &&
                     shape_equal(&other->value->shape, &packed->value->shape);
    if (same_data && other->layout == packed->layout && other->transposed == packed->transposed &&
        other->groups == packed->groups)
      return i;
  }
  assert(plan->packed_count < p->packed_capacity);
  plan->packed[plan->packed_count] = *packed;
  plan->packed[plan->packed_count].offset = plan->weights_bytes;
  plan->weights_bytes += (packed->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return plan->packed_count++;
}

int pack_constant(struct planner *p, const struct value *value) {
  struct packed packed = {.value = value, .layout = PACK_ROW_MAJOR, .groups = 1};
  packed.bytes = shape_elements(&value->shape) * (int64_t)sizeof(float);
  return add_packed(p, &packed);
}

/* `value` holds B (k, n), or with `transposed` groups x n rows of k: (groups * n, k...). */
int pack_panels(struct planner *p, const struct value *value, bool transposed, int64_t groups) {
  struct packed packed = {.value = value, .layout = PACK_PANELS, .transposed = transposed, .groups = groups};
  int64_t leading = value->shape.dim[0], elements = shape_elements(&value->shape);
  int64_t other = leading == 0 ? 0 : elements / leading;
  packed.n = transposed ? leading / groups : other;
  packed.k = transposed ? other : leading;
  packed.bytes = groups * ((packed.n + PANEL - 1) / PANEL) * pack_panel_stride(packed.k) * (int64_t)sizeof(float);
  return add_packed(p, &packed);
}

/* ---- bytes */

static enum status write_zeros(plan_sink write, void *context, int64_t bytes) {
  static const char zeros[4096];
  while (bytes > 0) {
    size_t part = bytes < (int64_t)sizeof zeros ? (size_t)bytes : sizeof zeros;
    TRY(write(context, zeros, part));
    bytes -= (int64_t)part;
  }
  return STATUS_OK;
}

static enum status write_row_major(const struct packed *packed, plan_sink write, void *context) {
  const struct value *value = packed->value;
  if (value->dtype == DTYPE_F32) return write(context, value->data, (size_t)packed->bytes);
  float part[1024];
  int64_t count = packed->bytes / (int64_t)sizeof(float);
  for (int64_t i = 0; i < count; i += 1024) {
    int64_t n = count - i < 1024 ? count - i : 1024;
    for (int64_t j = 0; j < n; j++) part[j] = (float)element_load(value->dtype, value->data, i + j);
    TRY(write(context, part, (size_t)n * sizeof *part));
  }
  return STATUS_OK;
}

/* Rows [k0, k0 + count) of one panel: out[i * PANEL + j] = B[k0 + i][column + j], zero past column n. */
static void fill_panel(const struct packed *packed, const float *b, int64_t column, int64_t k0, int64_t count, float *out) {
  int64_t valid = packed->n - column < PANEL ? packed->n - column : PANEL;
  if (valid < PANEL) memset(out, 0, (size_t)(count * PANEL) * sizeof *out);
  if (!packed->transposed) {
    for (int64_t i = 0; i < count; i++) memcpy(out + i * PANEL, b + (k0 + i) * packed->n + column, (size_t)valid * sizeof *out);
    return;
  }
  for (int64_t j = 0; j < valid; j++) {
    const float *row = b + (column + j) * packed->k + k0;
    for (int64_t i = 0; i < count; i++) out[i * PANEL + j] = row[i];
  }
}

static enum status write_panels(const struct packed *packed, plan_sink write, void *context) {
  enum { ROWS = 256 };
  float part[ROWS * PANEL];
  assert(packed->value->dtype == DTYPE_F32);
  for (int64_t group = 0; group < packed->groups; group++) {
    const float *b = (const float *)packed->value->data + group * packed->n * packed->k;
    for (int64_t column = 0; column < packed->n; column += PANEL) {
      for (int64_t k = 0; k < packed->k; k += ROWS) {
        int64_t count = packed->k - k < ROWS ? packed->k - k : ROWS;
        fill_panel(packed, b, column, k, count, part);
        TRY(write(context, part, (size_t)(count * PANEL) * sizeof *part));
      }
      TRY(write_zeros(write, context, (pack_panel_stride(packed->k) - packed->k * PANEL) * (int64_t)sizeof(float)));
    }
  }
  return STATUS_OK;
}

enum status plan_write_weights(const struct plan *plan, plan_sink write, void *context) {
  for (int i = 0; i < plan->packed_count; i++) {
    const struct packed *packed = &plan->packed[i];
    TRY(packed->layout == PACK_PANELS ? write_panels(packed, write, context) : write_row_major(packed, write, context));
    int64_t padding = (packed->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - packed->bytes;
    TRY(write_zeros(write, context, padding));
  }
  return STATUS_OK;
}
