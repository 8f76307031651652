#include "cmd/node_values.h"

#include "interp/interp.h"
#include "vitc/host.h"

#include <string.h>

static bool is_kept(const struct value *value) {
  return value != NULL && value->dtype == DTYPE_F32 && value->batched && value->shape.rank > 0;
}

static void list_values(const struct graph *fused, struct arena *arena, struct node_values *values) {
  values->list = arena_array(arena, (size_t)fused->value_count + 1, sizeof *values->list);
  for (const struct node *node = fused->first; node != NULL; node = node->next)
    for (int i = 0; i < node->output_count; i++) {
      if (!is_kept(node->outputs[i])) continue;
      size_t elements = (size_t)shape_elements(&node->outputs[i]->shape);
      values->list[values->count++] = (struct node_value){node->outputs[i], values->stride, elements};
      values->stride += elements;
    }
}

static void keep(void *context, const struct value *value, const void *data, int64_t batch) {
  struct node_values *values = context;
  for (int i = 0; i < values->count; i++) {
    const struct node_value *kept = &values->list[i];
    if (kept->value != value) continue;
    for (size_t image = 0; image < (size_t)batch; image++)
      memcpy(values->data + image * values->stride + kept->offset, (const float *)data + image * kept->elements,
             kept->elements * sizeof(float));
  }
}

enum status node_values_interpret(const struct graph *fused, const struct feed *feed, int64_t threads, struct arena *arena,
                                  struct node_values *out_values, struct diag *diag) {
  const void *inputs[VITC_IO_MAX];
  void *outputs[VITC_IO_MAX];
  *out_values = (struct node_values){.batch = feed->batch};
  list_values(fused, arena, out_values);
  out_values->data = arena_array(arena, out_values->stride * sizeof(float), feed->batch);
  for (int i = 0; i < fused->input_count; i++) inputs[i] = feed->inputs[i];
  for (int i = 0; i < fused->output_count; i++)
    outputs[i] = arena_array(arena, feed->batch,
                             (size_t)shape_elements(&fused->outputs[i]->shape) * dtype_size(fused->outputs[i]->dtype));
  int count = threads > 0 ? (int)threads : (int)vitc_cpu_count();
  return interp_run(fused, feed->batch, inputs, outputs, count, keep, out_values, diag);
}

const struct node_value *node_values_find(const struct node_values *values, const char *name) {
  for (int i = 0; i < values->count; i++)
    if (strcmp(values->list[i].value->name, name) == 0) return &values->list[i];
  return NULL;
}
