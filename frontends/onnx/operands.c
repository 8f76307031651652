#include "onnx/importer.h"

#include "ops/op.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

const int64_t PROBES[PROBE_COUNT] = {1, 2, 10007};

void importer_report(struct importer *im, const char *format, ...) {
  char message[800];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  const OnnxSubset__Node *node = im->node;
  if (node == NULL) {
    diag_fail(im->diag, STATUS_INPUT, "%s: %s", im->file, message);
    return;
  }
  const char *name = node->name != NULL && *node->name ? node->name : node->n_output > 0 ? node->output[0] : "";
  diag_fail(im->diag, STATUS_INPUT, "%s: node '%.200s' (%.64s): %s", im->file, name, node->op_type, message);
}

void operands_init(struct importer *im, size_t count) {
  im->operand_capacity = 16;
  while (im->operand_capacity < 2 * count) im->operand_capacity *= 2;
  im->operands = arena_array(im->arena, im->operand_capacity, sizeof *im->operands);
}

static struct operand *slot(const struct importer *im, const char *name) {
  uint64_t hash = 14695981039346656037u;
  for (const char *c = name; *c; c++) hash = (hash ^ (uint8_t)*c) * 1099511628211u;
  size_t at = (size_t)(hash ^ hash >> 32) & (im->operand_capacity - 1);
  while (im->operands[at].name != NULL && strcmp(im->operands[at].name, name) != 0) at = (at + 1) & (im->operand_capacity - 1);
  return &im->operands[at];
}

/* Bytes that no UTF-8 text has, or sequences cut short. */
static bool is_text(const char *name) {
  for (const uint8_t *c = (const uint8_t *)name; *c; c++) {
    int rest = *c < 0x80 ? 0 : *c >= 0xc2 && *c < 0xe0 ? 1 : *c >= 0xe0 && *c < 0xf0 ? 2 : *c >= 0xf0 && *c < 0xf5 ? 3 : -1;
    if (rest < 0 || *c < 0x20) return false;
    if ((*c == 0xe0 && c[1] < 0xa0) || (*c == 0xed && c[1] > 0x9f)) return false;
    if ((*c == 0xf0 && c[1] < 0x90) || (*c == 0xf4 && c[1] > 0x8f)) return false;
    for (; rest > 0; rest--)
      if ((*++c & 0xc0) != 0x80) return false;
  }
  return true;
}

enum status operand_add(struct importer *im, const char *name, struct operand **out_operand) {
  if (!is_text(name)) return importer_fail(im, "the name '%.200s' is not UTF-8 text", name);
  struct operand *operand = slot(im, name);
  if (operand->name != NULL) return importer_fail(im, "'%.200s' is defined twice", name);
  operand->name = name;
  *out_operand = operand;
  return STATUS_OK;
}

struct operand *operand_find(const struct importer *im, const char *name) {
  struct operand *operand = slot(im, name);
  return operand->name != NULL ? operand : NULL;
}

static enum status undefined(struct importer *im, size_t index) {
  const char *name = im->node->input[index];
  for (size_t i = im->node_index; i < im->source->n_node; i++)
    for (size_t j = 0; j < im->source->node[i]->n_output; j++)
      if (strcmp(im->source->node[i]->output[j], name) == 0)
        return importer_fail(im, "input %zu '%.200s' is used before node %zu makes it", index, name, i);
  return importer_fail(im, "input %zu '%.200s' is made by no node", index, name);
}

enum status operand_input(struct importer *im, size_t index, struct operand **out_operand) {
  *out_operand = NULL;
  if (index >= im->node->n_input || !*im->node->input[index]) return STATUS_OK;
  struct operand *operand = operand_find(im, im->node->input[index]);
  if (operand == NULL) return undefined(im, index);
  if (operand->initializer != NULL) {
    struct tensor tensor;
    TRY(tensor_read(im, operand->initializer, &tensor));
    operand->initializer = NULL;
    operand->known = true;
    for (int p = 0; p < PROBE_COUNT; p++) operand->tensor[p] = tensor;
  }
  *out_operand = operand;
  return STATUS_OK;
}

