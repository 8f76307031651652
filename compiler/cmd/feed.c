#include "cmd/feed.h"

#include "base/npy.h"
#include "vitc/image.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t tensor_elements(const vitc_tensor *tensor) {
  return tensor->image_bytes / (tensor->dtype == VITC_F32 ? sizeof(float) : sizeof(uint8_t));
}

void tensor_shape_text(const vitc_tensor *tensor, char *text, size_t size) {
  int used = tensor->dim[0] == 1 ? snprintf(text, size, "(N") : snprintf(text, size, "(%" PRId64 "*N", tensor->dim[0]);
  for (uint32_t i = 1; i < tensor->rank && used < (int)size; i++)
    used += snprintf(text + used, size - (size_t)used, ", %" PRId64, tensor->dim[i]);
  if (used < (int)size) snprintf(text + used, size - (size_t)used, ")");
}

static enum status describe_value(const struct value *value, const char *path, vitc_tensor *tensor, struct diag *diag) {
  if (value->dtype != DTYPE_F32 && value->dtype != DTYPE_U8)
    return diag_fail(diag, STATUS_INPUT, "%s: '%s' is %s, expected float32 or uint8", path, value->name,
                     dtype_name(value->dtype));
  *tensor = (vitc_tensor){.name = value->name, .dtype = value->dtype == DTYPE_U8 ? VITC_U8 : VITC_F32};
  tensor->rank = (uint32_t)value->shape.rank;
  for (int i = 0; i < value->shape.rank; i++) tensor->dim[i] = value->shape.dim[i];
  if (value->shape.rank == 0) { /* a scalar per batch has no axis for the batch; the tensor has one */
    tensor->rank = 1;
    tensor->dim[0] = 1;
  }
  tensor->image_bytes = (size_t)shape_elements(&value->shape) * dtype_size(value->dtype);
  return STATUS_OK;
}

enum status describe_graph(const struct graph *graph, const char *path, vitc_model *out_model, struct diag *diag) {
  *out_model = (vitc_model){.abi_version = VITC_ABI_VERSION, .batch_max = UINT32_MAX, .name = graph->name, .precision = "fp32"};
  out_model->input_count = (uint32_t)graph->input_count;
  out_model->output_count = (uint32_t)graph->output_count;
  out_model->preprocess = graph->preprocess;
  for (int i = 0; i < graph->input_count; i++) TRY(describe_value(graph->inputs[i], path, &out_model->inputs[i], diag));
  for (int i = 0; i < graph->output_count; i++) TRY(describe_value(graph->outputs[i], path, &out_model->outputs[i], diag));
  return STATUS_OK;
}

static enum status alloc_feed(const vitc_model *model, const char *file, size_t batch, struct feed *feed, struct diag *diag) {
  *feed = (struct feed){.batch = (uint32_t)batch};
  for (uint32_t i = 0; i < model->input_count; i++) {
    size_t bytes = model->inputs[i].image_bytes;
    if (batch == 0 || batch > UINT32_MAX || bytes > PTRDIFF_MAX / batch)
      return diag_fail(diag, STATUS_USAGE, "%s: a batch of %zu images is not possible", file, batch);
    feed->inputs[i] = malloc(batch * bytes);
    if (feed->inputs[i] == NULL) return diag_fail(diag, STATUS_SYSTEM, "%s: out of memory for %zu images", file, batch);
  }
  return STATUS_OK;
}

void feed_free(struct feed *feed) {
  for (int i = 0; i < VITC_IO_MAX; i++) free(feed->inputs[i]);
  *feed = (struct feed){.batch = 0};
}

static enum status wrong_array(const char *path, const struct npy *npy, const vitc_tensor *tensor, struct diag *diag) {
  char expected[160], found[160];
  tensor_shape_text(tensor, expected, sizeof expected);
  int used = snprintf(found, sizeof found, "(");
  for (int i = 0; i < npy->rank && used < (int)sizeof found; i++)
    used += snprintf(found + used, sizeof found - (size_t)used, "%s%" PRId64, i > 0 ? ", " : "", npy->dim[i]);
  return diag_fail(diag, STATUS_INPUT, "%s: is %s %s), expected %s %s for the input '%s'", path, npy_dtype_name(npy->dtype),
                   found, tensor->dtype == VITC_F32 ? "float32" : "uint8", expected, tensor->name);
}

/* The batch of an array that fits the tensor, or 0. */
static int64_t batch_of(const struct npy *npy, const vitc_tensor *tensor) {
  if (npy->dtype != (tensor->dtype == VITC_F32 ? NPY_F32 : NPY_U8) || npy->rank != (int)tensor->rank || npy->dim[0] <= 0)
    return 0;
  for (uint32_t i = 1; i < tensor->rank; i++)
    if (npy->dim[i] != tensor->dim[i]) return 0;
  return npy->dim[0] % tensor->dim[0] == 0 ? npy->dim[0] / tensor->dim[0] : 0;
}

