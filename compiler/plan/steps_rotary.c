/* RotaryEmbedding: each (sequence, token) is a unit that turns all heads by the same rows of the caches. */
#include "ops/rotary_embedding.h"
#include "plan/step.h"
#include "plan/view.h"

#include <assert.h>
#include <string.h>

/* Whether `value` is read after this node, or by it, in memory that a write to `view` would change. */
static bool disturbs(struct planner *p, const struct value *value, const struct view *view) {
  const struct view *other = &p->plan->views[value->id];
  if (other->memory != view->memory || other->index != view->index || p->last_use[value->id] < p->node_index) return false;
  return !view_disjoint(other, view);
}

/* Over x, when nobody reads it again: its neighbours in a joint projection may, which step_fits would not allow. */
static bool rotates_in_place(struct planner *p, const struct node *node, struct view *out_view) {
  const struct value *x = node->inputs[0];
  if (x->data != NULL || p->last_use[x->id] > p->node_index) return false;
  *out_view = place_of(p, x);
  if (out_view->memory != MEMORY_ARENA) return false;
  for (int i = 0; i < out_view->shape.rank; i++)
    if (out_view->shape.dim[i] > 1 && out_view->stride[i] == 0) return false;
  for (const struct value *value = p->graph->values; value != NULL; value = value->next)
    if (value != x && value->data == NULL && disturbs(p, value, out_view)) return false;
  return true;
}

/* The cache's rows in the order of the tokens, as the position ids list them. */
static const struct value *look_up(struct planner *p, const struct value *cache, const struct value *ids) {
  int64_t count = shape_elements(&ids->shape), width = cache->shape.dim[1];
  float *rows = arena_array(p->arena, (size_t)(count * width), sizeof *rows);
  for (int64_t i = 0; i < count; i++)
    memcpy(rows + i * width, (const float *)cache->data + place_constant_int(ids, i) * width, (size_t)width * sizeof *rows);
  struct value *table = arena_alloc(p->arena, sizeof *table);
  *table = (struct value){.name = cache->name, .dtype = DTYPE_F32, .data = rows, .id = -1};
  table->shape = (struct shape){.rank = 3, .dim = {ids->shape.dim[0], ids->shape.dim[1], width}};
  return table;
}

/* (B or 1, T, pairs) with adjacent angles, stride 0 where one serves all sequences. */
static enum status cache_view(struct planner *p, const struct node *node, int index, int64_t batch, struct view *out_view) {
  const struct value *cache = node->inputs[index], *ids = op_input(node, 3);
  if (ids != NULL && (ids->data == NULL || cache->data == NULL))
    return plan_refuse(p, node, "compiled rotary embedding looks up constant caches by constant indices");
  if (ids != NULL) cache = look_up(p, cache, ids);
  struct view view = place_of(p, cache);
  if (view.shape.dim[2] > 1 && view.stride[2] != 1) {
    struct view copy = place_temporary(p, "angles", &view.shape, cache->batched);
    TRY(steps_copy(p, &view, &copy, node));
    view = copy;
  }
  *out_view = view_broadcast(&view, &(struct shape){3, {batch, view.shape.dim[1], view.shape.dim[2]}});
  return STATUS_OK;
}

/* As (B, T, heads, width). */
static struct view by_heads(const struct view *view, const struct rotary *rotary) {
  struct view heads;
  if (view->shape.rank == 4) return view_permute(view, (const int64_t[]){0, 2, 1, 3});
  bool cuts = view_reshape(view, &(struct shape){4, {rotary->batch, rotary->tokens, rotary->heads, rotary->width}}, &heads);
  assert(cuts);
  (void)cuts;
  return heads;
}

enum status rotary_steps(struct planner *p, const struct node *node) {
  struct rotary rotary = rotary_extents(node);
  struct view x = place_of(p, node->inputs[0]), storage, cos, sin;
  bool batched = node->outputs[0]->batched;
  TRY(cache_view(p, node, 1, rotary.batch, &cos));
  TRY(cache_view(p, node, 2, rotary.batch, &sin));
  bool in_place = rotates_in_place(p, node, &storage);
  TRY(place_value(p, node->outputs[0], in_place ? &storage : NULL));
  struct view out = place_of(p, node->outputs[0]);
  struct view from = by_heads(&x, &rotary), to = by_heads(&out, &rotary);
  bool adjacent = from.stride[3] == 1 && to.stride[3] == 1;
  if (!adjacent) {
    struct view copy = place_temporary(p, "heads", &from.shape, batched);
    TRY(steps_copy(p, &from, &copy, node));
    from = copy;
  }
  struct step *step = steps_new(p, STEP_ROTARY, node);
  step_set_out(step, adjacent ? &to : &from);
  step_add_input(step, &from);
  step_add_input(step, &cos);
  step_add_input(step, &sin);
  if (!adjacent) TRY(steps_copy(p, &from, &to, node));
  return step_epilogue(p, node, &out, 0);
}
