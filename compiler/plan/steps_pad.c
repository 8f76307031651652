/* Pad: the constant everywhere, then what is kept of the input inside. */
#include "ops/pad.h"
#include "plan/step.h"
#include "plan/view.h"

static const float zero;

static struct view filler_view(struct planner *p, const struct node *node) {
  static const struct value zero_value = {.name = "zero", .dtype = DTYPE_F32, .data = &zero};
  struct view view = {.memory = MEMORY_WEIGHTS, .shape = {0}, .dtype = DTYPE_F32};
  const struct value *filler = op_input(node, 2);
  if (filler != NULL && filler->data == NULL) {
    view = place_of(p, filler);
    view.shape = (struct shape){0};
    return view;
  }
  view.index = pack_constant(p, filler != NULL ? filler : &zero_value);
  return view;
}

enum status pad_steps(struct planner *p, const struct node *node) {
  struct padding padding = pad_extents(node);
  struct view from = place_of(p, node->inputs[0]), filler = filler_view(p, node);
  TRY(place_value(p, node->outputs[0], NULL));
  struct view out = place_of(p, node->outputs[0]), inside = out;
  TRY(steps_copy(p, &filler, &out, node));
  for (int i = 0; i < out.shape.rank; i++) inside = view_slice(&inside, i, padding.begin[i], 1, from.shape.dim[i]);
  TRY(steps_copy(p, &from, &inside, node));
  return step_epilogue(p, node, &out, 0);
}
