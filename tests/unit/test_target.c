/* Which levels share kernels: a kernel is made once for the levels at which it is the same code. */
#include "target/target.h"

#include <criterion/criterion.h>

static unsigned mask_of(enum precision precision) {
  unsigned mask = 0;
  for (int i = 0; i < LEVEL_COUNT; i++)
    if ((target_levels[i].precisions >> precision & 1) != 0) mask |= 1u << i;
  return mask;
}

Test(target, twins_of_int8) {
  unsigned mask = mask_of(PRECISION_INT8);
  cr_assert_eq(target_twin(mask, LEVEL_avxvnni, 0), LEVEL_avx2);
  cr_assert_eq(target_twin(mask, LEVEL_avxvnni, TARGET_USES_DOT_BF16), LEVEL_avx2);
  cr_assert_eq(target_twin(mask, LEVEL_avxvnni, TARGET_USES_DOT_INT8), LEVEL_avxvnni);
  cr_assert_eq(target_twin(mask, LEVEL_avx512vnni, 0), LEVEL_avx512vnni);
  cr_assert_eq(target_twin(mask, LEVEL_amx, 0), LEVEL_avx512vnni);
  cr_assert_eq(target_twin(mask, LEVEL_amx, TARGET_USES_DOT_INT8), LEVEL_avx512vnni);
  cr_assert_eq(target_twin(mask, LEVEL_amx, TARGET_USES_DOT_BF16), LEVEL_avx512bf16);
  cr_assert_eq(target_twin(mask, LEVEL_amx, TARGET_USES_TILES), LEVEL_amx);
}

/* An object for one CPU has no twins outside its own levels. */
Test(target, twins_stay_in_the_mask) {
  for (unsigned mask = 1; mask < 1u << LEVEL_COUNT; mask++)
    for (int level = 0; level < LEVEL_COUNT; level++) {
      if ((mask >> level & 1) == 0) continue;
      for (unsigned uses = 0; uses < 8; uses++) {
        int twin = target_twin(mask, level, uses);
        cr_assert(twin >= 0 && twin <= level && (mask >> twin & 1) != 0);
        cr_assert_eq(target_levels[twin].requires & ~target_levels[level].requires, 0);
        cr_assert_eq(target_levels[twin].lanes, target_levels[level].lanes);
        if ((uses & TARGET_USES_TILES) != 0) cr_assert_eq(target_levels[twin].tiles, target_levels[level].tiles);
        if ((uses & TARGET_USES_DOT_INT8) != 0) cr_assert_eq(target_levels[twin].dot_int8, target_levels[level].dot_int8);
        if ((uses & TARGET_USES_DOT_BF16) != 0) cr_assert_eq(target_levels[twin].dot_bf16, target_levels[level].dot_bf16);
      }
    }
}
