#include "cmd/feed.h"
#include "cmd/inspect.h"
#include "driver_json.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

static void print_tensors(const char *title, const vitc_tensor *tensors, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    char shape[160];
    tensor_shape_text(&tensors[i], shape, sizeof shape);
    printf("%-12s %s: %s %s\n", title, tensors[i].name, tensors[i].dtype == VITC_F32 ? "float32" : "uint8", shape);
  }
}

static const char *const filters[] = {"nearest", "bilinear", "bicubic", "lanczos"};
static const char *const resizes[] = {"unknown", "none", "shortest edge", "exact", "longest edge", "keep aspect", "limited"};

static void print_preprocess(const vitc_preprocess *preprocess) {
  uint32_t resize = preprocess->resize;
  if (resize == VITC_RESIZE_UNKNOWN || resize > VITC_RESIZE_LIMITED || preprocess->filter > VITC_LANCZOS) return;
  printf("%-12s resize %s %" PRIu32 "x%" PRIu32 " %s", "preprocess", resizes[resize], preprocess->resize_height,
         preprocess->resize_width, filters[preprocess->filter]);
  bool steps = resize == VITC_RESIZE_ASPECT || resize == VITC_RESIZE_LIMITED;
  const char *what = steps ? "in steps of" : preprocess->crop_floor == VITC_CROP_PAD ? "padded to" : "crop";
  if (preprocess->crop_height > 0) printf(", %s %" PRIu32 "x%" PRIu32, what, preprocess->crop_height, preprocess->crop_width);
  printf(", mean %g %g %g, std %g %g %g\n", preprocess->mean[0], preprocess->mean[1], preprocess->mean[2], preprocess->std[0],
         preprocess->std[1], preprocess->std[2]);
}

static void print_sections(const struct loaded *loaded) {
  for (uint32_t i = 1; i < loaded->object.section_count; i++) {
    const struct elf_section *section = &loaded->object.sections[i];
    if (elf_allocated(section))
      printf("%-12s %s: %" PRIu64 " bytes at %" PRIu64 " of the file%s\n", "section", section->name, section->size,
             section->offset, elf_executable(section) ? ", code" : "");
  }
}

void inspect_object(const struct loaded *loaded, const struct account *account) {
  const vitc_model *model = &loaded->model;
  printf("%-12s %s (%s)\n", "model", model->name, loaded->object.path);
  printf("%-12s %s\n", "precision", model->precision);
  print_tensors("input", model->inputs, model->input_count);
  print_tensors("output", model->outputs, model->output_count);
  printf("%-12s up to %" PRIu32 "\n", "batch", model->batch_max);
  printf("%-12s %zu bytes\n", "arena", model->arena_bytes);
  printf("%-12s %" PRIu64 " bytes, %s, hash %016" PRIx64 "\n", "weights", model->weights_bytes,
         model->weights_external != 0 ? "external" : "in the object", model->weights_hash);
  print_preprocess(&model->preprocess);
  if (model->label_count > 0) printf("%-12s %" PRIu32 "\n", "labels", model->label_count);
  fputs("CPU paths   ", stdout);
  for (int i = 0; load_level_at(loaded, i) != NULL; i++) printf(" %s", load_level_at(loaded, i));
  putchar('\n');
  print_sections(loaded);
  printf("%-12s %s\n", "profile", load_profiled(loaded, NULL) != NULL ? "counts the ticks of its phases" : "none");
  if (account != NULL) inspect_account(account);
}

static void print_json_tensors(const char *key, const vitc_tensor *tensors, uint32_t count) {
  printf("\"%s\":[", key);
  for (uint32_t i = 0; i < count; i++) {
    fputs(i > 0 ? ",{\"name\":" : "{\"name\":", stdout);
    json_string(stdout, tensors[i].name);
    printf(",\"dtype\":\"%s\",\"shape\":[", tensors[i].dtype == VITC_F32 ? "float32" : "uint8");
    for (uint32_t k = 0; k < tensors[i].rank; k++) printf("%s%" PRId64, k > 0 ? "," : "", tensors[i].dim[k]);
    fputs("]}", stdout);
  }
  fputs("],\n", stdout);
}

void inspect_object_json(const struct loaded *loaded) {
  const vitc_model *model = &loaded->model;
  fputs("{\"name\":", stdout);
  json_string(stdout, model->name);
  fputs(",\"precision\":", stdout);
  json_string(stdout, model->precision);
  printf(",\"batch_max\":%" PRIu32 ",\"arena_bytes\":%zu,\"weights_bytes\":%" PRIu64 ",\"weights_external\":%s,"
         "\"weights_hash\":\"%016" PRIx64 "\",\"labels\":%" PRIu32 ",\n",
         model->batch_max, model->arena_bytes, model->weights_bytes, model->weights_external != 0 ? "true" : "false",
         model->weights_hash, model->label_count);
  print_json_tensors("inputs", model->inputs, model->input_count);
  print_json_tensors("outputs", model->outputs, model->output_count);
  fputs("\"cpu_paths\":[", stdout);
  for (int i = 0; load_level_at(loaded, i) != NULL; i++) {
    if (i > 0) putchar(',');
    json_string(stdout, load_level_at(loaded, i));
  }
  printf("],\n\"profile\":%s,\"sections\":[", load_profiled(loaded, NULL) != NULL ? "true" : "false");
  const char *separator = "";
  for (uint32_t i = 1; i < loaded->object.section_count; i++) {
    const struct elf_section *section = &loaded->object.sections[i];
    if (!elf_allocated(section)) continue;
    printf("%s{\"name\":", separator);
    json_string(stdout, section->name);
    printf(",\"bytes\":%" PRIu64 ",\"offset\":%" PRIu64 ",\"code\":%s}", section->size, section->offset,
           elf_executable(section) ? "true" : "false");
    separator = ",";
  }
  printf("],\n\"info\":%s}\n", model->info != NULL ? model->info : "null");
}
