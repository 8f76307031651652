/* Classifies image files with one compiled model, whichever it is: everything about it comes from its descriptor.
 *
 *   cc -O2 -Iruntime/include -DMODEL=digits -include digits.h examples/classify/classify.c digits.o build/libvitc_runtime.a \
 *      -ljpeg -lpng -lwebp -lpthread -lm -o classify
 *   ./classify IMAGE... */
#include "vitc/host.h"
#include "vitc/image.h"
#include "vitc/threads.h"

#include <stdio.h>
#include <stdlib.h>

#define PASTE(name, part) name##part
#define DESCRIBE(name) PASTE(name, _describe)

enum { TOP = 3 };

static void print_top(const vitc_model *model, const char *path, const float *logits, float *probabilities, size_t classes) {
  uint32_t top[TOP];
  size_t count = classes < TOP ? classes : TOP;
  vitc_softmax(logits, classes, probabilities);
  vitc_top_k(probabilities, classes, count, top);
  printf("%s:", path);
  for (size_t i = 0; i < count; i++) {
    const char *label = vitc_label(model, top[i]);
    if (label) {
      printf("  %s %.1f%%", label, 100 * (double)probabilities[top[i]]);
    } else {
      printf("  class %u %.1f%%", top[i], 100 * (double)probabilities[top[i]]);
    }
  }
  printf("\n");
}

/* The image's pixels as the model wants them, resized, cropped and normalised. */
static int read_input(const vitc_model *model, const char *path, void *input) {
  char detail[160] = "";
  vitc_image image;
  vitc_image_status status = vitc_image_load(path, &image, detail, sizeof detail);
  if (status == VITC_IMAGE_OK) {
    status = vitc_image_input(&image, model, input);
    vitc_image_free(&image);
  }
  if (status == VITC_IMAGE_OK) return 0;
  fprintf(stderr, "%s: %s%s%s\n", path, vitc_image_status_text(status), detail[0] ? ": " : "", detail);
  return -1;
}

int main(int argc, char **argv) {
  vitc_model model;
  if (DESCRIBE(MODEL)(&model, VITC_ABI_VERSION) != VITC_OK) {
    fprintf(stderr, "this program and its model were built for different versions of vitc\n");
    return 1;
  }
  size_t classes = model.outputs[0].image_bytes / sizeof(float);
  void *input = vitc_arena_alloc(model.inputs[0].image_bytes);
  void *arena = vitc_arena_alloc(model.arena_bytes);
  float *outputs[VITC_IO_MAX] = {0};
  for (uint32_t i = 0; i < model.output_count; i++) outputs[i] = malloc(model.outputs[i].image_bytes);
  float *probabilities = malloc(classes * sizeof(float));
  vitc_pool *pool = vitc_pool_create(vitc_cpu_count());
  if (!input || !arena || !outputs[0] || !probabilities || !pool) {
    fprintf(stderr, "out of memory\n");
    return 1;
  }

  vitc_parallel parallel = vitc_pool_parallel(pool);
  int failures = 0;
  for (int i = 1; i < argc; i++) {
    if (read_input(&model, argv[i], input) != 0) {
      failures++;
      continue;
    }
    vitc_args args = {.inputs = (const void *const[]){input},
                      .outputs = (void *const *)outputs,
                      .batch = 1,
                      .arena = arena,
                      .parallel = &parallel};
    int status = model.run(&args);
    if (status != VITC_OK) {
      fprintf(stderr, "%s: the model returned %d\n", argv[i], status);
      failures++;
      continue;
    }
    print_top(&model, argv[i], outputs[0], probabilities, classes);
  }

  vitc_pool_destroy(pool);
  for (uint32_t i = 0; i < model.output_count; i++) free(outputs[i]);
  free(probabilities);
  vitc_arena_free(arena, model.arena_bytes);
  vitc_arena_free(input, model.inputs[0].image_bytes);
  return failures ? 1 : 0;
}
