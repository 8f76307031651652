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

/* Each level's own multiply-adds; what it lacks, it widens. */
Test(target, arithmetic_of_levels) {
  static const struct {
    enum target_level_id level;
    enum arithmetic bf16, int8;
  } rows[LEVEL_COUNT] = {
      {LEVEL_avx2, ARITHMETIC_FP32, ARITHMETIC_INT16},      {LEVEL_avxvnni, ARITHMETIC_FP32, ARITHMETIC_INT8},
      {LEVEL_avx512, ARITHMETIC_FP32, ARITHMETIC_INT16},    {LEVEL_avx512vnni, ARITHMETIC_FP32, ARITHMETIC_INT8},
      {LEVEL_avx512bf16, ARITHMETIC_BF16, ARITHMETIC_INT8}, {LEVEL_amx, ARITHMETIC_BF16, ARITHMETIC_INT8},
  };
  for (int i = 0; i < LEVEL_COUNT; i++) {
    const struct target_level *level = &target_levels[rows[i].level];
    cr_expect_eq(target_arithmetic(level, PRECISION_FP32), ARITHMETIC_FP32, "%s", level->name);
    cr_expect_eq(target_arithmetic(level, PRECISION_BF16), rows[i].bf16, "%s", level->name);
    cr_expect_eq(target_arithmetic(level, PRECISION_INT8), rows[i].int8, "%s", level->name);
  }
}

Test(target, precisions_by_name) {
  enum precision precision;
  for (int i = 0; i < PRECISION_COUNT; i++) {
    cr_assert(precision_named(precision_name((enum precision)i), &precision));
    cr_expect_eq((int)precision, i);
  }
  cr_expect_not(precision_named("mixed", &precision));
  cr_expect_not(precision_named("", &precision));
}
