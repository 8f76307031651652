#include "huggingface/processor.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The defaults of the classes, by the names that they begin with. */
static const struct {
  const char *name;
  struct processor processor;
} known[] = {
    {"ViT", {.filter = VITC_BILINEAR, .size = 224}},
    {"DeiT", {.filter = VITC_BICUBIC, .size = 256, .crop = 224}},
    {"Beit", {.filter = VITC_BICUBIC, .size = 224}},
    {"Bit", {.filter = VITC_BICUBIC, .size = 224, .shortest = true, .crop = 224, .clip = true}},
    {"CLIP", {.filter = VITC_BICUBIC, .size = 224, .shortest = true, .crop = 224, .clip = true}},
    {"Siglip", {.filter = VITC_BICUBIC, .size = 224}},
    {"DPT", {.filter = VITC_BICUBIC, .size = 384, .aspect = true}},
    {"Sam", {.filter = VITC_BILINEAR, .size = 1024, .longest = true, .pad = 1024, .imagenet = true, .without_the_file = true}},
    {"Yolos",
     {.filter = VITC_BILINEAR,
      .size = 800,
      .shortest = true,
      .limit = 1333,
      .step = 16,
      .imagenet = true,
      .without_the_file = true}},
};

const struct processor *processor_of(const char *name) {
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(known[i].name, name) == 0) return &known[i].processor;
  return NULL;
}

/* That of the class that wrote the file, where it is one of these: "CLIPImageProcessorFast", "CLIPFeatureExtractor". */
static enum status written_by(const struct config *config, const struct processor **processor) {
  const char *name = NULL;
  TRY(config_text(config, "feature_extractor_type", &name));
  TRY(config_text(config, "image_processor_type", &name));
  for (size_t i = 0; i < sizeof known / sizeof *known && name; i++) {
    size_t length = strlen(known[i].name);
    bool same = strncmp(name, known[i].name, length) == 0;
    if (same && (strncmp(name + length, "Image", 5) == 0 || strncmp(name + length, "Feature", 7) == 0))
      *processor = &known[i].processor;
  }
  return STATUS_OK;
}

/* The sizes of an object: {"height": h, "width": w}, or edges. */
static enum status read_edges(const struct config *config, const char *key, const struct processor *processor,
                              struct vitc_preprocess *preprocess) {
  int64_t height = 0, width = 0, shortest = 0, longest = 0;
  struct config size;
  TRY(config_child(config, key, &size));
  TRY(config_integer(&size, "shortest_edge", 1, CONFIG_IMAGE_MAX, &shortest));
  TRY(config_integer(&size, "longest_edge", 1, CONFIG_IMAGE_MAX, &longest));
  TRY(config_integer(&size, "height", 1, CONFIG_IMAGE_MAX, &height));
  TRY(config_integer(&size, "width", 1, CONFIG_IMAGE_MAX, &width));
  bool both = shortest != 0 && longest != 0;
  if (processor->longest && (longest == 0 || shortest != 0)) return config_reject(config, key, "longest_edge");
  if (processor->longest) {
    height = width = longest;
  } else if (processor->limit != 0 && both) {
    preprocess->resize = VITC_RESIZE_LIMITED;
    height = shortest;
    width = longest;
  } else if (height != 0 && width != 0) {
    preprocess->resize = VITC_RESIZE_EXACT;
  } else {
    if (processor->limit != 0) return config_reject(config, key, "height and width, or shortest_edge and longest_edge");
    if (shortest == 0 || longest != 0) return config_reject(config, key, "height and width, or shortest_edge alone");
    preprocess->resize = VITC_RESIZE_SHORTEST;
    height = width = shortest;
  }
  preprocess->resize_height = (uint32_t)height;
  preprocess->resize_width = (uint32_t)width;
  return STATUS_OK;
}

/* The older single number means what the class's own size is of. */
static enum status read_size(const struct config *config, const struct processor *processor,
                             struct vitc_preprocess *preprocess) {
  const cJSON *item = config_get(config, "size");
  int64_t size = processor->size, limit = processor->limit;
  preprocess->resize = processor->longest    ? VITC_RESIZE_LONGEST
                       : limit != 0          ? VITC_RESIZE_LIMITED
                       : processor->shortest ? VITC_RESIZE_SHORTEST
                                             : VITC_RESIZE_EXACT;
  if (cJSON_IsObject(item)) return read_edges(config, "size", processor, preprocess);
  TRY(config_integer(config, "size", 1, CONFIG_IMAGE_MAX, &size));
  if (limit != 0) TRY(config_integer(config, "max_size", 1, CONFIG_IMAGE_MAX, &limit));
  preprocess->resize_height = (uint32_t)size;
  preprocess->resize_width = (uint32_t)(limit != 0 ? limit : size);
  return STATUS_OK;
}

