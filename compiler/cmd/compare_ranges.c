/* The ranges behind the errors of compare --per-node: operands as the products multiply them, weights, results. */
#include "cmd/compare_nodes.h"
#include "cmd/node_values.h"
#include "ir/ops.h"

#include <math.h>
#include <string.h>

struct search {
  struct compilation *fused;
  const struct node_values *values;
  const struct feed *feed;
  struct account_phase *phases;
  int phase_count;
  struct diag *diag;
};

/* A value of all images. */
struct operand {
  const struct value *value;
  const float *data;
  size_t stride; /* from image to image */
};

static bool find_operand(const struct search *s, const struct value *value, struct operand *out) {
  const struct graph *graph = &s->fused->graph;
  if (value == NULL || value->data != NULL || !value->batched || value->dtype != DTYPE_F32 || value->shape.rank == 0)
    return false;
  *out = (struct operand){.value = value};
  const struct node_value *kept = node_values_find(s->values, value->name);
  if (kept != NULL) {
    out->data = s->values->data + kept->offset;
    out->stride = s->values->stride;
  }
  for (int i = 0; i < graph->input_count; i++)
    if (graph->inputs[i] == value) {
      out->data = s->feed->inputs[i];
      out->stride = (size_t)shape_elements(&value->shape);
    }
  return out->data != NULL;
}

/* Channels are along `axis`; the axes before and after it are rows. */
static struct range_array array_of(const struct search *s, const struct operand *operand, int axis) {
  const struct shape *shape = &operand->value->shape;
  size_t elements = (size_t)shape_elements(shape), channels = (size_t)shape->dim[axis], inner = 1;
  for (int i = axis + 1; i < shape->rank; i++) inner *= (size_t)shape->dim[i];
  struct range_array array = {.data = operand->data, .outer = s->values->batch, .outer_stride = operand->stride};
  array.channels = channels;
  array.rows = elements / channels;
  array.row_stride = inner > 1 ? 1 : channels; /* of a convolution: one image's planes */
  array.channel_stride = inner;
  return array;
}

static int channel_axis(const struct node *node, const struct value *value) {
  bool planes = node->op == OP_conv && value->shape.rank == 4 && value->shape.dim[0] == 1;
  return planes ? 1 : value->shape.rank - 1;
}

/* What the fused LayerNormalization makes of the operand, in the arena. */
static enum status normalize(const struct search *s, const struct node *node, struct operand *operand, struct arena *scratch) {
  struct graph shallow = s->fused->graph;
  shallow.arena = scratch;
  shallow.diag = s->diag;
  int count;
  struct node *norm = node_unfuse(node, scratch, &count);
  TRY(infer_node(&shallow, norm));
  size_t elements = (size_t)shape_elements(&norm->outputs[0]->shape);
  float *data = arena_array(scratch, elements * sizeof *data, s->values->batch);
  for (size_t image = 0; image < s->values->batch; image++) {
    const void *inputs[3] = {operand->data + image * operand->stride};
    void *outputs[1] = {data + image * elements};
    for (int i = 1; i < norm->input_count && i < 3; i++) inputs[i] = norm->inputs[i] != NULL ? norm->inputs[i]->data : NULL;
    op_info(norm->op)->eval(norm, inputs, outputs);
  }
  *operand = (struct operand){norm->outputs[0], data, elements};
  return STATUS_OK;
}

static void hadamard(double *row, size_t count, size_t block) {
  for (size_t half = 1; half < block; half *= 2)
    for (size_t i = 0; i < count; i++) {
      if ((i & half) != 0) continue;
      double a = row[i], b = row[i + half];
      row[i] = a + b;
      row[i + half] = a - b;
    }
}

