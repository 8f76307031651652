/* What a command is: a row of main.c's table. Its options are plain data, which main.c parses into a struct of the command's
 * own before run is called; so a command's file starts where the work does.
 *
 * A command prints results to stdout and returns a status; main.c prints the message of `diag`. Progress and warnings go to
 * stderr. */
#ifndef VITC_CMD_COMMAND_H
#define VITC_CMD_COMMAND_H

#include "base/diag.h"

#include <stddef.h>
#include <stdint.h>

enum option_kind {
  OPTION_FLAG,    /* bool */
  OPTION_TEXT,    /* const char * */
  OPTION_CHOICE,  /* int: index into the words of `argument`, which are separated by '|' */
  OPTION_INTEGER, /* int64_t in [minimum, maximum] */
  OPTION_NUMBER,  /* double, at least 0 */
  OPTION_SIZE,    /* int[2]: height and width, "HxW" or one number for both */
  OPTION_LIST,    /* struct word_list: every word up to the next option; may be repeated */
};

struct word_list {
  const char **words;
  int count;
};

struct option_row {
  const char *name; /* without dashes; NULL ends the table */
  char letter;      /* 0: none */
  enum option_kind kind;
  const char *argument; /* as --help shows it; NULL for flags */
  size_t offset;        /* in the command's options */
  int64_t minimum, maximum;
  const char *help;
};

struct invocation {
  const void *options;
  const char *const *operands;
  int operand_count;
  struct diag *diag;
};

struct command {
  const char *name;
  const char *usage;              /* operands and the options that matter most */
  const char *summary;            /* one line */
  const char *details;            /* paragraphs of --help */
  int operands_min, operands_max; /* max -1: any number */
  const struct option_row *options;
  const void *defaults; /* the initial contents of the command's options */
  size_t options_size;  /* at most OPTIONS_SIZE_MAX */
  enum status (*run)(const struct invocation *invocation);
};

enum { OPTIONS_SIZE_MAX = 512 };

/* What came of a command line. */
enum parse_result { PARSE_RUN, PARSE_HELP, PARSE_ERROR };

struct parsed {
  _Alignas(max_align_t) unsigned char options[OPTIONS_SIZE_MAX];
  const char **words; /* room for every list */
  struct invocation invocation;
};

/* argv[0] is the command's name; argv is permuted. parsed_free is needed in every case. */
enum parse_result command_parse(const struct command *command, int argc, char **argv, struct parsed *out_parsed,
                                struct diag *diag);
void parsed_free(struct parsed *parsed);

void command_help(const struct command *command);

extern const struct command bench_command, compare_command, compile_command, import_command, inspect_command, predict_command,
    preprocess_command, report_command, run_command;

#endif
