/* What the report is made of: repetitions, and text that becomes HTML. */
#include "cmd/fold.h"
#include "cmd/layers.h"
#include "cmd/page.h"
#include "cmd/ranges.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void check_folds(const char *text, const struct fold *expected, int expected_count) {
  struct arena arena;
  arena_init(&arena);
  int count = 0, fold_count;
  const char *keys[64];
  for (const char *at = text; *at != '\0'; at++) keys[count++] = arena_strndup(&arena, at, 1);
  const struct fold *folds = find_folds(keys, count, &arena, &fold_count);
  cr_assert(eq(int, fold_count, expected_count), "%s", text);
  for (int i = 0; i < fold_count; i++) {
    cr_expect(eq(int, folds[i].first, expected[i].first), "%s", text);
    cr_expect(eq(int, folds[i].period, expected[i].period), "%s", text);
    cr_expect(eq(int, folds[i].times, expected[i].times), "%s", text);
  }
  arena_deinit(&arena);
}

Test(report, repetitions_are_folded) {
  check_folds("", NULL, 0);
  check_folds("a", (struct fold[]){{0, 1, 1}}, 1);
  check_folds("ab", (struct fold[]){{0, 1, 1}, {1, 1, 1}}, 2);
  check_folds("aaa", (struct fold[]){{0, 1, 3}}, 1);
  check_folds("xababab", (struct fold[]){{0, 1, 1}, {1, 2, 3}}, 2);
  check_folds("abcabcabd", (struct fold[]){{0, 3, 2}, {6, 1, 1}, {7, 1, 1}, {8, 1, 1}}, 4);
  check_folds("pqqrqqrh", (struct fold[]){{0, 1, 1}, {1, 3, 2}, {7, 1, 1}}, 3); /* not q twice */
}

static char *page_of(void (*write)(FILE *page, const char *text, int columns), const char *text, int columns) {
  char *out = NULL;
  size_t size;
  FILE *page = open_memstream(&out, &size);
  write(page, text, columns);
  fclose(page);
  return out;
}

static void write_text(FILE *page, const char *text, int columns) {
  (void)columns;
  page_text(page, text);
}

static void check_page(void (*write)(FILE *page, const char *text, int columns), const char *text, int columns,
                       const char *expected) {
  char *found = page_of(write, text, columns);
  cr_expect(eq(str, found, (char *)expected));
  free(found);
}

Test(report, text_is_escaped) {
  check_page(write_text, "<a href='x'>\"&", 0, "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
  check_page(write_text, "a\n\x01\x7f", 0, "a&#xFFFD;&#xFFFD;&#xFFFD;");
  check_page(write_text, "\xc3\xa9\xf0\x9f\x98\x80", 0, "\xc3\xa9\xf0\x9f\x98\x80");
  check_page(write_text, "\xc3", 0, "&#xFFFD;");                                                 /* cut */
  check_page(write_text, "\xed\xa0\x80", 0, "&#xFFFD;&#xFFFD;&#xFFFD;");                         /* a surrogate */
  check_page(write_text, "\xc0\xaf", 0, "&#xFFFD;&#xFFFD;");                                     /* overlong */
  check_page(write_text, "\xef\xbf\xbf\xef\xbf\xbd", 0, "&#xFFFD;&#xFFFD;&#xFFFD;\xef\xbf\xbd"); /* U+FFFF, U+FFFD */
}

Test(report, long_text_keeps_its_end) {
  check_page(page_short, "abcdef", 6, "abcdef");
  check_page(page_short, "abcdefg", 6, "&#x2026;cdefg");
  check_page(page_short, "<\xc3\xa9>", 2, "&#x2026;&gt;");
}

Test(report, layers_of_one_kind) {
  struct arena arena;
  arena_init(&arena);
  cr_expect(eq(str, (char *)layer_kind("blocks.3.mlp.fc1", &arena), "blocks.*.mlp.fc1"));
  cr_expect(eq(str, (char *)layer_kind("/layer.11/Add_1", &arena), "/layer.*/Add_1"));
  cr_expect(eq(str, (char *)layer_kind("12", &arena), "*"));
  cr_expect(eq(str, (char *)layer_kind("v2.x", &arena), "v2.x"));
  arena_deinit(&arena);
}

/* Rows (1, -2, 0) and (3, 0, 4), beside each other and as the transpose; then with a value that is not finite. */
Test(report, ranges) {
  const float rows[] = {1, -2, 0, 3, 0, 4}, columns[] = {1, 3, -2, 0, 0, 4}, broken[] = {1, NAN, 0, 3, 0, 4};
  struct arena arena;
  arena_init(&arena);
  struct range_array array = {.data = rows, .outer = 1, .rows = 2, .channels = 3, .row_stride = 3, .channel_stride = 1};
  for (int i = 0; i < 2; i++) {
    struct range range = range_of(&array, &arena);
    cr_expect(ieee_ulp_eq(dbl, range.minimum, -2.0, 0));
    cr_expect(ieee_ulp_eq(dbl, range.maximum, 4.0, 0));
    cr_expect(ieee_ulp_eq(dbl, range.rms, sqrt(5.0), 2));
    cr_expect(ieee_ulp_eq(dbl, range.crest, 4 / sqrt(5.0), 2));
    cr_expect(ieee_ulp_eq(dbl, range.row_crest, (2 / sqrt(5.0 / 3) + 4 / sqrt(25.0 / 3)) / 2, 2));
    cr_expect(ieee_ulp_eq(dbl, range.row_crest_worst, 2 / sqrt(5.0 / 3), 2));
    cr_expect(ieee_ulp_eq(dbl, range.channel_crest_worst, sqrt(2.0), 2));
    cr_expect(ieee_ulp_eq(dbl, range.median, 3.0, 0));
    cr_expect(eq(int, range.outlier_count, 3));
    cr_expect(eq(i64, range.outliers[0].channel, 2));
    cr_expect(eq(i64, range.outliers[1].channel, 0));
    cr_expect(eq(i64, range.outliers[2].channel, 1));
    cr_expect(ieee_ulp_eq(dbl, range.outliers[0].ratio, 4.0 / 3, 2));
    array = (struct range_array){.data = columns, .outer = 1, .rows = 2, .channels = 3, .row_stride = 1, .channel_stride = 2};
  }
  array = (struct range_array){.data = broken, .outer = 2, .outer_stride = 3, .rows = 1, .channels = 3, .channel_stride = 1};
  struct range range = range_of(&array, &arena);
  cr_expect(eq(sz, range.not_finite, 1));
  cr_expect(ieee_ulp_eq(dbl, range.outliers[2].largest, 0.0, 0));
  cr_expect(eq(str, (char *)range_outliers_text(&range, &arena), "-"));
  arena_deinit(&arena);
}
