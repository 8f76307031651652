/* The rotary kernel against double precision, and where the plan puts its result. */
#include "driver.h"
#include "llvm/kernels.h"
#include "support/graph_build.h"
#include "support/jit.h"
#include "support/vit_graph.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef void rotary_function(const float *, float *, const void *const *, int64_t, int64_t, int64_t);

enum { SENTINEL = -7777, TABLE_GAP = 3 };

struct problem {
  struct rotary_desc desc;
  int64_t images;
  float *x, *y, *cos, *sin;
  size_t x_count, y_count, table_count;
};

/* Tokens of x and y with gaps of their own; one table for all images and sequences. */
static struct problem problem_of(int64_t heads, int64_t width, int64_t rotated, int interleaved, int64_t images) {
  struct problem p = {.images = images};
  struct rotary_desc *d = &p.desc;
  *d = (struct rotary_desc){.sequences = 1 + images % 2, .tokens = 3, .heads = heads, .width = width, .rotated = rotated};
  d->interleaved = interleaved;
  d->copies = 1;
  const int64_t row = heads * width;
  d->x_stride[2] = d->y_stride[2] = width;
  d->x_stride[1] = row + 5;
  d->y_stride[1] = row + 2;
  d->x_stride[0] = d->tokens * d->x_stride[1] + 1;
  d->y_stride[0] = d->tokens * d->y_stride[1];
  d->x_image_stride = d->sequences * d->x_stride[0];
  d->y_image_stride = d->sequences * d->y_stride[0] + 7;
  d->cos_stride[1] = d->sin_stride[1] = rotated / 2 + TABLE_GAP;
  p.x_count = (size_t)((images - 1) * d->x_image_stride + (d->sequences - 1) * d->x_stride[0] + 2 * d->x_stride[1] + row);
  p.y_count = (size_t)((images - 1) * d->y_image_stride + (d->sequences - 1) * d->y_stride[0] + 2 * d->y_stride[1] + row);
  p.table_count = (size_t)(2 * d->cos_stride[1] + rotated / 2);
  return p;
}

static void fill(struct problem *p) {
  uint32_t seed = (uint32_t)(p->desc.width * 31 + p->desc.heads);
  p->x = guarded_floats(p->x_count, 0);
  p->y = guarded_floats(p->y_count, SENTINEL);
  p->cos = guarded_floats(p->table_count, 0);
  p->sin = guarded_floats(p->table_count, 0);
  for (size_t i = 0; i < p->x_count; i++) p->x[i] = next_random(&seed) * 4;
  for (size_t i = 0; i < p->table_count; i++) {
    double angle = (double)next_random(&seed) * 3;
    p->cos[i] = (float)cos(angle);
    p->sin[i] = (float)sin(angle);
  }
}

static void destroy(struct problem *p) {
  guarded_free(p->x, p->x_count);
  guarded_free(p->y, p->y_count);
  guarded_free(p->cos, p->table_count);
  guarded_free(p->sin, p->table_count);
}

/* Element j of a head. */
static double wanted(const struct problem *p, const float *head, int64_t token, int64_t j) {
  const struct rotary_desc *d = &p->desc;
  if (j >= d->rotated) return (double)head[j];
  int64_t pairs = d->rotated / 2, pair = d->interleaved ? j / 2 : j % pairs;
  bool second = d->interleaved ? j % 2 == 1 : j >= pairs;
  int64_t first = d->interleaved ? 2 * pair : pair, other = d->interleaved ? first + 1 : first + pairs;
  double a = (double)head[first], b = (double)head[other];
  double c = (double)p->cos[token * d->cos_stride[1] + pair], s = (double)p->sin[token * d->sin_stride[1] + pair];
  return second ? s * a + c * b : c * a - s * b;
}

static void check(const struct problem *p, const char *level) {
  const struct rotary_desc *d = &p->desc;
  char *inside = calloc(p->y_count, 1);
  for (int64_t unit = 0; unit < p->images * d->sequences * d->tokens; unit++) {
    int64_t token = unit % d->tokens, sequence = unit / d->tokens % d->sequences, image = unit / d->tokens / d->sequences;
    const float *x = p->x + image * d->x_image_stride + sequence * d->x_stride[0] + token * d->x_stride[1];
    int64_t to = image * d->y_image_stride + sequence * d->y_stride[0] + token * d->y_stride[1];
    for (int64_t j = 0; j < d->heads * d->width; j++) {
      double want = wanted(p, x + j / d->width * d->width, token, j % d->width), got = (double)p->y[to + j];
      inside[to + j] = 1;
      cr_assert(fabs(got - want) <= 1e-6, "%s, %d heads of %d: element %d of token %d is %.9g, not %.9g", level, (int)d->heads,
                (int)d->width, (int)j, (int)token, got, want);
    }
  }
  for (size_t i = 0; i < p->y_count; i++)
    cr_assert(inside[i] || p->y[i] == (float)SENTINEL, "%s: wrote outside at %zu", level, i);
  free(inside);
}

/* In any parts the same bits, and over x as beside it. */
static void check_parts(struct problem *p, rotary_function *kernel, const char *level) {
  const void *operands[] = {p->cos, p->sin};
  int64_t units = p->images * p->desc.sequences * p->desc.tokens;
  float *whole = malloc(p->y_count * sizeof(float));
  memcpy(whole, p->y, p->y_count * sizeof(float));
  for (size_t j = 0; j < p->y_count; j++) p->y[j] = SENTINEL;
  for (int64_t unit = units - 1; unit >= 0; unit--) kernel(p->x, p->y, operands, p->images, unit, unit + 1);
  cr_assert(memcmp(whole, p->y, p->y_count * sizeof(float)) == 0, "%s: other bits when tokens are split", level);
  free(whole);
}

