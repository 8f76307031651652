/* The s8 weights of a plan's int8 products, rounded for the inputs that the products see on given images (feedback.h).
 *
 * The interpreter runs the images through the graph once, layer after layer. Memory beside what it holds for the batch: two
 * matrices of k x k doubles for the largest k of a product (ViT-B: 151 MB, ViT-L: 268 MB), and the s8 weights.
 * Equal graphs, plans and images give equal bits for every number of threads. */
#ifndef VITC_CALIBRATE_CALIBRATE_H
#define VITC_CALIBRATE_CALIBRATE_H

#include "plan/plan.h"

struct calibrated {
  const char *result; /* of the product */
  struct quantized weights;
};

struct calibration {
  int count;
  struct calibrated *products;
};

struct calibration_input {
  const struct graph *graph; /* as `plan`'s before normalisations were fused: values that products read are values of it */
  const struct plan *plan;
  int64_t batch;
  const void *const *inputs; /* as interp_run's */
  int threads;
  void (*progress)(size_t done, size_t total); /* after each product; may be NULL */
};

/* Everything of the result is in `arena`. Images that make a value infinite or NaN are STATUS_INPUT. */
MUST_USE enum status calibrate(const struct calibration_input *input, struct arena *arena, struct calibration *out_calibration,
                               struct diag *diag);

/* The calibrated products of `plan` that are int8 get their weights, which are borrowed. */
void calibration_apply(const struct calibration *calibration, struct plan *plan);

#endif
