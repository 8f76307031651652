/* Any bytes as an .onnx file: one line, or a graph that passes the verifier. */
#include "file.h"
#include "frontend.h"
#include "ir/ops.h"
#include "onnx/onnx.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena arena;
  struct weights weights;
  struct graph graph = {0};
  struct diag diag = {0};
  const struct import_options options = {.num_classes = -1};
  arena_init(&arena);
  weights_init(&weights);
  enum status status = onnx_import(fuzz_file("m.onnx", data, size), &options, &arena, &weights, &graph, &diag);
  if (status != STATUS_OK && (!*diag.message || diag.status != status)) abort();
  if (status == STATUS_OK && (*diag.message || verify_graph(&graph, "fuzzing") != STATUS_OK)) abort();
  weights_close(&weights);
  arena_deinit(&arena);
  return 0;
}
