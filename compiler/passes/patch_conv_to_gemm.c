/* Requires: a Conv whose windows neither overlap nor leave gaps (stride = kernel, no padding, no dilation, one group), with
 *           constant weights.
 * Ensures: it is a gather of the patches (Reshape, Transpose, Reshape) and a MatMul over them, in token order (N, T, D) where
 *          that is what follows. A gather from rows of pixels reads runs of (kw, c), with the weights permuted to match, and
 *          8-bit pixels are gathered before the Cast.
 * Breaks: nothing; sums in another order for rows of pixels. */
#include "passes/passes.h"
#include "passes/rewrite.h"

#include <string.h>

struct patches {
  struct value *image; /* (N, C, H, W), or (N, H, W, C) when `rows` */
  bool rows;
  bool cast;                                                             /* the image must become float32 after the gather */
  int64_t channels, kernel_height, kernel_width, height, width, filters; /* height and width in patches */
};

static bool attr_is(const struct node *node, const char *name, const int64_t *expected, size_t count, bool absent) {
  const struct attr *attr = node_attr(node, name);
  if (attr == NULL || attr->count == 0) return absent;
  return attr->count == count && memcmp(attr->ints, expected, count * sizeof *expected) == 0;
}

static bool match_patches(const struct node *conv, struct patches *out_patches) {
  static const int64_t ZEROS[4] = {0, 0, 0, 0}, ONES[2] = {1, 1};
  if (conv->op != OP_conv || !node_plain(conv) || conv->inputs[0]->shape.rank != 4) return false;
  const struct value *weight = conv->inputs[1], *bias = conv->input_count > 2 ? conv->inputs[2] : NULL;
  const char *auto_pad = node_string(conv, "auto_pad");
  const int64_t *kernel = &weight->shape.dim[2], *out = conv->outputs[0]->shape.dim;
  if (constant_floats(weight) == NULL || (bias != NULL && constant_floats(bias) == NULL)) return false;
  bool unpadded = strcmp(auto_pad, "VALID") == 0 || (strcmp(auto_pad, "NOTSET") == 0 && attr_is(conv, "pads", ZEROS, 4, true));
  bool disjoint =
      attr_is(conv, "strides", kernel, 2, kernel[0] == 1 && kernel[1] == 1) && attr_is(conv, "dilations", ONES, 2, true);
  if (!unpadded || !disjoint || node_int(conv, "group") != 1) return false;
  *out_patches = (struct patches){.image = conv->inputs[0],
                                  .channels = weight->shape.dim[1],
                                  .kernel_height = kernel[0],
                                  .kernel_width = kernel[1],
                                  .height = out[2],
                                  .width = out[3],
                                  .filters = out[1]};
  return true;
}

static void skip_cast(struct patches *patches) {
  const struct node *cast = producer_of(patches->image, OP_cast);
  if (cast == NULL || patches->cast) return;
  patches->image = cast->inputs[0];
  patches->cast = true;
}

/* Looks through the Cast of 8-bit pixels and the Transpose of rows of pixels to planes. */
static void find_image(struct patches *patches) {
  skip_cast(patches);
  const struct node *planes = producer_of(patches->image, OP_transpose);
  if (planes == NULL || !transpose_is(planes, 4, (const int64_t[]){0, 3, 1, 2})) return;
  patches->image = planes->inputs[0];
  patches->rows = true;
  skip_cast(patches);
}

/* Drops the right and bottom edges that make no whole patch. */
static struct value *crop(struct graph *graph, struct node *before, const struct patches *patches, const char *name) {
  struct value *image = patches->image;
  int axis = patches->rows ? 1 : 2;
  int64_t height = patches->height * patches->kernel_height, width = patches->width * patches->kernel_width;
  if (image->shape.dim[axis] != height) image = build_slice(graph, before, image, axis, 0, height, name);
  if (image->shape.dim[axis + 1] != width) image = build_slice(graph, before, image, axis + 1, 0, width, name);
  return image;
}

