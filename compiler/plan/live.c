/* Live ranges of values and buffers, and the buffers' offsets in the arena. */
#include "plan/planner.h"

#include <assert.h>
#include <stdlib.h>

/* Arena of a group: activations that no cache holds cost more than weights that are read once for more images save. ViT-B/16 in
 * int8, 8 images, a Sapphire Rapids: 22 MiB for four together took 8 to 25 % less time than 44 for eight; in fp32 and bf16,
 * 30 MiB for eight took as long as half of it for four, or less. */
static const int64_t GROUP_BYTES = 40 << 20;

static void use(struct planner *p, const struct node *node, const struct value *value, int index) {
  if (value == NULL) return;
  p->last_use[value->id] = index;
  if (node->op == OP_reshape || node->op == OP_flatten) p->reshaped[value->id] = true;
}

static void use_inputs(struct planner *p, const struct node *node, int index) {
  for (int i = 0; i < node->input_count; i++) use(p, node, node->inputs[i], index);
  for (int i = 0; i < node->prologue_count; i++) use_inputs(p, node->prologue[i], index);
  for (int i = 0; i < node->epilogue_count; i++) use_inputs(p, node->epilogue[i], index);
}

/* A value goes straight into a Concat when the Concat is the only one to join it and it has memory of its own to give up. */
static void find_embeddings(struct planner *p, const struct node *concat) {
  int axis = (int)node_int(concat, "axis");
  const struct value *result = concat->outputs[0];
  if (axis < 0) axis += result->shape.rank;
  int64_t start = 0;
  for (int i = 0; i < concat->input_count; i++) {
    const struct value *value = concat->inputs[i];
    bool movable = value->producer != NULL && value->batched == result->batched && concat->epilogue_count == 0 &&
                   p->embeddings[value->id].concat == NULL && p->last_use[value->id] < p->graph->node_count;
    if (movable) p->embeddings[value->id] = (struct embedding){concat, start};
    start += value->shape.dim[axis];
  }
}

void live_analyze(struct planner *p) {
  const struct graph *graph = p->graph;
  for (int i = 0; i < graph->value_count; i++) p->last_use[i] = -1;
  int index = 0;
  for (const struct node *node = graph->first; node != NULL; node = node->next) use_inputs(p, node, index++);
  for (int i = 0; i < graph->output_count; i++) p->last_use[graph->outputs[i]->id] = index;
  for (const struct node *node = graph->first; node != NULL; node = node->next)
    if (node->op == OP_concat) find_embeddings(p, node);
}

int live_add_buffer(struct planner *p, const char *name, int64_t image_bytes, bool batched) {
  struct plan *plan = p->plan;
  assert(plan->buffer_count < p->buffer_capacity);
  plan->buffers[plan->buffer_count] = (struct buffer){
      .image_bytes = image_bytes, .batched = batched, .first = p->node_index, .last = p->node_index, .name = name};
  return plan->buffer_count++;
}

void live_extend(struct planner *p, int buffer, int last) {
  if (last > p->plan->buffers[buffer].last) p->plan->buffers[buffer].last = last;
}

static bool meet(const struct buffer *a, const struct buffer *b) {
  return a->first <= b->last && b->first <= a->last;
}

static int larger_first(const void *a, const void *b) {
  const struct buffer *x = *(struct buffer *const *)a, *y = *(struct buffer *const *)b;
  if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
  return x < y ? -1 : x > y;
}

/* Largest buffers first, each at the lowest offset where no buffer alive at the same time stands. */
static void assign_offsets(struct plan *plan, struct buffer **order) {
  int count = plan->buffer_count;
  for (int i = 0; i < count; i++) {
    order[i] = &plan->buffers[i];
    order[i]->bytes = (order[i]->image_bytes * (order[i]->batched ? plan->group : 1) + 63) / 64 * 64;
  }
  qsort(order, (size_t)count, sizeof *order, larger_first);
  plan->arena_bytes = 0;
  for (int i = 0; i < count; i++) {
    int64_t offset = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (int j = 0; j < i; j++) {
        if (!meet(order[i], order[j])) continue;
        if (offset < order[j]->offset + order[j]->bytes && order[j]->offset < offset + order[i]->bytes) {
          offset = order[j]->offset + order[j]->bytes;
          moved = true;
        }
      }
    }
    order[i]->offset = offset;
    if (offset + order[i]->bytes > plan->arena_bytes) plan->arena_bytes = offset + order[i]->bytes;
  }
}

void live_lay_out(struct planner *p, int64_t group, bool may_shrink) {
  struct buffer **order = arena_array(p->arena, (size_t)p->plan->buffer_count + 1, sizeof *order);
  p->plan->group = group;
  assign_offsets(p->plan, order);
  while (may_shrink && p->plan->group > 1 && p->plan->arena_bytes > GROUP_BYTES) {
    p->plan->group = (p->plan->group + 1) / 2;
    assign_offsets(p->plan, order);
  }
}
