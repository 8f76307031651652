/* Any bytes as a .safetensors file: one line, or tensors whose every byte can be read as float32. */
#include "file.h"
#include "safetensors/safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena arena;
  struct weights weights;
  struct diag diag = {0};
  arena_init(&arena);
  enum status status = weights_open(fuzz_file("w.safetensors", data, size), &weights, &diag);
  if (status != STATUS_OK && (!*diag.message || diag.status != status)) abort();
  for (size_t i = 0; status == STATUS_OK && i < weights.count; i++) {
    const struct weight *weight = &weights.tensors[i];
    struct diag ignored = {0};
    if (weights_find(&weights, weight->name) != weight) abort();
    enum status finite = weights_check_finite(weight, "f", &ignored);
    if (!weight_elements(weight, DTYPE_F64, &arena) || (finite != STATUS_OK && !*ignored.message)) abort();
    weight_elements(weight, weight->dtype, &arena);
    weight_elements(weight, DTYPE_U8, &arena);
  }
  weights_close(&weights);
  arena_deinit(&arena);
  return 0;
}
