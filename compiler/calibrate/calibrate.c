#include "calibrate/calibrate.h"

#include "calibrate/factor.h"
#include "calibrate/feedback.h"
#include "calibrate/moments.h"
#include "base/parallel.h"
#include "interp/interp.h"
#include "plan/quantize.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PANEL = QUANTIZE_PANEL };

/* Of the mean of the moments' diagonal, added to it: directions that the images hardly have are not free. */
static const double DAMPING = 0.03;

struct state {
  const struct calibration_input *input;
  const struct packed **packed; /* of the products, in the order of `out` */
  const struct value **read;    /* what each multiplies, in input->graph */
  struct calibration *out;
  struct arena *arena;
  int done;
  enum status status; /* of the taps */
  struct diag *diag;
};

/* ---- one product */

struct rounding {
  const struct packed *packed;
  const double *factor;
  struct quantized *out;
};

/* Columns [first, first + count) of B, as doubles; those with a value that is not finite as zeros, NaN in `spoiled`. */
static void load_columns(const struct packed *packed, int64_t first, int64_t count, double *columns, double *spoiled) {
  const float *b = packed->value->data;
  for (int64_t j = 0; j < count; j++) {
    spoiled[j] = 0;
    for (int64_t i = 0; i < packed->k; i++) {
      double element = (double)(packed->transposed ? b[(first + j) * packed->k + i] : b[i * packed->n + first + j]);
      columns[i * count + j] = element;
      spoiled[j] += element - element;
    }
    for (int64_t i = 0; spoiled[j] != 0 && i < packed->k; i++) columns[i * count + j] = 0;
  }
}

static void store_column(const struct rounding *r, int64_t column, const int8_t *q, int64_t stride, double scale) {
  int64_t k = r->packed->k, padded = (k + 3) / 4 * 4, panel = column / PANEL, lane = column % PANEL;
  int8_t *to = r->out->q + panel * padded * PANEL;
  int32_t sum = 0;
  for (int64_t i = 0; i < k; i++) {
    to[(i / 4 * PANEL + lane) * 4 + i % 4] = q[i * stride];
    sum += q[i * stride];
  }
  r->out->scale[column] = (float)scale;
  r->out->sum[column] = sum;
}

static void round_columns(void *context, int64_t item) {
  const struct rounding *r = context;
  int64_t k = r->packed->k, first = item * FEEDBACK_COLUMNS, block = r->packed->hadamard ? quantize_block(k) : 1;
  int64_t count = r->packed->n - first < FEEDBACK_COLUMNS ? r->packed->n - first : FEEDBACK_COLUMNS;
  struct arena scratch;
  arena_init(&scratch);
  double *columns = arena_array(&scratch, (size_t)(k * count), sizeof *columns), spoiled[FEEDBACK_COLUMNS];
  double *room = arena_array(&scratch, (size_t)feedback_room(k), sizeof *room);
  int8_t *q = arena_array(&scratch, (size_t)(k * count), sizeof *q);
  float scale[FEEDBACK_COLUMNS];
  load_columns(r->packed, first, count, columns, spoiled);
  transform_columns(columns, k, count, r->packed->balance, block);
  feedback_round(r->factor, k, columns, count, room, q, scale);
  for (int64_t j = 0; j < count; j++) {
    double factor = spoiled[j] != 0 ? NAN : 1.0 / (double)block;
    store_column(r, first + j, q + j, count, (double)scale[j] * factor);
  }
  arena_deinit(&scratch);
}

static double mean_of_diagonal(const double *matrix, int64_t k) {
  double sum = 0;
  for (int64_t i = 0; i < k; i++) sum += matrix[i * k + i];
  return sum / (double)k;
}

/* `moments` of what the product reads; `work` of the same size. */
static void round_product(struct state *s, int product, const double *moments, double *work) {
  const struct packed *packed = s->packed[product];
  struct quantized *out = &s->out->products[product].weights;
  int64_t k = packed->k, panels = (packed->n + PANEL - 1) / PANEL;
  out->q = arena_array(s->arena, (size_t)(panels * ((k + 3) / 4 * 4)), PANEL);
  out->scale = arena_array(s->arena, (size_t)(panels * PANEL), sizeof *out->scale);
  out->sum = arena_array(s->arena, (size_t)(panels * PANEL), sizeof *out->sum);
  moments_transform(moments, k, packed->balance, packed->hadamard ? quantize_block(k) : 1, work);
  double mean = mean_of_diagonal(work, k);
  factor(work, k, mean > 0 ? DAMPING * mean : 1, s->input->threads);
  struct rounding rounding = {.packed = packed, .factor = work, .out = out};
  parallel_run(s->input->threads, (packed->n + FEEDBACK_COLUMNS - 1) / FEEDBACK_COLUMNS, round_columns, &rounding);
}

