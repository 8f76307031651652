#include "onnx/onnx.h"

#include "onnx/importer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { OPSET_MIN = 13, OPSET_MAX = 23, NODES_MAX = 65536, LOOKS_MAX = 1 << 24 };

/* What decoding and folding together may take beyond the file's own size, of which each has one. */
static const uint64_t MEMORY_MAX = 48u << 20;

/* Decoded messages live in an arena and count against a limit: a file of empty messages must not grow a hundredfold. */
struct decoder {
  struct arena *arena;
  uint64_t left;
  bool full;
};

static void *decoder_alloc(void *data, size_t size) {
  struct decoder *decoder = data;
  decoder->full = decoder->full || size > decoder->left;
  if (decoder->full) return NULL;
  decoder->left -= size;
  return arena_alloc(decoder->arena, size ? size : 1);
}

static void decoder_free(void *data, void *pointer) {
  (void)data;
  (void)pointer;
}

bool onnx_probe(const char *source, const struct import_options *options) {
  static const char ending[] = ".onnx";
  size_t length = source ? strlen(source) : 0;
  struct stat info;
  return !options->init_random && length >= sizeof ending && strcmp(source + length - (sizeof ending - 1), ending) == 0 &&
         stat(source, &info) == 0 && !S_ISDIR(info.st_mode);
}

static enum status decode(struct importer *im, OnnxSubset__Model **out_model) {
  struct span file;
  TRY(weights_map(im->weights, im->file, &file, im->diag));
  /* A message of protobuf is below 2 GiB; larger models have their tensors in another file. */
  if (file.size > INT32_MAX) return importer_fail(im, "%zu bytes, an ONNX file has at most 2 GiB", file.size);
  struct decoder decoder = {&im->weights->arena, file.size + MEMORY_MAX, false};
  ProtobufCAllocator allocator = {decoder_alloc, decoder_free, &decoder};
  im->looks_left = LOOKS_MAX;
  *out_model = file.size ? onnx_subset__model__unpack(&allocator, file.size, file.data) : NULL;
  if (decoder.full) return importer_fail(im, "takes more than %d MiB beyond its size to decode", (int)(MEMORY_MAX >> 20));
  if (*out_model == NULL || (*out_model)->graph == NULL || (*out_model)->n_opset_import == 0)
    return importer_fail(im, "not an ONNX model: cut short, or no protobuf of one");
  im->known_bytes_left = file.size + (decoder.left < MEMORY_MAX ? decoder.left : MEMORY_MAX);
  im->source = (*out_model)->graph;
  return STATUS_OK;
}

static enum status check_opset(struct importer *im, const OnnxSubset__Model *model) {
  int64_t version = 0;
  for (size_t i = 0; i < model->n_opset_import; i++) {
    const OnnxSubset__OperatorSet *set = model->opset_import[i];
    if (set->domain == NULL || !*set->domain || strcmp(set->domain, "ai.onnx") == 0) version = set->version;
  }
  if (version < OPSET_MIN || version > OPSET_MAX)
    return importer_fail(im, "opset %" PRId64 ", expected %d to %d", version, OPSET_MIN, OPSET_MAX);
  return STATUS_OK;
}

/* protobuf leaves what a file omits NULL. */
static enum status check_text(struct importer *im) {
  const OnnxSubset__Graph *graph = im->source;
  if (graph->n_node > NODES_MAX) return importer_fail(im, "%zu nodes, expected at most %d", graph->n_node, NODES_MAX);
  for (size_t i = 0; i < graph->n_node; i++)
    if (graph->node[i]->op_type == NULL) return importer_fail(im, "node %zu has no op", i);
  for (size_t i = 0; i < graph->n_initializer; i++)
    if (graph->initializer[i]->name == NULL) return importer_fail(im, "initializer %zu has no name", i);
  for (size_t i = 0; i < graph->n_input + graph->n_output; i++) {
    const OnnxSubset__ValueInfo *info = i < graph->n_input ? graph->input[i] : graph->output[i - graph->n_input];
    if (info->name == NULL || !*info->name) return importer_fail(im, "an input or output has no name");
  }
  return STATUS_OK;
}