static enum status read_crop_size(const struct config *config, int64_t otherwise, struct vitc_preprocess *preprocess) {
  static const struct processor any = {.size = 0};
  struct vitc_preprocess crop = {.resize_height = (uint32_t)otherwise, .resize_width = (uint32_t)otherwise};
  const cJSON *item = config_get(config, "crop_size");
  if (cJSON_IsObject(item)) {
    TRY(read_edges(config, "crop_size", &any, &crop));
  } else {
    TRY(config_integer(config, "crop_size", 1, CONFIG_IMAGE_MAX, &otherwise));
    crop.resize_height = crop.resize_width = (uint32_t)otherwise;
  }
  preprocess->crop_height = crop.resize_height;
  preprocess->crop_width = crop.resize_width;
  return STATUS_OK;
}

/* DPT's: both sizes are rounded to multiples, and may only be what the picture is scaled towards. */
static enum status read_aspect(const struct config *config, struct vitc_preprocess *preprocess) {
  bool keep = false;
  int64_t multiple = 1;
  TRY(config_flag(config, "keep_aspect_ratio", &keep));
  TRY(config_integer(config, "ensure_multiple_of", 1, CONFIG_IMAGE_MAX, &multiple));
  if (keep) {
    preprocess->resize = VITC_RESIZE_ASPECT;
    preprocess->crop_height = preprocess->crop_width = (uint32_t)multiple;
    return STATUS_OK;
  }
  double step = (double)multiple, height = rint(preprocess->resize_height / step),
         width = rint(preprocess->resize_width / step);
  if (height == 0 || width == 0) return config_reject(config, "ensure_multiple_of", "no more than twice the size");
  preprocess->resize_height = (uint32_t)(height * step);
  preprocess->resize_width = (uint32_t)(width * step);
  return STATUS_OK;
}

/* Pictures that a resize has given one size have nothing to pad, unless a size for that is named. */
static enum status read_pad(const struct config *config, const struct processor *processor,
                            struct vitc_preprocess *preprocess) {
  bool do_pad = processor->pad != 0;
  int64_t height = processor->pad, width = processor->pad;
  struct config size;
  TRY(config_flag(config, "do_pad", &do_pad));
  if (!do_pad) return STATUS_OK;
  if (!processor->longest)
    return config_get(config, "pad_size") ? config_reject(config, "pad_size", "none for pictures of this processor")
                                          : STATUS_OK;
  TRY(config_child(config, "pad_size", &size));
  TRY(config_integer(&size, "height", 1, CONFIG_IMAGE_MAX, &height));
  TRY(config_integer(&size, "width", 1, CONFIG_IMAGE_MAX, &width));
  if (height < preprocess->resize_height || width < preprocess->resize_width)
    return config_reject(config, "pad_size", "height and width that are no less than the longest edge");
  if (preprocess->resize == VITC_RESIZE_NONE)
    return config_reject(config, "do_resize", "true, as any picture is to fit the padded size");
  preprocess->crop_floor = VITC_CROP_PAD;
  preprocess->crop_height = (uint32_t)height;
  preprocess->crop_width = (uint32_t)width;
  return STATUS_OK;
}

static enum status read_filter(const struct config *config, struct vitc_preprocess *preprocess) {
  static const int filters[] = {VITC_NEAREST, VITC_LANCZOS, VITC_BILINEAR, VITC_BICUBIC}; /* Pillow's numbers */
  int64_t resample = -1;
  TRY(config_integer(config, "resample", 0, 3, &resample));
  if (resample >= 0) preprocess->filter = (uint32_t)filters[resample];
  return STATUS_OK;
}

static enum status read_geometry(const struct config *config, const struct processor *processor,
                                 struct vitc_preprocess *preprocess) {
  bool do_resize = true, do_crop = processor->crop != 0;
  *preprocess = (struct vitc_preprocess){
      .filter = processor->filter, .crop_floor = VITC_CROP_FLOOR, .arithmetic = VITC_ARITHMETIC_TRANSFORMERS};
  TRY(config_flag(config, "do_resize", &do_resize));
  TRY(config_flag(config, "do_center_crop", &do_crop));
  TRY(read_filter(config, preprocess));
  TRY(read_size(config, processor, preprocess));
  if (preprocess->resize == VITC_RESIZE_LIMITED) preprocess->crop_height = preprocess->crop_width = (uint32_t)processor->step;
  if (processor->aspect) TRY(read_aspect(config, preprocess));
  bool shortest = preprocess->resize == VITC_RESIZE_SHORTEST;
  if (do_crop && preprocess->resize > VITC_RESIZE_EXACT)
    return config_reject(config, "do_center_crop", "false, as pictures keep their shape");
  if (!do_resize) {
    preprocess->resize = VITC_RESIZE_NONE;
    preprocess->crop_height = preprocess->crop_width = 0;
  }
  if (do_crop) return read_crop_size(config, processor->crop != 0 ? processor->crop : 224, preprocess);
  if (shortest)
    return config_reject(config, "do_center_crop", "true, as a resize by the shortest edge leaves pictures of any shape");
  return read_pad(config, processor, preprocess);
}

