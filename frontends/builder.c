#include "builder.h"

#include <string.h>

struct value *builder_begin(struct builder *b, const char *input, int64_t channels, int64_t height, int64_t width) {
  const char *file = b->tensors->file ? b->tensors->file : b->origin;
  const char *name = b->options->name ? b->options->name : frontend_identifier(b->tensors->arena, file);
  graph_init(b->graph, b->tensors->arena, b->tensors->diag, name, file);
  struct shape image = builder_shape(4, 1, channels, height, width);
  struct value *x = graph_add_value(b->graph, input, DTYPE_F32, &image, true);
  b->graph->inputs[b->graph->input_count++] = x;
  return x;
}

void builder_offer(struct builder *b, const char *name, struct value *value) {
  if (b->offer_count < OFFERS_MAX) b->offers[b->offer_count++] = (struct offer){name, value};
}

/* What no output needs, such as the head where tokens are asked for. */
static void drop_unneeded(struct graph *graph) {
  bool *needed = arena_array(graph->arena, (size_t)graph->value_count, sizeof *needed);
  for (int i = 0; i < graph->output_count; i++) needed[graph->outputs[i]->id] = true;
  for (struct node *node = graph->last, *prev; node; node = prev) {
    bool used = false;
    prev = node->prev;
    for (int i = 0; i < node->output_count; i++) used = used || needed[node->outputs[i]->id];
    if (used)
      for (int i = 0; i < node->input_count; i++) {
        if (node->inputs[i]) needed[node->inputs[i]->id] = true;
      }
    else
      graph_remove_node(graph, node);
  }
  graph_sweep_values(graph);
}

bool builder_wants(const struct builder *b, const char *name) {
  for (int i = 0; i < b->options->output_count; i++)
    if (strcmp(b->options->outputs[i], name) == 0) return true;
  return false;
}

/* An output has the name by which it is asked for, though without a colon, as it becomes part of files' names. */
static struct value *named(struct graph *graph, const char *offered, struct value *value) {
  char *name = arena_strdup(graph->arena, offered);
  for (char *c = name; *c; c++)
    if (*c == ':') *c = '_';
  struct value *taken = graph_find(graph, name);
  if (taken == value) return value;
  if (!taken) taken = graph_add_value(graph, name, value->dtype, &value->shape, false);
  graph_swap_names(graph, taken, value);
  return value;
}

static enum status no_output(const struct builder *b, const char *name) {
  const char *known = "";
  for (int i = 0; i < b->offer_count; i++)
    known = arena_printf(b->graph->arena, "%s%s%s", known, i ? ", " : "", b->offers[i].name);
  return diag_fail(b->tensors->diag, STATUS_USAGE, "--output %s: this model has %s and the values of its graph", name, known);
}

/* The value that is offered under this name, or is called so in the graph. */
static enum status add_output(struct builder *b, const char *name) {
  struct graph *graph = b->graph;
  struct value *value = NULL;
  for (int i = 0; i < b->offer_count && !value; i++)
    if (strcmp(b->offers[i].name, name) == 0) value = b->offers[i].value;
  if (!value) value = graph_find(graph, name);
  if (!value || !value->producer) return no_output(b, name);
  if (graph->output_count == GRAPH_IO_MAX)
    return diag_fail(b->tensors->diag, STATUS_USAGE, "--output: a graph has at most %d outputs", GRAPH_IO_MAX);
  for (int i = 0; i < graph->output_count; i++)
    if (graph->outputs[i] == value) value = builder_unary(b, name, OP_identity, value);
  graph->outputs[graph->output_count++] = named(graph, name, value);
  return STATUS_OK;
}

enum status builder_finish(struct builder *b) {
  struct graph *graph = b->graph;
  int answers = b->options->output_count > 0 ? 0 : b->answer_count > 0 ? b->answer_count : 1;
  for (int i = 0; i < answers; i++) TRY(add_output(b, b->offers[i].name));
  for (int i = 0; i < b->options->output_count; i++) TRY(add_output(b, b->options->outputs[i]));
  if (strcmp(graph->outputs[0]->name, "logits") != 0) graph->label_count = 0; /* labels are of the first output's columns */
  drop_unneeded(graph);
  TRY(infer_graph(graph));
  TRY(verify_graph(graph, "import"));
  if (b->options->list_tensors) tensors_list(b->tensors);
  tensors_warn_unused(b->tensors);
  return STATUS_OK;
}

struct shape builder_shape(int rank, int64_t a, int64_t b, int64_t c, int64_t d) {
  return (struct shape){.rank = rank, .dim = {a, b, c, d}};
}

const char *builder_join(const struct builder *b, const char *path, const char *last) {
  return arena_printf(b->graph->arena, "%s.%s", builder_name(b, path), last);
}

const char *builder_name(const struct builder *b, const char *path) {
  size_t length = strlen(path);
  return length && path[length - 1] == '_' ? arena_strndup(b->graph->arena, path, length - 1) : path;
}

