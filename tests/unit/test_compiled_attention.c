/* Attention through the whole compiler, in every form that the op has: equal to the interpreter at every CPU level, and the
 * same bits for every number of threads and for an image alone. */
#include "interp/interp.h"
#include "support/compiled.h"
#include "support/graph_build.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum mask { MASK_NONE, MASK_TABLE, MASK_HEADS, MASK_KEYS, MASK_BOOL, MASK_IMAGES, MASK_COMPUTED, MASK_TRANSPOSED };

struct form {
  int windows, heads, kv_heads, q_rows, k_rows, head_dim, v_dim;
  enum mask mask;
  bool rank4, causal, shared_query, transposed, residual;
  double scale, softcap;
};

enum { BATCH = 3, INPUTS_MAX = 5 };

static struct value *operand(struct build *build, const struct form *form, const char *name, int heads, int rows, int width) {
  char type[96], first[16] = "N";
  if (form->windows > 1) snprintf(first, sizeof first, "N*%d", form->windows);
  if (form->shared_query && name[0] == 'q') snprintf(first, sizeof first, "1");
  if (!form->rank4)
    snprintf(type, sizeof type, "float32[%s,%d,%d]", first, rows, heads * width);
  else if (form->transposed)
    snprintf(type, sizeof type, "float32[%s,%d,%d,%d]", first, rows, heads, width);
  else
    snprintf(type, sizeof type, "float32[%s,%d,%d,%d]", first, heads, rows, width);
  if (form->shared_query && name[0] == 'q') return build_random(build, name, type, 77);
  struct value *input = build_input(build, name, type);
  if (!form->rank4 || !form->transposed) return input;
  char turned[16];
  snprintf(turned, sizeof turned, "%s.heads", name);
  struct node *node = build_append(build, turned, OP_transpose, &input, 1);
  node_set_ints(&build->graph, node, "perm", (const int64_t[]){0, 2, 1, 3}, 4);
  return build_infer(build, node);
}

static struct value *bool_mask(struct build *build, int rows, int keys) {
  char type[64];
  unsigned char *seen = calloc((size_t)(rows * keys), 1);
  for (int i = 0; i < rows * keys; i++) seen[i] = (i * 7919 / 13) % 3 != 0;
  for (int j = 0; j < keys && rows > 2; j++) seen[2 * keys + j] = 0; /* a query that sees nothing */
  snprintf(type, sizeof type, "bool[%d,%d]", rows, keys);
  struct value *value = build_constant(build, "mask", type, seen);
  free(seen);
  return value;
}

static struct value *mask_of(struct build *build, const struct form *form) {
  char type[96], first[16] = "N";
  int heads = form->heads, rows = form->q_rows, keys = form->k_rows;
  if (form->windows > 1) snprintf(first, sizeof first, "N*%d", form->windows);
  switch (form->mask) {
  case MASK_NONE:
    return NULL;
  case MASK_TABLE:
    snprintf(type, sizeof type, "float32[%d,%d]", rows, keys);
    return build_random(build, "mask", type, 5);
  case MASK_HEADS:
    snprintf(type, sizeof type, "float32[%d,%d,%d]", heads, rows, keys);
    return build_random(build, "mask", type, 5);
  case MASK_KEYS:
    snprintf(type, sizeof type, "float32[1,1,1,%d]", keys);
    return build_random(build, "mask", type, 5);
  case MASK_BOOL:
    return bool_mask(build, rows, keys);
  case MASK_IMAGES:
    snprintf(type, sizeof type, "float32[%s,1,%d,%d]", first, rows, keys);
    return build_input(build, "mask", type);
  case MASK_COMPUTED: {
    snprintf(type, sizeof type, "float32[%s,%d,%d,%d]", first, heads, rows, keys);
    struct value *input = build_input(build, "mask", type);
    return BUILD(build, "mask.twice", OP_add, input, input);
  }
  default: {
    snprintf(type, sizeof type, "float32[%s,%d,%d,%d]", first, heads, keys, rows);
    struct value *input = build_input(build, "mask", type);
    struct node *node = build_append(build, "mask.turned", OP_transpose, &input, 1);
    node_set_ints(&build->graph, node, "perm", (const int64_t[]){0, 1, 3, 2}, 4);
    return build_infer(build, node);
  }
  }
}