enum status operand_required(struct importer *im, size_t index, struct operand **out_operand) {
  TRY(operand_input(im, index, out_operand));
  return *out_operand != NULL ? STATUS_OK : importer_fail(im, "input %zu is missing", index);
}

bool operand_varies(const struct operand *operand) {
  const struct tensor *t = operand->tensor;
  size_t bytes = (size_t)shape_elements(&t->shape) * dtype_size(t->dtype);
  for (int p = 1; p < PROBE_COUNT; p++)
    if (t[p].data != t[0].data && memcmp(t[p].data, t[0].data, bytes) != 0) return true;
  return false;
}

static enum status new_output(struct importer *im, size_t output, struct operand **out_operand) {
  *out_operand = NULL;
  if (output >= im->node->n_output || !*im->node->output[output]) return STATUS_OK;
  return operand_add(im, im->node->output[output], out_operand);
}

enum status operand_set_value(struct importer *im, size_t output, struct value *value, int images) {
  struct operand *operand;
  TRY(new_output(im, output, &operand));
  if (operand == NULL) return STATUS_OK;
  operand->value = value;
  operand->images = value->batched ? images : 0;
  return STATUS_OK;
}

enum status operand_set_known(struct importer *im, size_t output, const struct tensor *tensors) {
  struct operand *operand;
  TRY(new_output(im, output, &operand));
  if (operand == NULL) return STATUS_OK;
  operand->known = true;
  for (int p = 0; p < PROBE_COUNT; p++) operand->tensor[p] = tensors[p];
  return STATUS_OK;
}

enum status operand_set_same(struct importer *im, size_t output, const struct operand *operand) {
  struct operand *same;
  /* The table does not grow, so `operand` stays where it is. */
  TRY(new_output(im, output, &same));
  if (same == NULL) return STATUS_OK;
  const char *name = same->name;
  *same = *operand;
  same->name = name;
  return STATUS_OK;
}

struct value *importer_ints(struct importer *im, const int64_t *ints, int count, bool batched) {
  int64_t *copy = arena_array(im->arena, (size_t)count + 1, sizeof *copy);
  for (int i = 0; i < count; i++) copy[i] = ints[i];
  struct shape shape = {.rank = 1, .dim = {count}};
  const char *name = arena_printf(im->arena, "%s.ints", node_output_name(im, 0));
  struct value *value = graph_add_constant(im->graph, name, DTYPE_I64, &shape, copy);
  value->batched = batched;
  return value;
}

struct value *importer_floats(struct importer *im, const char *name, const struct shape *shape, const float *data) {
  return graph_add_constant(im->graph, name, DTYPE_F32, shape, data);
}

/* What a mask hides may lie at minus infinity; the lowest number hides it as well, and stays one in sums. */
static const void *finite_mask(struct importer *im, const struct tensor *t) {
  const float *from = t->data;
  int64_t count = t->dtype == DTYPE_F32 ? shape_elements(&t->shape) : 0;
  bool hides = false;
  for (int64_t i = 0; i < count && !hides; i++) hides = isinf(from[i]) && from[i] < 0;
  if (!hides) return t->data;
  float *finite = arena_array(im->arena, (size_t)count, sizeof *finite);
  for (int64_t i = 0; i < count; i++) finite[i] = isinf(from[i]) && from[i] < 0 ? -FLT_MAX : from[i];
  return finite;
}

static enum status make_constant(struct importer *im, struct operand *operand) {
  const struct tensor *t = operand->tensor;
  if (shape_elements(&t->shape) == 0) return importer_fail(im, "'%.200s' has no elements", operand->name);
  if (operand_varies(operand)) return importer_fail(im, "'%.200s' depends on the batch size", operand->name);
  const struct weight weight = {operand->name, t->dtype, t->shape, finite_mask(im, t)};
  TRY(weights_check_finite(&weight, im->file, im->diag));
  enum dtype dtype = weight_graph_dtype(&weight);
  operand->value = graph_add_constant(im->graph, operand->name, dtype, &t->shape, weight_elements(&weight, dtype, im->arena));
  return STATUS_OK;
}

