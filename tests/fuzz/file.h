/* The input of a fuzz target as a file of its own, in a folder that goes when the process ends. */
#ifndef VITC_TESTS_FUZZ_FILE_H
#define VITC_TESTS_FUZZ_FILE_H

#include <stddef.h>
#include <stdint.h>

/* Path of the file NAME in the folder, holding these bytes. Valid until the next call with another name. */
const char *fuzz_file(const char *name, const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
