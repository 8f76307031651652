#include "passes/match_attention.h"

#include "passes/rewrite.h"
#include "passes/window.h"

bool attention_scale_valid(double scale) {
  return scale > 0 && scale < 1e30;
}

struct value *peel_scale(struct value *value, double *scale) {
  for (int steps = 0; steps < 4 && value->producer != NULL; steps++) {
    double factor = 1;
    struct value *x = scaled_value(value->producer, &factor);
    if (x == NULL) break;
    *scale *= factor;
    value = x;
  }
  return value;
}

/* Whether Attention takes `mask` for such scores: aligned at the last axis, which it has in full. */
static bool mask_fits(const struct value *mask, const struct value *scores) {
  int rank = scores->shape.rank, missing = rank - mask->shape.rank;
  if (mask->dtype != DTYPE_F32 || missing < 0 || mask->shape.rank < 1) return false;
  for (int i = missing; i < rank; i++) {
    int64_t dim = mask->shape.dim[i - missing], wanted = scores->shape.dim[i];
    bool repeats = dim == 1 && i + 1 < rank;
    if (dim != wanted && !repeats) return false;
  }
  int64_t images = missing == 0 ? mask->shape.dim[0] : 1;
  if (mask->batched) return missing == 0 && images == scores->shape.dim[0];
  return rank == 3 || images == 1;
}

/* The product of queries and keys is computed from both sides; a mask that is a product, too, may have a constant. */
static bool computed_product(const struct value *value) {
  const struct node *product = producer_of(value, OP_mat_mul);
  return product != NULL && !value_is_constant(product->inputs[0]) && !value_is_constant(product->inputs[1]);
}

/* The way from the softmax up to the product of queries and keys: scalings and sums with masks. */
static struct value *follow_scores(struct value *value, int depth, struct attention_pattern *pattern) {
  value = peel_scale(value, &pattern->scale);
  if (computed_product(value)) return value;
  const struct node *sum = producer_of(value, OP_add);
  if (sum == NULL || depth == 0 || pattern->mask_count == MASKS_MAX) return NULL;
  const struct attention_pattern before = *pattern;
  for (int i = 0; i < 2; i++) {
    *pattern = before;
    pattern->masks[pattern->mask_count] = sum->inputs[1 - i];
    pattern->mask_scale[pattern->mask_count++] = before.scale;
    struct value *scores = follow_scores(sum->inputs[i], depth - 1, pattern);
    if (scores != NULL && mask_fits(sum->inputs[1 - i], scores)) return scores;
  }
  return NULL;
}

static bool match_decomposed(const struct graph *graph, struct node *product, struct attention_pattern *out_pattern) {
  const struct node *softmax = producer_of(product->inputs[0], OP_softmax);
  int rank = product->outputs[0]->shape.rank;
  if (softmax == NULL || (rank != 3 && rank != 4) || product->inputs[0]->shape.rank != rank ||
      node_axis(softmax, rank) != rank - 1)
    return false;
  if (graph_single_user(graph, product->inputs[0]) != product) return false;
  *out_pattern = (struct attention_pattern){.at = product, .value = product->inputs[1], .key_transposed = true, .scale = 1};
  struct value *scores = follow_scores(softmax->inputs[0], MASKS_MAX, out_pattern);
  if (scores == NULL || value_is_output(graph, scores) || !shape_equal(&scores->shape, &softmax->outputs[0]->shape))
    return false;
  const struct node *similarity = scores->producer;
  out_pattern->query = peel_scale(similarity->inputs[0], &out_pattern->scale);
  out_pattern->key = peel_scale(similarity->inputs[1], &out_pattern->scale);
  return attention_scale_valid(out_pattern->scale);
}

static bool match_rank4(struct node *attention, struct attention_pattern *out_pattern) {
  if (attention->inputs[0]->shape.rank != 4) return false;
  *out_pattern = (struct attention_pattern){.at = attention,
                                            .query = attention->inputs[0],
                                            .key = attention->inputs[1],
                                            .value = attention->inputs[2],
                                            .causal = node_int(attention, "is_causal") != 0,
                                            .scale = node_float(attention, "scale"),
                                            .softcap = node_float(attention, "softcap")};
  if (attention->input_count > 3 && attention->inputs[3] != NULL) {
    out_pattern->masks[0] = attention->inputs[3];
    out_pattern->mask_scale[0] = 1;
    out_pattern->mask_count = 1;
  }
  return true;
}

bool match_attention(const struct graph *graph, struct node *node, struct attention_pattern *out_pattern) {
  if (!node_plain(node)) return false;
  if (node->op == OP_attention) return match_rank4(node, out_pattern);
  return node->op == OP_mat_mul && match_decomposed(graph, node, out_pattern);
}
