/* Attention: every operand as (windows, heads, rows, width), the elements of a head's row next to each other. */
#include "ops/attention.h"
#include "plan/step.h"
#include "plan/view.h"

#include <assert.h>
#include <math.h>

static const int64_t SWAP_HEADS[] = {0, 2, 1, 3};

/* Rank 3 (N, T, heads * d) as (N, heads, T, d). */
static struct view by_head(const struct view *view, int64_t heads) {
  if (view->shape.rank == 4) return *view;
  const int64_t *dim = view->shape.dim;
  struct shape cut = {4, {dim[0], dim[1], heads, dim[2] / heads}};
  struct view parts;
  bool splits = view_reshape(view, &cut, &parts);
  assert(splits); /* one axis became two */
  (void)splits;
  return view_permute(&parts, SWAP_HEADS);
}

static bool rows_adjacent(const struct view *view) {
  int last = view->shape.rank - 1;
  return view->dtype == DTYPE_F32 && (view->shape.dim[last] == 1 || view->stride[last] == 1);
}

/* A dense copy of what the kernel cannot read as it is. */
static enum status readable(struct planner *p, const struct node *node, const char *name, struct view *view) {
  if (rows_adjacent(view)) return STATUS_OK;
  struct view copy = place_temporary_rows(p, name, &view->shape, view->image_stride != 0);
  TRY(steps_copy(p, view, &copy, node));
  *view = copy;
  return STATUS_OK;
}

static enum status attention_check(struct planner *p, const struct node *node) {
  for (int i = 1; i < 3; i++)
    if (!node->inputs[i]->batched) return plan_refuse(p, node, "compiled attention needs keys and values of shape (N, ..)");
  return STATUS_OK;
}

/* A constant of true and false as what is added to the scores. */
static const struct value *additive_mask(struct planner *p, const struct value *mask) {
  if (mask->dtype != DTYPE_BOOL || mask->data == NULL) return mask;
  int64_t count = shape_elements(&mask->shape);
  float *added = arena_array(p->arena, (size_t)count, sizeof *added);
  for (int64_t i = 0; i < count; i++) added[i] = ((const uint8_t *)mask->data)[i] ? 0 : -INFINITY;
  struct value *value = arena_array(p->arena, 1, sizeof *value);
  *value = *mask;
  value->dtype = DTYPE_F32;
  value->data = added;
  return value;
}

/* Broadcast to (windows, heads, queries, keys), except for the keys. */
static enum status add_mask(struct planner *p, const struct node *node, const struct attention *extents,
                            struct view *out_view) {
  struct shape full = {4, {extents->batch, extents->q_heads, extents->q_rows, extents->kv_rows}};
  struct view view = place_operand(p, additive_mask(p, node->inputs[3]));
  if (view.dtype != DTYPE_BF16) TRY(readable(p, node, "attention mask", &view));
  *out_view = view_broadcast(&view, &full);
  return STATUS_OK;
}

/* Columns of the same rows that do not meet, or other memory altogether. */
static bool apart(const struct view *a, const struct view *b) {
  if (!step_overlaps(a, b)) return true;
  if (a->shape.rank != 3 || b->shape.rank != 3 || a->image_stride != b->image_stride) return false;
  for (int i = 0; i < 3; i++)
    if ((i < 2 && a->shape.dim[i] != b->shape.dim[i]) || a->stride[i] != b->stride[i]) return false;
  const struct view *low = a->offset < b->offset ? a : b, *high = low == a ? b : a;
  int64_t distance = high->offset - low->offset;
  return distance >= low->shape.dim[2] && distance + high->shape.dim[2] <= a->stride[1];
}

/* Whether something other than queries is still read from this memory when the result is written to it. */
static bool read_late(struct planner *p, const struct node *node, const struct view *storage) {
  struct view values = place_of(p, node->inputs[2]);
  if (!apart(&values, storage)) return true;
  if (node->input_count > 3 && node->inputs[3] != NULL && node->inputs[3]->data == NULL) {
    struct view mask = place_of(p, node->inputs[3]);
    if (step_overlaps(&mask, storage)) return true;
  }
  for (int i = 0; i < node->epilogue_count; i++)
    for (int j = 0; j < node->epilogue[i]->input_count; j++) {
      const struct value *operand = node->epilogue[i]->inputs[j];
      if (operand == NULL || operand->data != NULL) continue;
      struct view view = place_of(p, operand);
      if (step_overlaps(&view, storage)) return true;
    }
  return false;
}

enum precision attention_precision(const struct planner *p, const struct node *node) {
  struct attention extents = attention_extents(node);
  return p->plan->precision != PRECISION_FP32 && extents.d % 2 == 0 ? PRECISION_BF16 : PRECISION_FP32;
}

bool attention_writes_operand(const struct node *node) {
  return node->inputs[2]->shape.rank == 3 && attention_extents(node).d_v % 16 == 0 && node->epilogue_count == 0;
}

/* A matrix of all heads as operand rows; of a head's rows anywhere, a copy first. */
static enum status as_operand(struct planner *p, const struct node *node, struct view *view) {
  int64_t rows, columns, row_stride;
  if (view->operand) return STATUS_OK;
  if (!view_matrix(view, &rows, &columns, &row_stride)) {
    struct view copy = place_temporary(p, "attention operand", &view->shape, view->image_stride != 0);
    TRY(steps_copy(p, view, &copy, node));
    *view = copy;
  }
  step_convert(p, node, PRECISION_BF16, view);
  return STATUS_OK;
}

enum status attention_steps(struct planner *p, const struct node *node) {
  TRY(attention_check(p, node));
  struct attention extents = attention_extents(node);
  bool has_mask = node->input_count > 3 && node->inputs[3] != NULL;
  enum precision precision = attention_precision(p, node);
  struct view operands[4];
  for (int i = 0; i < 3; i++) {
    struct view view = place_of(p, node->inputs[i]);
    TRY(precision == PRECISION_BF16 ? as_operand(p, node, &view) : readable(p, node, "attention operand", &view));
    operands[i] = by_head(&view, i == 0 ? extents.q_heads : extents.kv_heads);
  }
  if (has_mask) TRY(add_mask(p, node, &extents, &operands[3]));
  struct view storage;
  bool in_place = precision == PRECISION_FP32 && node->inputs[0]->shape.rank == 3 &&
                  step_fits(p, node->inputs[0], node->outputs[0], &storage) && rows_adjacent(&storage) &&
                  !read_late(p, node, &storage);
  TRY(place_value(p, node->outputs[0], in_place ? &storage : NULL));
  struct view *placed = &p->plan->views[node->outputs[0]->id];
  bool operand = p->operand[node->outputs[0]->id] && placed->memory == MEMORY_ARENA && rows_adjacent(placed);
  placed->operand = operand ? placed->stride[1] : 0;
  struct view out = place_of(p, node->outputs[0]), target = out;
  if (!rows_adjacent(&out)) target = place_temporary(p, "attention by row", &out.shape, true);
  struct step *step = steps_new(p, STEP_ATTENTION, node);
  step->precision = precision;
  struct view by_heads = by_head(&target, extents.q_heads);
  step_set_out(step, &by_heads);
  for (int i = 0; i < 3 + has_mask; i++) step_add_input(step, &operands[i]);
  struct shape packed = {
      2, {extents.batch * extents.kv_heads, pack_keys_words(precision, extents.kv_rows, extents.d, extents.d_v)}};
  step->scratch = place_temporary(p, "packed keys and values", &packed, true);
  if (!view_same_layout(&target, &out)) TRY(steps_copy(p, &target, &out, node));
  return step_epilogue(p, node, &out, 0);
}