static enum status add_initializers(struct importer *im) {
  const OnnxSubset__Graph *graph = im->source;
  size_t count = graph->n_initializer + graph->n_input;
  for (size_t i = 0; i < graph->n_node; i++) count += graph->node[i]->n_output;
  operands_init(im, count);
  for (size_t i = 0; i < graph->n_initializer; i++) {
    struct operand *operand;
    TRY(operand_add(im, graph->initializer[i]->name, &operand));
    operand->initializer = graph->initializer[i];
  }
  return STATUS_OK;
}

/* Height and width of the image where the model leaves them open. */
static int64_t open_extent(const struct importer *im, size_t rank, size_t axis) {
  if (rank != 4 || axis < 2) return 0;
  return axis == 2 ? im->options->image_height : im->options->image_width;
}

static enum status read_input_shape(struct importer *im, const OnnxSubset__ValueInfo *info, const OnnxSubset__Shape *dims,
                                    struct shape *out_shape) {
  if (dims->n_dim < 1 || dims->n_dim > RANK_MAX)
    return importer_fail(im, "input '%.200s' has %zu dimensions, expected 1 to %d", info->name, dims->n_dim, RANK_MAX);
  *out_shape = (struct shape){.rank = (int)dims->n_dim, .dim = {1}};
  int64_t elements = 1, batch = dims->dim[0]->has_dim_value ? dims->dim[0]->dim_value : 1;
  if (batch > 1)
    return importer_fail(im, "input '%.200s' is fixed to %" PRId64 " images: export it with one, or with a dynamic batch",
                         info->name, batch);
  im->batch_fixed = im->batch_fixed || dims->dim[0]->has_dim_value;
  for (size_t axis = 1; axis < dims->n_dim; axis++) {
    const OnnxSubset__Dimension *dim = dims->dim[axis];
    int64_t extent = dim->has_dim_value ? dim->dim_value : 0, asked = open_extent(im, dims->n_dim, axis);
    if (extent > 0 && asked > 0 && asked != extent)
      return importer_fail(im, "input '%.200s' is fixed to %" PRId64 " pixels along axis %zu, --image-size says %" PRId64,
                           info->name, extent, axis, asked);
    if (extent <= 0) extent = asked;
    if (extent <= 0)
      return importer_fail(im, "input '%.200s' leaves axis %zu open%s", info->name, axis,
                           dims->n_dim == 4 && axis >= 2 ? ": say --image-size HxW" : "");
    if (__builtin_mul_overflow(elements, extent, &elements) || elements > INT32_MAX)
      return importer_fail(im, "input '%.200s' has more than %d elements", info->name, INT32_MAX);
    out_shape->dim[axis] = extent;
  }
  return STATUS_OK;
}

static enum status add_inputs(struct importer *im) {
  struct graph *graph = im->graph;
  for (size_t i = 0; i < im->source->n_input; i++) {
    const OnnxSubset__ValueInfo *info = im->source->input[i];
    const OnnxSubset__TensorType *type = info->type != NULL ? info->type->tensor_type : NULL;
    struct operand *operand = operand_find(im, info->name);
    if (operand != NULL && operand->initializer != NULL) continue; /* older exporters list the weights as inputs */
    enum dtype dtype;
    struct shape shape;
    if (type == NULL || type->shape == NULL) return importer_fail(im, "input '%.200s' has no tensor shape", info->name);
    if (!tensor_dtype(type->elem_type, &dtype) || (dtype != DTYPE_F32 && dtype != DTYPE_U8))
      return importer_fail(im, "input '%.200s' is of data type %d, expected float or uint8", info->name, type->elem_type);
    if (graph->input_count == GRAPH_IO_MAX) return importer_fail(im, "more than %d inputs", GRAPH_IO_MAX);
    TRY(read_input_shape(im, info, type->shape, &shape));
    TRY(operand_add(im, info->name, &operand));
    operand->value = graph_add_value(graph, info->name, dtype, &shape, true);
    graph->inputs[graph->input_count++] = operand->value;
  }
  return graph->input_count > 0 ? STATUS_OK : importer_fail(im, "has no input");
}

