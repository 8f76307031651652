#include "cmd/worker.h"

#include "cmd/peak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum status answer(const struct machine *machine, const struct feed *feed, struct results *results, long runs,
                          struct diag *diag) {
  for (long i = 0; i < runs; i++) {
    double start = seconds_now();
    TRY(machine_run(machine, feed, results, diag));
    printf("%.4f\n", (seconds_now() - start) * 1e3);
  }
  fflush(stdout);
  return STATUS_OK;
}

enum status work(const struct machine *machine, const struct feed *feed, struct results *results, const char *output,
                 struct diag *diag) {
  TRY(machine_run(machine, feed, results, diag));
  if (output != NULL) TRY(results_write(&machine->loaded.model, results, output, diag));
  puts("ready");
  fflush(stdout);
  char line[64];
  while (fgets(line, sizeof line, stdin) != NULL && strncmp(line, "quit", 4) != 0) {
    if (line[0] == '\n') continue;
    char *end;
    long runs = strncmp(line, "run ", 4) == 0 ? strtol(line + 4, &end, 10) : -1;
    if (runs < 0 || (*end != '\n' && *end != '\0')) {
      line[strcspn(line, "\n")] = '\0';
      return diag_fail(diag, STATUS_USAGE, "bench: --worker: '%s' is neither 'run N' nor 'quit'", line);
    }
    TRY(answer(machine, feed, results, runs, diag));
  }
  return STATUS_OK;
}