static enum status read_arithmetic(const struct config *config, const struct processor *processor,
                                   struct vitc_preprocess *preprocess) {
  static const double means[][3] = {{0.5, 0.5, 0.5}, {0.485, 0.456, 0.406}, {0.48145466, 0.4578275, 0.40821073}};
  static const double deviations[][3] = {{0.5, 0.5, 0.5}, {0.229, 0.224, 0.225}, {0.26862954, 0.26130258, 0.27577711}};
  int constants = processor->clip ? 2 : processor->imagenet ? 1 : 0;
  bool do_rescale = true, do_normalize = true;
  preprocess->rescale = 1.0 / 255;
  for (int i = 0; i < 3; i++) {
    preprocess->mean[i] = means[constants][i];
    preprocess->std[i] = deviations[constants][i];
  }
  TRY(config_flag(config, "do_rescale", &do_rescale));
  TRY(config_flag(config, "do_normalize", &do_normalize));
  TRY(config_real(config, "rescale_factor", 1e-9, 1e9, &preprocess->rescale));
  TRY(config_rgb(config, "image_mean", -1000, 1000, preprocess->mean));
  TRY(config_rgb(config, "image_std", 1e-6, 1000, preprocess->std));
  if (!do_rescale) preprocess->rescale = 1;
  if (do_normalize) return STATUS_OK;
  for (int i = 0; i < 3; i++) {
    preprocess->mean[i] = 0;
    preprocess->std[i] = 1;
  }
  return STATUS_OK;
}

/* Not an error, as transformers takes such a folder too, but its model then needs interpolate_pos_encoding. */
static void warn_other_size(const char *file, const struct vitc_preprocess *preprocess, const int64_t *size) {
  bool crop = preprocess->crop_height != 0;
  int64_t height = crop ? preprocess->crop_height : preprocess->resize_height;
  int64_t width = crop ? preprocess->crop_width : preprocess->resize_width;
  if (height == size[0] && width == size[1]) return;
  fprintf(stderr, "vitc: %s: pictures of %lldx%lld, but image_size is %lldx%lld: scaled to the model's\n", file,
          (long long)height, (long long)width, (long long)size[0], (long long)size[1]);
}

/* A model has one size, but these processors make pictures of many. */
static void warn_kept_shape(const struct import *import, const char *file, const struct vitc_preprocess *preprocess,
                            const int64_t *size) {
  const struct import_options *options = import->options;
  bool other = options->image_height != 0, limited = preprocess->resize == VITC_RESIZE_LIMITED;
  fprintf(stderr,
          "vitc: %s: pictures keep their shape (%s %ux%u, in steps of %u): this model takes those that come out at %lldx%lld; "
          "import with another --image-size for others\n",
          file, limited ? "shortest and longest edge" : "towards", preprocess->resize_height, preprocess->resize_width,
          preprocess->crop_height, (long long)(other ? options->image_height : size[0]),
          (long long)(other ? options->image_width : size[1]));
}

static enum status read_processor(const struct import *import, const struct config *config, const struct processor *processor,
                                  const int64_t *size, struct vitc_preprocess *out_preprocess) {
  TRY(written_by(config, &processor));
  if (processor == NULL) {
    fprintf(stderr, "vitc: %s: not imported, as its class is not known; prepare the pixels yourself\n", config->file);
    return STATUS_OK;
  }
  TRY(read_geometry(config, processor, out_preprocess));
  TRY(read_arithmetic(config, processor, out_preprocess));
  if (out_preprocess->resize == VITC_RESIZE_ASPECT || out_preprocess->resize == VITC_RESIZE_LIMITED)
    warn_kept_shape(import, config->file, out_preprocess, size);
  else
    warn_other_size(config->file, out_preprocess, size);
  return STATUS_OK;
}

static bool exists(const struct import *import, const char *name) {
  struct stat info;
  return stat(arena_printf(import->arena, "%s/%s", import->source, name), &info) == 0;
}

/* In the order in which transformers looks. A config without members where neither is there. */
enum status processor_open(const struct import *import, struct config *out_file, struct config *out_processor,
                           bool *out_found) {
  const char *name = "preprocessor_config.json", *newer = "processor_config.json";
  *out_file = (struct config){.file = import->source, .where = "", .arena = import->arena, .diag = import->diag};
  *out_processor = *out_file;
  *out_found = false;
  if (exists(import, newer)) {
    TRY(config_open(import->source, newer, import->arena, out_file, import->diag));
    TRY(config_child(out_file, "image_processor", out_processor));
    *out_found = out_processor->json != NULL;
  }
  if (*out_found || !exists(import, name)) return STATUS_OK;
  config_close(out_file);
  TRY(config_open(import->source, name, import->arena, out_file, import->diag));
  *out_processor = *out_file;
  *out_found = true;
  return STATUS_OK;
}

enum status processor_read(const struct import *import, const struct processor *processor, const int64_t *size,
                           struct vitc_preprocess *out_preprocess) {
  struct config file, config;
  bool found;
  enum status status = processor_open(import, &file, &config, &found);
  if (status == STATUS_OK && (found || (processor && processor->without_the_file)))
    status = read_processor(import, &config, processor, size, out_preprocess);
  config_close(&file);
  return status;
}