enum status feed_npy(const vitc_model *model, const char *file, const struct word_list *paths, struct feed *out_feed,
                     struct diag *diag) {
  *out_feed = (struct feed){.batch = 0};
  if (paths->count != (int)model->input_count)
    return diag_fail(diag, STATUS_USAGE, "%s: has %" PRIu32 " inputs, but --input names %d files", file, model->input_count,
                     paths->count);
  for (int i = 0; i < paths->count; i++) {
    struct npy npy;
    TRY(npy_open(paths->words[i], &npy, diag));
    const vitc_tensor *tensor = &model->inputs[i];
    int64_t batch = batch_of(&npy, tensor);
    enum status status = STATUS_OK;
    if (batch == 0)
      status = wrong_array(paths->words[i], &npy, tensor, diag);
    else if (i == 0)
      status = alloc_feed(model, file, (size_t)batch, out_feed, diag);
    else if (batch != out_feed->batch)
      status = diag_fail(diag, STATUS_INPUT, "%s: holds %" PRId64 " images, %s holds %" PRIu32, paths->words[i], batch,
                         paths->words[0], out_feed->batch);
    if (status == STATUS_OK) memcpy(out_feed->inputs[i], npy.data, (size_t)batch * tensor->image_bytes);
    npy_close(&npy);
    TRY(status);
  }
  return STATUS_OK;
}

enum status check_image_input(const vitc_model *model, const char *file, struct diag *diag) {
  const vitc_tensor *tensor = &model->inputs[0];
  char shape[160];
  tensor_shape_text(tensor, shape, sizeof shape);
  uint32_t channels = tensor->dtype == VITC_F32 ? 1 : 3;
  if (model->input_count != 1 || tensor->rank != 4 || tensor->dim[0] != 1 || tensor->dim[channels] != 3)
    return diag_fail(diag, STATUS_INPUT, "%s: does not take images: its input '%s' is %s%s", file, tensor->name, shape,
                     model->input_count > 1 ? ", one of several" : "");
  if (model->preprocess.resize == VITC_RESIZE_UNKNOWN)
    return diag_fail(diag, STATUS_INPUT, "%s: says nothing of its preprocessing; give pixels with --input", file);
  return STATUS_OK;
}

/* Why an image that could be read is no input. Sizes are written as --image-size takes them. */
static enum status not_an_input(const vitc_model *model, const char *path, const vitc_image *image, vitc_image_status status,
                                struct diag *diag) {
  const vitc_tensor *tensor = &model->inputs[0];
  const int64_t *takes = tensor->dim + (tensor->dtype == VITC_U8 ? 1 : 2);
  uint32_t width, height, resize = model->preprocess.resize;
  vitc_image_status fit = vitc_image_fit_size(&model->preprocess, image->width, image->height, &width, &height);
  if (fit == VITC_IMAGE_E_SIZE)
    return diag_fail(diag, STATUS_INPUT, "%s: is %" PRIu32 "x%" PRIu32 ", of which the resize leaves no pixels, or too many",
                     path, image->height, image->width);
  if (fit != VITC_IMAGE_OK || (height == takes[0] && width == takes[1]))
    return diag_fail(diag, STATUS_INPUT, "%s: %s", path, vitc_image_status_text(status));
  if (resize == VITC_RESIZE_ASPECT || resize == VITC_RESIZE_LIMITED)
    return diag_fail(diag, STATUS_INPUT,
                     "%s: keeps its shape and comes out at %" PRIu32 "x%" PRIu32 ", but the model takes %" PRId64 "x%" PRId64
                     ": import it with --image-size %" PRIu32 "x%" PRIu32 " for such pictures",
                     path, height, width, takes[0], takes[1], height, width);
  return diag_fail(diag, STATUS_INPUT, "%s: comes out at %" PRIu32 "x%" PRIu32 ", but the model takes %" PRId64 "x%" PRId64,
                   path, height, width, takes[0], takes[1]);
}

enum status load_image_input(const vitc_model *model, const char *path, void *out_input, struct diag *diag) {
  vitc_image image = {0, 0, NULL};
  char detail[256] = "";
  vitc_image_status status = vitc_image_load(path, &image, detail, sizeof detail);
  bool loaded = status == VITC_IMAGE_OK;
  if (loaded) status = vitc_image_input(&image, model, out_input);
  enum status result = STATUS_OK;
  if (status == VITC_IMAGE_E_MEMORY)
    result = diag_fail(diag, STATUS_SYSTEM, "%s: %s", path, detail[0] != '\0' ? detail : vitc_image_status_text(status));
  else if (status != VITC_IMAGE_OK && loaded)
    result = not_an_input(model, path, &image, status, diag);
  else if (status != VITC_IMAGE_OK)
    result = diag_fail(diag, STATUS_INPUT, "%s: %s", path, detail[0] != '\0' ? detail : vitc_image_status_text(status));
  vitc_image_free(&image);
  return result;
}

