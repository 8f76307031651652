/* The panels of int8 (pack.h), column by column quantised as quantize.h tells. Internal to compiler/plan. */
#ifndef VITC_PLAN_PACK_INT8_H
#define VITC_PLAN_PACK_INT8_H

#include "plan/planner.h"

/* Room for one panel of the largest k among the int8 panels of a plan, in `arena`. */
struct int8_panel {
  float *work, *scales;
  uint32_t *tables;
  int8_t *words;
  int32_t *sums;
};

struct int8_panel int8_panel_of(const struct plan *plan, struct arena *arena);

/* One panel: words, then for each group those of scale and sum. */
MUST_USE enum status write_int8_panel(const struct packed *packed, const float *b, int64_t column,
                                      const struct int8_panel *panel, plan_sink write, void *context);

/* What a product by `b` that reads the normalisation `norm` divides the normalisation's scale and bias by, k numbers in the
 * arena of the planner; NULL where they are not constants of k elements. */
const float *int8_balance(struct planner *p, const struct node *norm, const struct value *b, bool transposed);

#endif