static void run_level(struct problem p, const struct target_level *level) {
  fill(&p);
  struct jit jit;
  jit_init(&jit, level);
  const void *operands[] = {p.cos, p.sin};
  int64_t units = p.images * p.desc.sequences * p.desc.tokens;
  rotary_function *kernel = (rotary_function *)jit_address(&jit, emit_rotary(&jit.emit, &p.desc));
  kernel(p.x, p.y, operands, p.images, 0, units);
  check(&p, level->name);
  check_parts(&p, kernel, level->name);
  kernels_free(&jit.emit);
  jit_deinit(&jit);
  destroy(&p);
}

static void run_in_place(struct problem p, const struct target_level *level) {
  memcpy(p.desc.y_stride, p.desc.x_stride, sizeof p.desc.y_stride);
  p.desc.y_image_stride = p.desc.x_image_stride;
  p.desc.copies = 0;
  p.y_count = p.x_count;
  fill(&p);
  memcpy(p.y, p.x, p.x_count * sizeof(float));
  struct jit jit;
  jit_init(&jit, level);
  const void *operands[] = {p.cos, p.sin};
  rotary_function *kernel = (rotary_function *)jit_address(&jit, emit_rotary(&jit.emit, &p.desc));
  int64_t units = p.images * p.desc.sequences * p.desc.tokens;
  kernel(p.x, p.y, operands, p.images, 0, units);
  kernel(p.x, p.x, operands, p.images, 0, units);
  cr_assert(memcmp(p.x, p.y, p.x_count * sizeof(float)) == 0, "%s: other bits in place", level->name);
  kernels_free(&jit.emit);
  jit_deinit(&jit);
  destroy(&p);
}

static void run(struct problem p) {
  int levels = 0;
  for (int i = 0; i < LEVEL_COUNT; i++) {
    if (!jit_runs(&target_levels[i])) continue;
    levels++;
    run_level(p, &target_levels[i]);
    run_in_place(p, &target_levels[i]);
  }
  cr_assert(levels > 0);
}

static const int64_t widths[] = {2, 4, 6, 10, 14, 16, 18, 22, 30, 32, 34, 48, 64, 66, 80, 88, 96, 128, 130};

Test(kernels_rotary, widths) {
  for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
    for (int interleaved = 0; interleaved < 2; interleaved++)
      run(problem_of(1 + (int64_t)i % 7, widths[i], widths[i], interleaved, 1 + (int64_t)i % 3));
}

Test(kernels_rotary, part_of_a_head) {
  static const int64_t cases[][3] = {{1, 5, 2}, {2, 9, 4}, {3, 21, 16}, {4, 40, 34}, {6, 64, 32}, {12, 100, 66}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int interleaved = 0; interleaved < 2; interleaved++)
      run(problem_of(cases[i][0], cases[i][1], cases[i][2], interleaved, 2));
}

/* Query and key turn where the joint projection has put them, in every block whose queries are not pruned. */
Test(kernels_rotary, in_place) {
  struct vit_form form = {.height = 32, .width = 32, .patch = 8, .dim = 24, .heads = 2, .hidden = 20, .depth = 3, .classes = 4};
  form.rotary = ROTARY_HALVES;
  for (int qkv = QKV_SPLIT; qkv <= QKV_SPLIT_5D; qkv++) {
    struct arena arena;
    struct diag diag = {0};
    struct graph graph;
    struct plan plan;
    arena_init(&arena);
    form.qkv = (enum qkv_form)qkv;
    make_vit_graph(&graph, &arena, &diag, &form);
    cr_assert_eq(run_passes(&graph, &(struct pass_options){0}), STATUS_OK, "%s", diag.message);
    cr_assert_eq(plan_graph(&graph, &(struct plan_options){.batch_max = 2}, &arena, &plan), STATUS_OK, "%s", diag.message);
    int rotations = 0;
    for (int i = 0; i < plan.step_count; i++) {
      const struct step *step = &plan.steps[i];
      if (step->kind != STEP_ROTARY) continue;
      rotations++;
      const struct view *x = &step->inputs[0], *y = &step->out;
      cr_expect(x->memory == y->memory && x->index == y->index && x->offset == y->offset, "qkv form %d: %s", qkv,
                step->node->outputs[0]->name);
    }
    cr_expect_eq(rotations, 2 * form.depth);
    arena_deinit(&arena);
  }
}

/* A rotation whose source is read again, beside it or as a whole, leaves it alone. */
Test(kernels_rotary, not_in_place) {
  struct build build;
  build_init(&build);
  struct value *x = build_input(&build, "x", "float32[N,5,12]"), *y = BUILD(&build, "y", OP_exp, x);
  struct value *cos = build_random(&build, "cos", "float32[1,5,2]", 1), *sin = build_random(&build, "sin", "float32[1,5,2]", 2);
  struct node *rotary = build_append(&build, "turned", OP_rotary_embedding, BUILD_INPUTS(y, cos, sin));
  node_set_int(&build.graph, rotary, "num_heads", 3);
  struct value *turned = build_infer(&build, rotary);
  build_output(&build, BUILD(&build, "sum", OP_add, turned, y));
  struct plan plan;
  cr_assert_eq(plan_graph(&build.graph, &(struct plan_options){.batch_max = 1}, &build.arena, &plan), STATUS_OK);
  for (int i = 0; i < plan.step_count; i++)
    if (plan.steps[i].kind == STEP_ROTARY) cr_expect_neq(plan.steps[i].out.index, plan.steps[i].inputs[0].index);
  build_deinit(&build);
}
