#include "vitc/host.h"

#include <math.h>
#include <string.h>

void vitc_softmax(const float *logits, size_t count, float *probabilities) {
  float largest = -INFINITY;
  double sum = 0.0;
  for (size_t i = 0; i < count; i++)
    if (logits[i] > largest) largest = logits[i];
  for (size_t i = 0; i < count; i++) sum += exp((double)logits[i] - (double)largest);
  for (size_t i = 0; i < count; i++) probabilities[i] = (float)(exp((double)logits[i] - (double)largest) / sum);
}

/* 1 when index a comes before index b. */
static int before(const float *values, uint32_t a, uint32_t b) {
  if (isnan(values[a]) || isnan(values[b])) {
    if (isnan(values[a]) && isnan(values[b])) return a < b;
    return isnan(values[b]) != 0;
  }
  return values[a] != values[b] ? values[a] > values[b] : a < b;
}

/* Restores the heap, whose root is the last in order, below `at`. */
static void sift_down(const float *values, uint32_t *heap, size_t count, size_t at) {
  for (size_t child = 2 * at + 1; child < count; at = child, child = 2 * at + 1) {
    if (child + 1 < count && before(values, heap[child], heap[child + 1])) child++;
    if (!before(values, heap[at], heap[child])) return;
    uint32_t moved = heap[at];
    heap[at] = heap[child];
    heap[child] = moved;
  }
}

void vitc_top_k(const float *values, size_t count, size_t k, uint32_t *out_indices) {
  if (k > count) k = count;
  if (k == 0) return;
  for (size_t i = 0; i < k; i++) out_indices[i] = (uint32_t)i;
  for (size_t i = k / 2; i-- > 0;) sift_down(values, out_indices, k, i);
  for (size_t i = k; i < count; i++) {
    if (!before(values, (uint32_t)i, out_indices[0])) continue;
    out_indices[0] = (uint32_t)i;
    sift_down(values, out_indices, k, 0);
  }
  for (size_t last = k; last-- > 1;) {
    uint32_t moved = out_indices[0];
    out_indices[0] = out_indices[last];
    out_indices[last] = moved;
    sift_down(values, out_indices, last, 0);
  }
}

const char *vitc_label(const vitc_model *model, uint32_t index) {
  if (!model || !model->labels || index >= model->label_count) return NULL;
  const char *label = model->labels;
  for (uint32_t i = 0; i < index; i++) label += strlen(label) + 1;
  return label;
}
