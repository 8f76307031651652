/* No pass and no set of passes changes what a graph means: small ViTs in many forms, interpreted before and after. */
#include "interp/interp.h"
#include "ir/ops.h"
#include "passes/passes.h"
#include "support/vit_graph.h"
#include "vitc/image.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 2, ELEMENTS_MAX_OUT = 4096, PASSES_MAX = 32 };

#define SMALL .height = 16, .width = 24, .patch = 8, .dim = 8, .heads = 2, .hidden = 12, .depth = 2, .classes = 5

static const struct vit_form FORMS[] = {
    {SMALL, .seed = 1},
    {SMALL, .qkv = QKV_SEPARATE, .no_key_bias = true, .layer_scale = true, .seed = 2},
    {SMALL, .qkv = QKV_SEPARATE, .no_qkv_bias = true, .plain_weights = true, .pooling = POOL_MEAN, .seed = 3},
    {SMALL, .no_qkv_bias = true, .pooling = POOL_DISTILLED, .decomposed_ops = true, .seed = 4},
    {SMALL, .attention = ATTENTION_RANK_4, .plain_weights = true, .seed = 5},
    {SMALL, .attention = ATTENTION_POST, .qkv = QKV_GATHER, .seed = 6},
    {SMALL, .attention = ATTENTION_POST, .input_normalized = true, .seed = 7},
    {SMALL, .attention = ATTENTION_PRE, .qkv = QKV_SEPARATE, .pooling = POOL_DISTILLED, .seed = 8},
    {SMALL, .attention = ATTENTION_PRE, .qkv = QKV_SPLIT_5D, .pooling = POOL_NONE, .seed = 9},
    {SMALL, .attention = ATTENTION_DIVIDED, .qkv = QKV_SPLIT_5D, .decomposed_ops = true, .seed = 10},
    {SMALL, .attention = ATTENTION_QUERY, .qkv = QKV_SEPARATE, .layer_scale = true, .seed = 11},
    {SMALL, .attention = ATTENTION_RANK_4, .qkv = QKV_GATHER, .input_normalized = true, .seed = 12},
    {SMALL, .rotary = ROTARY_HALVES, .seed = 15},
    {SMALL, .qkv = QKV_SEPARATE, .rotary = ROTARY_INTERLEAVED, .no_key_bias = true, .seed = 16},
    {SMALL, .attention = ATTENTION_RANK_4, .qkv = QKV_GATHER, .rotary = ROTARY_HALVES, .pooling = POOL_MEAN, .seed = 17},
    {SMALL, .attention = ATTENTION_PRE, .qkv = QKV_SEPARATE, .rotary = ROTARY_INTERLEAVED, .seed = 18},
    {SMALL, .attention = ATTENTION_DIVIDED, .qkv = QKV_SPLIT_5D, .rotary = ROTARY_HALVES, .pooling = POOL_NONE, .seed = 19},
    {.height = 17, .width = 23, .patch = 5, .dim = 15, .heads = 3, .hidden = 7, .depth = 1, .classes = 1, .seed = 13},
    {.height = 7, .width = 7, .patch = 7, .dim = 6, .heads = 6, .hidden = 9, .depth = 3, .classes = 4, .seed = 14},
};
enum { FORM_COUNT = sizeof FORMS / sizeof FORMS[0] };

struct fixture {
  struct arena arena;
  struct diag diag;
  struct graph graph;
};

struct outputs {
  int count;
  size_t elements[GRAPH_IO_MAX];
  float data[GRAPH_IO_MAX][ELEMENTS_MAX_OUT];
};

static void fixture_init(struct fixture *fixture, const struct vit_form *form) {
  *fixture = (struct fixture){.diag = {.status = STATUS_OK}};
  arena_init(&fixture->arena);
  make_vit_graph(&fixture->graph, &fixture->arena, &fixture->diag, form);
}