enum status feed_images(const vitc_model *model, const char *file, const struct word_list *paths, struct feed *out_feed,
                        struct diag *diag) {
  *out_feed = (struct feed){.batch = 0};
  TRY(check_image_input(model, file, diag));
  TRY(alloc_feed(model, file, (size_t)paths->count, out_feed, diag));
  for (int i = 0; i < paths->count; i++)
    TRY(load_image_input(model, paths->words[i], (char *)out_feed->inputs[0] + (size_t)i * model->inputs[0].image_bytes, diag));
  return STATUS_OK;
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* Box and Muller's, one of the pair. */
static float next_normal(uint64_t *state) {
  double u = ((double)(next_random(state) >> 11) + 1) * 0x1p-53, v = (double)(next_random(state) >> 11) * 0x1p-53;
  return (float)(sqrt(-2 * log(u)) * cos(2 * M_PI * v));
}

enum status feed_random(const vitc_model *model, uint32_t batch, uint64_t seed, struct feed *out_feed, struct diag *diag) {
  TRY(alloc_feed(model, model->name, batch, out_feed, diag));
  for (uint32_t i = 0; i < model->input_count; i++) {
    size_t count = batch * tensor_elements(&model->inputs[i]);
    for (size_t k = 0; k < count; k++) {
      if (model->inputs[i].dtype == VITC_F32)
        ((float *)out_feed->inputs[i])[k] = next_normal(&seed);
      else
        ((uint8_t *)out_feed->inputs[i])[k] = (uint8_t)(next_random(&seed) >> 56);
    }
  }
  return STATUS_OK;
}

enum status results_alloc(const vitc_model *model, const char *file, uint32_t batch, struct results *out_results,
                          struct diag *diag) {
  *out_results = (struct results){.batch = batch};
  for (uint32_t i = 0; i < model->output_count; i++) {
    size_t bytes = model->outputs[i].image_bytes;
    if (model->outputs[i].dtype != VITC_F32)
      return diag_fail(diag, STATUS_INPUT, "%s: its output '%s' is uint8, expected float32", file, model->outputs[i].name);
    out_results->outputs[i] = batch > 0 && bytes <= PTRDIFF_MAX / batch ? malloc(batch * bytes) : NULL;
    if (out_results->outputs[i] == NULL)
      return diag_fail(diag, STATUS_SYSTEM, "%s: out of memory for the outputs of %" PRIu32 " images", file, batch);
  }
  return STATUS_OK;
}

void results_free(struct results *results) {
  for (int i = 0; i < VITC_IO_MAX; i++) free(results->outputs[i]);
  *results = (struct results){.batch = 0};
}

static enum status write_output(const vitc_tensor *tensor, const struct results *results, int index, const char *path,
                                struct diag *diag) {
  int64_t dim[VITC_RANK_MAX];
  for (uint32_t i = 0; i < tensor->rank; i++) dim[i] = tensor->dim[i];
  dim[0] *= results->batch;
  return npy_write(path, NPY_F32, (int)tensor->rank, dim, results->outputs[index], diag);
}

enum status results_write(const vitc_model *model, const struct results *results, const char *path, struct diag *diag) {
  if (model->output_count == 1) return write_output(&model->outputs[0], results, 0, path, diag);
  size_t stem = strlen(path);
  if (stem > 4 && strcmp(path + stem - 4, ".npy") == 0) stem -= 4;
  for (uint32_t i = 0; i < model->output_count; i++) {
    char *name = NULL;
    if (asprintf(&name, "%.*s.%s.npy", (int)stem, path, model->outputs[i].name) < 0)
      return diag_fail(diag, STATUS_SYSTEM, "out of memory");
    for (char *c = name + stem; *c != '\0'; c++)
      if (*c == '/') *c = '_'; /* a value's name in ONNX, not a folder */
    enum status status = write_output(&model->outputs[i], results, (int)i, name, diag);
    free(name);
    TRY(status);
  }
  return STATUS_OK;
}

void results_print(const vitc_model *model, const struct results *results) {
  for (uint32_t i = 0; i < model->output_count; i++) {
    size_t count = tensor_elements(&model->outputs[i]);
    for (uint32_t image = 0; image < results->batch; image++) {
      printf("%s[%" PRIu32 "]", model->outputs[i].name, image);
      for (size_t k = 0; k < count; k++) printf(" %.9g", (double)results->outputs[i][image * count + k]);
      putchar('\n');
    }
  }
}
