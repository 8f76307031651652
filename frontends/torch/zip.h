/* The directory of a zip archive as torch.save writes it: every entry stored, zip64 or not, sizes behind the data or before.
 *
 * Invariants of an open archive: the names are unique and sorted bytewise; each entry's data lie within the file, before the
 * directory, and no two entries share a byte. Compressed and encrypted entries and archives in several parts are errors.
 *
 * CRCs are not compared: torch.save can be told not to compute them (torch.serialization.set_crc32_options), torch.load does
 * not look at them, and they would cost as much time as the rest of an import.
 *
 * Ownership: the table is in the caller's arena; names and data are borrowed from the file's bytes. */
#ifndef VITC_FRONTENDS_TORCH_ZIP_H
#define VITC_FRONTENDS_TORCH_ZIP_H

#include "base/arena.h"
#include "base/diag.h"
#include "base/span.h"

enum { ZIP_ENTRIES_MAX = 1 << 16, ZIP_NAME_MAX = 512 };

struct zip_entry {
  struct span name, data;
  size_t begin; /* of its header in the file */
};

struct zip {
  struct zip_entry *entries;
  size_t count;
};

MUST_USE enum status zip_open(const char *file, struct span bytes, struct arena *arena, struct zip *out_zip, struct diag *diag);

const struct zip_entry *zip_find(const struct zip *zip, struct span name); /* NULL: none of this name */

#endif