static void interpret(struct fixture *fixture, const void *input, struct outputs *out_outputs) {
  const struct graph *graph = &fixture->graph;
  void *outputs[GRAPH_IO_MAX];
  out_outputs->count = graph->output_count;
  for (int i = 0; i < graph->output_count; i++) {
    out_outputs->elements[i] = (size_t)shape_elements(&graph->outputs[i]->shape) * BATCH;
    cr_assert(le(sz, out_outputs->elements[i], ELEMENTS_MAX_OUT));
    outputs[i] = out_outputs->data[i];
  }
  enum status status = interp_run(graph, BATCH, &input, outputs, 1, NULL, NULL, &fixture->diag);
  cr_assert(eq(int, status, STATUS_OK), "%s", fixture->diag.message);
}

/* Largest difference of any output over that output's standard deviation. */
static double error_of(const struct outputs *actual, const struct outputs *expected) {
  double worst = 0;
  cr_assert(eq(int, actual->count, expected->count));
  for (int i = 0; i < expected->count; i++) {
    double sum = 0, squares = 0, difference = 0;
    cr_assert(eq(sz, actual->elements[i], expected->elements[i]));
    for (size_t j = 0; j < expected->elements[i]; j++) {
      double y = (double)expected->data[i][j];
      sum += y;
      squares += y * y;
      difference = fmax(difference, fabs((double)actual->data[i][j] - y));
    }
    double count = (double)expected->elements[i], mean = sum / count;
    worst = fmax(worst, difference / sqrt(squares / count - mean * mean));
  }
  return worst;
}

static bool same_bits(const struct outputs *actual, const struct outputs *expected) {
  bool same = actual->count == expected->count;
  for (int i = 0; i < expected->count && same; i++)
    same = memcmp(actual->data[i], expected->data[i], expected->elements[i] * sizeof(float)) == 0;
  return same;
}

