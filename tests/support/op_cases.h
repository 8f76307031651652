/* Golden cases of ops, as tests/reference/make_ops.py writes them (the format is told there), and rejected ones, which have
 * `typed NAME DTYPE BATCHED RANK DIMS...` operands without elements and end with `fails MESSAGE` in place of outputs. */
#ifndef VITC_TESTS_OP_CASES_H
#define VITC_TESTS_OP_CASES_H

#include "support/graph_build.h"

enum { CASE_OPERANDS_MAX = 8 };

/* A case's node in a graph of its own, which has the operands as inputs and constants, all in build.arena. */
struct op_case {
  struct build build;
  const char *name;
  int64_t batch;
  struct node *node;
  const void *inputs[CASE_OPERANDS_MAX]; /* of the whole batch, by the node's inputs; NULL when omitted */
  int wanted_count;
  struct value *wanted[CASE_OPERANDS_MAX]; /* in no graph; NULL when omitted */
  const void *wanted_data[CASE_OPERANDS_MAX];
  const char *fails; /* NULL: the case has outputs */
};

struct op_case_reader {
  const char *at, *file;
};

/* The file's text, NUL-terminated, in the arena. */
const char *read_text(struct arena *arena, const char *path);

/* False at the end. The caller ends each case with build_deinit(&op_case.build). A file that cannot be read aborts. */
bool op_case_next(struct op_case_reader *reader, struct op_case *out_case);

#endif