static enum status add_outputs(struct importer *im) {
  struct graph *graph = im->graph;
  if (im->source->n_output < 1 || im->source->n_output > GRAPH_IO_MAX)
    return importer_fail(im, "%zu outputs, expected 1 to %d", im->source->n_output, GRAPH_IO_MAX);
  for (size_t i = 0; i < im->source->n_output; i++) {
    const char *name = im->source->output[i]->name;
    struct operand *operand = operand_find(im, name);
    if (operand == NULL) return importer_fail(im, "output '%.200s' is made by no node", name);
    if (operand->known || operand->initializer != NULL || operand->not_nan || !operand->value->batched)
      return importer_fail(im, "output '%.200s' does not depend on the input", name);
    TRY(operand_front(im, operand));
    struct value *value = operand->value;
    bool taken = value->producer == NULL || strcmp(value->name, name) != 0;
    for (int j = 0; j < graph->output_count; j++) taken = taken || graph->outputs[j] == value;
    if (taken) TRY(node_make(im, OP_identity, &value, 1, name, &value));
    graph->outputs[graph->output_count++] = value;
  }
  return STATUS_OK;
}

static enum status import_graph(struct importer *im) {
  TRY(add_initializers(im));
  TRY(add_inputs(im));
  for (size_t i = 0; i < im->source->n_node; i++) {
    im->node = im->source->node[i];
    im->node_index = i;
    TRY(import_node(im));
  }
  im->node = NULL;
  return add_outputs(im);
}

/* Nodes of which no output comes, as the shape arithmetic that folding left behind. */
static void remove_dead(struct graph *graph) {
  bool *needed = arena_array(graph->arena, (size_t)graph->value_count, sizeof *needed);
  for (int i = 0; i < graph->output_count; i++) needed[graph->outputs[i]->id] = true;
  for (struct node *node = graph->last, *prev; node != NULL; node = prev) {
    prev = node->prev;
    bool used = false;
    for (int i = 0; i < node->output_count; i++) used = used || (node->outputs[i] != NULL && needed[node->outputs[i]->id]);
    for (int i = 0; used && i < node->input_count; i++)
      if (node->inputs[i] != NULL) needed[node->inputs[i]->id] = true;
    if (!used) graph_remove_node(graph, node);
  }
  graph_sweep_values(graph);
}

enum status onnx_import(const char *source, const struct import_options *options, struct arena *arena, struct weights *weights,
                        struct graph *out_graph, struct diag *diag) {
  if (options->arch != NULL || options->num_classes >= 0)
    return diag_fail(diag, STATUS_USAGE, "%s: an ONNX model has its architecture and classes already", source);
  const char *name = options->name != NULL ? options->name : frontend_identifier(arena, source);
  graph_init(out_graph, arena, diag, arena_strdup(arena, name), source);
  struct importer im = {
      .file = source, .graph = out_graph, .arena = arena, .weights = weights, .options = options, .diag = diag};
  OnnxSubset__Model *model;
  TRY(decode(&im, &model));
  TRY(check_opset(&im, model));
  TRY(check_text(&im));
  TRY(import_graph(&im));
  remove_dead(out_graph);
  TRY(infer_graph(out_graph));
  if (options->verbose)
    fprintf(stderr, "vitc: ONNX of %s: %zu nodes, %d of them are left after folding\n",
            model->producer_name != NULL ? model->producer_name : "an unknown producer", im.source->n_node,
            out_graph->node_count);
  return verify_graph(out_graph, "import");
}
