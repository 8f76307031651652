/* The products of a plan: what they are multiplied in and how their weights are held. */
#include "driver.h"

#include "ir/ops.h"

#include <string.h>

static void describe_weights(const struct plan *plan, const struct step *step, struct account_product *product) {
  if (step->kind != STEP_GEMM && step->kind != STEP_CONV) return;
  const struct packed *packed = &plan->packed[step->inputs[1].index];
  product->k = packed->k;
  product->n = packed->n * packed->groups;
  product->offset = packed->offset;
  product->bytes = packed->bytes;
  product->scales = product->n * pack_groups(packed->precision, packed->k, packed->group);
  product->hadamard = packed->hadamard ? pack_hadamard(packed->k) : 1;
  product->balanced = packed->precision == PRECISION_INT8 && packed->balance != NULL;
}

static bool is_product(const struct step *step) {
  return step->kind == STEP_GEMM || step->kind == STEP_ATTENTION || step->kind == STEP_CONV || step->kind == STEP_MATMUL;
}

/* Of the step's last phase, which multiplies. */
static const char *layer_of(const struct account_phase *phases, int count, int step) {
  const char *layer = "";
  for (int i = 0; i < count; i++)
    if (phases[i].step == step) layer = phases[i].name;
  return layer;
}

int driver_products(struct compilation *compilation, struct account_product **out_products) {
  const struct plan *plan = &compilation->plan;
  struct account_phase *phases;
  int phase_count = driver_phases(compilation, &phases), count = 0;
  struct account_product *products = arena_array(&compilation->arena, (size_t)plan->step_count + 1, sizeof *products);
  const struct node *last = NULL; /* a convolution is several products with the same weights */
  for (int i = 0; i < plan->step_count; i++) {
    const struct step *step = &plan->steps[i];
    if (!is_product(step) || step->node == last) continue;
    last = step->node;
    struct account_product *product = &products[count++];
    *product = (struct account_product){.step = i,
                                        .op = op_info(step->node->op)->name,
                                        .name = step->node->outputs[0]->name,
                                        .layer = layer_of(phases, phase_count, i),
                                        .precision = precision_name(step->precision),
                                        .hadamard = 1};
    describe_weights(plan, step, product);
  }
  *out_products = products;
  return count;
}
