/* What a program with a model inside costs: from exec to its first logits, resident memory, and memory asked for after the
 * start.
 *
 *   start THREADS RUNS
 *
 * starts itself anew, with the time before exec on the command line. The new process makes a pool of threads, answers once, and
 * then RUNS times more. It prints JSON: milliseconds from exec to the first logits and of the best of the later inferences,
 * bytes, and how often memory was asked for after the first logits. Compiled with -DMODEL=NAME and -include NAME.h; see
 * start.py. */
#include <vitc/threads.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

enum { SECOND = 1000000000 };

/* Of the C library's, whose own names for them these are. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static unsigned long allocations;

void *malloc(size_t size) {
  __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
  return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
  return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
  __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
  return __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
  return __libc_memalign(alignment, size);
}

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * SECOND + time.tv_nsec;
}

/* In kilobytes, as /proc/self/status has them. */
struct memory {
  long resident, peak, mapped;
};

static long field(const char *status, const char *name) {
  const char *at = strstr(status, name);
  return at != NULL ? strtol(at + strlen(name), NULL, 10) : -1;
}

static struct memory memory_now(void) {
  static char text[8192];
  FILE *file = fopen("/proc/self/status", "r");
  size_t length = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
  if (file != NULL) fclose(file);
  text[length] = '\0';
  return (struct memory){field(text, "VmRSS:"), field(text, "VmHWM:"), field(text, "VmSize:")};
}

static int serve(int64_t before, uint32_t threads, int runs) {
  vitc_model model;
  if (PASTE(MODEL, _describe)(&model, VITC_ABI_VERSION) != VITC_OK) return 1;
  vitc_pool *pool = vitc_pool_create(threads);
  float *pixels = malloc(model.inputs[0].image_bytes), *logits = malloc(model.outputs[0].image_bytes);
  void *arena = aligned_alloc(VITC_ALIGNMENT, model.arena_bytes);
  if (pool == NULL || pixels == NULL || logits == NULL || arena == NULL) return 1;
  vitc_parallel parallel = vitc_pool_parallel(pool);
  for (size_t i = 0; i < model.inputs[0].image_bytes / sizeof *pixels; i++)
    pixels[i] = (float)((i * 2654435761u >> 16 & 255) / 64.0 - 2);

  int64_t best = INT64_MAX;
  if (PASTE(MODEL, _run)(pixels, logits, 1, arena, &parallel) != VITC_OK) return 1;
  int64_t first = now() - before;
  memory_now(); /* opens a file, which allocates */
  struct memory begin = memory_now();
  unsigned long asked = allocations;
  for (int i = 0; i < runs; i++) {
    int64_t start = now();
    if (PASTE(MODEL, _run)(pixels, logits, 1, arena, &parallel) != VITC_OK) return 1;
    int64_t took = now() - start;
    if (took < best) best = took;
  }
  asked = allocations - asked;
  struct memory end = memory_now();
  printf("{\"first_ms\":%.3f,\"inference_ms\":%.3f,\"resident\":%ld,\"peak\":%ld,\"grown\":%ld,\"allocations\":%lu,"
         "\"weights\":%llu,\"arena\":%zu}\n",
         (double)first / 1e6, (double)best / 1e6, end.resident * 1024, end.peak * 1024, (end.mapped - begin.mapped) * 1024,
         asked, (unsigned long long)model.weights_bytes, model.arena_bytes);
  vitc_pool_destroy(pool);
  return 0;
}

int main(int count, char **words) {
  if (count == 4)
    return serve(strtoll(words[3], NULL, 10), (uint32_t)strtoul(words[1], NULL, 10), (int)strtol(words[2], NULL, 10));
  if (count != 3) return 2;
  char before[32];
  snprintf(before, sizeof before, "%lld", (long long)now());
  execl("/proc/self/exe", words[0], words[1], words[2], before, (char *)NULL);
  return 1;
}
