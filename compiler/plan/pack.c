/* The weights blob: which constants it holds, in which layout, and its bytes. */
#include "ops/eval.h"
#include "plan/pack_int8.h"
#include "plan/quantize.h"

#include <assert.h>
#include <string.h>

enum { PANEL = 16, ALIGNMENT = 64, PADDED_ROWS_MAX = 1024 };

int64_t pack_padded_k(enum precision precision, int64_t k) {
  static const int64_t line[PRECISION_COUNT] = {1, 32, 64};
  return (k + line[precision] - 1) / line[precision] * line[precision];
}

int64_t pack_words(enum precision precision, int64_t k) {
  static const int64_t in_word[PRECISION_COUNT] = {1, 2, 4};
  return pack_padded_k(precision, k) / in_word[precision];
}

int64_t pack_groups(enum precision precision, int64_t k, int64_t group) {
  if (precision != PRECISION_INT8) return 0;
  return group > 0 ? (k + group - 1) / group : 1;
}

int64_t pack_panel_stride(enum precision precision, int64_t k, int64_t group) {
  int64_t words = pack_words(precision, k);
  if (precision == PRECISION_FP32 && k < PADDED_ROWS_MAX) words |= 1;
  return (words + pack_groups(precision, k, group)) * PANEL;
}

int pack_sum_bits(int64_t k, int64_t group) {
  return quantize_sum_bits(group > 0 && group < k ? group : k);
}

uint32_t pack_scale_and_sum(float scale, int32_t sum, int sum_bits) {
  uint32_t bits, sum_mask = ((uint32_t)1 << sum_bits) - 1;
  memcpy(&bits, &scale, sizeof bits);
  assert((bits << 1 & sum_mask) == 0);
  return bits << 1 | ((uint32_t)sum & sum_mask);
}

float pack_scale_of(uint32_t word, int sum_bits) {
  uint32_t bits = (word & ~(((uint32_t)1 << sum_bits) - 1)) >> 1;
  float scale;
  memcpy(&scale, &bits, sizeof scale);
  return scale;
}

int64_t pack_hadamard(int64_t k) {
  return quantize_block(k);
}

