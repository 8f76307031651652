#include "llvm/weights.h"

#include <string.h>

struct weights_sink {
  FILE *stream;
  uint64_t hash, bytes;
  unsigned char rest[8];
  size_t rest_count;
};

static void hash_bytes(struct weights_sink *sink, const unsigned char *bytes, size_t size) {
  while (size > 0) {
    if (sink->rest_count == 0 && size >= 8) {
      uint64_t word;
      memcpy(&word, bytes, 8);
      sink->hash = (sink->hash ^ word) * 0x100000001b3u;
      bytes += 8;
      size -= 8;
      continue;
    }
    sink->rest[sink->rest_count++] = *bytes++;
    size--;
    if (sink->rest_count < 8) continue;
    sink->rest_count = 0;
    hash_bytes(sink, sink->rest, 8);
  }
}

static enum status sink_write(void *context, const void *bytes, size_t size) {
  struct weights_sink *sink = context;
  hash_bytes(sink, bytes, size);
  sink->bytes += size;
  return fwrite(bytes, 1, size, sink->stream) == size ? STATUS_OK : STATUS_SYSTEM;
}

enum status weights_write_failed(const char *path, struct diag *diag) {
  return diag_fail(diag, STATUS_SYSTEM, "%s: cannot write: disk full or not a file that can be written in two passes", path);
}

enum status weights_stream(const struct plan *plan, struct output *output, const char *path, uint64_t *out_hash,
                           struct diag *diag) {
  struct weights_sink sink = {.stream = output->stream, .hash = 0xcbf29ce484222325u};
  if (plan_write_weights(plan, sink_write, &sink) != STATUS_OK) return weights_write_failed(path, diag);
  *out_hash = sink.hash;
  return STATUS_OK;
}
