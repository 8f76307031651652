#include "cmd/interpret.h"

#include "interp/interp.h"
#include "vitc/host.h"

#include <string.h>

enum status interpret(struct graph *graph, const vitc_model *model, const struct feed *feed, int64_t threads,
                      struct results *results, struct diag *diag) {
  const void *inputs[VITC_IO_MAX];
  void *outputs[VITC_IO_MAX];
  for (uint32_t i = 0; i < model->input_count; i++) inputs[i] = feed->inputs[i];
  for (uint32_t i = 0; i < model->output_count; i++) outputs[i] = results->outputs[i];
  int count = threads > 0 ? (int)threads : (int)vitc_cpu_count();
  TRY(interp_run(graph, feed->batch, inputs, outputs, count, NULL, NULL, diag));
  /* An output that is the same for all images comes once. */
  for (int i = 0; i < graph->output_count; i++)
    for (uint32_t image = 1; !graph->outputs[i]->batched && image < feed->batch; image++)
      memcpy((char *)outputs[i] + image * model->outputs[i].image_bytes, outputs[i], model->outputs[i].image_bytes);
  return STATUS_OK;
}
