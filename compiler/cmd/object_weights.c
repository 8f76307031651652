#include "cmd/object_weights.h"

#include <string.h>

enum { PANEL = QUANTIZE_PANEL };

/* Bytes of one panel where the account's figures are those of an int8 product within the weights, else 0. */
static int64_t panel_bytes(const struct account_product *product, int64_t weights_bytes) {
  const int64_t k = product->k, n = product->n;
  if (k < 1 || n < 1 || k > weights_bytes || n > weights_bytes || product->scales != n) return 0;
  const int64_t stride = pack_panel_stride(PRECISION_INT8, k, 0) * (int64_t)sizeof(float), panels = (n + PANEL - 1) / PANEL;
  if (stride > weights_bytes || panels > weights_bytes / stride || product->bytes != panels * stride) return 0;
  if (product->offset > weights_bytes - product->bytes) return 0;
  return stride;
}

/* Words of scale and sum follow those of each panel; the sums are made again. */
static void copy_panels(const unsigned char *from, const struct account_product *product, int64_t stride, struct arena *arena,
                        struct quantized *out) {
  const size_t panels = (size_t)(product->n + PANEL - 1) / PANEL, rows = (size_t)(product->k + 3) / 4 * 4;
  const size_t words = (size_t)pack_words(PRECISION_INT8, product->k) * PANEL * sizeof(float);
  out->q = arena_array(arena, panels * PANEL, rows);
  out->scale = arena_array(arena, panels * PANEL, sizeof *out->scale);
  out->sum = arena_array(arena, panels * PANEL, sizeof *out->sum);
  for (size_t panel = 0; panel < panels; panel++) {
    const unsigned char *at = from + panel * (size_t)stride;
    int8_t *q = out->q + panel * rows * PANEL;
    memcpy(q, at, rows * PANEL);
    for (size_t j = 0; j < PANEL; j++) {
      uint32_t word;
      memcpy(&word, at + words + j * sizeof word, sizeof word);
      out->scale[panel * PANEL + j] = pack_scale_of(word, pack_sum_bits(product->k, 0));
    }
    for (size_t i = 0; i < rows; i++)
      for (size_t j = 0; j < PANEL; j++) out->sum[panel * PANEL + j] += q[(i / 4 * PANEL + j) * 4 + i % 4];
  }
}

enum status object_weights_read(const struct machine *machine, const struct account *account, struct arena *arena,
                                struct calibration *out_weights, struct diag *diag) {
  const struct loaded *loaded = &machine->loaded;
  const unsigned char *weights = machine->external_weights != NULL ? machine->external_weights : loaded->weights;
  *out_weights = (struct calibration){.count = 0};
  if (weights == NULL) return STATUS_OK;
  out_weights->products = arena_array(arena, (size_t)account->product_count + 1, sizeof *out_weights->products);
  for (int i = 0; i < account->product_count; i++) {
    const struct account_product *product = &account->products[i];
    if (strcmp(product->precision, precision_name(PRECISION_INT8)) != 0) continue;
    int64_t stride = loaded->model.weights_bytes <= INT64_MAX ? panel_bytes(product, (int64_t)loaded->model.weights_bytes) : 0;
    if (stride == 0)
      return diag_fail(diag, STATUS_INPUT, "%s: its account says that the weights of '%s' are where they cannot be",
                       loaded->object.path, product->name);
    struct calibrated *out = &out_weights->products[out_weights->count++];
    out->result = arena_strdup(arena, product->name);
    copy_panels(weights + product->offset, product, stride, arena, &out->weights);
  }
  return STATUS_OK;
}