enum status operand_value(struct importer *im, struct operand *operand, bool repeats, struct value **out_value) {
  if (operand->value == NULL) TRY(make_constant(im, operand));
  *out_value = operand->value;
  if (!operand->repeated || repeats) return STATUS_OK;
  const struct shape *shape = &operand->value->shape;
  struct value *inputs[] = {operand->value, importer_ints(im, shape->dim, shape->rank, true)};
  return node_make(im, OP_expand, inputs, 2, arena_printf(im->arena, "%s.repeated", operand->name), out_value);
}

static enum status check_ints(struct importer *im, const struct operand *operand, int max) {
  const struct tensor *t = operand->tensor;
  if (!operand->known) return importer_fail(im, "'%.200s' depends on the input; expected known integers", operand->name);
  if ((t->dtype != DTYPE_I64 && t->dtype != DTYPE_I32) || t->shape.rank > 1 || shape_elements(&t->shape) > max)
    return importer_fail(im, "'%.200s' is not a list of at most %d integers", operand->name, max);
  return STATUS_OK;
}

static int64_t int_at(const struct operand *operand, int probe, int64_t i) {
  const struct value value = {.dtype = operand->tensor[probe].dtype, .data = operand->tensor[probe].data};
  return constant_int(&value, i);
}

enum status operand_target(struct importer *im, struct operand *operand, int *out_count, int64_t out_dims[RANK_MAX],
                           int *out_images) {
  TRY(check_ints(im, operand, RANK_MAX));
  *out_count = (int)shape_elements(&operand->tensor[0].shape);
  *out_images = -1;
  for (int i = 0; i < *out_count; i++) {
    out_dims[i] = int_at(operand, 0, i);
    bool same = true, times = true;
    for (int p = 1; p < PROBE_COUNT; p++) {
      int64_t at = int_at(operand, p, i), multiple;
      same = same && at == out_dims[i];
      times = times && !__builtin_mul_overflow(out_dims[i], PROBES[p], &multiple) && at == multiple;
    }
    if (same) continue;
    if (!times || out_dims[i] < 1)
      return importer_fail(im, "element %d of '%.200s' depends on the batch size, and is no multiple of it", i, operand->name);
    if (*out_images >= 0)
      return importer_fail(im, "elements %d and %d of '%.200s' are both multiples of the batch size", *out_images, i,
                           operand->name);
    *out_images = i;
  }
  return STATUS_OK;
}

enum status operand_ints(struct importer *im, struct operand *operand, int max, int64_t *out_ints, int *out_count) {
  TRY(check_ints(im, operand, max));
  if (operand_varies(operand)) return importer_fail(im, "'%.200s' depends on the batch size", operand->name);
  *out_count = (int)shape_elements(&operand->tensor[0].shape);
  for (int i = 0; i < *out_count; i++) out_ints[i] = int_at(operand, 0, i);
  return STATUS_OK;
}

int operand_rank(const struct operand *operand) {
  return operand->known ? operand->tensor[0].shape.rank : operand->value->shape.rank;
}

int64_t operand_extent(const struct operand *operand, int axis) {
  if (operand->known) return operand->tensor[0].shape.dim[axis];
  return operand->value->shape.dim[axis_of(operand->images, axis)];
}

enum status importer_axis(struct importer *im, int64_t axis, int rank, int *out_axis) {
  if (axis < -rank || axis >= rank) return importer_fail(im, "axis %lld is out of range for rank %d", (long long)axis, rank);
  *out_axis = (int)(axis < 0 ? axis + rank : axis);
  return STATUS_OK;
}

enum status operand_front(struct importer *im, const struct operand *operand) {
  if (operand->images == 0) return STATUS_OK;
  return importer_fail(im, "the images of '%.200s' lie along axis %d, which is only supported along axis 0", operand->name,
                       operand->images);
}