/* ---- the products of a graph */

static void calibrate_readers(struct state *s, const struct value *value, const float *x, int64_t rows, int64_t k) {
  double *moments = malloc((size_t)(k * k) * sizeof *moments), *work = malloc((size_t)(k * k) * sizeof *work);
  if (moments == NULL || work == NULL) {
    s->status = diag_fail(s->diag, STATUS_SYSTEM, "%s: out of memory for the second moments of '%s'", s->input->graph->file,
                          value->name);
  } else {
    moments_of(x, rows, k, s->input->threads, moments);
    if (!isfinite(mean_of_diagonal(moments, k)))
      s->status = diag_fail(s->diag, STATUS_INPUT, "%s: '%s' is not finite on the images of the calibration",
                            s->input->graph->file, value->name);
  }
  for (int i = 0; s->status == STATUS_OK && i < s->out->count; i++) {
    if (s->read[i] != value) continue;
    round_product(s, i, moments, work);
    if (s->input->progress != NULL) s->input->progress((size_t)++s->done, (size_t)s->out->count);
  }
  free(moments);
  free(work);
}

static void on_value(void *context, const struct value *value, const void *data, int64_t batch) {
  struct state *s = context;
  for (int i = 0; s->status == STATUS_OK && i < s->out->count; i++) {
    if (s->read[i] != value) continue;
    int64_t k = s->packed[i]->k, rows = shape_elements(&value->shape) / k * (value->batched ? batch : 1);
    calibrate_readers(s, value, data, rows, k);
    return;
  }
}

static const struct value *input_of(const struct graph *graph, const char *result) {
  const struct value *value = graph_find(graph, result);
  assert(value != NULL && value->producer != NULL && value->producer->prologue_count == 0);
  return value->producer->inputs[0];
}

static void list_products(struct state *s) {
  const struct plan *plan = s->input->plan;
  size_t most = (size_t)plan->step_count + 1;
  s->packed = arena_array(s->arena, most, sizeof *s->packed);
  s->read = arena_array(s->arena, most, sizeof *s->read);
  s->out->products = arena_array(s->arena, most, sizeof *s->out->products);
  for (int i = 0; i < plan->step_count; i++) {
    const struct step *step = &plan->steps[i];
    if (step->kind != STEP_GEMM || step->precision != PRECISION_INT8) continue;
    const char *result = step->node->outputs[0]->name;
    int at = s->out->count++;
    s->packed[at] = &plan->packed[step->inputs[1].index];
    s->read[at] = input_of(s->input->graph, result);
    s->out->products[at].result = arena_strdup(s->arena, result);
  }
}

enum status calibrate(const struct calibration_input *input, struct arena *arena, struct calibration *out_calibration,
                      struct diag *diag) {
  *out_calibration = (struct calibration){.count = 0};
  struct state s = {.input = input, .out = out_calibration, .arena = arena, .status = STATUS_OK, .diag = diag};
  list_products(&s);
  void *outputs[GRAPH_IO_MAX];
  struct arena results;
  arena_init(&results);
  for (int i = 0; i < input->graph->output_count; i++) {
    const struct value *value = input->graph->outputs[i];
    outputs[i] = arena_array(&results, (size_t)input->batch, (size_t)shape_elements(&value->shape) * dtype_size(value->dtype));
  }
  enum status status = interp_run(input->graph, input->batch, input->inputs, outputs, input->threads, on_value, &s, diag);
  arena_deinit(&results);
  return status == STATUS_OK ? s.status : status;
}

static const struct quantized *find(const struct calibration *calibration, const char *result) {
  for (int i = 0; i < calibration->count; i++)
    if (strcmp(calibration->products[i].result, result) == 0 && calibration->products[i].weights.q != NULL)
      return &calibration->products[i].weights;
  return NULL;
}

void calibration_apply(const struct calibration *calibration, struct plan *plan) {
  for (int i = 0; i < plan->step_count; i++) {
    const struct step *step = &plan->steps[i];
    if (step->kind != STEP_GEMM || step->precision != PRECISION_INT8) continue;
    struct packed *packed = &plan->packed[step->inputs[1].index];
    if (packed->quantized == NULL) packed->quantized = find(calibration, step->node->outputs[0]->name);
  }
}
