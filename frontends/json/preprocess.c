#include "json/reader.h"

#include <math.h>
#include <string.h>

enum { SIDE_MAX = 16384, LABELS_MAX = 1 << 20 };

struct word {
  const char *name;
  uint32_t number;
};

static const struct word resizes[] = {{"none", VITC_RESIZE_NONE},
                                      {"shortest", VITC_RESIZE_SHORTEST},
                                      {"exact", VITC_RESIZE_EXACT},
                                      {"longest", VITC_RESIZE_LONGEST},
                                      {"keep_aspect", VITC_RESIZE_ASPECT},
                                      {"limited", VITC_RESIZE_LIMITED},
                                      {NULL, 0}};
static const struct word filters[] = {
    {"nearest", VITC_NEAREST}, {"bilinear", VITC_BILINEAR}, {"bicubic", VITC_BICUBIC}, {"lanczos", VITC_LANCZOS}, {NULL, 0}};
static const struct word roundings[] = {{"half_even", 0}, {"floor", 1}, {NULL, 0}};
static const struct word arithmetics[] = {{"torchvision", VITC_ARITHMETIC_TORCHVISION},
                                          {"transformers", VITC_ARITHMETIC_TRANSFORMERS},
                                          {"float", VITC_ARITHMETIC_FLOAT},
                                          {NULL, 0}};

/* One of the words; absent is `otherwise`, or an error when that is NULL. */
static enum status read_word(const struct reader *r, const cJSON *object, const char *key, const struct word *words,
                             const char *otherwise, uint32_t *out_number) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
  const char *text = cJSON_IsString(item) ? item->valuestring : item ? "" : otherwise;
  char expected[128] = "";
  for (const struct word *word = words; word->name; word++) {
    if (text && !strcmp(word->name, text)) {
      *out_number = word->number;
      return STATUS_OK;
    }
    size_t used = strlen(expected);
    snprintf(expected + used, sizeof expected - used, "%s\"%s\"", used ? ", " : "", word->name);
  }
  return reject(r, "preprocess.%s: expected one of %s", key, expected);
}

static bool read_side(const cJSON *item, uint32_t *out_side) {
  int64_t side;
  if (!json_integer(item, &side) || side < 1 || side > SIDE_MAX) return false;
  *out_side = (uint32_t)side;
  return true;
}

static bool read_sides(const cJSON *array, uint32_t *out_height, uint32_t *out_width) {
  return cJSON_IsArray(array) && cJSON_GetArraySize(array) == 2 && read_side(cJSON_GetArrayItem(array, 0), out_height) &&
         read_side(cJSON_GetArrayItem(array, 1), out_width);
}

static bool keeps_aspect(const struct vitc_preprocess *p) {
  return p->resize == VITC_RESIZE_ASPECT || p->resize == VITC_RESIZE_LIMITED;
}

static enum status read_size(const struct reader *r, const cJSON *object, struct vitc_preprocess *p) {
  static const char *const expected[] = {[VITC_RESIZE_SHORTEST] = "the shortest edge, or [height, width] to cover",
                                         [VITC_RESIZE_EXACT] = "[height, width]",
                                         [VITC_RESIZE_LONGEST] = "the longest edge, or [height, width] to stay within",
                                         [VITC_RESIZE_ASPECT] = "[height, width]",
                                         [VITC_RESIZE_LIMITED] = "[shortest edge, longest edge at most]"};
  const cJSON *size = cJSON_GetObjectItemCaseSensitive(object, "size");
  bool edge = p->resize == VITC_RESIZE_SHORTEST || p->resize == VITC_RESIZE_LONGEST;
  if (p->resize == VITC_RESIZE_NONE)
    return size && !cJSON_IsNull(size) ? reject(r, "preprocess.size: resize \"none\" has no size") : STATUS_OK;
  if (edge && read_side(size, &p->resize_height)) {
    p->resize_width = p->resize_height;
    return STATUS_OK;
  }
  if (read_sides(size, &p->resize_height, &p->resize_width)) return STATUS_OK;
  return reject(r, "preprocess.size: expected %s, integers from 1 to %d", expected[p->resize], SIDE_MAX);
}

/* "crop", or in its place "pad" or "multiple", which have the same fields. */
static enum status read_crop(const struct reader *r, const cJSON *object, struct vitc_preprocess *p) {
  const cJSON *crop = cJSON_GetObjectItemCaseSensitive(object, "crop"), *pad = cJSON_GetObjectItemCaseSensitive(object, "pad");
  const cJSON *multiple = cJSON_GetObjectItemCaseSensitive(object, "multiple");
  bool has_crop = crop && !cJSON_IsNull(crop), has_pad = pad && !cJSON_IsNull(pad);
  TRY(read_word(r, object, "crop_rounding", roundings, "half_even", &p->crop_floor));
  if (multiple && !keeps_aspect(p)) return reject(r, "preprocess.multiple: only of resize \"keep_aspect\" and \"limited\"");
  if (multiple && !read_side(multiple, &p->crop_height))
    return reject(r, "preprocess.multiple: expected an integer from 1 to %d", SIDE_MAX);
  p->crop_width = p->crop_height;
  if (has_pad && p->resize != VITC_RESIZE_LONGEST) return reject(r, "preprocess.pad: only of resize \"longest\"");
  if (has_crop && (has_pad || keeps_aspect(p)))
    return reject(r, "preprocess.crop: not beside %s", has_pad ? "\"pad\"" : "this resize, whose images keep their shape");
  if (has_crop && !read_sides(crop, &p->crop_height, &p->crop_width))
    return reject(r, "preprocess.crop: expected null or [height, width], integers from 1 to %d", SIDE_MAX);
  if (!has_pad) return STATUS_OK;
  if (!read_sides(pad, &p->crop_height, &p->crop_width))
    return reject(r, "preprocess.pad: expected null or [height, width], integers from 1 to %d", SIDE_MAX);
  p->crop_floor = VITC_CROP_PAD;
  if (p->crop_height >= p->resize_height && p->crop_width >= p->resize_width) return STATUS_OK;
  return reject(r, "preprocess.pad: %u x %u is smaller than the images of up to %u x %u", p->crop_height, p->crop_width,
                p->resize_height, p->resize_width);
}

