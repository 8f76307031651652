#include "plan/pack_int8.h"

#include "plan/quantize.h"

#include <string.h>

static const enum precision INT8 = PRECISION_INT8;

struct int8_panel int8_panel_of(const struct plan *plan, struct arena *arena) {
  int64_t words = 0, groups = 0;
  for (int i = 0; i < plan->packed_count; i++) {
    const struct packed *packed = &plan->packed[i];
    if (packed->layout != PACK_PANELS || packed->precision != INT8) continue;
    int64_t needed = pack_words(INT8, packed->k), needed_groups = pack_groups(INT8, packed->k, packed->group);
    words = needed > words ? needed : words;
    groups = needed_groups > groups ? needed_groups : groups;
  }
  struct int8_panel panel;
  size_t tables = (size_t)groups * QUANTIZE_PANEL, elements = (size_t)words * 4 * QUANTIZE_PANEL;
  panel.work = arena_array(arena, elements, sizeof *panel.work);
  panel.words = arena_array(arena, elements, sizeof *panel.words);
  panel.scales = arena_array(arena, tables, sizeof *panel.scales);
  panel.tables = arena_array(arena, tables, sizeof *panel.tables);
  panel.sums = arena_array(arena, tables, sizeof *panel.sums);
  return panel;
}

enum status write_int8_panel(const struct packed *packed, const float *b, int64_t column, const struct int8_panel *panel,
                             plan_sink write, void *context) {
  const struct quantize_matrix matrix = {.b = b,
                                         .k = packed->k,
                                         .n = packed->n,
                                         .transposed = packed->transposed,
                                         .hadamard = packed->hadamard,
                                         .balance = packed->balance,
                                         .group = packed->group};
  size_t groups = (size_t)pack_groups(INT8, packed->k, packed->group);
  size_t words = (size_t)pack_words(INT8, packed->k) * QUANTIZE_PANEL * 4;
  memset(panel->words, 0, words);
  if (packed->quantized != NULL)
    quantize_copy_panel(packed->quantized, packed->k, column, panel->words, panel->scales, panel->sums);
  else
    quantize_panel(&matrix, column, panel->work, panel->words, panel->scales, panel->sums);
  int sum_bits = pack_sum_bits(packed->k, packed->group);
  for (size_t i = 0; i < groups * QUANTIZE_PANEL; i++)
    panel->tables[i] = pack_scale_and_sum(panel->scales[i], panel->sums[i], sum_bits);
  TRY(write(context, panel->words, words));
  return write(context, panel->tables, groups * QUANTIZE_PANEL * sizeof *panel->tables);
}

static bool is_vector(const struct value *value, int64_t count) {
  return value == NULL || (value->data != NULL && value->dtype == DTYPE_F32 && shape_elements(&value->shape) == count);
}

const float *int8_balance(struct planner *p, const struct node *norm, const struct value *b, bool transposed) {
  const struct value *gain = norm->inputs[1], *bias = norm->input_count > 2 ? norm->inputs[2] : NULL;
  int64_t k = b->shape.dim[transposed ? 1 : 0], n = b->shape.dim[transposed ? 0 : 1];
  if (!is_vector(gain, k) || !is_vector(bias, k)) return NULL;
  float *squares = arena_array(p->arena, (size_t)k, sizeof *squares),
        *balance = arena_array(p->arena, (size_t)k, sizeof *balance);
  const struct quantize_matrix matrix = {.b = b->data, .k = k, .n = n, .transposed = transposed};
  memset(squares, 0, (size_t)k * sizeof *squares);
  quantize_add_squares(&matrix, squares);
  quantize_balance(gain->data, bias != NULL ? bias->data : NULL, squares, k, n, balance);
  return balance;
}