/* (N, T, K) with K as (c, kh, kw), or as (kh, kw, c) from rows of pixels. */
static struct value *gather_patches(struct graph *graph, struct node *before, const struct patches *p, const char *name) {
  struct value *x = crop(graph, before, p, arena_printf(graph->arena, "%s.cropped", name));
  struct shape planes = {.rank = 6, .dim = {1, p->channels, p->height, p->kernel_height, p->width, p->kernel_width}};
  struct shape rows = {.rank = 6, .dim = {1, p->height, p->kernel_height, p->width, p->kernel_width, p->channels}};
  x = build_reshape(graph, before, x, p->rows ? &rows : &planes, arena_printf(graph->arena, "%s.windows", name));
  static const int64_t FROM_PLANES[] = {0, 2, 4, 1, 3, 5}, FROM_ROWS[] = {0, 1, 3, 2, 4, 5};
  x = build_transpose(graph, before, x, p->rows ? FROM_ROWS : FROM_PLANES, arena_printf(graph->arena, "%s.patches", name));
  if (p->cast) x = build_cast(graph, before, x, DTYPE_F32, arena_printf(graph->arena, "%s.patches.float", name));
  struct shape matrix = {.rank = 3, .dim = {1, p->height * p->width, p->channels * p->kernel_height * p->kernel_width}};
  return build_reshape(graph, before, x, &matrix, arena_printf(graph->arena, "%s.tokens.in", name));
}

/* (filters, K), K in the order of gather_patches. */
static struct value *weight_rows(struct graph *graph, struct value *weight, const struct patches *p) {
  int64_t pixels = p->kernel_height * p->kernel_width, columns = p->channels * pixels;
  struct shape shape = {.rank = 2, .dim = {p->filters, columns}};
  if (!p->rows) return reshape_constant(graph, weight, &shape);
  const float *from = constant_floats(weight);
  float *to = arena_array(graph->arena, (size_t)(p->filters * columns), sizeof *to);
  for (int64_t m = 0; m < p->filters; m++)
    for (int64_t c = 0; c < p->channels; c++)
      for (int64_t i = 0; i < pixels; i++) to[m * columns + i * p->channels + c] = from[m * columns + c * pixels + i];
  return graph_add_constant(graph, arena_printf(graph->arena, "%s.rows", weight->name), DTYPE_F32, &shape, to);
}

/* Puts tokens (N, T, D) in the place of planes (N, D, H, W), without moving them when the graph moves planes to tokens next. */
static void place_tokens(struct graph *graph, struct node *conv, struct value *tokens, const struct patches *p) {
  static const int64_t SWAP[] = {0, 2, 1}, TO_ROWS[] = {0, 2, 3, 1};
  struct value *planes = conv->outputs[0];
  const int64_t count = p->height * p->width;
  const struct node *flat = only_user(graph, planes, OP_reshape), *rows = only_user(graph, planes, OP_transpose);
  const struct node *swap = flat != NULL ? only_user(graph, flat->outputs[0], OP_transpose) : NULL;
  const struct shape flat_shape = {.rank = 3, .dim = {1, p->filters, count}};
  struct value *place = NULL;
  if (swap != NULL && shape_equal(&flat->outputs[0]->shape, &flat_shape) && transpose_is(swap, 3, SWAP))
    place = swap->outputs[0];
  else if (rows != NULL && transpose_is(rows, 4, TO_ROWS))
    place = rows->outputs[0];
  if (place != NULL) {
    replace_value(graph, place, build_reshape(graph, conv, tokens, &place->shape, place->name));
    return;
  }
  struct value *swapped = build_transpose(graph, conv, tokens, SWAP, arena_printf(graph->arena, "%s.planes", planes->name));
  replace_value(graph, planes, build_reshape(graph, conv, swapped, &planes->shape, planes->name));
}

static void lower_conv(struct graph *graph, struct node *conv, struct patches *patches) {
  const char *name = conv->outputs[0]->name;
  find_image(patches);
  struct value *x = gather_patches(graph, conv, patches, name);
  struct value *weight = weight_rows(graph, conv->inputs[1], patches);
  struct value *b =
      build_transpose(graph, conv, weight, (const int64_t[]){1, 0}, arena_printf(graph->arena, "%s.T", weight->name));
  x = build_binary(graph, conv, OP_mat_mul, x, b, arena_printf(graph->arena, "%s.product", name));
  if (conv->input_count > 2 && conv->inputs[2] != NULL)
    x = build_binary(graph, conv, OP_add, x, conv->inputs[2], arena_printf(graph->arena, "%s.tokens", name));
  place_tokens(graph, conv, x, patches);
}

enum status pass_patch_conv_to_gemm(struct graph *graph) {
  for (struct node *node = graph->first; node != NULL; node = node->next) {
    struct patches patches;
    if (match_patches(node, &patches)) lower_conv(graph, node, &patches);
  }
  sweep_dead(graph);
  return STATUS_OK;
}
