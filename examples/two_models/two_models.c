/* Two models in one program, each on four threads at once. A model is constants and code: threads share it without a lock, and
 * each brings an arena of its own. The threads of odd number also share one thread pool.
 *
 *   cc -O2 -Iruntime/include -include digits.h -include tiny.h examples/two_models/two_models.c digits.o tiny.o \
 *      build/libvitc_runtime.a -ljpeg -lpng -lwebp -lpthread -lm -o two_models
 *
 * Every result must have the bits of the same model run alone on one thread. */
#include "vitc/host.h"
#include "vitc/threads.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODELS = 2, THREADS_EACH = 4, ROUNDS = 8, IMAGES = 4 };

struct work {
  const vitc_model *model;
  const float *images;   /* IMAGES inputs */
  const float *expected; /* IMAGES outputs */
  const vitc_parallel *parallel;
  int wrong;
};

static int run_one(const vitc_model *model, const float *image, float *logits, void *arena, const vitc_parallel *parallel) {
  vitc_args args = {.inputs = (const void *const[]){image},
                    .outputs = (void *const[]){logits},
                    .batch = 1,
                    .arena = arena,
                    .parallel = parallel};
  return model->run(&args);
}

static void *repeat(void *argument) {
  struct work *work = argument;
  const vitc_model *model = work->model;
  size_t inputs = model->inputs[0].image_bytes / sizeof(float), outputs = model->outputs[0].image_bytes / sizeof(float);
  void *arena = vitc_arena_alloc(model->arena_bytes);
  float *logits = malloc(outputs * sizeof(float));
  work->wrong = arena && logits ? 0 : 1;
  for (int round = 0; round < ROUNDS && !work->wrong; round++) {
    size_t image = (size_t)round % IMAGES;
    memset(logits, 0, outputs * sizeof(float));
    int status = run_one(model, work->images + image * inputs, logits, arena, work->parallel);
    work->wrong = status != VITC_OK || memcmp(logits, work->expected + image * outputs, outputs * sizeof(float)) != 0;
  }
  free(logits);
  vitc_arena_free(arena, model->arena_bytes);
  return NULL;
}

/* Images of pseudo-random pixels, and what the model makes of each when it has the machine to itself. */
static bool prepare(const vitc_model *model, float **out_images, float **out_expected) {
  size_t inputs = model->inputs[0].image_bytes / sizeof(float), outputs = model->outputs[0].image_bytes / sizeof(float);
  float *images = malloc(IMAGES * inputs * sizeof(float)), *expected = malloc(IMAGES * outputs * sizeof(float));
  void *arena = vitc_arena_alloc(model->arena_bytes);
  *out_images = images;
  *out_expected = expected;
  bool good = images && expected && arena;
  uint32_t state = 1;
  for (size_t i = 0; good && i < IMAGES * inputs; i++) {
    state = state * 1664525u + 1013904223u;
    images[i] = (float)(state >> 8) / 8388608.0f - 1.0f;
  }
  for (size_t i = 0; good && i < IMAGES; i++) {
    good = run_one(model, images + i * inputs, expected + i * outputs, arena, NULL) == VITC_OK;
  }
  vitc_arena_free(arena, model->arena_bytes);
  return good;
}

int main(void) {
  vitc_model models[MODELS];
  float *images[MODELS], *expected[MODELS];
  if (digits_describe(&models[0], VITC_ABI_VERSION) != VITC_OK || tiny_describe(&models[1], VITC_ABI_VERSION) != VITC_OK ||
      !prepare(&models[0], &images[0], &expected[0]) || !prepare(&models[1], &images[1], &expected[1])) {
    fprintf(stderr, "the models do not run\n");
    return 1;
  }
  vitc_pool *pool = vitc_pool_create(THREADS_EACH);
  if (!pool) return 1;
  vitc_parallel parallel = vitc_pool_parallel(pool);

  struct work work[MODELS * THREADS_EACH];
  pthread_t threads[MODELS * THREADS_EACH];
  for (int i = 0; i < MODELS * THREADS_EACH; i++) {
    int m = i % MODELS;
    work[i] = (struct work){&models[m], images[m], expected[m], i / MODELS % 2 ? &parallel : NULL, 1};
    if (pthread_create(&threads[i], NULL, repeat, &work[i]) != 0) return 1;
  }
  int wrong = 0;
  for (int i = 0; i < MODELS * THREADS_EACH; i++) {
    pthread_join(threads[i], NULL);
    wrong += work[i].wrong;
  }
  vitc_pool_destroy(pool);
  for (int m = 0; m < MODELS; m++) {
    free(images[m]);
    free(expected[m]);
  }
  printf("%s and %s, each on %d threads at once: %s\n", models[0].name, models[1].name, THREADS_EACH,
         wrong ? "WRONG results" : "every result has the expected bits");
  return wrong ? 1 : 0;
}