static enum status read_channels(const struct reader *r, const cJSON *object, const char *key, bool positive, double *out) {
  const cJSON *array = cJSON_GetObjectItemCaseSensitive(object, key);
  for (int i = 0; i < 3; i++) {
    const cJSON *item = cJSON_GetArrayItem(array, i);
    if (!cJSON_IsArray(array) || cJSON_GetArraySize(array) != 3 || !cJSON_IsNumber(item) || fabs(item->valuedouble) > 1e6 ||
        (positive && item->valuedouble < 1e-6))
      return reject(r, "preprocess.%s: expected three numbers%s, of red, green and blue", key, positive ? " above 0" : "");
    out[i] = item->valuedouble;
  }
  return STATUS_OK;
}

/* The images that come out have the size that the graph's first input takes: (N, C, H, W) of float32 or (N, H, W, C) of uint8.
 */
static enum status check_image(const struct reader *r, const struct vitc_preprocess *p) {
  const struct value *input = r->graph->inputs[0];
  bool exact = p->resize == VITC_RESIZE_EXACT, crop = p->crop_height != 0;
  int64_t height = crop ? p->crop_height : p->resize_height, width = crop ? p->crop_width : p->resize_width;
  int rows = input->dtype == DTYPE_U8 ? 1 : 2;
  if (input->dtype == DTYPE_U8 && p->crop_floor == VITC_CROP_PAD)
    return reject(r, "preprocess.pad: zeros after normalisation, which the uint8 input \"%s\" cannot hold", input->name);
  if (input->shape.rank != 4 || keeps_aspect(p) || (!crop && !exact)) return STATUS_OK;
  if (input->shape.dim[rows] == height && input->shape.dim[rows + 1] == width) return STATUS_OK;
  return reject(r, "preprocess: makes images of %lld x %lld, but input \"%s\" is %lld x %lld", (long long)height,
                (long long)width, input->name, (long long)input->shape.dim[rows], (long long)input->shape.dim[rows + 1]);
}

enum status reader_preprocess(const struct reader *r, const cJSON *object) {
  static const char *const keys[] = {"resize",   "size",       "filter",  "crop", "crop_rounding", "pad",
                                     "multiple", "arithmetic", "rescale", "mean", "std",           NULL};
  struct vitc_preprocess *p = &r->graph->preprocess;
  if (!object || cJSON_IsNull(object)) return STATUS_OK;
  if (!cJSON_IsObject(object)) return reject(r, "preprocess: expected an object, found %s", json_kind(object));
  TRY(reader_check_keys(r, object, "preprocess: ", keys));
  TRY(read_word(r, object, "resize", resizes, NULL, &p->resize));
  TRY(read_size(r, object, p));
  TRY(read_word(r, object, "filter", filters, p->resize == VITC_RESIZE_NONE ? "nearest" : NULL, &p->filter));
  TRY(read_crop(r, object, p));
  TRY(read_word(r, object, "arithmetic", arithmetics, "torchvision", &p->arithmetic));
  bool smooth = p->filter == VITC_BILINEAR || p->filter == VITC_BICUBIC;
  if (p->arithmetic == VITC_ARITHMETIC_FLOAT && p->resize != VITC_RESIZE_NONE && !smooth)
    return reject(r, "preprocess.filter: floats are resized \"bilinear\" or \"bicubic\"");
  const cJSON *rescale = cJSON_GetObjectItemCaseSensitive(object, "rescale");
  p->rescale = rescale ? rescale->valuedouble : 1.0 / 255;
  if (rescale && (!cJSON_IsNumber(rescale) || !(p->rescale > 0 && p->rescale <= 1e6)))
    return reject(r, "preprocess.rescale: expected a number above 0");
  TRY(read_channels(r, object, "mean", false, p->mean));
  TRY(read_channels(r, object, "std", true, p->std));
  return check_image(r, p);
}

enum status reader_labels(const struct reader *r, const cJSON *array) {
  struct graph *graph = r->graph;
  if (!array || cJSON_IsNull(array)) return STATUS_OK;
  if (!cJSON_IsArray(array)) return reject(r, "labels: expected an array, found %s", json_kind(array));
  int count = cJSON_GetArraySize(array);
  const struct value *output = graph->outputs[0];
  int64_t classes = output->shape.rank ? output->shape.dim[output->shape.rank - 1] : 1;
  if (count > LABELS_MAX || count != classes)
    return reject(r, "labels: %d labels for the %lld classes of \"%s\"", count, (long long)classes, output->name);
  graph->labels = arena_array(graph->arena, (size_t)count, sizeof(const char *));
  const cJSON *item;
  cJSON_ArrayForEach(item, array) {
    if (!cJSON_IsString(item)) return reject(r, "labels[%d]: expected a string, found %s", graph->label_count, json_kind(item));
    graph->labels[graph->label_count++] = arena_strdup(graph->arena, item->valuestring);
  }
  return STATUS_OK;
}
