#include "cmd/command.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 40, HELP_COLUMN = 28, FIRST_LONG_ONLY = 256, HELP_CODE = 1000 };

static int count_options(const struct command *command) {
  int count = 0;
  while (command->options[count].name != NULL) count++;
  return count;
}

static enum status usage_error(const struct command *command, struct diag *diag, const char *what, const char *word) {
  return diag_fail(diag, STATUS_USAGE, "%s: %s%s%s%s (see 'vitc %s --help')", command->name, what, word != NULL ? " '" : "",
                   word != NULL ? word : "", word != NULL ? "'" : "", command->name);
}

static bool parse_integer(const char *text, int64_t *out_value) {
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  *out_value = value;
  return end != text && *end == '\0' && errno == 0;
}

static bool parse_size(const char *text, int size[2]) {
  char *end;
  errno = 0;
  long height = strtol(text, &end, 10), width = height;
  if (end == text || (*end != '\0' && *end != 'x')) return false;
  if (*end == 'x') {
    const char *second = end + 1;
    width = strtol(second, &end, 10);
    if (end == second || *end != '\0') return false;
  }
  if (errno != 0 || height < 1 || width < 1 || height > 65536 || width > 65536) return false;
  size[0] = (int)height;
  size[1] = (int)width;
  return true;
}

static bool parse_choice(const char *words, const char *text, int *out_index) {
  size_t length = strlen(text);
  *out_index = 0;
  for (const char *word = words;; word++, (*out_index)++) {
    size_t size = strcspn(word, "|");
    if (size == length && strncmp(word, text, length) == 0) return true;
    word += size;
    if (*word == '\0') return false;
  }
}

static enum status bad_value(const struct command *command, const struct option_row *row, const char *text, struct diag *diag) {
  char expected[128];
  if (row->kind == OPTION_INTEGER)
    snprintf(expected, sizeof expected, "an integer from %" PRId64 " to %" PRId64, row->minimum, row->maximum);
  else
    snprintf(expected, sizeof expected, "%s",
             row->kind == OPTION_NUMBER ? "a number of at least 0"
             : row->kind == OPTION_SIZE ? "HxW in pixels"
                                        : row->argument);
  return diag_fail(diag, STATUS_USAGE, "%s: --%s: '%s' is not %s (see 'vitc %s --help')", command->name, row->name, text,
                   expected, command->name);
}

static enum status set_option(const struct command *command, const struct option_row *row, const char *text,
                              struct parsed *parsed, struct diag *diag) {
  void *target = parsed->options + row->offset;
  bool good = true;
  int64_t integer;
  char *end;
  switch (row->kind) {
  case OPTION_FLAG:
    *(bool *)target = true;
    break;
  case OPTION_TEXT:
    *(const char **)target = text;
    break;
  case OPTION_CHOICE:
    good = parse_choice(row->argument, text, target);
    break;
  case OPTION_INTEGER:
    good = parse_integer(text, &integer) && integer >= row->minimum && integer <= row->maximum;
    if (good) *(int64_t *)target = integer;
    break;
  case OPTION_NUMBER:
    *(double *)target = strtod(text, &end);
    good = end != text && *end == '\0' && isfinite(*(double *)target) && *(double *)target >= 0;
    break;
  case OPTION_SIZE:
    good = parse_size(text, target);
    break;
  case OPTION_LIST:
    break; /* take_list */
  }
  return good ? STATUS_OK : bad_value(command, row, text, diag);
}

/* getopt gave the first word; the others follow it in argv. Lists share `words`, each growing at its end: a list that is
 * continued after another one moves there. */
static void take_list(const struct option_row *row, int argc, char **argv, struct parsed *parsed, const char ***free_words) {
  void *target = parsed->options + row->offset;
  struct word_list *list = target;
  const char **start = *free_words;
  for (int i = 0; i < list->count; i++) *(*free_words)++ = list->words[i];
  *(*free_words)++ = optarg;
  while (optind < argc && argv[optind][0] != '-') *(*free_words)++ = argv[optind++];
  *list = (struct word_list){start, (int)(*free_words - start)};
}