static void make_graph(struct build *build, const struct form *form) {
  struct value *q = operand(build, form, "q", form->heads, form->q_rows, form->head_dim);
  struct value *k = operand(build, form, "k", form->kv_heads, form->k_rows, form->head_dim);
  struct value *v = operand(build, form, "v", form->kv_heads, form->k_rows, form->v_dim);
  struct value *inputs[] = {q, k, v, mask_of(build, form)};
  struct node *node = build_append(build, "attended", OP_attention, inputs, inputs[3] != NULL ? 4 : 3);
  if (!form->rank4) {
    node_set_int(&build->graph, node, "q_num_heads", form->heads);
    node_set_int(&build->graph, node, "kv_num_heads", form->kv_heads);
  }
  if (form->causal) node_set_int(&build->graph, node, "is_causal", 1);
  if (form->scale > 0) node_set_float(&build->graph, node, "scale", form->scale);
  if (form->softcap > 0) node_set_float(&build->graph, node, "softcap", form->softcap);
  struct value *result = build_infer(build, node);
  if (form->residual) result = BUILD(build, "sum", OP_add, result, q);
  build_output(build, result);
}

struct images {
  float *inputs[INPUTS_MAX];
  size_t image_in[INPUTS_MAX], image_out;
  int input_count;
};

static void images_init(struct images *images, const struct graph *graph) {
  *images = (struct images){.input_count = graph->input_count};
  for (int i = 0; i < graph->input_count; i++) {
    images->image_in[i] = (size_t)shape_elements(&graph->inputs[i]->shape);
    images->inputs[i] = malloc(BATCH * images->image_in[i] * sizeof(float));
    random_floats(images->inputs[i], BATCH * images->image_in[i], (unsigned)i + 11);
  }
  images->image_out = (size_t)shape_elements(&graph->outputs[0]->shape);
}

static void run_batches(const struct compiled *compiled, const struct images *images, const char *level, uint32_t batch,
                        uint32_t threads, float *got) {
  for (uint32_t first = 0; first < BATCH; first += batch) {
    const void *inputs[INPUTS_MAX];
    for (int i = 0; i < images->input_count; i++) inputs[i] = images->inputs[i] + first * images->image_in[i];
    void *outputs[] = {got + first * images->image_out};
    cr_assert(compiled_run(compiled, level, batch, threads, inputs, outputs), "%s: wrote outside", level);
  }
}

static void check_level(const struct compiled *compiled, const struct images *images, const char *level, const float *wanted,
                        const char *what) {
  size_t count = BATCH * images->image_out;
  float *got = calloc(count, sizeof *got), *again = calloc(count, sizeof *again);
  run_batches(compiled, images, level, BATCH, 1, got);
  double error = largest_error(got, wanted, count);
  cr_expect(error <= 2e-5, "%s: %s is off by %.2e", what, level, error);
  for (uint32_t threads = 1; threads <= 5; threads += 2)
    for (uint32_t batch = 1; batch <= BATCH; batch += 2) {
      run_batches(compiled, images, level, batch, threads, again);
      cr_expect(memcmp(got, again, count * sizeof *got) == 0, "%s: %s, %u threads: other bits", what, level, threads);
    }
  free(got);
  free(again);
}

static void check_passes(const struct graph *graph, const struct pass_options *passes, const char *what) {
  struct images images;
  images_init(&images, graph);
  float *wanted = calloc(BATCH * images.image_out, sizeof *wanted);
  const void *inputs[INPUTS_MAX];
  for (int i = 0; i < images.input_count; i++) inputs[i] = images.inputs[i];
  void *outputs[] = {wanted};
  cr_assert(interp_run(graph, BATCH, inputs, outputs, 2, NULL, NULL, graph->diag) == STATUS_OK, "%s", graph->diag->message);
  struct compiled compiled;
  cr_assert(compiled_open(graph, passes, BATCH, 2, &compiled) == STATUS_OK, "%s: %s", what, graph->diag->message);
  const char *level;
  int levels = 0;
  for (; (level = compiled_level(&compiled, levels)) != NULL; levels++) check_level(&compiled, &images, level, wanted, what);
  cr_expect(levels > 0);
  compiled_close(&compiled);
  for (int i = 0; i < images.input_count; i++) free(images.inputs[i]);
  free(wanted);
}

static void check(struct form form) {
  if (form.windows == 0) form.windows = 1;
  if (form.kv_heads == 0) form.kv_heads = form.heads;
  if (form.v_dim == 0) form.v_dim = form.head_dim;
  if (form.k_rows == 0) form.k_rows = form.q_rows;
  struct build build;
  build_init(&build);
  make_graph(&build, &form);
  char what[128];
  snprintf(what, sizeof what, "windows %d heads %d/%d rows %d/%d width %d/%d mask %d", form.windows, form.heads, form.kv_heads,
           form.q_rows, form.k_rows, form.head_dim, form.v_dim, (int)form.mask);
  const char *names[64];
  struct pass_options on = {0}, off = {.disabled = names};
  for (; pass_at(off.disabled_count) != NULL; off.disabled_count++)
    names[off.disabled_count] = pass_at(off.disabled_count)->name;
  check_passes(&build.graph, &on, what);
  check_passes(&build.graph, &off, what);
  build_deinit(&build);
}

