/* Any bytes as a checkpoint of torch.save: one line, or tensors whose every byte can be read. Bytes that begin as a pickle are
 * also put where an archive has its pickle, so that mutations reach the machine whatever they do to a directory. */
#include "file.h"
#include "torch/pickle.h"
#include "torch/pth.h"

#include <stdlib.h>

static void run_pickle(const uint8_t *data, size_t size) {
  struct arena arena;
  struct diag diag = {0};
  struct object *root = NULL;
  size_t used;
  arena_init(&arena);
  struct unpickler unpickler = {.file = "f", .arena = &arena, .diag = &diag, .budget = PICKLE_BUDGET / 16};
  enum status status = unpickle(&unpickler, "pickle", (struct span){data, size}, &used, &root);
  if (used > size || (status == STATUS_OK ? !root : !*diag.message || diag.status != status)) abort();
  arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena arena;
  struct weights weights = {0};
  struct diag diag = {0};
  if (size && data[0] == 0x80) run_pickle(data, size);
  arena_init(&arena);
  weights_init(&weights);
  enum status status = pth_read(fuzz_file("w.pth", data, size), &weights, &diag);
  if (status == STATUS_OK) status = weights_index(&weights, "f", &diag);
  if (status != STATUS_OK && (!*diag.message || diag.status != status)) abort();
  for (size_t i = 0; status == STATUS_OK && i < weights.count; i++) {
    const struct weight *weight = &weights.tensors[i];
    struct diag ignored = {0};
    if (weights_find(&weights, weight->name) != weight) abort();
    enum status finite = weights_check_finite(weight, "f", &ignored);
    if (!weight_elements(weight, DTYPE_F64, &arena) || (finite != STATUS_OK && !*ignored.message)) abort();
  }
  weights_close(&weights);
  arena_deinit(&arena);
  return 0;
}
