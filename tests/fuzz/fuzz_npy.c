/* Any bytes as a .npy file: one line, or an array whose every byte can be read and written again. */
#include "base/npy.h"
#include "file.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct npy npy, again;
  struct diag diag = {0};
  char path[160];
  const char *source = fuzz_file("x.npy", data, size);
  enum status status = npy_open(source, &npy, &diag);
  if (status != STATUS_OK) {
    if (!*diag.message || diag.status != status) abort();
    return 0;
  }
  snprintf(path, sizeof path, "%s.npy", source);
  if (npy_write(path, npy.dtype, npy.rank, npy.dim, npy.data, &diag) != STATUS_OK) abort();
  if (npy_open(path, &again, &diag) != STATUS_OK) abort();
  size_t bytes = (size_t)npy.elements * npy_dtype_size(npy.dtype);
  if (again.dtype != npy.dtype || again.rank != npy.rank || again.elements != npy.elements) abort();
  if (bytes && memcmp(again.data, npy.data, bytes)) abort();
  npy_close(&npy);
  npy_close(&again);
  return 0;
}
