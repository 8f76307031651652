/* Rotary positions of the importers against their formulas in double precision, and the archs that have them. */
#include "eva/eva.h"
#include "eva/rope.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { HEAD = 24, PAIRS = HEAD / 2, BANDS = HEAD / 4 };

static double wanted(const struct rope *rope, const int64_t *grid, int64_t patch, int64_t pair) {
  int64_t at[] = {patch / grid[1], patch % grid[1]}, band = pair % BANDS;
  int axis = pair < BANDS ? rope->columns_first : !rope->columns_first;
  double period = pow(rope->temperature, (double)band / BANDS);
  if (rope->grid != ROPE_INDEX) {
    double centred = 2 * ((double)at[axis] + 0.5 + rope->offset) / (double)grid[axis] - 1;
    return 2 * acos(-1) * centred / period;
  }
  double x = (double)at[axis] + rope->offset;
  return (rope->reference[axis] != 0 ? x * (double)rope->reference[axis] / (double)grid[axis] : x) / period;
}

static void check(const struct rope *rope, int64_t rows, int64_t columns, int64_t prefix) {
  const int64_t grid[] = {rows, columns};
  size_t count = (size_t)((prefix + rows * columns) * PAIRS);
  float *cosines = calloc(count, sizeof *cosines), *sines = calloc(count, sizeof *sines);
  rope_caches(rope, grid, prefix, HEAD, cosines, sines);
  for (int64_t i = 0; i < prefix * PAIRS; i++) cr_assert(cosines[i] == 1 && sines[i] == 0);
  for (int64_t patch = 0; patch < rows * columns; patch++)
    for (int64_t pair = 0; pair < PAIRS; pair++) {
      double angle = wanted(rope, grid, patch, pair);
      int64_t at = (prefix + patch) * PAIRS + pair;
      /* An angle of up to 32 is known to half of its last place, 1e-6. */
      cr_assert(fabs((double)cosines[at] - cos(angle)) < 4e-6 && fabs((double)sines[at] - sin(angle)) < 4e-6,
                "patch %d pair %d: %g %g, angle %g", (int)patch, (int)pair, (double)cosines[at], (double)sines[at], angle);
    }
  free(cosines);
  free(sines);
}

Test(rope, caches) {
  check(&(struct rope){.grid = ROPE_INDEX, .temperature = 10000, .reference = {16, 16}}, 4, 7, 1);
  check(&(struct rope){.grid = ROPE_INDEX, .temperature = 100, .columns_first = true}, 5, 3, 0);
  check(&(struct rope){.grid = ROPE_INDEX, .temperature = 10000, .reference = {24, 12}, .offset = 1}, 3, 5, 2);
  check(&(struct rope){.grid = ROPE_CENTRED_PERIODS, .temperature = 100}, 14, 9, 5);
  check(&(struct rope){.grid = ROPE_CENTRED_FREQUENCIES, .temperature = 100}, 9, 14, 5);
}

Test(rope, archs) {
  struct arena arena;
  struct eva_config config;
  struct eva_arguments arguments;
  arena_init(&arena);
  cr_assert(eva_arch("eva02_base_patch14_448.mim_in22k_ft_in22k_in1k", &arena, &config, &arguments));
  eva_settle(&config, &arguments);
  cr_expect(config.dim == 768 && config.mlp == 2048 && config.form == EVA_MLP_GATED && config.mlp_norm);
  cr_expect(config.qkv == EVA_QKV_APART && config.bias[0] && !config.bias[1] && config.bias[2]);
  cr_expect(config.mean_pool && config.pooled_norm && !config.norm && config.image[0] == 448);
  cr_assert(eva_arch("eva02_small_patch14_224", &arena, &config, &arguments));
  eva_settle(&config, &arguments);
  cr_expect(config.mlp == 1024 && config.form == EVA_MLP_PACKED && config.qkv == EVA_QKV_BIAS_APART);
  cr_assert(eva_arch("vit_7b_patch16_dinov3.lvd1689m", &arena, &config, &arguments));
  eva_settle(&config, &arguments);
  cr_expect(config.mlp == 8192 && config.form == EVA_MLP_GATED && config.registers == 4 && config.norm && !config.bias[0]);
  cr_expect(config.rope.grid == ROPE_CENTRED_PERIODS && config.rope.halves && config.epsilon == 1e-5);
  cr_expect(!eva_arch("eva02_base_patch14", &arena, &config, &arguments));
  cr_expect(!eva_arch("vit_small_patch16_224", &arena, &config, &arguments));
  cr_expect(!eva_arch("", &arena, &config, &arguments));
  arena_deinit(&arena);
}