static void fill_getopt(const struct command *command, struct option *long_options, char *letters) {
  int count = count_options(command);
  *letters++ = ':'; /* a missing argument is told from an unknown option */
  for (int i = 0; i < count; i++) {
    const struct option_row *row = &command->options[i];
    long_options[i] =
        (struct option){row->name, row->kind == OPTION_FLAG ? no_argument : required_argument, NULL, FIRST_LONG_ONLY + i};
    if (row->letter == 0) continue;
    *letters++ = row->letter;
    if (row->kind != OPTION_FLAG) *letters++ = ':';
  }
  *letters++ = 'h';
  *letters = '\0';
  long_options[count] = (struct option){"help", no_argument, NULL, HELP_CODE};
  long_options[count + 1] = (struct option){NULL, 0, NULL, 0};
}

static const struct option_row *find_row(const struct command *command, int code) {
  if (code >= FIRST_LONG_ONLY) return &command->options[code - FIRST_LONG_ONLY];
  for (const struct option_row *row = command->options; row->name != NULL; row++)
    if (row->letter != 0 && row->letter == code) return row;
  return NULL;
}

static enum parse_result parse_options(const struct command *command, int argc, char **argv, struct parsed *parsed,
                                       struct diag *diag) {
  struct option long_options[OPTIONS_MAX + 2];
  char letters[2 * OPTIONS_MAX + 3];
  fill_getopt(command, long_options, letters);
  const char **free_words = parsed->words;
  opterr = 0;
  optind = 0; /* glibc: start afresh */
  for (int code; (code = getopt_long(argc, argv, letters, long_options, NULL)) != -1;) {
    if (code == HELP_CODE || code == 'h') return PARSE_HELP;
    if (code == '?' || code == ':') {
      bool short_option = optopt > 0 && optopt < FIRST_LONG_ONLY;
      char word[3] = {'-', (char)optopt, '\0'};
      usage_error(command, diag, code == ':' ? "missing argument of" : "unknown option",
                  short_option ? word : argv[optind - 1]);
      return PARSE_ERROR;
    }
    const struct option_row *row = find_row(command, code);
    if (row->kind == OPTION_LIST)
      take_list(row, argc, argv, parsed, &free_words);
    else if (set_option(command, row, optarg, parsed, diag) != STATUS_OK)
      return PARSE_ERROR;
  }
  return PARSE_RUN;
}

enum parse_result command_parse(const struct command *command, int argc, char **argv, struct parsed *out_parsed,
                                struct diag *diag) {
  memcpy(out_parsed->options, command->defaults, command->options_size);
  /* Every continued list is copied once more at most: each of at most argc options holds fewer than argc words. */
  size_t lists = 1;
  for (int i = 0; i < argc; i++) lists += strncmp(argv[i], "--", 2) == 0;
  out_parsed->words = calloc(lists * (size_t)argc + 1, sizeof *out_parsed->words);
  if (out_parsed->words == NULL) {
    diag_fail(diag, STATUS_SYSTEM, "out of memory");
    return PARSE_ERROR;
  }
  enum parse_result result = parse_options(command, argc, argv, out_parsed, diag);
  if (result != PARSE_RUN) return result;
  int count = argc - optind;
  if (count < command->operands_min) {
    usage_error(command, diag, "missing operand: expected", command->usage);
    return PARSE_ERROR;
  }
  if (command->operands_max >= 0 && count > command->operands_max) {
    usage_error(command, diag, "unexpected operand", argv[optind + command->operands_max]);
    return PARSE_ERROR;
  }
  out_parsed->invocation = (struct invocation){out_parsed->options, (const char *const *)&argv[optind], count, diag};
  return PARSE_RUN;
}

void parsed_free(struct parsed *parsed) {
  free(parsed->words);
  parsed->words = NULL;
}

void command_help(const struct command *command) {
  printf("usage: vitc %s %s\n\n%s\n\nOptions:\n", command->name, command->usage, command->details);
  for (const struct option_row *row = command->options; row->name != NULL; row++) {
    char left[64];
    int used = row->letter != 0 ? snprintf(left, sizeof left, "-%c, --%s", row->letter, row->name)
                                : snprintf(left, sizeof left, "    --%s", row->name);
    if (row->argument != NULL && used < (int)sizeof left)
      used += snprintf(left + used, sizeof left - (size_t)used, " %s", row->argument);
    if (used >= HELP_COLUMN)
      printf("  %s\n  %*s  %s\n", left, HELP_COLUMN, "", row->help);
    else
      printf("  %-*s  %s\n", HELP_COLUMN, left, row->help);
  }
  printf("  %-*s  %s\n", HELP_COLUMN, "-h, --help", "this text");
}
