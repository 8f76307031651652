/* Graphs in a few lines, for tests:
 *
 *   struct build build;
 *   build_init(&build);
 *   struct value *x = build_input(&build, "x", "float32[N,3,4]");
 *   struct value *w = build_random(&build, "w", "float32[4,2]", 1);
 *   build_output(&build, BUILD(&build, "y", OP_mat_mul, x, w));
 *   build_deinit(&build);
 *
 * A type is DTYPE[DIMS]; a leading N or N*K makes it batched. Nodes are inferred as they are added; a failure aborts the test.
 */
#ifndef VITC_TESTS_GRAPH_BUILD_H
#define VITC_TESTS_GRAPH_BUILD_H

#include "ir/ops.h"

struct build {
  struct arena arena;
  struct diag diag;
  struct graph graph;
};

void build_init(struct build *build);
void build_deinit(struct build *build);

struct value *build_value(struct build *build, const char *name, const char *type); /* neither input nor constant */
struct value *build_input(struct build *build, const char *name, const char *type);
struct value *build_constant(struct build *build, const char *name, const char *type, const void *data);
struct value *build_random(struct build *build, const char *name, const char *type, unsigned seed); /* in [-1, 1), float32 */
struct value *build_ints(struct build *build, const char *name, const int64_t *ints, size_t count);
void build_output(struct build *build, struct value *value);

/* The same numbers for the same seed, in [-1, 1). */
void random_floats(float *floats, size_t count, unsigned seed);

/* One node with one output; an input may be NULL. */
struct node *build_append(struct build *build, const char *output, enum op op, struct value *const *inputs, int input_count);

/* Sets what attributes need before it infers. */
struct value *build_infer(struct build *build, struct node *node);

#define BUILD_INPUTS(...) \
  ((struct value *[]){__VA_ARGS__}), (int)(sizeof((struct value *[]){__VA_ARGS__}) / sizeof(struct value *))
#define BUILD(build, output, op, ...) build_infer(build, build_append(build, output, op, BUILD_INPUTS(__VA_ARGS__)))
#define BUILD_INTS(build, name, ...) \
  build_ints(build, name, (int64_t[]){__VA_ARGS__}, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

/* The graph's text, in its arena. */
const char *build_text(struct build *build);

#endif