/* The worst row's largest value over its rms, as the scheme of quantize.h has it before it rounds. */
static double quantized_crest(const struct packed *packed, const struct range_array *array, struct arena *scratch) {
  if (packed->precision != PRECISION_INT8 || array->channels != (size_t)packed->k || array->channel_stride != 1) return 0;
  double *row = arena_array(scratch, array->channels, sizeof *row), worst = 0;
  size_t block = packed->hadamard ? (size_t)pack_hadamard(packed->k) : 1;
  for (size_t r = 0; r < array->outer * array->rows; r++) {
    const float *from = array->data + r / array->rows * array->outer_stride + r % array->rows * array->row_stride;
    double squares = 0, largest = 0;
    for (size_t i = 0; i < array->channels; i++)
      row[i] = (double)from[i] / (packed->balance != NULL ? (double)packed->balance[i] : 1);
    hadamard(row, array->channels, block);
    for (size_t i = 0; i < array->channels; i++) {
      squares += row[i] * row[i];
      largest = fmax(largest, fabs(row[i]));
    }
    if (squares > 0) worst = fmax(worst, largest / sqrt(squares / (double)array->channels));
  }
  return worst;
}

static const struct step *product_step(const struct plan *plan, const struct node *node) {
  for (int i = 0; i < plan->step_count; i++)
    if (plan->steps[i].node == node && (plan->steps[i].kind == STEP_GEMM || plan->steps[i].kind == STEP_CONV))
      return &plan->steps[i];
  return NULL;
}

static const char *norm_name(const struct search *s, const struct step *step, const char *otherwise) {
  for (int i = 0; i < s->phase_count; i++)
    if (&s->fused->plan.steps[s->phases[i].step] == step && strcmp(s->phases[i].kind, "layer norm") == 0)
      return s->phases[i].name;
  return otherwise;
}

static enum status add_operand(const struct search *s, const struct node *node, int input, const struct step *step,
                               struct node_error *error, struct arena *arena) {
  struct operand operand;
  if (error->operand_count == NODE_OPERANDS || !find_operand(s, node->inputs[input], &operand)) return STATUS_OK;
  struct arena scratch;
  arena_init(&scratch);
  struct node_operand *out = &error->operands[error->operand_count++];
  const char *name = operand.value->name;
  enum status status = STATUS_OK;
  if (input == 0 && node->prologue_count > 0) {
    status = normalize(s, node, &operand, &scratch);
    name = norm_name(s, step, name);
  }
  if (status == STATUS_OK) {
    struct range_array array = array_of(s, &operand, channel_axis(node, operand.value));
    out->name = arena_strdup(arena, name);
    out->range = range_of(&array, &scratch);
    if (step != NULL && input == 0)
      out->quantized_crest = quantized_crest(&s->fused->plan.packed[step->inputs[1].index], &array, &scratch);
  }
  arena_deinit(&scratch);
  return status;
}

static bool has_operands(const struct node *node) {
  switch (node->op) {
  case OP_mat_mul:
  case OP_gemm:
  case OP_conv:
  case OP_attention:
  case OP_layer_normalization:
  case OP_softmax:
    return true;
  default:
    return false;
  }
}

static enum status find_node_ranges(const struct search *s, const struct node_value *kept, struct node_error *error,
                                    struct arena *arena) {
  const struct node *node = kept->value->producer;
  const struct step *step = product_step(&s->fused->plan, node);
  struct arena scratch;
  struct operand result;
  arena_init(&scratch);
  if (find_operand(s, kept->value, &result)) {
    struct range_array array = array_of(s, &result, channel_axis(node, kept->value));
    error->result = range_of(&array, &scratch);
  }
  error->has_weights = step != NULL;
  if (step != NULL) error->weights = range_of_packed(&s->fused->plan.packed[step->inputs[1].index], &scratch);
  arena_deinit(&scratch);
  for (int i = 0; has_operands(node) && i < node->input_count; i++) TRY(add_operand(s, node, i, step, error, arena));
  return STATUS_OK;
}

enum status find_ranges(struct compilation *fused, const struct node_values *values, const struct feed *feed,
                        struct node_comparison *nodes, struct arena *arena, struct diag *diag) {
  struct search search = {.fused = fused, .values = values, .feed = feed, .diag = diag};
  search.phase_count = driver_phases(fused, &search.phases);
  for (int i = 0; i < nodes->count; i++) TRY(find_node_ranges(&search, &values->list[i], &nodes->errors[i], arena));
  return STATUS_OK;
}
