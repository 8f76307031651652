/* NumPy's .npy files (format 1.0 to 3.0): little-endian, C order, of the dtypes below.
 *
 * A read array borrows the mapped file, or owns a copy where the file holds its elements misaligned; npy_close releases both.
 */
#ifndef VITC_BASE_NPY_H
#define VITC_BASE_NPY_H

#include "base/diag.h"
#include "base/span.h"

enum npy_dtype { NPY_F32, NPY_F64, NPY_U8, NPY_I8, NPY_I32, NPY_I64, NPY_BOOL, NPY_DTYPE_COUNT };

enum { NPY_RANK_MAX = 8 };

struct npy {
  enum npy_dtype dtype;
  int rank;
  int64_t dim[NPY_RANK_MAX];
  int64_t elements; /* product of dim; at least 0 */
  const void *data; /* row-major, aligned for its dtype; NULL without elements */
  struct span file;
  void *copy;
};

size_t npy_dtype_size(enum npy_dtype dtype);
const char *npy_dtype_name(enum npy_dtype dtype); /* "float32", "uint8", ... */

/* On failure *out_npy needs no npy_close, and may have one. */
MUST_USE enum status npy_open(const char *path, struct npy *out_npy, struct diag *diag);
void npy_close(struct npy *npy);

/* Writes a whole file or none. */
MUST_USE enum status npy_write(const char *path, enum npy_dtype dtype, int rank, const int64_t *dim, const void *data,
                               struct diag *diag);

#endif