struct value *builder_node(struct builder *b, const char *name, enum op op, struct value *const *inputs, int input_count,
                           struct node **out_node) {
  struct shape unknown = {0};
  struct value *output = graph_add_value(b->graph, name, DTYPE_F32, &unknown, false);
  struct node *node = graph_add_node(b->graph, NULL, op, inputs, input_count, &output, 1);
  if (out_node) *out_node = node;
  return output;
}

struct value *builder_unary(struct builder *b, const char *name, enum op op, struct value *x) {
  return builder_node(b, name, op, &x, 1, NULL);
}

struct value *builder_binary(struct builder *b, const char *name, enum op op, struct value *left, struct value *right) {
  struct value *inputs[] = {left, right};
  return builder_node(b, name, op, inputs, 2, NULL);
}

struct value *builder_transpose(struct builder *b, const char *name, struct value *x, const int64_t *perm, size_t rank) {
  struct node *node;
  struct value *output = builder_node(b, name, OP_transpose, &x, 1, &node);
  node_set_ints(b->graph, node, "perm", perm, rank);
  return output;
}

struct value *builder_reshape(struct builder *b, const char *name, struct value *x, const int64_t *dims, int rank) {
  return builder_binary(b, name, OP_reshape, x, builder_integers(b, builder_join(b, name, "shape"), 1, dims, rank, true));
}

struct value *builder_concat(struct builder *b, const char *name, struct value *const *inputs, int count, int64_t axis) {
  struct node *node;
  struct value *output = builder_node(b, name, OP_concat, inputs, count, &node);
  node_set_int(b->graph, node, "axis", axis);
  return output;
}

void builder_split(struct builder *b, const char *path, struct value *x, int64_t axis, const char *const *names, int count,
                   struct value **out_parts) {
  struct shape unknown = {0};
  for (int i = 0; i < count; i++)
    out_parts[i] = graph_add_value(b->graph, builder_join(b, path, names[i]), DTYPE_F32, &unknown, false);
  struct node *split = graph_add_node(b->graph, NULL, OP_split, &x, 1, out_parts, count);
  node_set_int(b->graph, split, "axis", axis);
  node_set_int(b->graph, split, "num_outputs", count);
}

struct value *builder_slice(struct builder *b, const char *name, struct value *x, int64_t axis, int64_t start, int64_t end) {
  struct value *inputs[] = {x, builder_integers(b, builder_join(b, name, "start"), 1, &start, 1, false),
                            builder_integers(b, builder_join(b, name, "end"), 1, &end, 1, false),
                            builder_integers(b, builder_join(b, name, "axes"), 1, &axis, 1, false)};
  return builder_node(b, name, OP_slice, inputs, 4, NULL);
}

struct value *builder_take(struct builder *b, const char *name, struct value *x, int64_t axis, int64_t index) {
  struct value *inputs[] = {x, builder_integers(b, builder_join(b, name, "index"), 0, &index, 1, false)};
  struct node *node;
  struct value *output = builder_node(b, name, OP_gather, inputs, 2, &node);
  node_set_int(b->graph, node, "axis", axis);
  return output;
}

struct value *builder_mean(struct builder *b, const char *name, struct value *x, int64_t axis) {
  struct node *node;
  struct value *output = builder_node(b, name, OP_reduce_mean, &x, 1, &node);
  node_set_ints(b->graph, node, "axes", &axis, 1);
  node_set_int(b->graph, node, "keepdims", 0);
  return output;
}

struct value *builder_activation(struct builder *b, const char *name, enum activation activation, struct value *x) {
  struct node *node;
  struct value *gate = x;
  switch (activation) {
  case ACTIVATION_RELU:
    return builder_unary(b, name, OP_relu, x);
  case ACTIVATION_GELU:
    return builder_unary(b, name, OP_gelu, x);
  case ACTIVATION_GELU_TANH:
    x = builder_node(b, name, OP_gelu, &x, 1, &node);
    node_set_string(b->graph, node, "approximate", "tanh");
    return x;
  case ACTIVATION_QUICK_GELU:
    gate = builder_binary(b, builder_join(b, name, "scaled"), OP_mul, x,
                          builder_scalar(b, builder_join(b, name, "factor"), 1.702f));
    break;
  case ACTIVATION_SILU:
    break;
  }
  gate = builder_unary(b, builder_join(b, name, "sigmoid"), OP_sigmoid, gate);
  return builder_binary(b, name, OP_mul, x, gate);
}

struct value *builder_integers(struct builder *b, const char *name, int rank, const int64_t *values, int count, bool batched) {
  int64_t *data = arena_array(b->graph->arena, (size_t)count, sizeof *data);
  memcpy(data, values, (size_t)count * sizeof *data);
  struct shape shape = {.rank = rank, .dim = {count}};
  struct value *constant = graph_add_constant(b->graph, name, DTYPE_I64, &shape, data);
  constant->batched = batched;
  return constant;
}

struct value *builder_scalar(struct builder *b, const char *name, float x) {
  float *data = arena_alloc(b->graph->arena, sizeof *data);
  *data = x;
  return builder_table(b, name, (struct shape){0}, data);
}

struct value *builder_table(struct builder *b, const char *name, struct shape shape, const float *data) {
  return graph_add_constant(b->graph, name, DTYPE_F32, &shape, data);
}
