#include "huggingface/processor.h"

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
};

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

/* {"height": h, "width": w}, {"shortest_edge": s}, or the older single number, which means what the class's own size is of. */
static enum status read_size(const struct config *config, const char *key, uint32_t *out_height, uint32_t *out_width,
                             bool *out_shortest) {
  const cJSON *item = config_get(config, key);
  int64_t height = *out_height, width = *out_width, shortest = 0;
  struct config size;
  if (!item) return STATUS_OK;
  if (cJSON_IsObject(item)) {
    TRY(config_child(config, key, &size));
    TRY(config_integer(&size, "shortest_edge", 1, CONFIG_IMAGE_MAX, &shortest));
    height = width = shortest;
    TRY(config_integer(&size, "height", 1, CONFIG_IMAGE_MAX, &height));
    TRY(config_integer(&size, "width", 1, CONFIG_IMAGE_MAX, &width));
    *out_shortest = shortest != 0;
  } else {
    TRY(config_integer(config, key, 1, CONFIG_IMAGE_MAX, &height));
    width = height;
  }
  if (height == 0 || width == 0) return config_reject(config, key, "height and width, or shortest_edge");
  *out_height = (uint32_t)height;
  *out_width = (uint32_t)width;
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
  bool do_resize = true, do_crop = processor->crop != 0, shortest = processor->shortest, crop_shortest = false;
  uint32_t size = (uint32_t)processor->size, crop = (uint32_t)processor->crop;
  *preprocess = (struct vitc_preprocess){.filter = processor->filter,
                                         .crop_floor = 1,
                                         .arithmetic = VITC_ARITHMETIC_TRANSFORMERS,
                                         .resize_height = size,
                                         .resize_width = size,
                                         .crop_height = crop ? crop : 224,
                                         .crop_width = crop ? crop : 224};
  TRY(config_flag(config, "do_resize", &do_resize));
  TRY(config_flag(config, "do_center_crop", &do_crop));
  TRY(read_filter(config, preprocess));
  TRY(read_size(config, "size", &preprocess->resize_height, &preprocess->resize_width, &shortest));
  TRY(read_size(config, "crop_size", &preprocess->crop_height, &preprocess->crop_width, &crop_shortest));
  preprocess->resize = !do_resize ? VITC_RESIZE_NONE : shortest ? VITC_RESIZE_SHORTEST : VITC_RESIZE_EXACT;
  if (do_crop) return STATUS_OK;
  preprocess->crop_height = preprocess->crop_width = 0;
  if (shortest)
    return config_reject(config, "do_center_crop", "true, as a resize by the shortest edge leaves pictures of any shape");
  return STATUS_OK;
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

enum status processor_read(const struct import *import, const struct processor *processor, const int64_t *size,
                           struct vitc_preprocess *out_preprocess) {
  struct stat info;
  struct config config;
  const char *folder = import->source, *name = "preprocessor_config.json";
  if (stat(arena_printf(import->arena, "%s/%s", folder, name), &info) != 0) return STATUS_OK;
  enum status status = config_open(folder, name, import->arena, &config, import->diag);
  if (status == STATUS_OK) status = written_by(&config, &processor);
  if (status == STATUS_OK) status = read_geometry(&config, processor, out_preprocess);
  if (status == STATUS_OK) status = read_arithmetic(&config, processor, out_preprocess);
  if (status == STATUS_OK) warn_other_size(config.file, out_preprocess, size);
  config_close(&config);
  return status;
}
