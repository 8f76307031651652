#include "file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In memory where that is possible: a disk would be most of the time of an input. */
static char folder[64] = "/dev/shm/vitc-fuzz-XXXXXX";
static char path[128];

static void remove_folder(void) {
  char command[sizeof folder + 16];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if (system(command)) perror(folder);
}

const char *fuzz_file(const char *name, const uint8_t *data, size_t size) {
  static int made;
  if (!made) {
    if (!mkdtemp(folder) && !mkdtemp(strcpy(folder, "/tmp/vitc-fuzz-XXXXXX"))) abort();
    atexit(remove_folder);
    made = 1;
  }
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(data, 1, size, file) != size || fclose(file)) abort();
  return path;
}