static uint32_t next_random(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

/* Pixels of BATCH images, (N, H, W, 3), and the float32 (N, 3, H, W) that the runtime makes of them. */
static void make_images(const struct vit_form *form, uint8_t *pixels, float *planes) {
  size_t count = (size_t)form->height * (size_t)form->width * 3;
  uint32_t state = form->seed;
  const struct vitc_preprocess preprocess = {
      .resize = VITC_RESIZE_NONE, .rescale = 1.0 / 255, .mean = {0.485, 0.456, 0.406}, .std = {0.229, 0.224, 0.225}};
  for (size_t i = 0; i < count * BATCH; i++) pixels[i] = (uint8_t)next_random(&state);
  for (size_t i = 0; i < BATCH; i++) {
    vitc_image image = {(uint32_t)form->width, (uint32_t)form->height, pixels + i * count};
    cr_assert(eq(int, (int)vitc_image_normalize(&image, &preprocess, planes + i * count), VITC_IMAGE_OK));
  }
}

struct images {
  uint8_t pixels[BATCH * 24 * 24 * 3];
  float planes[BATCH * 24 * 24 * 3];
};

/* The names that stay disabled when only those with a bit in `enabled` (by row) run. */
static int disabled_names(uint32_t enabled, const char **out_names) {
  int count = 0;
  for (int i = 0; pass_at(i) != NULL; i++)
    if ((enabled >> i & 1u) == 0) out_names[count++] = pass_at(i)->name;
  return count;
}

/* Runs the passes over a fresh graph of the form and interprets it. */
static void run_form(const struct vit_form *form, uint32_t enabled, bool input_u8, const struct images *images,
                     struct outputs *out_outputs) {
  struct fixture fixture;
  const char *names[PASSES_MAX];
  fixture_init(&fixture, form);
  const struct pass_options options = {
      .disabled = names, .disabled_count = disabled_names(enabled, names), .input_u8 = input_u8};
  enum status status = run_passes(&fixture.graph, &options);
  cr_assert(eq(int, status, STATUS_OK), "%s", fixture.diag.message);
  interpret(&fixture, input_u8 ? (const void *)images->pixels : images->planes, out_outputs);
  arena_deinit(&fixture.arena);
}

static void expect_form(const struct vit_form *form, const struct images *images, struct outputs *out_expected) {
  struct fixture fixture;
  fixture_init(&fixture, form);
  interpret(&fixture, images->planes, out_expected);
  arena_deinit(&fixture.arena);
}

static uint32_t all_passes(void) {
  int count = 0;
  while (pass_at(count) != NULL) count++;
  return (1u << count) - 1;
}

/* Runs every form with each of `count` sets of passes, float and 8-bit. */
static void check_sets(const uint32_t *sets, int count) {
  static struct images images;
  static struct outputs expected, actual;
  for (int form = 0; form < FORM_COUNT; form++) {
    make_images(&FORMS[form], images.pixels, images.planes);
    expect_form(&FORMS[form], &images, &expected);
    for (int i = 0; i < 2 * count; i++) {
      run_form(&FORMS[form], sets[i / 2], i % 2 == 1, &images, &actual);
      double error = error_of(&actual, &expected);
      cr_expect(le(dbl, error, 2e-6), "form %d, passes %#x, %s input: %g", form, sets[i / 2], i % 2 == 1 ? "8-bit" : "float",
                error);
    }
  }
}

Test(passes, all_on) {
  check_sets(&(uint32_t){all_passes()}, 1);
}

Test(passes, each_off) {
  uint32_t sets[PASSES_MAX], all = all_passes();
  int count = 0;
  for (int i = 0; pass_at(i) != NULL; i++) sets[count++] = all & ~(1u << i);
  check_sets(sets, count);
}

Test(passes, each_alone) {
  uint32_t sets[PASSES_MAX];
  int count = 0;
  for (int i = 0; pass_at(i) != NULL; i++) sets[count++] = 1u << i;
  check_sets(sets, count);
}

Test(passes, random_sets) {
  uint32_t sets[24], state = 7;
  for (int i = 0; i < 24; i++) sets[i] = next_random(&state) & all_passes();
  check_sets(sets, 24);
}

static bool pass_is(int row, const char *name) {
  return strcmp(pass_at(row)->name, name) == 0;
}

/* Passes that only choose where and when the same operations run give the same bits. */
Test(passes, exact_ones_change_no_bit) {
  static const char *const EXACT[] = {"fold_constants", "eliminate_dead",    "split_projections", "hoist_position",
                                      "prune_rows",     "merge_projections", "fuse_epilogue",     "fuse_layer_norm"};
  static struct images images;
  static struct outputs expected, actual;
  uint32_t exact = 0;
  for (int i = 0; pass_at(i) != NULL; i++)
    for (size_t j = 0; j < sizeof EXACT / sizeof EXACT[0]; j++)
      if (pass_is(i, EXACT[j])) exact |= 1u << i;
  for (int form = 0; form < FORM_COUNT; form++) {
    make_images(&FORMS[form], images.pixels, images.planes);
    expect_form(&FORMS[form], &images, &expected);
    run_form(&FORMS[form], exact, false, &images, &actual);
    cr_expect(same_bits(&actual, &expected), "form %d", form);
    run_form(&FORMS[form], exact, true, &images, &actual);
    cr_expect(same_bits(&actual, &expected), "form %d, 8-bit input", form);
  }
}

static int count_ops(const struct graph *graph, enum op op) {
  int count = 0;
  for (const struct node *node = graph->first; node != NULL; node = node->next) count += node->op == op;
  return count;
}

/* What the backend is to see of any of these forms: per block four projections (five where the last block is pruned) and one
 * Attention, every elementwise op and nearly every LayerNormalization fused. */
Test(passes, all_forms_become_one) {
  for (int form = 0; form < FORM_COUNT; form++) {
    struct fixture fixture;
    fixture_init(&fixture, &FORMS[form]);
    cr_assert(eq(int, run_passes(&fixture.graph, &(struct pass_options){.input_u8 = true}), STATUS_OK));
    const struct graph *graph = &fixture.graph;
    bool pruned = FORMS[form].pooling == POOL_TOKEN || FORMS[form].pooling == POOL_DISTILLED;
    int heads = FORMS[form].pooling == POOL_NONE ? 0 : FORMS[form].pooling == POOL_DISTILLED ? 2 : 1;
    int expected = 1 + 4 * FORMS[form].depth + pruned + heads;
    cr_expect(eq(int, count_ops(graph, OP_mat_mul), expected), "form %d", form);
    cr_expect(eq(int, count_ops(graph, OP_attention), FORMS[form].depth), "form %d", form);
    cr_expect(eq(int, count_ops(graph, OP_split), FORMS[form].depth), "form %d", form);
    bool norm_apart = FORMS[form].pooling != POOL_TOKEN;
    cr_expect(eq(int, count_ops(graph, OP_layer_normalization), norm_apart), "form %d", form);
    cr_expect(eq(int, count_ops(graph, OP_add) + count_ops(graph, OP_mul) + count_ops(graph, OP_gelu), 0), "form %d", form);
    cr_expect(eq(int, count_ops(graph, OP_conv) + count_ops(graph, OP_softmax) + count_ops(graph, OP_cast), 0), "form %d",
              form);
    arena_deinit(&fixture.arena);
  }
}

/* The last block of a token-pooled ViT computes one row of everything but keys and values. */
Test(passes, last_block_computes_pooled_rows) {
  struct fixture fixture;
  fixture_init(&fixture, &FORMS[0]);
  cr_assert(eq(int, run_passes(&fixture.graph, &(struct pass_options){.input_u8 = false}), STATUS_OK));
  const struct node *last = NULL;
  for (const struct node *node = fixture.graph.first; node != NULL; node = node->next)
    if (node->op == OP_attention) last = node;
  cr_assert(ne(ptr, (void *)last, NULL));
  cr_expect(eq(i64, last->inputs[0]->shape.dim[1], 1));
  cr_expect(eq(i64, last->inputs[1]->shape.dim[1], 7));
  for (const struct node *node = last; node != NULL; node = node->next)
    if (node->op == OP_mat_mul && node->outputs[0]->shape.rank == 3) cr_expect(eq(i64, node->outputs[0]->shape.dim[1], 1));
  arena_deinit(&fixture.arena);
}

/* Weights in (columns, K) order are never copied: what the passes leave aliases what was loaded. */
Test(passes, transposed_weights_are_borrowed) {
  struct fixture fixture;
  fixture_init(&fixture, &FORMS[0]);
  struct graph before;
  graph_copy(&fixture.graph, &fixture.arena, &before);
  cr_assert(eq(int, run_passes(&fixture.graph, &(struct pass_options){.input_u8 = false}), STATUS_OK));
  int checked = 0;
  for (const struct value *value = fixture.graph.values; value != NULL; value = value->next) {
    if (value->data == NULL || value->shape.rank != 2 || value->dtype != DTYPE_F32) continue;
    const char *data = value->data, *end = data + (size_t)shape_elements(&value->shape) * sizeof(float);
    bool borrowed = false;
    for (const struct value *from = before.values; from != NULL && !borrowed; from = from->next) {
      if (from->data == NULL) continue;
      const char *start = from->data;
      borrowed = data >= start && end <= start + (size_t)shape_elements(&from->shape) * dtype_size(from->dtype);
    }
    cr_expect(borrowed, "%s", value->name);
    checked++;
  }
  cr_expect(ge(int, checked, 9));
  arena_deinit(&fixture.arena);
}

Test(passes, unknown_names_are_listed) {
  struct fixture fixture;
  fixture_init(&fixture, &FORMS[0]);
  const char *name = "fuse_everything";
  cr_expect(eq(int, run_passes(&fixture.graph, &(struct pass_options){.disabled = &name, .disabled_count = 1}), STATUS_USAGE));
  cr_expect(ne(ptr, strstr(fixture.diag.message, "'fuse_everything'"), NULL));
  cr_expect(ne(ptr, strstr(fixture.diag.message, "prune_rows, merge_projections"), NULL));
  fixture.diag = (struct diag){.status = STATUS_OK};
  cr_expect(eq(int, run_passes(&fixture.graph, &(struct pass_options){.dump_after = "nothing"}), STATUS_USAGE));
  cr_expect(ne(ptr, strstr(fixture.diag.message, "all, u8_input"), NULL));
  arena_deinit(&fixture.arena);
}

Test(passes, dumps_and_times_what_was_asked_for) {
  struct fixture fixture;
  fixture_init(&fixture, &FORMS[0]);
  char *dump = NULL, *times = NULL;
  size_t dump_size, times_size;
  FILE *dump_stream = open_memstream(&dump, &dump_size), *time_stream = open_memstream(&times, &times_size);
  const struct pass_options options = {.dump_after = "fuse_attention", .dump_stream = dump_stream, .time_stream = time_stream};
  cr_assert(eq(int, run_passes(&fixture.graph, &options), STATUS_OK));
  fclose(dump_stream);
  fclose(time_stream);
  cr_expect(eq(ptr, strstr(dump, "; after fuse_attention\ngraph vit\n"), dump));
  cr_expect(eq(ptr, strstr(dump + 1, "; after"), NULL));
  cr_expect(ne(ptr, strstr(times, "fuse_layer_norm"), NULL));
  cr_expect(eq(ptr, strstr(times, "u8_input"), NULL));
  free(dump);
  free(times);
  arena_deinit(&fixture.arena);
}

Test(passes, u8_input_needs_preprocessing_and_planes) {
  struct fixture fixture;
  fixture_init(&fixture, &FORMS[0]);
  fixture.graph.preprocess.resize = VITC_RESIZE_UNKNOWN;
  cr_expect(eq(int, run_passes(&fixture.graph, &(struct pass_options){.input_u8 = true}), STATUS_INPUT));
  cr_expect(eq(str, fixture.diag.message, "vit.json: has no 'preprocess', which an 8-bit input needs for mean and std"));
  fixture.diag = (struct diag){.status = STATUS_OK};
  fixture.graph.preprocess.resize = VITC_RESIZE_EXACT;
  fixture.graph.preprocess.arithmetic = VITC_ARITHMETIC_FLOAT;
  cr_expect(eq(int, run_passes(&fixture.graph, &(struct pass_options){.input_u8 = true}), STATUS_INPUT));
  cr_expect(eq(str, fixture.diag.message, "vit.json: its pictures are resized as floats, which an 8-bit input cannot hold"));
  fixture.diag = (struct diag){.status = STATUS_OK};
  fixture.graph.preprocess.resize = VITC_RESIZE_LONGEST;
  fixture.graph.preprocess.arithmetic = VITC_ARITHMETIC_TRANSFORMERS;
  fixture.graph.preprocess.crop_floor = VITC_CROP_PAD;
  cr_expect(eq(int, run_passes(&fixture.graph, &(struct pass_options){.input_u8 = true}), STATUS_INPUT));
  cr_expect(eq(str, fixture.diag.message,
               "vit.json: its pictures are padded with zeros after normalisation, which an 8-bit input cannot hold"));
  fixture.diag = (struct diag){.status = STATUS_OK};
  fixture.graph.preprocess.crop_floor = VITC_CROP_HALF_EVEN;
  fixture.graph.preprocess.resize = VITC_RESIZE_NONE;
  fixture.graph.inputs[0]->shape.dim[1] = 1;
  cr_expect(eq(int, run_passes(&fixture.graph, &(struct pass_options){.input_u8 = true}), STATUS_INPUT));
  cr_expect(eq(str, fixture.diag.message, "vit.json: input 'image': an 8-bit input needs float32 (N, 3, H, W) to begin with"));
  arena_deinit(&fixture.arena);
}
