/* The command line: one table of commands. */
#include "cmd/command.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command *const commands[] = {
    &import_command, &compile_command,    &run_command,     &compare_command, &predict_command,
    &bench_command,  &preprocess_command, &inspect_command, &report_command,
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static void print_help(void) {
  puts("usage: vitc COMMAND ...\n\nCompiles Vision Transformers to self-contained object files.\n\nCommands:");
  for (int i = 0; i < COMMAND_COUNT; i++) printf("  %-12s %s\n", commands[i]->name, commands[i]->summary);
  puts("\n'vitc COMMAND --help' says more. 'vitc --version' prints the version.\n\n"
       "Results go to stdout, everything else to stderr. Exit status: 0 done; 1 ran, and the answer is no; 2 bad usage;\n"
       "3 bad input (model, weights, image); 4 the machine said no (memory, disk, unsupported CPU).");
}

static enum status dispatch(int argc, char **argv, struct diag *diag) {
  if (argc < 2) return diag_fail(diag, STATUS_USAGE, "no command given (see 'vitc --help')");
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
    print_help();
    return STATUS_OK;
  }
  if (strcmp(argv[1], "--version") == 0) {
    puts("vitc " VITC_VERSION);
    return STATUS_OK;
  }
  for (int i = 0; i < COMMAND_COUNT; i++) {
    if (strcmp(argv[1], commands[i]->name) != 0) continue;
    struct parsed parsed;
    enum status status = STATUS_OK;
    switch (command_parse(commands[i], argc - 1, argv + 1, &parsed, diag)) {
    case PARSE_RUN:
      status = commands[i]->run(&parsed.invocation);
      break;
    case PARSE_HELP:
      command_help(commands[i]);
      break;
    case PARSE_ERROR:
      status = diag->status;
      break;
    }
    parsed_free(&parsed);
    return status;
  }
  return diag_fail(diag, STATUS_USAGE, "there is no %s '%s' (see 'vitc --help')", argv[1][0] == '-' ? "option" : "command",
                   argv[1]);
}

int main(int argc, char **argv) {
  struct diag diag = {STATUS_OK, ""};
  signal(SIGXFSZ, SIG_IGN); /* a limit on files is an error of the write, as a full disk is */
  enum status status = dispatch(argc, argv, &diag);
  /* Results that did not reach their file are no results. */
  if ((fflush(stdout) != 0 || ferror(stdout)) && status <= STATUS_NO)
    status = diag_fail(&diag, STATUS_SYSTEM, "stdout: cannot write: %s", strerror(errno));
  if (diag.message[0] != '\0') fprintf(stderr, "vitc: %s\n", diag.message);
  return (int)status;
}
