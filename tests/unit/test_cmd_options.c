/* Option parsing: a table of rows, command lines, and what is left in the struct. */
#include "cmd/command.h"
#include "cmd/compile_options.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct options {
  const char *output;
  int kind, size[2];
  int64_t count;
  double tolerance;
  bool json;
  struct word_list images, inputs;
};

static const struct options defaults = {.count = 7, .tolerance = 0.5};

#define AT(field) offsetof(struct options, field)
static const struct option_row rows[] = {
    {"output", 'o', OPTION_TEXT, "FILE", AT(output), 0, 0, "where to"},
    {"kind", 0, OPTION_CHOICE, "red|green|blue", AT(kind), 0, 0, "colour"},
    {"size", 0, OPTION_SIZE, "HxW", AT(size), 0, 0, "pixels"},
    {"count", 'n', OPTION_INTEGER, "N", AT(count), 1, 100, "how many"},
    {"tolerance", 0, OPTION_NUMBER, "E", AT(tolerance), 0, 0, "how far"},
    {"json", 0, OPTION_FLAG, NULL, AT(json), 0, 0, "format"},
    {"image", 0, OPTION_LIST, "FILE...", AT(images), 0, 0, "images"},
    {"input", 'i', OPTION_LIST, "FILE...", AT(inputs), 0, 0, "arrays"},
    {NULL, 0, OPTION_FLAG, NULL, 0, 0, 0, NULL},
};
#undef AT

static const struct command command = {.name = "paint",
                                       .usage = "A [B]",
                                       .operands_min = 1,
                                       .operands_max = 2,
                                       .options = rows,
                                       .defaults = &defaults,
                                       .options_size = sizeof defaults};

struct line {
  struct parsed parsed;
  struct diag diag;
  enum parse_result result;
  struct options options;
};

/* Splits at blanks and parses; the words live until the next call. */
static void parse(struct line *line, const char *text) {
  static char copy[512];
  static char *argv[64];
  int argc = 0;
  snprintf(copy, sizeof copy, "%s", text);
  for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) argv[argc++] = word;
  argv[argc] = NULL;
  line->diag = (struct diag){STATUS_OK, ""};
  line->result = command_parse(&command, argc, argv, &line->parsed, &line->diag);
  memcpy(&line->options, line->parsed.options, sizeof line->options);
}

static void expect_error(const char *text, const char *words) {
  struct line line;
  parse(&line, text);
  cr_assert_eq(line.result, PARSE_ERROR, "%s", text);
  cr_assert_eq(line.diag.status, STATUS_USAGE);
  cr_assert_not_null(strstr(line.diag.message, words), "%s: %s", text, line.diag.message);
  cr_assert_not_null(strstr(line.diag.message, "vitc paint --help"), "%s", line.diag.message);
  cr_assert_null(strchr(line.diag.message, '\n'));
  parsed_free(&line.parsed);
}

Test(cmd_options, defaults_stay) {
  struct line line;
  parse(&line, "paint wall");
  cr_assert_eq(line.result, PARSE_RUN);
  cr_assert_eq(line.options.count, 7);
  cr_assert_eq(line.options.tolerance, 0.5);
  cr_assert_not(line.options.json);
  cr_assert_null(line.options.output);
  cr_assert_eq(line.parsed.invocation.operand_count, 1);
  cr_assert_str_eq(line.parsed.invocation.operands[0], "wall");
  parsed_free(&line.parsed);
}

Test(cmd_options, every_kind) {
  struct line line;
  parse(&line, "paint -o x --kind blue wall --size 384x224 --count=100 door --tolerance 1e-3 --json");
  cr_assert_eq(line.result, PARSE_RUN, "%s", line.diag.message);
  cr_assert_str_eq(line.options.output, "x");
  cr_assert_eq(line.options.kind, 2);
  cr_assert_eq(line.options.size[0], 384);
  cr_assert_eq(line.options.size[1], 224);
  cr_assert_eq(line.options.count, 100);
  cr_assert_eq(line.options.tolerance, 1e-3);
  cr_assert(line.options.json);
  cr_assert_eq(line.parsed.invocation.operand_count, 2);
  cr_assert_str_eq(line.parsed.invocation.operands[0], "wall");
  cr_assert_str_eq(line.parsed.invocation.operands[1], "door");
  parsed_free(&line.parsed);
  parse(&line, "paint wall --size 96");
  cr_assert_eq(line.options.size[0], 96);
  cr_assert_eq(line.options.size[1], 96);
  parsed_free(&line.parsed);
}

