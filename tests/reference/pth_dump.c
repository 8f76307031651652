/* Rewrites a file of weights as .safetensors, for tests/reference/pth.py: pth_dump IN OUT. Prints its own largest resident size
 * in KiB; what its parent would be told includes the parent's, from before the start of the program. */
#include "safetensors/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum status dump(const char *from, const char *to, struct weights *weights, struct diag *diag) {
  struct output output = {0};
  TRY(weights_open(from, weights, diag));
  TRY(output_open(&output, to, diag));
  enum status status = safetensors_write(&output, weights->tensors, weights->count, diag);
  if (status == STATUS_OK) status = output_commit(&output, diag);
  output_discard(&output);
  return status;
}

static long peak(void) {
  char line[256];
  long kibibytes = -1;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (!strncmp(line, "VmHWM:", 6)) kibibytes = strtol(line + 6, NULL, 10);
  if (file) fclose(file);
  return kibibytes;
}

int main(int argc, char **argv) {
  struct weights weights = {0};
  struct diag diag = {0};
  if (argc != 3) return STATUS_USAGE;
  enum status status = dump(argv[1], argv[2], &weights, &diag);
  weights_close(&weights);
  printf("%ld\n", peak());
  if (status != STATUS_OK) fprintf(stderr, "vitc: %s\n", diag.message);
  return (int)status;
}
