#include "passes/rewrite.h"

#include <string.h>

bool value_is_constant(const struct value *value) {
  return value != NULL && value->data != NULL && !value->batched;
}

bool value_is_output(const struct graph *graph, const struct value *value) {
  for (int i = 0; i < graph->output_count; i++)
    if (graph->outputs[i] == value) return true;
  return false;
}

const float *constant_floats(const struct value *value) {
  return value_is_constant(value) && value->dtype == DTYPE_F32 ? value->data : NULL;
}

bool constant_scalar(const struct value *value, double *out_scalar) {
  const float *floats = constant_floats(value);
  if (floats == NULL || shape_elements(&value->shape) != 1) return false;
  *out_scalar = (double)floats[0];
  return true;
}

bool constant_integers(const struct value *value, int max, int64_t *out_integers, int *out_count) {
  if (!value_is_constant(value) || value->shape.rank > 1) return false;
  int64_t count = shape_elements(&value->shape);
  if (count > max || (value->dtype != DTYPE_I32 && value->dtype != DTYPE_I64)) return false;
  for (int64_t i = 0; i < count; i++) {
    int32_t narrow;
    if (value->dtype == DTYPE_I64) {
      memcpy(&out_integers[i], (const char *)value->data + i * 8, sizeof(int64_t));
    } else {
      memcpy(&narrow, (const char *)value->data + i * 4, sizeof narrow);
      out_integers[i] = narrow;
    }
  }
  *out_count = (int)count;
  return true;
}

bool node_plain(const struct node *node) {
  return node->prologue_count == 0 && node->epilogue_count == 0;
}

struct node *producer_of(const struct value *value, enum op op) {
  if (value == NULL || value->producer == NULL) return NULL;
  return value->producer->op == op && node_plain(value->producer) ? value->producer : NULL;
}

struct node *only_user(const struct graph *graph, const struct value *value, enum op op) {
  struct node *user = graph_single_user(graph, value);
  return user != NULL && user->op == op && node_plain(user) ? user : NULL;
}

struct value *operand_beside_constant(const struct node *node, struct value **out_constant, int *out_index) {
  if (node->input_count != 2 || value_is_constant(node->inputs[0]) == value_is_constant(node->inputs[1])) return NULL;
  int index = value_is_constant(node->inputs[0]) ? 1 : 0;
  *out_constant = node->inputs[1 - index];
  if (out_index != NULL) *out_index = index;
  return node->inputs[index];
}

int node_axis(const struct node *node, int rank) {
  int64_t axis = node_int(node, "axis");
  return (int)(axis < 0 ? axis + rank : axis);
}

int64_t last_dim(const struct value *value) {
  return value->shape.rank > 0 ? value->shape.dim[value->shape.rank - 1] : 1;
}

void transpose_perm(const struct node *node, int64_t out_perm[RANK_MAX]) {
  int rank = node->inputs[0]->shape.rank;
  const struct attr *attr = node_attr(node, "perm");
  for (int i = 0; i < rank; i++) out_perm[i] = attr != NULL ? attr->ints[i] : rank - 1 - i;
}

bool transpose_is(const struct node *node, int rank, const int64_t *perm) {
  int64_t actual[RANK_MAX];
  if (node->inputs[0]->shape.rank != rank) return false;
  transpose_perm(node, actual);
  return memcmp(actual, perm, (size_t)rank * sizeof *perm) == 0;
}

bool matmul_weight(const struct node *matmul, struct weight_matrix *out_matrix) {
  struct value *b = matmul->inputs[1];
  if (b == NULL || b->shape.rank != 2) return false;
  struct node *transpose = producer_of(b, OP_transpose);
  struct value *constant = b;
  if (transpose != NULL) {
    if (!transpose_is(transpose, 2, (const int64_t[]){1, 0})) return false;
    constant = transpose->inputs[0];
  }
  if (constant_floats(constant) == NULL) return false;
  *out_matrix = (struct weight_matrix){constant, transpose != NULL, b->shape.dim[0], b->shape.dim[1]};
  return true;
}

bool split_sizes(const struct node *split, int64_t *out_sizes, int max) {
  if (split->output_count > max) return false;
  int axis = node_axis(split, split->inputs[0]->shape.rank);
  for (int i = 0; i < split->output_count; i++) {
    if (split->outputs[i] == NULL) return false;
    out_sizes[i] = split->outputs[i]->shape.dim[axis];
  }
  return true;
}

bool slice_range(const struct node *slice, int *out_axis, int64_t *out_start, int64_t *out_end) {
  const struct value *x = slice->inputs[0];
  int64_t start = 0, axis = 0, step = 1;
  int count;
  if (!constant_integers(slice->inputs[1], 1, &start, &count) || count != 1) return false;
  if (slice->input_count > 3 && slice->inputs[3] != NULL &&
      (!constant_integers(slice->inputs[3], 1, &axis, &count) || count != 1))
    return false;
  if (slice->input_count > 4 && slice->inputs[4] != NULL &&
      (!constant_integers(slice->inputs[4], 1, &step, &count) || count != 1))
    return false;
  if (step != 1) return false;
  if (axis < 0) axis += x->shape.rank;
  int64_t dim = x->shape.dim[axis];
  if (start < 0) start += dim;
  if (start < 0) start = 0;
  *out_axis = (int)axis;
  *out_start = start;
  *out_end = start + slice->outputs[0]->shape.dim[axis];
  return true;
}