Test(compiled_attention, masks) {
  for (int mask = MASK_NONE; mask <= MASK_TRANSPOSED; mask++) {
    check((struct form){.heads = 3, .q_rows = 197, .head_dim = 20, .mask = (enum mask)mask});
    check((struct form){.heads = 2, .q_rows = 1, .k_rows = 13, .head_dim = 7, .mask = (enum mask)mask, .rank4 = true});
    check((struct form){.heads = 5, .q_rows = 31, .k_rows = 3, .head_dim = 16, .mask = (enum mask)mask, .scale = 0.7});
  }
}

Test(compiled_attention, windows) {
  check((struct form){.windows = 4, .heads = 3, .q_rows = 49, .head_dim = 8, .mask = MASK_COMPUTED, .rank4 = true});
  check((struct form){.windows = 5, .heads = 2, .q_rows = 25, .head_dim = 12, .mask = MASK_IMAGES});
  check((struct form){.windows = 3, .heads = 2, .q_rows = 9, .head_dim = 17, .mask = MASK_HEADS, .rank4 = true});
  check((struct form){.windows = 2, .heads = 2, .q_rows = 9, .head_dim = 17, .rank4 = true, .transposed = true});
}

Test(compiled_attention, long_sequences) {
  check((struct form){.heads = 2, .q_rows = 1297, .head_dim = 16, .mask = MASK_HEADS});
  check((struct form){.heads = 1, .q_rows = 701, .k_rows = 659, .head_dim = 37, .mask = MASK_COMPUTED, .rank4 = true});
}

Test(compiled_attention, shared_heads_and_other_widths) {
  check((struct form){.heads = 6, .kv_heads = 2, .q_rows = 37, .head_dim = 20});
  check((struct form){.heads = 4, .kv_heads = 1, .q_rows = 5, .k_rows = 11, .head_dim = 16, .v_dim = 24, .rank4 = true});
  check((struct form){.heads = 4, .kv_heads = 2, .q_rows = 17, .head_dim = 8, .v_dim = 5, .mask = MASK_HEADS});
}

Test(compiled_attention, cross_attention_of_one_query) {
  check((struct form){.heads = 12, .q_rows = 1, .k_rows = 256, .head_dim = 64});
  check((struct form){.heads = 12, .q_rows = 1, .k_rows = 256, .head_dim = 64, .shared_query = true});
  check((struct form){.heads = 3, .q_rows = 2, .k_rows = 197, .head_dim = 10, .shared_query = true, .rank4 = true});
  check((struct form){.heads = 3, .q_rows = 4, .k_rows = 19, .head_dim = 10, .shared_query = true, .mask = MASK_COMPUTED});
}

Test(compiled_attention, causal_and_softcap) {
  check((struct form){.heads = 2, .q_rows = 197, .head_dim = 20, .causal = true});
  check(
      (struct form){.heads = 2, .q_rows = 7, .k_rows = 19, .head_dim = 20, .causal = true, .mask = MASK_TABLE, .rank4 = true});
  check((struct form){.heads = 2, .q_rows = 41, .head_dim = 20, .softcap = 0.3, .mask = MASK_HEADS});
  check((struct form){.heads = 2, .q_rows = 41, .head_dim = 20, .softcap = 2, .rank4 = true, .transposed = true});
}

/* The result may not take memory over that is still read. */
Test(compiled_attention, added_to_its_queries) {
  check((struct form){.heads = 3, .q_rows = 50, .head_dim = 20, .residual = true});
  check((struct form){.heads = 3, .q_rows = 50, .head_dim = 20, .residual = true, .mask = MASK_TABLE, .rank4 = true});
}

/* Queries, keys and values that are one computed value, and ones that overlap. */
Test(compiled_attention, operands_in_one_memory) {
  for (int shared = 0; shared < 3; shared++) {
    struct build build;
    build_init(&build);
    struct value *x = build_input(&build, "x", "float32[N,23,30]"), *y = BUILD(&build, "y", OP_add, x, x), *inputs[3];
    for (int i = 0; i < 3; i++) {
      int64_t start = shared == 0 ? 0 : shared == 1 ? i * 6 : (2 - i) * 10;
      char name[32];
      snprintf(name, sizeof name, "part%d", i);
      struct value *starts = BUILD_INTS(&build, "starts", start), *ends = BUILD_INTS(&build, "ends", start + 10);
      inputs[i] = shared == 0 ? y : BUILD(&build, name, OP_slice, y, starts, ends, BUILD_INTS(&build, "axes", 2));
    }
    struct node *node = build_append(&build, "attended", OP_attention, inputs, 3);
    node_set_int(&build.graph, node, "q_num_heads", 2);
    struct value *result = build_infer(&build, node);
    build_output(&build, BUILD(&build, "twice", OP_add, result, result));
    check_passes(&build.graph, &(struct pass_options){0}, "operands in one memory");
    build_deinit(&build);
  }
}