Test(cmd_options, lists_take_every_word_up_to_the_next_option) {
  struct line line;
  parse(&line, "paint wall --image a b c -i p q --image d --json door");
  cr_assert_eq(line.result, PARSE_RUN, "%s", line.diag.message);
  cr_assert_eq(line.options.images.count, 4);
  const char *const images[] = {"a", "b", "c", "d"};
  for (int i = 0; i < 4; i++) cr_assert_str_eq(line.options.images.words[i], images[i]);
  cr_assert_eq(line.options.inputs.count, 2);
  cr_assert_str_eq(line.options.inputs.words[1], "q");
  cr_assert_eq(line.parsed.invocation.operand_count, 2);
  cr_assert_str_eq(line.parsed.invocation.operands[0], "wall");
  cr_assert_str_eq(line.parsed.invocation.operands[1], "door");
  parsed_free(&line.parsed);
  parse(&line, "paint --image a b -- wall");
  cr_assert_eq(line.options.images.count, 2);
  cr_assert_str_eq(line.parsed.invocation.operands[0], "wall");
  parsed_free(&line.parsed);
}

Test(cmd_options, lists_repeated_many_times) {
  struct line line;
  parse(&line, "paint wall -i 1 --image 2 -i 3 --image 4 -i 5 --image 6 -i 7 --image 8 -i 9 10 11 12");
  cr_assert_eq(line.result, PARSE_RUN, "%s", line.diag.message);
  cr_assert_eq(line.options.inputs.count, 8);
  cr_assert_eq(line.options.images.count, 4);
  cr_assert_str_eq(line.options.inputs.words[7], "12");
  cr_assert_str_eq(line.options.images.words[3], "8");
  parsed_free(&line.parsed);
}

Test(cmd_options, help_wins) {
  struct line line;
  parse(&line, "paint --help");
  cr_assert_eq(line.result, PARSE_HELP);
  parsed_free(&line.parsed);
  parse(&line, "paint wall -h");
  cr_assert_eq(line.result, PARSE_HELP);
  parsed_free(&line.parsed);
}

Test(cmd_options, faults_are_one_line_with_a_hint) {
  expect_error("paint", "missing operand");
  expect_error("paint a b c", "unexpected operand 'c'");
  expect_error("paint a --colour red", "unknown option '--colour'");
  expect_error("paint a -x", "unknown option '-x'");
  expect_error("paint a -o", "missing argument of '-o'");
  expect_error("paint a --output", "missing argument of '--output'");
  expect_error("paint a --kind gr", "--kind: 'gr' is not red|green|blue");
  expect_error("paint a --kind green|blue", "--kind");
  expect_error("paint a --count 0", "--count: '0' is not an integer from 1 to 100");
  expect_error("paint a --count 101", "--count");
  expect_error("paint a --count 1e1", "--count");
  expect_error("paint a --count 99999999999999999999", "--count");
  expect_error("paint a --tolerance -1", "--tolerance");
  expect_error("paint a --tolerance nan", "--tolerance");
  expect_error("paint a --size 0x3", "--size");
  expect_error("paint a --size 3x", "--size");
  expect_error("paint a --size 3x4x5", "--size");
  expect_error("paint a --size 99999999", "--size");
  expect_error("paint a --json=yes", "--json=yes");
}

Test(cmd_options, words_and_extensions) {
  struct arena arena;
  arena_init(&arena);
  int count;
  const char *const *words = split_words("a,,bc,d", &arena, &count);
  cr_assert_eq(count, 3);
  cr_assert_str_eq(words[1], "bc");
  cr_assert_str_eq(words[2], "d");
  split_words(NULL, &arena, &count);
  cr_assert_eq(count, 0);
  cr_assert_str_eq(with_extension("a.b/c.o", ".h", &arena), "a.b/c.h");
  cr_assert_str_eq(with_extension("a.b/c", ".h", &arena), "a.b/c.h");
  cr_assert_str_eq(with_extension("a/.o", ".h", &arena), "a/.o.h");
  arena_deinit(&arena);
}
