/* What a host needs around a model: softmax, top-k, labels, arenas, external weights, the CPU. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vitc/host.h"

Test(host, softmax_of_equal_logits_is_uniform) {
  float values[5] = {3e38f, 3e38f, 3e38f, 3e38f, 3e38f};
  vitc_softmax(values, 5, values);
  for (int i = 0; i < 5; i++) cr_assert(eq(flt, values[i], 0.2f));
}

Test(host, softmax_of_logarithms_is_their_arguments) {
  float logits[4], probabilities[4];
  for (int i = 0; i < 4; i++) logits[i] = (float)log(i + 1.0) - 80.0f;
  vitc_softmax(logits, 4, probabilities);
  for (int i = 0; i < 4; i++) cr_assert(epsilon_eq(flt, probabilities[i], (float)(i + 1) / 10, 1e-6f));
}

Test(host, softmax_takes_infinities) {
  float values[3] = {-INFINITY, 0, -INFINITY};
  vitc_softmax(values, 3, values);
  cr_assert(eq(flt, values[0], 0.0f));
  cr_assert(eq(flt, values[1], 1.0f));
  vitc_softmax(values, 0, values);
  cr_assert(eq(flt, values[1], 1.0f));
}

Test(host, top_k_orders_by_value_then_index) {
  const float values[] = {1, 5, NAN, 5, -INFINITY, 7, NAN, 5};
  static const uint32_t expected[] = {5, 1, 3, 7, 0, 4, 2, 6};
  for (size_t k = 0; k <= 8; k++) {
    uint32_t indices[9];
    memset(indices, 0xff, sizeof indices);
    vitc_top_k(values, 8, k, indices);
    for (size_t i = 0; i < k; i++) cr_assert(eq(u32, indices[i], expected[i]));
    cr_assert(eq(u32, indices[k], UINT32_MAX));
  }
}

Test(host, top_k_of_many) {
  enum { COUNT = 21843, STEP = 7919 }; /* coprime: a permutation of 0 .. COUNT - 1 */
  static float values[COUNT];
  static uint32_t indices[COUNT];
  for (uint32_t i = 0; i < COUNT; i++) values[i] = (float)((uint64_t)i * STEP % COUNT);
  vitc_top_k(values, COUNT, COUNT, indices);
  for (uint32_t i = 0; i < COUNT; i++) cr_assert(eq(flt, values[indices[i]], (float)(COUNT - 1 - i)));
}

Test(host, labels_are_found_by_index) {
  vitc_model model = {.label_count = 3, .labels = "cat\0\0dog"};
  cr_assert(eq(str, (char *)vitc_label(&model, 0), "cat"));
  cr_assert(eq(str, (char *)vitc_label(&model, 1), ""));
  cr_assert(eq(str, (char *)vitc_label(&model, 2), "dog"));
  cr_assert(eq(ptr, (void *)vitc_label(&model, 3), NULL));
  model.labels = NULL;
  cr_assert(eq(ptr, (void *)vitc_label(&model, 0), NULL));
}

Test(host, arenas_are_aligned_and_writable) {
  static const size_t sizes[] = {0, 1, 64, 4097, (2u << 20) - 1, 2u << 20, (2u << 20) + 1, 9u << 20};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    unsigned char *arena = vitc_arena_alloc(sizes[i]);
    cr_assert(ne(ptr, arena, NULL));
    cr_assert(eq(sz, (uintptr_t)arena % VITC_ALIGNMENT, 0));
    if (sizes[i]) arena[0] = arena[sizes[i] - 1] = 1;
    vitc_arena_free(arena, sizes[i]);
  }
  vitc_arena_free(NULL, 100);
  vitc_arena_free(NULL, 9u << 20);
  cr_assert(eq(ptr, vitc_arena_alloc(SIZE_MAX), NULL));
}

static const char *write_weights(const void *bytes, size_t size) {
  static char path[] = "/tmp/test-host-XXXXXX";
  int file = mkstemp(path);
  cr_assert(ge(int, file, 0));
  cr_assert(eq(sz, (size_t)write(file, bytes, size), size));
  close(file);
  return path;
}

Test(host, weights_are_mapped_when_they_are_the_models) {
  /* FNV-1a with 64-bit words, by hand: ((basis ^ 1) * prime ^ 2) * prime modulo 2^64. */
  static const unsigned char bytes[11] = {1, 0, 0, 0, 0, 0, 0, 0, 2};
  const uint64_t prime = 0x100000001b3u;
  vitc_model model = {.weights_bytes = sizeof bytes, .weights_hash = ((0xcbf29ce484222325u ^ 1) * prime ^ 2) * prime};
  const char *path = write_weights(bytes, sizeof bytes);
  const void *weights = NULL;
  cr_assert(eq(int, vitc_weights_map(&model, path, 1, &weights), 0));
  cr_assert(eq(int, memcmp(weights, bytes, sizeof bytes), 0));
  cr_assert(eq(sz, (uintptr_t)weights % VITC_ALIGNMENT, 0));
  vitc_weights_unmap(&model, weights);

  model.weights_hash++;
  errno = 0;
  cr_assert(eq(int, vitc_weights_map(&model, path, 1, &weights), -1));
  cr_assert(eq(int, errno, EINVAL));
  cr_assert(eq(ptr, (void *)(uintptr_t)weights, NULL));
  cr_assert(eq(int, vitc_weights_map(&model, path, 0, &weights), 0));
  vitc_weights_unmap(&model, weights);

  model.weights_bytes++;
  cr_assert(eq(int, vitc_weights_map(&model, path, 0, &weights), -1));
  cr_assert(eq(int, errno, EINVAL));
  unlink(path);
  cr_assert(eq(int, vitc_weights_map(&model, path, 0, &weights), -1));
  cr_assert(eq(int, errno, ENOENT));
  cr_assert(eq(int, vitc_weights_map(&model, "/", 0, &weights), -1));
  cr_assert(eq(int, vitc_weights_map(NULL, path, 0, &weights), -1));
}

Test(host, the_cpu_answers) {
  cr_assert(ge(u32, vitc_cpu_count(), 1));
  int granted = vitc_cpu_request_amx();
  cr_assert(granted == 0 || granted == 1);
  cr_assert(eq(int, vitc_cpu_request_amx(), granted));
}
