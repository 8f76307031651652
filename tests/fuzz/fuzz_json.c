/* Any bytes as NAME.json beside a good blob: a graph, or one line. What loads can be written, and what was written loads again
 * to the same text. */
#include "file.h"
#include "ir/ops.h"
#include "json/json.h"
#include "tokens.h"

#include <stdlib.h>
#include <string.h>

static void must(enum status status, const struct diag *diag) {
  if (status == STATUS_OK) return;
  fprintf(stderr, "%s\n", diag->message);
  abort();
}

static void copy_blob(void) {
  static int copied;
  struct span blob;
  struct diag diag = {0};
  if (copied) return;
  must(span_map_file(VITC_SOURCE_DIR "/tests/reject/good.safetensors", &blob, &diag), &diag);
  fuzz_file("good.safetensors", blob.data, blob.size);
  span_unmap(&blob);
  copied = 1;
}

/* The text of the graph, which the caller frees. */
static char *print(const struct graph *graph) {
  char *text;
  size_t size;
  FILE *stream = open_memstream(&text, &size);
  if (!stream) abort();
  print_graph(graph, stream);
  fclose(stream);
  return text;
}

/* json_write takes constants in order of use, so a graph reads back as written only from the second time on. */
static char *round_trip(const struct graph *graph, const char *path, struct arena *arena) {
  struct weights weights;
  struct graph again;
  struct diag diag = {0};
  must(json_write(graph, path, &diag), &diag);
  must(frontend_load(path, arena, &weights, &again, &diag), &diag);
  char *text = print(&again);
  weights_close(&weights);
  return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena arena;
  struct weights weights;
  struct graph graph;
  struct diag diag = {0};
  copy_blob();
  arena_init(&arena);
  const char *path = arena_strdup(&arena, fuzz_file("m.json", data, size));
  enum status status = frontend_load(path, &arena, &weights, &graph, &diag);
  if (status == STATUS_OK) {
    char *text = round_trip(&graph, path, &arena);
    struct weights second;
    struct graph again;
    must(frontend_load(path, &arena, &second, &again, &diag), &diag);
    char *same = round_trip(&again, path, &arena);
    if (strcmp(text, same)) abort();
    weights_close(&second);
    free(text);
    free(same);
  } else if (!*diag.message || diag.status != status) {
    abort();
  }
  weights_close(&weights);
  arena_deinit(&arena);
  return 0;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  size_t mutated = 0;
  for (unsigned i = 0; seed % 4 && i <= seed % 3; i++) {
    size_t next = tokens_mutate(data, mutated ? mutated : size, max_size, seed + i);
    if (next) mutated = next;
  }
  return mutated ? mutated : LLVMFuzzerMutate(data, size, max_size);
}