static int64_t round_up(int64_t count, int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

int64_t pack_values_at(int64_t keys, int64_t head_dim) {
  return round_up(keys, 2 * PANEL) * round_up(head_dim / 2, PANEL);
}

int64_t pack_keys_words(enum precision precision, int64_t keys, int64_t head_dim, int64_t v_dim) {
  int64_t floats = round_up(keys, PANEL) * head_dim;
  int64_t pairs = pack_values_at(keys, head_dim) + round_up(keys, 2 * PANEL) / 2 * round_up(v_dim, PANEL);
  return precision == PRECISION_FP32 || floats > pairs ? floats : pairs;
}

static int add_packed(struct planner *p, const struct packed *packed) {
  struct plan *plan = p->plan;
  for (int i = 0; i < plan->packed_count; i++) {
    const struct packed *other = &plan->packed[i];
    bool same_data = other->value->data == packed->value->data && other->value->dtype == packed->value->dtype &&
                     shape_equal(&other->value->shape, &packed->value->shape);
    if (same_data && other->layout == packed->layout && other->transposed == packed->transposed &&
        other->groups == packed->groups && other->precision == packed->precision && other->group == packed->group &&
        other->hadamard == packed->hadamard && other->balance == packed->balance)
      return i;
  }
  assert(plan->packed_count < p->packed_capacity);
  plan->packed[plan->packed_count] = *packed;
  plan->packed[plan->packed_count].offset = plan->weights_bytes;
  plan->weights_bytes += (packed->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return plan->packed_count++;
}

int pack_constant(struct planner *p, const struct value *value) {
  return pack_divided(p, value, NULL);
}

int pack_divided(struct planner *p, const struct value *value, const float *balance) {
  struct packed packed = {.value = value, .layout = PACK_ROW_MAJOR, .groups = 1, .balance = balance};
  packed.bytes = shape_elements(&value->shape) * (int64_t)sizeof(float);
  return add_packed(p, &packed);
}

int pack_table(struct planner *p, const struct value *value) {
  struct packed packed = {.value = value, .layout = PACK_ROW_MAJOR, .groups = 1, .precision = PRECISION_BF16};
  packed.bytes = (shape_elements(&value->shape) + PACK_TABLE_ROOM) * (int64_t)sizeof(uint16_t);
  return add_packed(p, &packed);
}

/* `value` holds B (k, n), or with `transposed` groups x n rows of k: (groups * n, k...). */
int pack_panels(struct planner *p, const struct value *value, bool transposed, int64_t groups, enum precision precision,
                bool hadamard, const float *balance) {
  struct packed packed = {.value = value, .layout = PACK_PANELS, .transposed = transposed, .groups = groups};
  packed.precision = precision;
  packed.hadamard = hadamard;
  packed.balance = balance;
  int64_t leading = value->shape.dim[0], elements = shape_elements(&value->shape);
  int64_t other = leading == 0 ? 0 : elements / leading;
  packed.n = transposed ? leading / groups : other;
  packed.k = transposed ? other : leading;
  packed.bytes =
      groups * ((packed.n + PANEL - 1) / PANEL) * pack_panel_stride(precision, packed.k, packed.group) * (int64_t)sizeof(float);
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

/* The high half is the bf16 nearest to the float. */
static uint32_t round_bf16(uint32_t bits) {
  return bits + 0x7fff + (bits >> 16 & 1);
}

static uint16_t bf16_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return (uint16_t)(round_bf16(bits) >> 16);
}

static enum status write_table(const struct packed *packed, plan_sink write, void *context) {
  const struct value *value = packed->value;
  uint16_t part[1024];
  int64_t count = shape_elements(&value->shape);
  for (int64_t i = 0; i < count; i += 1024) {
    int64_t n = count - i < 1024 ? count - i : 1024;
    for (int64_t j = 0; j < n; j++) part[j] = bf16_of((float)element_load(value->dtype, value->data, i + j));
    TRY(write(context, part, (size_t)n * sizeof *part));
  }
  return write_zeros(write, context, packed->bytes - count * (int64_t)sizeof *part);
}

static enum status write_row_major(const struct packed *packed, plan_sink write, void *context) {
  const struct value *value = packed->value;
  const float *balance = packed->balance;
  if (packed->precision == PRECISION_BF16) return write_table(packed, write, context);
  if (value->dtype == DTYPE_F32 && balance == NULL) return write(context, value->data, (size_t)packed->bytes);
  float part[1024];
  int64_t count = packed->bytes / (int64_t)sizeof(float);
  for (int64_t i = 0; i < count; i += 1024) {
    int64_t n = count - i < 1024 ? count - i : 1024;
    for (int64_t j = 0; j < n; j++) part[j] = (float)element_load(value->dtype, value->data, i + j);
    for (int64_t j = 0; j < n && balance != NULL; j++) part[j] /= balance[i + j];
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

/* Rows of floats become rows of words: the bf16 of rows 2i and 2i + 1 in column j are word (i, j). The last row may have no
 * other: `rows` has room for one more. */
static void pair_rows(float *rows, int64_t count, uint32_t *restrict out) {
  if (count % 2 != 0) memset(rows + count * PANEL, 0, PANEL * sizeof *rows);
  for (int64_t i = 0; i < count; i += 2)
    for (int64_t j = 0; j < PANEL; j++) {
      uint32_t low, high;
      memcpy(&low, rows + i * PANEL + j, sizeof low);
      memcpy(&high, rows + (i + 1) * PANEL + j, sizeof high);
      out[i / 2 * PANEL + j] = round_bf16(low) >> 16 | (round_bf16(high) & 0xffff0000u);
    }
}

/* One panel of fp32 or bf16, without what follows its words. */
static enum status write_panel(const struct packed *packed, const float *b, int64_t column, plan_sink write, void *context) {
  enum { ROWS = 256 };
  float part[ROWS * PANEL];
  uint32_t pairs[ROWS / 2 * PANEL];
  for (int64_t k = 0; k < packed->k; k += ROWS) {
    int64_t count = packed->k - k < ROWS ? packed->k - k : ROWS;
    fill_panel(packed, b, column, k, count, part);
    if (packed->precision == PRECISION_FP32) {
      TRY(write(context, part, (size_t)(count * PANEL) * sizeof *part));
    } else {
      pair_rows(part, count, pairs);
      TRY(write(context, pairs, (size_t)((count + 1) / 2 * PANEL) * sizeof *pairs));
    }
  }
  return STATUS_OK;
}

static enum status write_panels(const struct packed *packed, const struct int8_panel *int8, plan_sink write, void *context) {
  int64_t stride = pack_panel_stride(packed->precision, packed->k, packed->group) * (int64_t)sizeof(float);
  int64_t words = packed->precision == PRECISION_FP32 ? packed->k : (packed->k + 1) / 2;
  assert(packed->value->dtype == DTYPE_F32);
  for (int64_t group = 0; group < packed->groups; group++) {
    const float *b = (const float *)packed->value->data + group * packed->n * packed->k;
    for (int64_t column = 0; column < packed->n; column += PANEL) {
      if (packed->precision == PRECISION_INT8) {
        TRY(write_int8_panel(packed, b, column, int8, write, context));
        continue;
      }
      TRY(write_panel(packed, b, column, write, context));
      TRY(write_zeros(write, context, stride - words * PANEL * (int64_t)sizeof(float)));
    }
  }
  return STATUS_OK;
}

static enum status write_all(const struct plan *plan, const struct int8_panel *int8, plan_sink write, void *context) {
  for (int i = 0; i < plan->packed_count; i++) {
    const struct packed *packed = &plan->packed[i];
    TRY(packed->layout == PACK_PANELS ? write_panels(packed, int8, write, context) : write_row_major(packed, write, context));
    int64_t padding = (packed->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - packed->bytes;
    TRY(write_zeros(write, context, padding));
  }
  return STATUS_OK;
}

enum status plan_write_weights(const struct plan *plan, plan_sink write, void *context) {
  struct arena scratch;
  arena_init(&scratch);
  const struct int8_panel int8 = int8_panel_of(plan, &scratch);
  enum status status = write_all(plan, &int8, write, context);
  arena_deinit(&scratch);
  return status;
}
