#include "file.h"

#include <stdio.h>
#include <stdlib.h>

static char folder[] = "/tmp/vitc-fuzz-XXXXXX";
static char path[128];

static void remove_folder(void) {
  char command[sizeof folder + 16];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if (system(command)) perror(folder);
}

const char *fuzz_file(const char *name, const uint8_t *data, size_t size) {
  static int made;
  if (!made) {
    if (!mkdtemp(folder)) abort();
    atexit(remove_folder);
    made = 1;
  }
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(data, 1, size, file) != size || fclose(file)) abort();
  return path;
}
