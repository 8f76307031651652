/* A borrowed run of bytes, and files mapped or written as such. */
#ifndef VITC_BASE_SPAN_H
#define VITC_BASE_SPAN_H

#include "base/diag.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct span {
  const uint8_t *data;
  size_t size;
};

/* Maps a whole regular file read-only. Missing or unreadable file: STATUS_INPUT. An empty file gives size 0. */
MUST_USE enum status span_map_file(const char *path, struct span *out_span, struct diag *diag);
void span_unmap(struct span *span);

/* A file that appears whole or not at all: written as a temporary beside `path` and renamed by output_commit.
 * output_discard (safe to call after commit, or on a zeroed struct) removes the temporary; so does a signal
 * that ends the process, unless it cannot be caught.
 * A path that names an existing file that is not regular (/dev/stdout) is written directly. */
struct output {
  FILE *stream;
  char *path;
  char *temporary;
};

MUST_USE enum status output_open(struct output *output, const char *path, struct diag *diag);
/* Appends to what the stream has: for pieces of any size that lie in memory or in a mapped file already. */
MUST_USE enum status output_write(struct output *output, const void *bytes, size_t size, struct diag *diag);
MUST_USE enum status output_commit(struct output *output, struct diag *diag);
void output_discard(struct output *output);

#endif
